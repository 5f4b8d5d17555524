"""An engine in a process of its own: the same methods, and a crash there is an error here.

Sending goes through a queue and a thread, so that `cancel` may be called from a signal handler or another thread; all
other calls come from one owner.
"""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

from cagchat.engine.protocol import (
    Blob,
    EngineSettings,
    Finish,
    ModelInfo,
    Piece,
    Probe,
    Progress,
    Sampling,
    Span,
    Tokens,
    Transfer,
)
from cagchat.engine.wire import Cancel, Failure, Item, Request, Result, Start, read_message, write_message
from cagchat.errors import EngineCancelled, EngineDied

LOG_TAIL_BYTES = 4000
LOG_TAIL_LINES = 6
EXIT_WAIT_S = 5.0


class EngineProcess:
    """Runs an engine in a child process and passes every call on to it.

    Raises `EngineDied` from any call once the child has ended; its message gives the signal and the last log lines.
    """

    def __init__(self, start: Start, environ: dict[str, str] | None = None) -> None:
        """Start the child and wait until its model is loaded.

        Raises what building the engine raises (`ModelError`, `EngineError`) or `EngineDied`.
        """
        self._child, self._log = _spawn(environ)
        self._outbox: queue.SimpleQueue[object | None] = queue.SimpleQueue()
        self._sender = threading.Thread(target=self._send_all, name="engine-requests", daemon=True)
        self._sender.start()
        self._number = 0
        self._outbox.put(start)
        try:
            self._settings, self._info = self._receive(0)
        except BaseException:
            self.close()
            raise

    @property
    def info(self) -> ModelInfo:
        """See the protocol."""
        return self._info

    @property
    def settings(self) -> EngineSettings:
        """See the protocol."""
        return self._settings

    @property
    def pid(self) -> int:
        """The child's process number."""
        return self._child.pid

    def tokenize(self, texts: Sequence[str], *, special: bool) -> list[array[int]]:
        """See the protocol."""
        return self._call("tokenize", list(texts), special=special)

    def text_of(self, tokens: Tokens) -> bytes:
        """See the protocol."""
        return self._call("text_of", array("i", tokens))

    def length(self, sequence: int) -> int:
        """See the protocol."""
        return self._call("length", sequence)

    def evaluate(self, sequence: int, tokens: Tokens) -> Iterator[Progress]:
        """See the protocol."""
        return self._stream("evaluate", sequence, array("i", tokens))

    def generate(
        self, sequence: int, prompt: Tokens, sampling: Sampling, *, max_tokens: int
    ) -> Iterator[Piece | Finish]:
        """See the protocol."""
        return self._stream("generate", sequence, array("i", prompt), sampling, max_tokens=max_tokens)

    def logits(self, sequence: int, tokens: Tokens) -> array[float]:
        """See the protocol."""
        return self._call("logits", sequence, array("i", tokens))

    def probe(self, sequence: int, token: int, top: int) -> Probe:
        """See the protocol."""
        return self._call("probe", sequence, token, top)

    def fork(self, source: int, target: int) -> None:
        """See the protocol."""
        self._call("fork", source, target)

    def mark(self, sequence: int) -> None:
        """See the protocol."""
        self._call("mark", sequence)

    def rewind(self, sequence: int, length: int) -> bool:
        """See the protocol."""
        return self._call("rewind", sequence, length)

    def clear(self, sequence: int) -> None:
        """See the protocol."""
        self._call("clear", sequence)

    def save(self, sequence: int, path: Path) -> tuple[Blob, Transfer]:
        """See the protocol."""
        return self._call("save", sequence, path)

    def restore(self, sequence: int, path: Path, blob: Blob) -> Transfer:
        """See the protocol."""
        return self._call("restore", sequence, path, blob)

    def save_boundary(self, sequence: int, path: Path) -> Blob | None:
        """See the protocol."""
        return self._call("save_boundary", sequence, path)

    def restore_boundary(self, sequence: int, path: Path, blob: Blob) -> None:
        """See the protocol."""
        self._call("restore_boundary", sequence, path, blob)

    def take_spans(self) -> list[Span]:
        """See the protocol."""
        return self._call("take_spans")

    def cancel(self) -> None:
        """See the protocol. Reentrant: only puts a message into a queue that signal handlers may use."""
        self._outbox.put(Cancel(self._number))

    def close(self) -> None:
        """End the child: it exits when its input closes, whatever it is doing."""
        self._outbox.put(None)
        self._sender.join(EXIT_WAIT_S)
        try:
            self._child.wait(EXIT_WAIT_S)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()
        if self._child.stdout is not None:
            self._child.stdout.close()
        self._log.close()

    def _call(self, method: str, *arguments: Any, **options: Any) -> Any:
        self._number += 1
        self._outbox.put(Request(self._number, method, arguments, options))
        return self._receive(self._number)

    def _stream(self, method: str, *arguments: Any, **options: Any) -> Iterator[Any]:
        self._number += 1
        number = self._number
        self._outbox.put(Request(number, method, arguments, options, stream=True))
        ended = False
        try:
            while True:
                message = self._read()
                if isinstance(message, Item):
                    yield message.value
                    continue
                ended = True
                if isinstance(message, Failure):
                    raise message.error
                return
        except EngineDied:
            ended = True
            raise
        finally:
            if not ended:  # the consumer stopped listening: end the call there, or its items would answer the next one
                self._outbox.put(Cancel(number))
                with contextlib.suppress(EngineCancelled, EngineDied):
                    self._receive(number)

    def _receive(self, number: int) -> Any:
        while True:
            message = self._read()
            if isinstance(message, Result) and message.number == number:
                return message.value
            if isinstance(message, Failure):
                raise message.error

    def _read(self) -> Any:
        if self._child.stdout is None or self._child.stdout.closed:
            raise EngineDied("The engine is closed.", "Open the book again.")
        try:
            return read_message(self._child.stdout)
        except EOFError:
            raise self._died() from None

    def _died(self) -> EngineDied:
        code = self._child.wait()
        if code < 0:
            try:
                reason = signal.Signals(-code).name
            except ValueError:
                reason = f"signal {-code}"
        else:
            reason = f"exit code {code}"
        error = EngineDied(
            f"The engine's process ended ({reason}).", "Ask again: it is started anew and the book is restored."
        )
        error.reason = reason
        error.log_lines = self._log_tail()
        return error

    def _log_tail(self) -> tuple[str, ...]:
        size = self._log.seek(0, os.SEEK_END)
        self._log.seek(max(0, size - LOG_TAIL_BYTES))
        lines = self._log.read().decode(errors="replace").splitlines()
        return tuple(line for line in lines if line.strip())[-LOG_TAIL_LINES:]

    def _send_all(self) -> None:
        stdin = self._child.stdin
        assert stdin is not None
        # A child that died is noticed where its replies are read, with its reason; here the pipe is only given up.
        with contextlib.suppress(OSError):
            while (message := self._outbox.get()) is not None:
                write_message(stdin, message)
        with contextlib.suppress(OSError):
            stdin.close()


def _spawn(environ: dict[str, str] | None) -> tuple[subprocess.Popen[bytes], IO[bytes]]:
    """Start the child in a session of its own, so that a Ctrl-C in the terminal reaches only this process."""
    log = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the child; unlinked, so nothing is left behind
    command = [sys.executable, "-P", "-X", "faulthandler", "-m", "cagchat.engine.serve"]
    child = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=log,
        env=environ,
        start_new_session=True,
    )
    return child, log

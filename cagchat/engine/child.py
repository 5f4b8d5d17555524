"""A child process of ours that answers calls: starting it, talking to it, and saying why it ended.

Sending goes through a queue and a thread, so that `cancel` may be called from a signal handler or another thread; all
other calls come from one owner.
"""

from __future__ import annotations

import contextlib
import os
import queue
import re
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from typing import IO, Any

from cagchat.engine.wire import Cancel, Failure, Item, Request, Result, Start, read_message, write_message
from cagchat.errors import EngineCancelled, EngineDied, EngineError

LOG_TAIL_BYTES = 4000
LOG_TAIL_LINES = 6
EXIT_WAIT_S = 5.0

# Why a process ended, as ggml, the C++ library, CUDA and Python say it; backtraces and other talk stand around it.
LAST_WORDS = re.compile(
    r"GGML_ASSERT\(.{1,200}\) failed|what\(\): .{1,200}|CUDA error.{0,100}|.*failed to allocate.{0,100}"
    r"|^(MemoryError|\w+Error: .{1,200})"
)
MEMORY_WORDS = re.compile(r"alloc|memory|mem_buffer|can't start new thread", re.IGNORECASE)
# Said beside the last words, or instead of any: what shows a backtrace maps memory for it, and 12 is ENOMEM.
NO_MEMORY_LINE = re.compile(r"mmap: 12$|Cannot allocate memory")
WANT_OF_MEMORY = "as when memory runs out"


class Spare:
    """A child that was started before it is known what it will be asked to build.

    It imports llama.cpp while this process imports its own modules and looks at the book: 0.1 s of every reopening.
    """

    def __init__(self) -> None:
        self._spawned: tuple[subprocess.Popen[bytes], IO[bytes]] | None = _spawn("llama")

    def take(self) -> tuple[subprocess.Popen[bytes], IO[bytes]] | None:
        """Return the running child and its log, once; None when it has been taken."""
        spawned, self._spawned = self._spawned, None
        return spawned

    def close(self) -> None:
        """End the child if nobody took it."""
        if (spawned := self.take()) is not None:
            child, log = spawned
            child.communicate()
            log.close()


class Child:
    """Runs `engine.serve` and passes calls on to what it builds there.

    Every call raises `EngineDied` once the child has ended; its message gives the signal, its `log_lines` the end of
    what the child wrote to stderr.
    """

    def __init__(self, start: Start, spare: Spare | None = None) -> None:
        """Start the child, or take the spare one; it builds its engine while this process goes on (see `greeting`)."""
        self._child, self._log = (spare.take() if spare else None) or _spawn(start.kind)
        self._outbox: queue.SimpleQueue[object | None] = queue.SimpleQueue()
        self._sender = threading.Thread(target=self._send_all, name="engine-requests", daemon=True)
        self._sender.start()
        self._number = 0
        self._greeting: Any = None
        self._outbox.put(start)

    @property
    def pid(self) -> int:
        """The child's process number."""
        return self._child.pid

    def greeting(self) -> Any:
        """Wait until the engine is built and return what it says of itself.

        Raises what building it raises (`ModelError`, `EngineError`), or `EngineDied`.
        """
        if self._greeting is None:
            try:
                self._greeting = self._receive(0)
            except EngineDied as died:
                died.hint = "Fetch the model again: it may be damaged. Or choose another or a smaller one with --model."
                if WANT_OF_MEMORY in died.message:
                    died.hint = "Close other programs too, or choose a smaller model with --model."
                raise
        return self._greeting

    def cancel(self) -> None:
        """Ask the running call to end early. Reentrant: only puts a message into a queue made for signal handlers."""
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

    def call(self, method: str, *arguments: Any, **options: Any) -> Any:
        """Call a method and wait for its result."""
        self.greeting()
        self._number += 1
        self._outbox.put(Request(self._number, method, arguments, options))
        return self._receive(self._number)

    def stream(self, method: str, *arguments: Any, **options: Any) -> Iterator[Any]:
        """Call a method that yields; abandoning the iterator ends the call there."""
        self.greeting()
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
        lines = self._log_tail()
        error = EngineDied(how_it_ended(reason, lines), "Ask again: it is started anew and the book is restored.")
        error.reason = reason
        error.log_lines = lines[-LOG_TAIL_LINES:]
        return error

    def _log_tail(self) -> tuple[str, ...]:
        size = self._log.seek(0, os.SEEK_END)
        self._log.seek(max(0, size - LOG_TAIL_BYTES))
        lines = self._log.read().decode(errors="replace").splitlines()
        return tuple(line for line in lines if line.strip())

    def _send_all(self) -> None:
        stdin = self._child.stdin
        assert stdin is not None
        # A child that died is noticed where its replies are read, with its reason; here the pipe is only given up.
        with contextlib.suppress(OSError):
            while (message := self._outbox.get()) is not None:
                write_message(stdin, message)
        with contextlib.suppress(OSError):
            stdin.close()


def how_it_ended(reason: str, lines: tuple[str, ...]) -> str:
    """Return the sentence about an engine that ended, from its signal or exit code and what it wrote at last."""
    last_words = next((match[0] for line in reversed(lines) if (match := LAST_WORDS.search(line))), "")
    ended = f"The engine's process ended ({reason}{f': {last_words}' if last_words else ''})"
    no_memory = MEMORY_WORDS.search(last_words) or any(NO_MEMORY_LINE.search(line) for line in lines)
    if reason == "SIGKILL" or no_memory:
        return f"{ended}, {WANT_OF_MEMORY}: a smaller --kv, chat_tokens, batch or model takes less."
    return f"{ended}."


def _spawn(kind: str) -> tuple[subprocess.Popen[bytes], IO[bytes]]:
    """Start the child in a session of its own, so that a Ctrl-C in the terminal reaches only this process.

    Raises `EngineError` when the system has no room for another process, file or pipe.
    """
    command = [sys.executable, "-P", "-X", "faulthandler", "-m", "cagchat.engine.serve", kind]
    try:
        log = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the child; unlinked, so nothing is left behind
        try:
            child = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,
            )
        except BaseException:
            log.close()
            raise
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise EngineError(f"The engine's process cannot be started: {reason}.", "Close other programs.") from error
    return child, log

"""The engine process: builds an engine and answers requests until its parent goes away.

`engine.process` starts it as `python -m cagchat.engine.serve`; it speaks `engine.wire` on stdin and stdout.
"""

from __future__ import annotations

import contextlib
import errno
import os
import queue
import signal
import sys
import threading
import traceback
from typing import IO, Any

from cagchat.confined import leave_no_core
from cagchat.engine.wire import Cancel, Failure, Item, Request, Result, Start, read_message, write_message
from cagchat.errors import CagchatError, EngineCancelled, EngineError

INTERNAL_ERROR = 70  # EX_SOFTWARE of sysexits.h


def build(start: Start) -> tuple[Any, Any]:
    """Make what the parent asked for; return it and the greeting that says it is ready."""
    if start.kind == "fake":
        from cagchat.engine.fake import FakeEngine

        fake = FakeEngine(*start.arguments)
        return fake, (fake.settings, fake.info)
    if start.kind == "system":
        from cagchat.engine.bindings import system

        return None, system()
    if start.kind == "tokenizer":
        from cagchat.engine.words import LlamaTokenizer

        tokenizer = LlamaTokenizer(*start.arguments)
        return tokenizer, tokenizer.vocabulary
    if start.kind == "bare":
        from cagchat.engine.bare import BareLoop

        bare = BareLoop(*start.arguments)
        return bare, (bare.settings, bare.info)
    from cagchat.engine.llama import LlamaEngine

    engine = LlamaEngine(*start.arguments)
    return engine, (engine.settings, engine.info)


class Server:
    """Runs one engine; a second thread reads messages, so that a cancel arrives while a batch is running."""

    def __init__(self, requests: IO[bytes], replies: IO[bytes]) -> None:
        self._requests, self._replies = requests, replies
        self._waiting: queue.SimpleQueue[Start | Request] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._running = -1
        self._cancelled = -1  # the highest request number that was cancelled; requests run in order
        self._engine: Any = None

    def run(self) -> None:
        """Answer requests for ever; the process ends when the parent closes the pipe."""
        threading.Thread(target=self._receive, name="requests", daemon=True).start()
        while True:
            message = self._waiting.get()
            number = message.number if isinstance(message, Request) else 0
            try:
                self._answer(message)
            except CagchatError as error:
                self._send(Failure(number, error))
            except OSError as error:
                reason = os.strerror(error.errno) if error.errno else str(error)
                self._send(Failure(number, EngineError(f"The engine's process met an error: {reason}.", "Try again.")))
            except MemoryError:
                self._send(Failure(number, EngineError("Memory is exhausted.", "Lower chat_tokens or batch.")))

    def _answer(self, message: Start | Request) -> None:
        if isinstance(message, Start):
            self._engine, greeting = build(message)
            self._send(Result(0, greeting))
            return
        assert self._engine is not None, "the first message is Start"
        try:
            if message.stream:  # only these can be cancelled: the others go on to their end, half of one is of no use
                with self._lock:
                    self._running = message.number
                    if self._cancelled >= message.number:
                        raise EngineCancelled("Stopped before it began.", "The same command goes on there.")
            result = getattr(self._engine, message.method)(*message.arguments, **message.options)
            if message.stream:
                for item in result:
                    self._send(Item(message.number, item))
                    with self._lock:
                        if self._cancelled >= message.number:  # a cancel before the first item is not lost
                            self._engine.cancel()
                result = None
            self._send(Result(message.number, result))
        finally:
            with self._lock:
                self._running = -1

    def _receive(self) -> None:
        try:
            while True:
                message = read_message(self._requests)
                if isinstance(message, Cancel):
                    with self._lock:
                        self._cancelled = message.number
                        if self._running == message.number and self._engine is not None:
                            self._engine.cancel()
                else:
                    self._waiting.put(message)
        except EOFError:
            # The parent is gone or has closed the engine. Files are only ever completed by the parent's rename, so
            # there is nothing to finish; a running batch is not waited for.
            os._exit(0)
        except Exception:  # a message that cannot be read: the parent must not wait for its answer
            traceback.print_exc()
            os._exit(INTERNAL_ERROR)

    def _send(self, message: object) -> None:
        try:
            write_message(self._replies, message)
        except OSError as error:
            if error.errno != errno.EPIPE:
                raise
            os._exit(0)


def prepare() -> None:
    """Load the llama.cpp library before the first message comes; a failure is told when an engine is asked for."""
    from cagchat.engine.bindings import bindings

    with contextlib.suppress(CagchatError, ImportError, OSError):
        bindings()


def main() -> None:
    """Serve until the parent is gone.

    Takes stdin and stdout for messages; anything that prints goes to stderr, which the parent keeps as a log.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    leave_no_core()
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    try:
        if sys.argv[1:] == ["llama"]:
            prepare()
        Server(sys.stdin.buffer, replies).run()
    except Exception:  # the outer border: whatever this is, the parent must learn of it as an ended process
        traceback.print_exc()
        # Not sys.exit: the reading thread holds a lock on stdin that the interpreter's shutdown aborts over.
        os._exit(INTERNAL_ERROR)


if __name__ == "__main__":
    main()

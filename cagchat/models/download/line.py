"""The one connection a download has at a time, and its two ends by force: a deadline, and the user's wish to stop.

A socket's own timeout starts anew with every byte, so a server that sends one a second would hold us for ever; and a
thread that waits for a server does not hear an event. Both are ended by shutting the socket down under the reader.
"""

from __future__ import annotations

import contextlib
import math
import socket
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from cagchat.errors import Stopped
from cagchat.models.download.refusals import GO_ON

TICK_S = 0.1


class Line:
    """Watches a socket from a second thread; used as a context manager around a whole download."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._socket: Callable[[], socket.socket | None] = nothing
        self._deadline_s = math.inf
        self._closed = threading.Event()
        self._watcher = threading.Thread(target=self._watch_clock, name="download-deadline", daemon=True)
        self.stopped = False
        self.expired = False

    def __enter__(self) -> Self:
        self._watcher.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closed.set()
        self._watcher.join()

    def stop(self) -> None:
        """End what the connection waits for, now and later. Takes no lock: safe from any thread or signal handler."""
        self.stopped = True
        self._cut()

    def check(self) -> None:
        """Raise `Stopped` when the user wants to stop."""
        if self.stopped:
            raise Stopped("Stopped; what was downloaded is kept.", GO_ON)

    def watch(self, find_socket: Callable[[], socket.socket | None]) -> None:
        """Make this the socket to shut down; it is looked up when that time comes."""
        self._socket = find_socket
        self.check()  # after the line above, or a stop in between would shut down nothing

    def allow(self, seconds: float) -> None:
        """Set the deadline to so long from now; `rest` takes it away."""
        self.expired = False
        self._deadline_s = self._clock() + seconds

    def rest(self) -> None:
        """Take the deadline away: we are not waiting for the server now."""
        self._deadline_s = math.inf

    def _watch_clock(self) -> None:
        while not self._closed.wait(TICK_S):
            if self._clock() > self._deadline_s:
                self._deadline_s = math.inf
                self.expired = True
                self._cut()

    def _cut(self) -> None:
        found = self._socket()
        if found is not None:
            # The plain socket's method: TLS's own would wait for the other side.
            with contextlib.suppress(OSError):
                socket.socket.shutdown(found, socket.SHUT_RDWR)


def nothing() -> None:
    """Stand for a socket before there is one."""

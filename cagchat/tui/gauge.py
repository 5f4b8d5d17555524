"""Looks at the machine's memory and GPU once a second, on a thread of its own, and tells the app what it saw."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from textual.message import Message
from textual.message_pump import MessagePump

if TYPE_CHECKING:
    from cagchat.hardware.meter import Load

EVERY_S = 1.0


class Meter(Protocol):
    """Reads what is used now. It may take its time, because nobody waits for it."""

    def read(self) -> Load:
        """Return what is used."""
        ...

    def close(self) -> None:
        """Let go of the driver."""
        ...


OpenMeter = Callable[[], Meter]


class Measured(Message, bubble=False):
    """The machine was looked at."""

    def __init__(self, load: Load) -> None:
        super().__init__()
        self.load = load


class Gauge:
    """Posts `Measured` until it is stopped; its thread never keeps the program from ending."""

    def __init__(self, open_meter: OpenMeter, listener: MessagePump, every_s: float = EVERY_S) -> None:
        """`open_meter` is called on the thread: a driver may have to wake up first."""
        self._open_meter = open_meter
        self._listener = listener
        self._every_s = every_s
        self._stopped = threading.Event()

    def start(self) -> None:
        """Begin to look."""
        threading.Thread(target=self._look, name="gauge", daemon=True).start()

    def stop(self) -> None:
        """Look no more. Never waits."""
        self._stopped.set()

    def _look(self) -> None:
        meter = self._open_meter()
        while not self._stopped.is_set() and self._listener.post_message(Measured(meter.read())):
            self._stopped.wait(self._every_s)
        meter.close()

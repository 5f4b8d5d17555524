"""Leaving in order when the terminal is closed, or the system tells the program to end: what is open is kept."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Sequence
from types import FrameType

PATIENCE_S = 5  # before the system ends what cannot leave: nobody could see it any more, or stop it


def on_hangup(leave: Callable[[int], object]) -> None:
    """Have `leave` called by the running event loop, with the exit code, at the first such signal; once.

    Signals that whoever started the program had it ignore, as `nohup` does, stay ignored.
    """
    loop = asyncio.get_running_loop()
    hangup = getattr(signal, "SIGHUP", None)  # not on Windows
    if hangup is None:
        return
    terminals = [stream for stream in (0, 1, 2) if os.isatty(stream)]  # which nobody can tell any more afterwards
    awaited = [number for number in (hangup, signal.SIGTERM) if signal.getsignal(number) is not signal.SIG_IGN]

    def arrived(number: int, frame: FrameType | None) -> None:
        for each in awaited:
            signal.signal(each, signal.SIG_IGN)  # a shell that ends and its terminal send one each
        signal.alarm(PATIENCE_S)
        if number == hangup:
            write_nowhere(terminals)
        if not loop.is_closed():  # else the program is leaving already
            loop.call_soon_threadsafe(leave, 128 + number)

    for number in awaited:
        signal.signal(number, arrived)  # not the loop's own way, which is none while something blocks the loop


def write_nowhere(streams: Sequence[int]) -> None:
    """Let reading and writing go on where the terminal was: an error would end Textual's threads, and others wait."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in streams:
        os.dup2(nowhere, stream)
    os.close(nowhere)

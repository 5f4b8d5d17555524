"""Show on stderr how a model is downloaded: a bar on a terminal, lines elsewhere; Ctrl-C keeps what came."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from cagchat.cli.app import say
from cagchat.cli.interrupt import on_interrupt
from cagchat.models.download.events import (
    DownloadEvent,
    Fetched,
    Present,
    Receiving,
    Rehashing,
    Restarted,
    Retrying,
    Waiting,
)
from cagchat.proof import duration, size

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from cagchat.models.download.source import Source

LINE_EVERY_S = 5.0
BAR_WIDTH = 16


def fetch(sources: Sequence[Source], folder: Path) -> Path:
    """Download the files of one model into a folder, showing progress, and return the one that is loaded."""
    from cagchat.models.download.fetch import Download

    download = Download(sources, folder)
    with on_interrupt(download.stop), Narrator() as narrator:
        for event in download.run():
            narrator.show(event)
    return download.targets[0]


class Narrator(AbstractContextManager["Narrator"]):
    """Turns events into words, and what counts bytes into a bar when stderr is a terminal."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        self._last_line_s = -LINE_EVERY_S

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def show(self, event: DownloadEvent) -> None:
        """Show one event."""
        match event:
            case Receiving():
                self._progress(event.done_bytes, event.total_bytes, receiving_text(event))
            case Rehashing():
                done = f"{size(event.done_bytes)} / {size(event.total_bytes)} checked"
                self._progress(event.done_bytes, event.total_bytes, done)
            case _:
                self._print(line(event))

    def _print(self, text: str) -> None:
        if self._bar is not None:
            self._bar.console.print(text, markup=False, highlight=False)
        else:
            say(text)

    def _progress(self, done_bytes: int, total_bytes: int | None, text: str) -> None:
        if sys.stderr.isatty():
            self._draw(done_bytes, total_bytes, text)
        elif (now := self._clock()) - self._last_line_s >= LINE_EVERY_S:
            self._last_line_s = now
            say(f"  {text}")

    def _draw(self, done_bytes: int, total_bytes: int | None, text: str) -> None:
        if self._bar is None:
            from rich.console import Console  # 50 ms, only while downloading on a terminal
            from rich.progress import BarColumn, Progress, TextColumn
            from rich.table import Column

            self._bar = Progress(
                BarColumn(bar_width=BAR_WIDTH, table_column=Column(min_width=BAR_WIDTH)),
                TextColumn("{task.fields[text]}", markup=False, table_column=Column(ratio=1, no_wrap=True)),
                console=Console(stderr=True),
                expand=True,
                transient=True,
            )
            self._task = self._bar.add_task("", total=total_bytes, text="")
            self._bar.start()
        assert self._task is not None
        self._bar.update(self._task, completed=done_bytes, total=total_bytes, text=text)


def receiving_text(event: Receiving) -> str:
    """Return bytes done and in all, speed, remaining time and the part."""
    total = f" / {size(event.total_bytes)}" if event.total_bytes is not None else ""
    parts = [f"{size(event.done_bytes)}{total}"]
    if event.bytes_per_s:
        parts.append(f"{size(int(event.bytes_per_s))}/s")
    if event.remaining_s is not None:
        parts.append(f"{duration(event.remaining_s)} left")
    if event.n_parts > 1:
        parts.append(f"part {event.part} of {event.n_parts}")
    return ", ".join(parts)


def line(event: Waiting | Present | Restarted | Retrying | Fetched) -> str:
    """Return what an event that counts nothing says."""
    match event:
        case Waiting(path):
            return f"Another process fetches {path.name}; waiting until it is done (Ctrl-C to give up)."
        case Present(path, size_bytes):
            return f"{path.name} is there already, {size(size_bytes)}; `cagchat models verify` reads all of it."
        case Restarted(path, reason):
            return f"{path.name} begins anew: {reason}"
        case Retrying():
            again = f"trying again in {duration(event.wait_s)} ({event.attempt} of {event.attempts})"
            return f"{event.reason} What came is kept; {again}."
        case Fetched():
            proof = "its checksum is the published one" if event.proved else f"no checksum to compare: {event.sha256}"
            return f"{event.path.name}: {size(event.size_bytes)}, {proof}."

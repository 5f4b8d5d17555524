"""Show on stderr what happens while a book is prepared: a bar on a terminal, lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING, Self

from cagchat.cli.app import say
from cagchat.cli.interrupt import on_interrupt
from cagchat.cli.options import unlocked
from cagchat.events import (
    Checkpointed,
    Notice,
    Opening,
    Planned,
    PrepareEvent,
    Reading,
    Ready,
    Restored,
    Resumed,
    Sealed,
    Waiting,
)
from cagchat.proof import duration, size

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from cagchat.documents import Source
    from cagchat.library import Library, Options
    from cagchat.opened import OpenBook

LINE_EVERY_S = 5.0
BAR_WIDTH = 16


def prepare(
    library: Library, book: Source, options: Options, meanwhile: Callable[[], object] = lambda: None
) -> OpenBook:
    """Prepare a book, showing progress; Ctrl-C stops it and keeps what was read. A locked one's password is asked for.

    `meanwhile` is called once while an engine starts for a saved state: time that would be spent waiting.
    """
    return unlocked(
        lambda password: _prepare(library, book, replace(options, password=password), meanwhile), options.password
    )


def _prepare(library: Library, book: Source, options: Options, meanwhile: Callable[[], object]) -> OpenBook:
    with on_interrupt(library.stop), Narrator() as narrator:
        for event in library.prepare(book, options):
            narrator.show(event)
            if isinstance(event, Opening):
                meanwhile()
            if isinstance(event, Ready):
                return event.book
    raise AssertionError("prepare ends with Ready")


class Narrator(AbstractContextManager["Narrator"]):
    """Turns events into words, and `Reading` into a bar when stderr is a terminal."""

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

    def show(self, event: PrepareEvent) -> None:
        """Show one event."""
        if isinstance(event, Reading):
            self._reading(event)
            return
        for line in lines(event):
            self._print(line)

    def _print(self, line: str) -> None:
        if self._bar is not None:
            self._bar.console.print(line, markup=False, highlight=False)
        else:
            say(line)

    def _reading(self, event: Reading) -> None:
        if sys.stderr.isatty():
            self._draw(event)
        elif (now := self._clock()) - self._last_line_s >= LINE_EVERY_S:
            self._last_line_s = now
            say(f"  {progress_text(event)}")

    def _draw(self, event: Reading) -> None:
        if self._bar is None:
            from rich.console import Console  # 50 ms, only while reading on a terminal
            from rich.progress import BarColumn, Progress, TextColumn
            from rich.table import Column

            self._bar = Progress(
                BarColumn(bar_width=BAR_WIDTH, table_column=Column(min_width=BAR_WIDTH)),
                TextColumn("{task.fields[text]}", markup=False, table_column=Column(ratio=1, no_wrap=True)),
                console=Console(stderr=True),
                expand=True,
                transient=True,
            )
            self._task = self._bar.add_task("", total=event.n_tokens, text="")
            self._bar.start()
        assert self._task is not None
        self._bar.update(self._task, completed=event.position, text=progress_text(event))


def progress_text(event: Reading) -> str:
    """Return tokens done and in all, speed, remaining time and the chapter."""
    parts = [f"{event.position:,} / {event.n_tokens:,} tokens"]
    if event.tokens_per_s:
        parts.append(f"{event.tokens_per_s:,.0f} tok/s")
    if event.remaining_s:
        parts.append(f"{duration(event.remaining_s)} left")
    if event.section:
        parts.append(event.section)
    return ", ".join(parts)


def costs(event: Planned) -> str:
    """Return what a reading takes, as far as that is known."""
    parts = []
    if event.memory_bytes:
        parts.append(f"{size(event.memory_bytes)} of memory")
    if event.disk_bytes:
        parts.append(f"{size(event.disk_bytes)} on disk")
    if event.estimated_s:
        parts.append(f"about {duration(event.estimated_s)}")
    return "".join(f", {part}" for part in parts)


def lines(event: PrepareEvent) -> Iterator[str]:
    """Return what an event other than `Reading` says."""
    match event:
        case Notice(text):
            yield text
        case Waiting(title, pid):
            who = f"process {pid}" if pid else "another process"
            yield f"{title} is being read by {who}; waiting until it is done (Ctrl-C to give up)."
        case Planned():
            yield (
                f"Reading {event.title}: {event.n_tokens:,} tokens with {event.model}, context {event.n_context:,}, "
                f"KV {event.kv_type}{costs(event)}. Ctrl-C keeps what is read."
            )
            yield from (f"  {reason}" for reason in event.reasons)
        case Resumed(position, n_tokens):
            yield f"Going on at token {position:,} of {n_tokens:,}."
        case Sealed():
            yield f"Read: {event.n_tokens:,} tokens, saved {size(event.size_bytes)} in {duration(event.elapsed_s)}."
        case Restored() if not event.exact:
            yield "The restored state's probe agrees closely, not bitwise (another processor or build)."
        case Opening() | Checkpointed() | Restored() | Ready() | Reading():
            return

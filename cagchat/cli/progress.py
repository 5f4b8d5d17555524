"""Show on stderr what happens while a book is prepared: a bar on a terminal, lines elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from cagchat.cli.gauge_line import GaugeLine
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
from cagchat.sessions.naming import one_line
from cagchat.units import duration, size

if TYPE_CHECKING:
    from cagchat.documents import Source
    from cagchat.library import Library, Options
    from cagchat.opened import OpenBook


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
    with on_interrupt(library.stop), GaugeLine() as gauge:
        for event in library.prepare(book, options):
            show(event, gauge)
            if isinstance(event, Opening):
                meanwhile()
            if isinstance(event, Ready):
                return event.book
    raise AssertionError("prepare ends with Ready")


def show(event: PrepareEvent, gauge: GaugeLine) -> None:
    """Show one event."""
    if isinstance(event, Reading):
        gauge.progress(event.position, event.n_tokens, progress_text(event))
        return
    for line in lines(event):
        gauge.say(line)


def progress_text(event: Reading) -> str:
    """Return tokens done and in all, speed, remaining time and the chapter."""
    parts = [f"{event.position:,} / {event.n_tokens:,} tokens"]
    if event.tokens_per_s:
        parts.append(f"{event.tokens_per_s:,.0f} tok/s")
    if event.remaining_s:
        parts.append(f"{duration(event.remaining_s)} left")
    if event.section:
        parts.append(one_line(event.section))
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
            yield f"{one_line(title)} is being read by {who}; waiting until it is done (Ctrl-C to give up)."
        case Planned():
            yield (
                f"Reading {one_line(event.title)}: {event.n_tokens:,} tokens with {one_line(event.model)}, "
                f"context {event.n_context:,}, KV {event.kv_type}{costs(event)}. Ctrl-C keeps what is read."
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

"""Show on stderr how a model is downloaded: a bar on a terminal, lines elsewhere; Ctrl-C keeps what came."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cagchat.cli.gauge_line import GaugeLine
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
from cagchat.units import duration, size

if TYPE_CHECKING:
    from cagchat.models.download.source import Source


def fetch(sources: Sequence[Source], folder: Path) -> Path:
    """Download the files of one model into a folder, showing progress, and return the one that is loaded."""
    from cagchat.models.download.fetch import Download

    download = Download(sources, folder)
    with on_interrupt(download.stop), GaugeLine() as gauge:
        for event in download.run():
            show(event, gauge)
    return download.targets[0]


def show(event: DownloadEvent, gauge: GaugeLine) -> None:
    """Show one event."""
    match event:
        case Receiving():
            gauge.progress(event.done_bytes, event.total_bytes, receiving_text(event))
        case Rehashing():
            done = f"{size(event.done_bytes)} / {size(event.total_bytes)} checked"
            gauge.progress(event.done_bytes, event.total_bytes, done)
        case _:
            gauge.say(line(event))


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

"""What is used of the memory that a model lives in, in a few characters."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cagchat.hardware.meter import Load

BAR_CELLS = 8


def memory_text(load: Load) -> str:
    """Return a bar and the figures: VRAM ▓▓▓▓▓▓▓░ 20.9/24 GB; "" where the system does not say."""
    if not load.total_bytes:
        return ""
    shown = bar(load.used_bytes / load.total_bytes)
    return f"{load.kind} {shown} {gigabytes(load.used_bytes)}/{gigabytes(load.total_bytes).removesuffix('.0')} GB"


def percent_text(load: Load) -> str:
    """Return how busy the GPU is, "" when that is not known."""
    return "" if load.percent is None else f"{load.percent} %"


def gigabytes(count: int) -> str:
    """Return so many bytes in GB: 0.4, 20.9, 144."""
    return f"{count / 1e9:.1f}" if count < 99.95e9 else f"{count / 1e9:.0f}"


def bar(share: float) -> str:
    """Return a bar of a few cells."""
    full = min(BAR_CELLS, max(0, round(BAR_CELLS * share)))
    return "▓" * full + "░" * (BAR_CELLS - full)

"""Bytes and seconds as a reader would say them."""

from __future__ import annotations


def size(n_bytes: int) -> str:
    """Return bytes as a reader would say them: 78 MB, 1.2 GB."""
    if n_bytes >= 999.5e6:  # where rounding would give 1000 MB
        return f"{n_bytes / 1e9:.1f} GB"
    return f"{n_bytes / 1e6:.0f} MB" if n_bytes >= 999.5e3 else f"{n_bytes / 1e3:.0f} kB"


def duration(seconds: float) -> str:
    """Return seconds as a reader would say them: 21 ms, 0.24 s, 3 min 20 s, 2 h 05 min."""
    if seconds < 0.0995:  # each limit is where rounding would reach the next unit
        return f"{seconds * 1e3:.0f} ms"
    if seconds < 9.995:
        return f"{seconds:.2f} s"
    if round(seconds) < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min"

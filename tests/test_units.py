"""Bytes and seconds in words."""

from __future__ import annotations

import pytest

from cagchat.units import duration, size


@pytest.mark.parametrize(
    ("n_bytes", "said"),
    [(0, "0 kB"), (36, "0 kB"), (1500, "2 kB"), (999_499, "999 kB"), (999_500, "1 MB"), (78_400_000, "78 MB")]
    + [(999_499_999, "999 MB"), (999_500_000, "1.0 GB"), (1_250_000_000, "1.2 GB"), (10**12, "1000.0 GB")],
)
def test_sizes(n_bytes: int, said: str) -> None:
    """Bytes are said in the unit that keeps them below a thousand."""
    assert size(n_bytes) == said


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0, "0 ms"), (0.021, "21 ms"), (0.0994, "99 ms"), (0.0999, "0.10 s"), (0.24, "0.24 s"), (9.994, "9.99 s")]
    + [(9.996, "10 s"), (59.4, "59 s"), (59.6, "1 min 00 s"), (200, "3 min 20 s"), (3599.4, "59 min 59 s")]
    + [(3599.7, "1 h 00 min"), (7500, "2 h 05 min"), (360_000, "100 h 00 min")],
)
def test_durations(seconds: float, said: str) -> None:
    """Seconds are said in the unit a reader would use, and rounding never gives 60 of one."""
    assert duration(seconds) == said

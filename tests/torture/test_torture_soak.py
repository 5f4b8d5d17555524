"""The soak in its short form: one model, two rounds."""

from __future__ import annotations

from pathlib import Path

from tests.torture.footprint import drift
from tests.torture.soak import PART
from tests.torture.trial import Terms


def test_short_soak_holds(tmp_path: Path) -> None:
    """In two rounds every answer has its proof, its place in the context and the first round's words."""
    report = PART.run(Terms(tmp_path, share=0.02, say=lambda line: None))
    assert report.broken == []
    assert report.counts["rounds"] == 2
    assert report.counts["switches"] == 6
    assert report.counts["answers checked"] >= 30
    assert report.counts["answers compared with it"] >= 10


def test_growth_is_told_from_warming_up() -> None:
    """What grows only at the beginning is flat; what grows to the end is not."""
    warm = [500, *[1000] * 19]
    assert drift(warm).growth == 0
    assert drift([1000 + 10 * number for number in range(20)]).growth > 0.1

"""The short form of the torture by states and models that lie."""

from __future__ import annotations

from pathlib import Path

from tests.torture import hostile
from tests.torture.trial import Terms


def test_what_lies_is_refused_or_contained(tmp_path: Path) -> None:
    """States with fitting checksums, damaged models and weights that are no numbers never give a wrong answer."""
    report = hostile.run(Terms(tmp_path, share=0.02))
    assert report.broken == []
    assert report.counts["states tried"] == 80
    assert report.counts["boundaries tried"] == 10
    assert report.counts["models tried"] == 150
    assert report.counts["models with a weight that is no number"] == 2

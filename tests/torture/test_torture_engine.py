"""The short form of the torture of the engine's process."""

from __future__ import annotations

from pathlib import Path

from tests.torture import engine
from tests.torture.trial import Terms


def test_the_engine_fails_and_the_program_goes_on(tmp_path: Path) -> None:
    """Memory that runs out, aborts and kills are a sentence with what to lower, and the book opens after them."""
    report = engine.run(Terms(tmp_path, share=0.1))
    assert report.broken == []
    assert report.counts["faults met by `ask`"] == 2
    assert report.counts["questions answered after it"] == 2
    assert report.counts["damaged models past the check"] == 1
    assert report.counts["faults met in a terminal"] == 1
    assert report.counts["faults met in the app"] == 1

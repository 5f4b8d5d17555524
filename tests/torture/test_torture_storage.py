"""The short form of failing storage."""

from __future__ import annotations

from pathlib import Path

from tests.torture.storage import PART
from tests.torture.trial import Terms
from tests.torture.writers import EVERYWHERE, ONCE


def test_failing_storage_is_said_and_loses_nothing(tmp_path: Path) -> None:
    """Operations that fail, folders that go and clocks that jump end in one error with a hint, and nothing is lost."""
    report = PART.run(Terms(tmp_path, seed=1, share=0.008))
    assert report.broken == []
    tried = {name for name in report.counts if name.startswith("faults while: ")}
    assert tried <= {f"faults while: {operation.name}" for operation in (*EVERYWHERE, *ONCE)}
    assert sum(report.counts[name] for name in tried) >= 20
    assert sum(count for name, count in report.counts.items() if name.startswith("the clock ")) == 10

"""The short form of the damage."""

from __future__ import annotations

from pathlib import Path

from tests.torture.damage import PART
from tests.torture.shelves import KINDS
from tests.torture.trial import Terms


def test_damage_is_named_and_never_believed(tmp_path: Path) -> None:
    """A file of each kind that lost a bit or more is named, or makes no difference: no answer is another one."""
    report = PART.run(Terms(tmp_path, seed=1, share=0.03))
    assert report.broken == []
    assert {name.partition(":")[0] for name in report.counts if ":" in name} == set(KINDS)
    assert sum(count for name, count in report.counts.items() if name.startswith("->")) == 30
    assert report.counts["engines that died"] == 0

"""The short form of the torture of a shared library."""

from __future__ import annotations

from pathlib import Path

from tests.torture import sharing
from tests.torture.trial import Report, Terms


def test_many_processes_share_a_library(tmp_path: Path) -> None:
    """Two and ten processes that read, ask and delete at once are told the truth and leave a sound library."""
    report = sharing.run(Terms(tmp_path, share=0.02))
    assert report.broken == []
    assert report.counts["answers compared"] >= 10
    assert report.counts["commands on disks without locks"] == len(sharing.LOCKLESS)


def test_two_readers_at_a_time_are_noticed(tmp_path: Path) -> None:
    """The guard of a book that is being read tells when a second process reads it too."""
    with sharing.guarded(tmp_path / "book.guard"), sharing.guarded(tmp_path / "book.guard"):
        pass
    report = Report()
    sharing.check_reads(tmp_path, [], report)
    assert report.broken == ["book was read by two processes at a time."]

"""The torture by SIGKILL in its short form, and that it would notice what it looks for."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.torture.aftermath import Message
from tests.torture.hunt import Aim, Heard, Shot
from tests.torture.kills import PART
from tests.torture.trial import Terms

SHARE = 0.025


def test_killed_anywhere_nothing_is_lost(tmp_path: Path) -> None:
    """Killed at random moments, the program and its engine lose nothing that was shown and leave nothing behind."""
    report = PART.run(Terms(tmp_path, share=SHARE, say=lambda _: None))
    assert report.broken == []
    assert report.counts["kills"] >= 8
    books = sum(count for name, count in report.counts.items() if name.startswith("books "))
    assert books >= 4  # a reading may be killed twice before anybody looks
    assert report.counts["messages compared with the record"] >= 8


@pytest.mark.parametrize(
    ("recorded", "settled", "lost"),
    [
        ("One two three", True, False),
        ("One two", True, True),
        ("One two", False, True),
        ("One two three four", False, False),
        ("One", False, True),
        ("Two three", False, True),
    ],
)
def test_lost_words_are_noticed(recorded: str, settled: bool, lost: bool) -> None:
    """An answer's record that lacks words which were shown is noticed."""
    message = Message("a chat", "Who?", ["One", " two", " three"], settled=settled)
    assert bool(message.lost(recorded)) is lost


def test_shot_waits_for_its_phase() -> None:
    """A kill comes after the phase that it is aimed at has begun as often as asked, and after its delay."""
    shot = Shot(Aim("engine", "decode", occurrence=2, delay_s=0.5))
    shot.heard(0.0, "born", [11])
    shot.heard(0.1, "engine", [12])
    shot.heard(0.2, "phase", ["decode"])
    assert not shot.is_due(9.0)
    shot.heard(1.0, "phase", ["decode"])
    assert not shot.is_due(1.4)
    assert shot.is_due(1.5)
    assert shot.pid == 12


def test_shot_misses_who_has_ended() -> None:
    """Nobody is killed once the victim has ended."""
    shot = Shot(Aim("program", delay_s=0.0))
    shot.heard(0.0, "born", [11])
    shot.heard(0.1, "ended", [0])
    assert not shot.is_due(1.0)


def test_phases_take_until_the_next_one() -> None:
    """A phase lasts until the next one begins, the last one until the victim ends."""
    said: list[tuple[float, str, list[object]]] = [
        (0.0, "born", [11]),
        (1.0, "phase", ["begin"]),
        (4.0, "phase", ["prefill"]),
        (9.0, "ended", [0]),
    ]
    assert Heard(said).phases() == [("begin", 3.0), ("prefill", 5.0)]

"""What the record of a chat tells about how far it knows its book."""

from __future__ import annotations

from array import array

import pytest

from cagchat.errors import UsageError
from cagchat.limits.limit import Limit, check_forward, last_limit, noted_in
from cagchat.sessions.session import Turn

NEAR, FAR = Limit(100, "Chapter 1"), Limit(900, "Chapter 9")
WHOLE: dict[str, object] = {"book_tokens": 5}


def turn(number: int, proof: dict[str, object]) -> Turn:
    return Turn(number, "Who?", "She.", "", array("i"), "done", "", proof, 0.0)


def test_noted_limit_is_read_back() -> None:
    """A proof gives back the limit that was noted in it, beside its figures."""
    assert noted_in(WHOLE | NEAR.noted()) == NEAR


@pytest.mark.parametrize(
    "found", [{}, {"until": None}, {"until": 5}, {"until": {"offset": "5", "words": "x"}}, {"until": {"offset": -1}}]
)
def test_strange_note_is_none(found: dict[str, object]) -> None:
    """What is no limit counts as none."""
    assert noted_in(found) is None


def test_last_limit() -> None:
    """The newest turn with a proof decides; without one, what is given."""
    turns = [turn(1, WHOLE | NEAR.noted()), turn(2, WHOLE | FAR.noted()), turn(3, {})]
    assert last_limit(turns) == FAR
    assert last_limit([*turns, turn(4, WHOLE)], NEAR) is None
    assert last_limit([turn(1, {})], NEAR) == NEAR


def test_forward_only() -> None:
    """A limit at or after all those noted passes, and one before the furthest is refused by its name."""
    turns = [turn(1, WHOLE | FAR.noted()), turn(2, WHOLE | NEAR.noted())]
    for limit in (FAR, Limit(901, "later"), None):
        check_forward(limit, turns)
    with pytest.raises(UsageError, match=r"up to Chapter 9, .* after Chapter 1\."):
        check_forward(NEAR, turns)


def test_whole_book_is_furthest() -> None:
    """A chat that has known the whole book takes no limit any more."""
    check_forward(NEAR, [])
    with pytest.raises(UsageError, match="up to the end"):
        check_forward(FAR, [turn(1, WHOLE), turn(2, WHOLE | NEAR.noted())])

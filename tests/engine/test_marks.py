"""Snapshots to rewind to: kept, shared, forgotten, and bounded."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from cagchat.engine.marks import Marks


def snapshot(size: int = 10) -> bytearray:
    return bytearray(size)


def test_a_snapshot_comes_back() -> None:
    """What was put at a length is got at that length and at no other."""
    marks = Marks(100)
    kept = snapshot()
    marks.put(1, 7, kept)
    assert marks.get(1, 7) is kept
    assert marks.get(1, 8) is None
    assert marks.get(0, 7) is None


def test_a_snapshot_is_replaced() -> None:
    """A second snapshot at the same length takes the place of the first."""
    marks = Marks(100)
    marks.put(1, 7, snapshot(30))
    later = snapshot(20)
    marks.put(1, 7, later)
    assert marks.get(1, 7) is later
    assert marks.size_bytes == 20


def test_the_oldest_leaves_first() -> None:
    """Over budget, the snapshot that was taken first is dropped, not the one at the smallest length."""
    marks = Marks(25)
    for length in (9, 3, 6):
        marks.put(1, length, snapshot())
    assert [marks.get(1, length) is not None for length in (9, 3, 6)] == [False, True, True]


def test_the_newest_of_every_sequence_stays() -> None:
    """However small the budget, each sequence keeps the last snapshot that it was given."""
    marks = Marks(1)
    marks.put(0, 100, snapshot())
    for length in (110, 120, 130):
        marks.put(1, length, snapshot())
    assert marks.get(0, 100) is not None
    assert [marks.get(1, length) is not None for length in (110, 120, 130)] == [False, False, True]


def test_a_copy_costs_nothing() -> None:
    """A fork has the snapshots of its source, and they are counted once."""
    marks = Marks(100)
    kept = snapshot()
    marks.put(0, 5, kept)
    marks.copy(0, 1)
    assert marks.get(1, 5) is kept
    assert marks.size_bytes == len(kept)


def test_a_cut_forgets_what_lies_behind_it() -> None:
    """A cut keeps the snapshot at its own length and drops those past it, of that sequence only."""
    marks = Marks(100)
    for length in (5, 6, 7):
        marks.put(1, length, snapshot())
    marks.put(0, 7, snapshot())
    marks.cut(1, 6)
    assert [marks.get(1, length) is not None for length in (5, 6, 7)] == [True, True, False]
    assert marks.get(0, 7) is not None


def test_a_cut_to_nothing_forgets_all() -> None:
    """Clearing a sequence drops every snapshot of it."""
    marks = Marks(100)
    marks.put(1, 5, snapshot())
    marks.cut(1, 0)
    assert marks.get(1, 5) is None
    assert marks.size_bytes == 0


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 9), st.integers(1, 40)), max_size=30))
def test_the_budget_holds(puts: list[tuple[int, int, int]]) -> None:
    """Never more than the budget is kept, unless every sequence has only its newest snapshot left."""
    marks = Marks(60)
    newest: dict[int, int] = {}
    for sequence, length, size in puts:
        marks.put(sequence, length, snapshot(size))
        newest[sequence] = length
        kept = {(s, n) for s in range(4) for n in range(10) if marks.get(s, n) is not None}
        assert set(newest.items()) <= kept
        assert marks.size_bytes <= 60 or kept == set(newest.items())

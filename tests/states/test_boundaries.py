"""Which section ends a snapshot is kept at."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cagchat.states.boundaries import choose


@given(st.lists(st.integers(-5, 1100)), st.integers(0, 12), st.integers(1, 1000))
def test_chosen_ends_are_section_ends(ends: list[int], most: int, last: int) -> None:
    """At most so many are chosen, each a section end inside the book, in order and once."""
    chosen = choose(ends, most, last)
    assert len(chosen) <= most
    assert set(chosen) <= {end for end in ends if 0 < end < last}
    assert list(chosen) == sorted(set(chosen))


@given(st.sets(st.integers(1, 999), max_size=8))
def test_all_are_chosen_when_they_are_few(ends: set[int]) -> None:
    """A book with no more sections than snapshots allowed keeps every one."""
    assert choose(list(ends), 8, 1000) == tuple(sorted(ends))


def test_they_are_spread_over_the_book() -> None:
    """Of many section ends those nearest to equal steps are taken."""
    assert choose(range(10, 1000, 10), 3, 1000) == (250, 500, 750)


def test_the_end_of_the_book_needs_none() -> None:
    """The last section's end is where the whole state stands."""
    assert choose([300, 1000], 5, 1000) == (300,)


@pytest.mark.parametrize("most", [0, -1])
def test_none_are_chosen_when_none_are_wanted(most: int) -> None:
    """Boundaries can be switched off."""
    assert choose([100, 200], most, 1000) == ()

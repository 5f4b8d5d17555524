"""Figures on the screen: numbers beside their units, and speeds as bars."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from cagchat.tui.figure_lines import filled, unbroken
from cagchat.tui.speed_chart import BARS, bars, ceiling

PROOF = "book 13,173 tokens reused, 91 evaluated, restored 1.2 GB in 15 ms, first token 0.65 s, 11 tok/s, 3 min 20 s"


@pytest.mark.parametrize("width", range(16, 110))
def test_no_row_ends_between_a_number_and_its_unit(width: int) -> None:
    """Whatever the width, a unit stands on the row of its number, and no word is lost."""
    rows = filled(unbroken(PROOF), width)
    assert " ".join(rows).replace("\xa0", " ") == PROOF
    assert max(map(cell_len, rows)) <= width
    assert not [row for row in rows if row.split(" ")[0] in ("tokens", "GB", "ms,", "s,", "tok/s,", "min", "s")]


def test_words_after_a_number_may_begin_a_row() -> None:
    """Only units cling to their number."""
    assert unbroken("91 evaluated, 4 sections, 3 missing") == "91 evaluated, 4 sections, 3 missing"


@given(st.lists(st.floats(0.1, 1e6), min_size=1, max_size=200), st.integers(1, 90))
def test_bars_stand_on_zero(speeds: list[float], width: int) -> None:
    """Every bar is as high as its speed to the fastest one that is drawn, to a step."""
    rows = bars(speeds, width, 2)
    shown = speeds[-width:]
    assert {len(row) for row in rows} == {len(shown)}
    for at, speed in enumerate(shown):
        steps = sum(BARS.index(row[at]) for row in rows)
        assert abs(steps - 16 * min(1, speed / ceiling(shown))) <= 1


def test_a_quarter_slower_is_a_quarter_lower() -> None:
    """A small slowdown looks like one, even after a burst."""
    rows = bars([100.0, 100.0, 900.0, 100.0, 75.0], 40, 2)
    heights = [sum(BARS.index(row[at]) for row in rows) for at in range(5)]
    assert heights == [8, 8, 16, 8, 6]


def test_a_reading_without_speeds_has_an_empty_chart() -> None:
    """Before the second batch there is nothing to draw."""
    assert bars((), 40, 2) == ["", ""]

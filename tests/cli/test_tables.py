"""Tables for a reader: a line each, whatever the terminal's width."""

from __future__ import annotations

import pytest
from rich.cells import cell_len

from cagchat.cli.tables import GAP, NARROWEST, column_widths, print_table

HEADERS = ("Chat", "Title", "Turns", "Last used")
ROWS = (
    ("jts3dztb", "Who frightens the guests when the bell is rung at night?", "12", "2026-11-22 19:21"),
    ("f4spjjbw", "吾輩は猫である。名前はまだ無い。どこで生れたかとんと見当がつかぬ。", "1", "2026-11-22 19:20"),
)


@pytest.mark.parametrize("width", [72, 80, 200])
def test_a_row_is_a_line(width: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """What has no room is cut with a sign, in the widest column; dates and numbers stay whole."""
    monkeypatch.setenv("COLUMNS", str(width))
    print_table(HEADERS, ROWS, numbers=("Turns",))
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 + len(ROWS)
    assert max(map(cell_len, lines)) <= width
    for line, (chat, _, turns, moment) in zip(lines[2:], ROWS, strict=True):
        assert line.split()[0] == chat
        assert line.rstrip().endswith(f" {turns}   {moment}")
        assert ("…" in line) == (width < 100)


def test_the_widest_columns_give_way() -> None:
    """Columns are as wide as their cells where there is room, and else equal at the top."""
    rows = (("x" * 30, "y" * 50, "z" * 5),)
    assert column_widths(rows, 200) == [30, 50, 5]
    assert column_widths(rows, 85) == [30, 44, 5]
    assert column_widths(rows, 55) == [22, 22, 5]
    assert column_widths(rows, 5) == [NARROWEST, NARROWEST, 5]
    assert sum(column_widths(rows, 85)) + 2 * GAP == 85

"""A long text in rows of a width: prose that came wrapped is filled anew, verse and tables keep their lines."""

from __future__ import annotations

import re
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from rich.cells import cell_len

SEAM_REACH = 4_000
PROSE_WIDTH = 50  # lines of prose that came wrapped are at least this long
PROSE_SLACK = 6

PARAGRAPH = re.compile(r"[^\n]+(?:\n[^\n]+)*")
# Characters that are not known to take one cell: East Asian ones take two, combining ones none.
UNEVEN = re.compile(
    "[^\t\n -~\xa0-\u02ff\u0370-\u0482\u048a-\u0589\u1e00-\u1fff\u2010-\u2027\u2030-\u205e\u20a0-\u20bf]"
)
# What a terminal would obey instead of showing it, and line ends inside a row.
SHOWN = dict.fromkeys([*range(32), *range(127, 160), 0x2028, 0x2029], " ")


@dataclass(frozen=True, slots=True)
class Layout:
    """How `text[start:end]` falls into rows of `width` cells: the offsets at which they begin."""

    width: int
    start: int
    end: int
    rows: array[int]

    def row_at(self, offset: int) -> int:
        """Return the number of the row that holds an offset, or of the one nearest to it."""
        return max(0, bisect_right(self.rows, offset) - 1)

    def span(self, row: int) -> tuple[int, int]:
        """Return where a row begins and ends, the white space after it included."""
        return self.rows[row], self.rows[row + 1] if row + 1 < len(self.rows) else self.end


def ruled(layout: Layout, text: str, offset: int) -> tuple[Layout, int | None]:
    """Put an empty row before the first one that holds something from `offset` on; return it too, None when elsewhere.

    The empty row begins where the one below it does.
    """
    if not layout.start <= offset <= layout.end:
        return layout, None
    row = bisect_left(layout.rows, offset)
    if row and text[offset : layout.span(row - 1)[1]].strip():
        row -= 1
    rows = layout.rows[:]
    rows.insert(row, rows[row] if row < len(rows) else layout.end)
    return replace(layout, rows=rows), row


def lay_out(text: str, width: int, start: int, end: int) -> array[int]:
    """Return the offsets at which the rows of `text[start:end]` begin; there is always one.

    Prose that came in lines is filled anew; verse, tables and lists keep their lines. However many blank lines stand
    between paragraphs, one is shown.
    """
    rows = array("q")
    filled = re.compile(rf"(?s:.{{1,{width}}}(?=\s|\Z)\s*|.{{{width}}})")
    last = end
    for found in PARAGRAPH.finditer(text, start, end):
        first, after = found.span()
        if first - last > 1:
            rows.append(last + 1)
        for piece in pieces(text, first, after):
            if UNEVEN.search(text, *piece):
                rows.extend(uneven_rows(text, width, *piece))
            else:
                rows.extend(match.start() for match in filled.finditer(text, *piece))
        last = after
    if end - last > 1:
        rows.append(last + 1)
    return rows or array("q", [start])


def pieces(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Return the parts of a paragraph that begin on a row of their own: all of it when it is prose, else its lines."""
    lines = text[start:end].split("\n")
    if is_prose(lines):
        yield start, end
        return
    for line in lines:
        yield start, start + len(line)
        start += len(line) + 1


def is_prose(lines: Sequence[str]) -> bool:
    """Tell whether lines are a text that was wrapped: each is so long that the next one's first word had no room."""
    longest = max(map(len, lines))
    if len(lines) > 1 and (longest < PROSE_WIDTH or any(line[:1].isspace() for line in lines)):
        return False
    return all(len(line) + len(after.split(maxsplit=1)[0]) + PROSE_SLACK >= longest for line, after in pairwise(lines))


def uneven_rows(text: str, width: int, start: int, end: int) -> Iterator[int]:
    """Return where rows begin in a text whose characters take zero to two cells."""
    yield start
    room, gap = width, start
    for offset in range(start, end):
        character = text[offset]
        cells = 1 if character.isspace() else cell_len(character)
        if cells > room and not character.isspace():
            start = gap if gap > start else offset
            yield start
            room = width - cell_len(text[start:offset].translate(SHOWN))
        room -= cells
        if character.isspace():
            gap = offset + 1


def seam(text: str, offset: int) -> int:
    """Return a place near `offset` at which a layout can begin or end: between paragraphs if there is such a place."""
    if offset <= 0:
        return 0
    if offset >= len(text):
        return len(text)
    lowest = max(0, offset - SEAM_REACH)
    found = text.rfind("\n\n", lowest, offset)
    if found < 0:
        return text.rfind("\n", lowest, offset) + 1 or offset
    found += 2
    while found < len(text) and text[found] == "\n":
        found += 1
    return found


def one_row(text: str) -> str:
    """Return a text on one row, without what a terminal would obey."""
    return " ".join(text.translate(SHOWN).split())

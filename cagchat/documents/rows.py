"""Read the rows of a table as lines: `a | b | c`, with cells that span rows repeated where they are short."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Generic, TypeVar

from cagchat.documents.elements import Start

_Content = TypeVar("_Content")

_MOST_COLUMNS = 100
_MOST_ROWS = 1000
# A name beside a group of rows is worth repeating, a paragraph is not.
_LONGEST_REPEATED = 60


@dataclass(frozen=True, slots=True)
class Cell(Generic[_Content]):
    """A cell: its text on one line, what it was made of, and how many columns and rows it covers."""

    text: str
    content: list[_Content]
    columns: int = 1
    rows: int = 1


@dataclass(slots=True)
class Table(Generic[_Content]):
    """A table that is being read; `name` tells its rows from those of others.

    `depth` counts the cells it stands in; a table's own cells and rows are those at its depth.
    """

    name: str
    depth: int = 0
    _cells: list[Cell[_Content]] = field(default_factory=list)
    _spans: list[tuple[int, int]] = field(default_factory=list)
    _carried: dict[int, tuple[str, int]] = field(default_factory=dict)

    def open_cell(self, tag: Start) -> None:
        """Begin a cell of the current row."""
        self._spans.append((_span(tag.get("colspan"), _MOST_COLUMNS), _span(tag.get("rowspan"), _MOST_ROWS)))

    def close_cell(self, text: str, content: list[_Content]) -> None:
        """End the cell that was begun last."""
        columns, rows = self._spans.pop()
        self._cells.append(Cell(text, content, columns, rows))

    def close_row(self) -> list[Cell[_Content]]:
        """Return the cells since the last row."""
        cells, self._cells = self._cells, []
        return cells

    def forget(self) -> None:
        """Let no cell reach from the rows so far into the next."""
        self._carried = {}

    def line(self, cells: list[Cell[_Content]]) -> str:
        """Return a row as one line; "" when all its cells are empty."""
        columns: list[str] = []
        carried: dict[int, tuple[str, int]] = {}

        def repeat() -> None:
            while len(columns) in self._carried:
                text, rows = self._carried[len(columns)]
                if rows > 1:
                    carried[len(columns)] = (text, rows - 1)
                columns.append(text)

        for cell in cells:
            repeat()
            if cell.rows > 1:
                text = cell.text if len(cell.text) <= _LONGEST_REPEATED else ""
                carried |= {len(columns) + step: ("" if step else text, cell.rows - 1) for step in range(cell.columns)}
            columns += [cell.text, *[""] * (cell.columns - 1)]
            if len(columns) > _MOST_COLUMNS:
                break
        repeat()
        self._carried = carried
        if not any(columns):
            return ""
        while not columns[-1]:
            columns.pop()
        return " | ".join(columns)


def _span(value: str, most: int) -> int:
    """Read how many columns or rows a cell covers."""
    return min(max(1, int(value)), most) if value.isascii() and value.isdecimal() and len(value) < 6 else 1

"""What measurements found, as tables: for a terminal, as Markdown for a page, and as JSON with every run kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Literal

from cagchat.units import duration, size

if TYPE_CHECKING:
    from rich.table import Table as RichTable

Kind = Literal["text", "count", "seconds", "bytes", "tokens_per_s", "bytes_per_s", "times"]

MISSING = "–"


@dataclass(frozen=True, slots=True)
class Figure:
    """A number that was measured several times: its best and its median, which a table shows and JSON keeps both."""

    best: float
    median: float
    runs: tuple[float, ...] = ()


# What stands in a table: a measured number, a counted one, a name, or in a number's place why there is none.
Cell = Figure | int | str | None


@dataclass(frozen=True, slots=True)
class Column:
    """A column's key in JSON, its title in a table, and what its numbers are."""

    key: str
    title: str
    kind: Kind = "text"


@dataclass(frozen=True, slots=True)
class Table:
    """One measurement: rows by the keys of its columns, and sentences that a reader needs to judge it."""

    name: str
    title: str
    columns: tuple[Column, ...]
    rows: tuple[Mapping[str, Cell], ...]
    notes: tuple[str, ...] = ()


def least(runs: Sequence[float]) -> Figure:
    """Return the figure of a number that is better when smaller."""
    return Figure(min(runs), median(runs), tuple(runs))


def most(runs: Sequence[float]) -> Figure:
    """Return the figure of a number that is better when larger."""
    return Figure(max(runs), median(runs), tuple(runs))


def ratio(above: Figure, below: Figure) -> Figure:
    """Return how many times the one is the other, the best by the best and the median by the median."""
    return Figure(above.best / below.best, above.median / below.median)


def of_how_many(columns: Sequence[Column], rows: Sequence[Mapping[str, Cell]]) -> tuple[str, ...]:
    """Say as a note of how many runs each column shows the best, row by row where they differ; none without figures."""
    counts: dict[str, list[int]] = {}
    for column in columns:
        found = [len(cell.runs) for row in rows if isinstance(cell := row.get(column.key), Figure) and cell.runs]
        if found:
            counts[column.title] = found if len(set(found)) > 1 else found[:1]
    if not counts:
        return ()
    said = {
        title: f"{', '.join(map(str, found))} {'run' if found == [1] else 'runs'}" for title, found in counts.items()
    }
    if len(set(said.values())) == 1:
        return (f"Shown is the best of {next(iter(said.values()))}.",)
    by_row = ", row by row" if any(len(found) > 1 for found in counts.values()) else ""
    return (f"Shown is the best{by_row}: {'; '.join(f'“{title}” of {runs}' for title, runs in said.items())}.",)


def markdown(table: Table) -> str:
    """Return a table as GitHub's Markdown shows it, with its title above and its notes below."""
    heads = [column.title for column in table.columns]
    rules = [":--" if column.kind == "text" else "--:" for column in table.columns]
    lines = [f"**{table.title}**", "", _row(heads), _row(rules)]
    lines += [_row([_escaped(text) for text in texts(table, row)]) for row in table.rows]
    return "\n".join([*lines, "", *(f"{note}\n" for note in table.notes)])


def drawn(table: Table) -> RichTable:
    """Return a table for a terminal."""
    from rich import box
    from rich.table import Table as RichTable
    from rich.text import Text

    shown = RichTable(
        title=table.title,
        caption="\n".join(table.notes),
        box=box.SIMPLE_HEAD,
        title_justify="left",
        caption_justify="left",
    )
    for column in table.columns:
        shown.add_column(column.title, justify="left" if column.kind == "text" else "right")
    for row in table.rows:
        shown.add_row(*map(Text, texts(table, row)))
    return shown


def as_object(table: Table) -> dict[str, object]:
    """Return a table for JSON: figures with best, median and all runs, in seconds, bytes and tokens."""
    return {
        "name": table.name,
        "title": table.title,
        "columns": {column.key: {"title": column.title, "kind": column.kind} for column in table.columns},
        "rows": [{key: _jsonable(cell) for key, cell in row.items()} for row in table.rows],
        "notes": list(table.notes),
    }


def texts(table: Table, row: Mapping[str, Cell]) -> list[str]:
    """Return a row as it is read, the best of each figure; a column without a cell shows a dash."""
    return [shown(row.get(column.key), column.kind) for column in table.columns]


def shown(cell: Cell, kind: Kind) -> str:
    """Return one cell as it is read."""
    if cell is None:
        return MISSING
    if isinstance(cell, str):
        return cell
    return UNITS[kind](cell.best if isinstance(cell, Figure) else cell)


def _rounded(value: float) -> str:
    """Return about three digits of a number."""
    return f"{value:,.{2 if value < 10 else 1 if value < 100 else 0}f}"


UNITS: Mapping[Kind, Callable[[float], str]] = {
    "text": str,
    "count": lambda value: f"{value:,.0f}",
    "seconds": duration,
    "bytes": lambda value: size(int(value)),
    "tokens_per_s": lambda value: f"{_rounded(value)} tok/s",
    "bytes_per_s": lambda value: f"{value / 1e9:.2f} GB/s",
    "times": lambda value: f"{_rounded(value)} ×",
}


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _escaped(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _jsonable(cell: Cell) -> object:
    if isinstance(cell, Figure):
        return {"best": cell.best, "median": cell.median, "runs": list(cell.runs)}
    return cell

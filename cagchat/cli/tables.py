"""Print rows, pairs and JSON on stdout: for a reader on a terminal, for a program elsewhere."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from datetime import datetime

from cagchat.printable import printable

GAP = 3  # cells between two columns of a table
NARROWEST = 16  # cells that a column keeps: a date


def moment(seconds: float) -> str:
    """Return a time as a reader's clock and calendar show it."""
    return f"{datetime.fromtimestamp(seconds).astimezone():%Y-%m-%d %H:%M}"


def print_json(content: object) -> None:
    """Print JSON on stdout."""
    print(as_json(content))


def as_json(content: object) -> str:
    """Return JSON that stdout can take: as it is read best, or escaped where a character would be lost or obeyed."""
    text = json.dumps(content, ensure_ascii=False, indent=2)
    # The path of a book may hold bytes that are no UTF-8; only escaped can they be printed.
    return text if encodable(text) and printable(text) == text else json.dumps(content, indent=2)


def encodable(text: str) -> bool:
    """Tell whether stdout's encoding has every character of a text; halves of surrogate pairs are none."""
    try:
        text.encode(getattr(sys.stdout, "encoding", None) or "utf-8")
    except UnicodeEncodeError:
        return False
    return True


def print_lines(rows: Sequence[Sequence[str]]) -> None:
    """Print rows for a program: cells between tabs, no tab or line end inside."""
    from cagchat.sessions.naming import one_line

    for row in rows:
        print("\t".join(one_line(cell) for cell in row))


def print_pairs(pairs: Sequence[tuple[str, str]]) -> None:
    """Print names and words in two columns."""
    from cagchat.sessions.naming import one_line

    width = max(len(name) for name, _ in pairs)
    for name, words in pairs:
        print(f"{name:<{width}}  {one_line(words)}")


def print_table(headers: Sequence[str], rows: Sequence[Sequence[str]], *, numbers: Sequence[str] = ()) -> None:
    """Print rows for a reader, one line each; columns named in `numbers` stand to the right.

    Where the terminal is too narrow, the widest columns are cut short.
    """
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from cagchat.sessions.naming import one_line

    console = Console()
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False)
    cells = [[one_line(cell) for cell in row] for row in rows]
    for header, width in zip(headers, column_widths([headers, *cells], console.width), strict=True):
        right = header in numbers
        table.add_column(header, justify="right" if right else "left", width=width, no_wrap=True, overflow="ellipsis")
    for row in cells:
        table.add_row(*map(Text, row))
    console.print(table)


def column_widths(rows: Sequence[Sequence[str]], room: int) -> list[int]:
    """Return how many cells each column gets in `room` cells, with `GAP` between them.

    Each gets what it needs, or where that is too much the widest give way, down to `NARROWEST`.
    """
    from rich.cells import cell_len

    widths = [max(map(cell_len, column)) for column in zip(*rows, strict=True)]
    while sum(widths) + GAP * (len(widths) - 1) > room and max(widths) > NARROWEST:
        widths[widths.index(max(widths))] -= 1
    return widths

"""Draw a recall grid as an SVG: a row for each way of asking, a column for each depth, the count in every cell.

It follows the reader's light or dark theme. Colour only repeats what the numbers say, and a cell's tooltip has the
share with its interval.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from cagchat.bench.recall_report import Row, Tally, between, percent
from cagchat.bench.svg import picture, text

LABEL_WIDTH, CELL_WIDTH, CELL_HEIGHT, GAP = 230, 62, 30, 3
TOP, MARGIN = 74, 18
CHARACTER_WIDTH = 8.0  # of a title's letter, at most
LEAST_OPACITY = 0.06  # a cell of 0 is still a cell

STYLE = """
    svg { --paper: #ffffff; --ink: #1b1f24; --soft: #57606a; --heat: #5aa9f0; --line: #8c959f }
    @media (prefers-color-scheme: dark) {
      svg { --paper: #0d1117; --ink: #f0f3f6; --soft: #9ea7b3; --heat: #1f62c9; --line: #6e7681 }
    }
    .paper { fill: var(--paper) }
    text { fill: var(--ink); font: 13px ui-sans-serif, system-ui, sans-serif }
    .title { font-size: 15px; font-weight: 600 }
    .soft { fill: var(--soft) }
    .count { text-anchor: middle }
    .cell { fill: var(--heat); stroke: var(--line); stroke-width: 0.5 }
"""


def heatmap(title: str, depths: Sequence[float], rows: Sequence[Row], caption: str = "") -> str:
    """Return the SVG; the same rows give the same bytes."""
    columns = [*map(percent, depths), "all"]
    width = max(
        LABEL_WIDTH + len(columns) * (CELL_WIDTH + GAP) + 2 * MARGIN,
        round(CHARACTER_WIDTH * max(len(title), len(caption))) + 2 * MARGIN,
    )
    height = TOP + len(rows) * (CELL_HEIGHT + GAP) + (36 if caption else 12)
    described = "; ".join(f"{row.title}: {row.all} right, {between(row.all)}" for row in rows)
    lines = [
        text(MARGIN, 26, title, "title"),
        text(MARGIN, TOP - 12, "tokens · KV · evidence", "soft"),
        text(_left(0), TOP - 32, "depth in the text", "soft"),
    ]
    lines += [text(_middle(number), TOP - 12, name, "soft count") for number, name in enumerate(columns)]
    for number, row in enumerate(rows):
        top = TOP + number * (CELL_HEIGHT + GAP)
        lines.append(text(MARGIN, top + 20, row.title))
        for column, cell in enumerate((*row.cells, row.all)):
            lines += _cell(column, top, cell, f"{row.title}, {columns[column]}")
    if caption:
        lines.append(text(MARGIN, height - 14, caption, "soft"))
    return picture(width, height, title, described, STYLE, lines)


def _cell(column: int, top: int, cell: Tally, place: str) -> list[str]:
    opacity = LEAST_OPACITY + (1 - LEAST_OPACITY) * cell.share if cell.asked else 0
    counted = f"{cell}, {percent(cell.share)}, 95 % interval {between(cell)}" if cell.asked else "not asked"
    return [
        f"  <g><title>{escape(f'{place}: {counted}')}</title>"
        f'<rect class="cell" x="{_left(column)}" y="{top}" width="{CELL_WIDTH}" height="{CELL_HEIGHT}" rx="3" '
        f'fill-opacity="{opacity:.2f}"/>{text(_middle(column), top + 20, str(cell), "count").strip()}</g>'
    ]


def _left(column: int) -> int:
    return MARGIN + LABEL_WIDTH + column * (CELL_WIDTH + GAP)


def _middle(column: int) -> int:
    return _left(column) + CELL_WIDTH // 2

"""Lines with figures in them: a row never ends between a number and its unit."""

from __future__ import annotations

import re

from rich.cells import cell_len
from textual.app import RenderResult
from textual.content import Content
from textual.geometry import Size
from textual.reactive import reactive
from textual.widget import Widget

UNBROKEN = "\xa0"
FIGURE = re.compile(r"(?<=\d) (?=(?:[kMG]?B|ms|s|min|h|%|tok/s|tokens?)\b|%)")
HOURS = re.compile(r"(?<=\bh) (?=\d+\xa0min)|(?<=\bmin) (?=\d+\xa0s\b)")


def unbroken(text: str) -> str:
    """Return a text in which a no-break space stands between each number and its unit."""
    return HOURS.sub(UNBROKEN, FIGURE.sub(UNBROKEN, text))


def filled(text: str, width: int) -> list[str]:
    """Return a text in rows of a width, divided at spaces alone: Textual divides at no-break ones too."""
    rows = []
    for line in text.split("\n"):
        row = ""
        for word in line.split(" "):
            if row and cell_len(f"{row} {word}") > width:
                rows.append(row)
                row = word
            else:
                row = f"{row} {word}" if row else word
        rows.append(row)
    return rows


class FigureLines(Widget):
    """Shows a text with figures."""

    DEFAULT_CSS = """
    FigureLines { width: 1fr; height: auto; }
    """

    text: reactive[str] = reactive("", layout=True)

    def __init__(self, text: str = "", *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self.set_reactive(FigureLines.text, text)

    def _rows(self, width: int) -> list[str]:
        return filled(unbroken(self.text), max(1, width)) if self.text else []

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        """Return the number of rows at a width."""
        return len(self._rows(width))

    def content(self) -> Content:
        """Return the rows at the present width."""
        return Content("\n".join(self._rows(self.content_size.width)))

    def render(self) -> RenderResult:
        """Return the rows."""
        return self.content()

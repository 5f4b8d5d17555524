"""An answer as Markdown in one widget: a fragment costs the same however long the answer is."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from itertools import pairwise
from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual.geometry import Region, Size
from textual.selection import Selection
from textual.strip import Strip
from textual.theme import Theme
from textual.widget import Widget

from cagchat.tui.drawn_markdown import NAMES, goes_on, rows_of
from cagchat.tui.pieces import SETTLED, STREAMED, pieces

SELECTED = Style(reverse=True)  # without a colour too


class AnswerText(Widget):
    """Shows an answer. Only the last piece is drawn anew while it grows; the rows of the others are kept."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {f"answer-text--{name}" for name in NAMES}

    DEFAULT_CSS = """
    AnswerText {
        width: 1fr; height: auto;
        & .answer-text--heading { text-style: bold underline; }
        & .answer-text--code { color: $text-warning; }
        & .answer-text--quote { text-style: italic; color: $text-secondary; }
        & .answer-text--mark { color: $text-primary; }
        & .answer-text--head { text-style: bold; }
    }
    """

    def __init__(self, text: str) -> None:
        super().__init__()
        self._sources = pieces(text, SETTLED)
        self._rows: list[Strip] = []
        self._starts: list[int] = []  # of each piece, in rows
        self._drawn_width = 0

    @property
    def sources(self) -> Sequence[str]:
        """The pieces, in order."""
        return self._sources

    @property
    def rows(self) -> Sequence[Strip]:
        """What is drawn."""
        return self._rows

    def add(self, text: str) -> None:
        """Take a fragment of the answer."""
        last, before = len(self._sources) - 1, len(self._rows)
        self._sources[last:] = pieces(self._sources[last] + text, STREAMED)
        if not self._drawn_width:  # all of it is drawn with the next layout
            return
        first = self._starts[last]
        del self._rows[first:], self._starts[last:]
        for number in range(last, len(self._sources)):
            self._take(self._drawn(self._sources, number))
        if len(self._rows) == before:
            self.refresh(Region(0, first, self._drawn_width, before - first))
        else:
            self.refresh(layout=True)

    async def settle(self, text: str) -> None:
        """Show the whole answer as it ended."""
        wanted, width = pieces(text, SETTLED), self._drawn_width
        if wanted == self._sources:
            return
        drawn = []
        for number in range(len(wanted) if width else 0):
            drawn.append(self._drawn(wanted, number))
            await asyncio.sleep(0)  # keys come first
        self._sources = wanted
        if width == self._drawn_width:
            self._rows, self._starts = [], []
            for rows in drawn:
                self._take(rows)
        else:  # it was made wider or narrower meanwhile
            self._drawn_width = 0
        self.refresh(layout=True)

    def _drawn(self, sources: Sequence[str], number: int) -> list[Strip]:
        """Return the rows of a piece, after a blank one where it begins a paragraph."""
        dark = self.app.current_theme.dark
        styles = {name: self.get_component_rich_style(f"answer-text--{name}", partial=True) for name in NAMES}
        rows = rows_of(sources[number], self._drawn_width, self.app.console, styles, dark=dark)
        parted = number > 0 and not sources[number - 1].rpartition("\n")[0].rpartition("\n")[2].strip()
        return [Strip([]), *rows] if rows and parted else rows

    def _take(self, rows: Sequence[Strip]) -> None:
        self._starts.append(len(self._rows))
        self._rows.extend(rows)

    def on_mount(self) -> None:
        """Listen for another theme."""
        self.app.theme_changed_signal.subscribe(self, self._recolour)

    def _recolour(self, theme: Theme) -> None:
        self._drawn_width = 0
        self.refresh(layout=True)

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        """Return the number of rows at a width, and one more that parts the answer from what stands below it."""
        if width != self._drawn_width:
            self._drawn_width, self._rows, self._starts = width, [], []
            for number in range(len(self._sources)):
                self._take(self._drawn(self._sources, number))
        return len(self._rows) + 1 if self._rows else 0

    def render_line(self, y: int) -> Strip:
        """Render a row."""
        base, width = self.rich_style, self.size.width
        if y >= len(self._rows):
            return Strip.blank(width, base)
        row = self._rows[y]
        if (selection := self.text_selection) is not None and (span := selection.get_span(y)) is not None:
            start, end = span[0], row.cell_length if span[1] == -1 else span[1]
            parts = (row.crop(0, start), row.crop(start, end).apply_style(SELECTED), row.crop(end))
            row = Strip.join(parts)
        styled = Strip(Segment.apply_style(row, base)).apply_offsets(0, y)
        return styled.adjust_cell_length(width, base)

    # -- what is selected with the mouse -----------------------------------------------------------------------------

    def get_selection(self, selection: Selection) -> tuple[str, str] | None:
        """Return the words under the selection; rows that ended only for want of room are joined again."""
        taken = []
        for y, row in enumerate(self._rows):
            if (span := selection.get_span(y)) is not None:
                taken.append((row, row.crop(span[0], row.cell_length if span[1] == -1 else span[1]).text.rstrip()))
        if not taken:
            return None
        words = [taken[0][1]]
        for (before, _), (_, text) in pairwise(taken):
            words += [" ", text.lstrip()] if goes_on(before) else ["\n", text]
        return "".join(words), "\n"

    def selection_updated(self, selection: Selection | None) -> None:
        """Show the selection."""
        self.refresh()

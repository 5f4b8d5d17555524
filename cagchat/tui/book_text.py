"""The book's text in rows, from any place at once.

Of a long book only the rows around the place are wrapped at once; the rest follows in pieces, between the keys.
"""

from __future__ import annotations

import asyncio
import re
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from rich.text import Text
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Offset, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.selection import Selection
from textual.strip import Strip

from cagchat.documents.document import Document
from cagchat.tui.finding import Hits
from cagchat.tui.places import clamped
from cagchat.tui.rows import SHOWN, Layout, lay_out, ruled, seam

MEASURE = 76  # longer rows are hard to read
GUTTER = 2  # cells before the text, for marks
EDGE = 1  # cells between the text and the scrollbar
HASHES = re.compile(r"#{1,6}[ \t]+")
LEAST_WIDTH = 8
WINDOW = 20_000  # characters at either side of the place that are wrapped at once
STEP = 100_000  # characters that are wrapped between two keys
RULE = "── the chat knows the book up to here "
SELECTED = Style(reverse=True)  # without a colour too


class BookText(ScrollView, can_focus=True):
    """Rows of the book's text. It knows where it stands in characters, so that another width changes nothing."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "book-text--heading",
        "book-text--lit",
        "book-text--hit",
        "book-text--current",
        "book-text--limit",
    }

    DEFAULT_CSS = """
    BookText {
        height: 1fr; overflow-x: hidden; overflow-y: scroll; scrollbar-size-vertical: 1; background: transparent;
        & .book-text--heading { text-style: bold; }
        & .book-text--lit { text-style: bold; background: $accent 25%; }
        & .book-text--hit { text-style: underline; background: $warning 25%; }
        & .book-text--current { text-style: bold reverse; }
        & .book-text--limit { color: $text-muted; }
    }
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "rows(-1)", "Row up", show=False, id="reader.up"),
        Binding("down,j", "rows(1)", "Row down", show=False, id="reader.down"),
        Binding("pageup", "pages(-1)", "Page up", show=False, id="reader.page_up"),
        Binding("pagedown,space", "pages(1)", "Page down", show=False, id="reader.page_down"),
        Binding("home", "edge(False)", "Beginning", show=False, id="reader.home"),
        Binding("end", "edge(True)", "End", show=False, id="reader.end"),
    ]

    class Moved(Message):
        """Another offset is at the top."""

    class Laid(Message):
        """All of the book is in rows."""

    def __init__(self, document: Document, position: int, bookmarks: Sequence[int], limit: int | None = None) -> None:
        super().__init__()
        self._text = document.text
        self._headings = [section.start for section in document.sections if section.level]
        self._layout: Layout | None = None
        self._plain: Layout | None = None  # without the row that tells of the limit
        self._rule: int | None = None  # the number of that row
        self._limit = limit
        self._placing = False
        self.position = clamped(position, len(self._text))
        self.bookmarks = sorted(bookmarks)
        self.hits = Hits()
        self.current = 0
        self.lit = (0, 0)

    @property
    def laid(self) -> bool:
        """Whether all of the book is in rows for the present width."""
        return self._layout is not None and self._layout.end - self._layout.start == len(self._text)

    def on_mount(self) -> None:
        """Wrap the text: of a widget that comes while the screen scrolls, Textual may not tell that it has a size."""
        self.call_after_refresh(self._fit)

    @property
    def limit(self) -> int | None:
        """The offset up to which the chat knows the book; None for all of it."""
        return self._limit

    @limit.setter
    def limit(self, offset: int | None) -> None:
        if offset != self._limit:
            self._limit = offset
            if self._plain is not None:
                self._take(self._plain)
                self._stand_at(self.position)

    def on_resize(self, event: events.Resize) -> None:
        """Wrap anew for another width, and stay where the reader is."""
        self._fit()

    def _fit(self) -> None:
        if not self.size:
            return
        width = min(MEASURE, max(LEAST_WIDTH, self.scrollable_content_region.width - GUTTER - EDGE))
        if self._layout is None or self._layout.width != width:
            self._lay_out_near(self.position, width)
        self._stand_at(self.position)

    def on_unmount(self) -> None:
        """Let go of the rows."""
        self._layout = self._plain = None

    def _lay_out_near(self, offset: int, width: int) -> None:
        start, end = seam(self._text, offset - WINDOW), seam(self._text, offset + WINDOW)
        self._take(Layout(width, start, end, lay_out(self._text, width, start, end)))
        if self.laid:
            self.post_message(self.Laid())
        else:
            self.run_worker(self._lay_out_all(width), exclusive=True, group="layout")

    async def _lay_out_all(self, width: int) -> None:
        rows, start, length = array("q"), 0, len(self._text)
        while start < length:
            end = seam(self._text, start + STEP)
            rows.extend(lay_out(self._text, width, start, end))
            start = end
            await asyncio.sleep(0)
        if self._layout is not None and self._layout.width == width:
            self._take(Layout(width, 0, length, rows))
            self._stand_at(self.position)
            self.post_message(self.Laid())

    def _take(self, layout: Layout) -> None:
        if self._layout is not None and self.text_selection is not None:
            self.screen.clear_selection()  # it counts in rows, which are others now
        self._layout = self._plain = layout
        self._rule = None
        if self._limit is not None:
            self._layout, self._rule = ruled(layout, self._text, self._limit)
        self.virtual_size = Size(layout.width + GUTTER, len(self._layout.rows))
        self.refresh()

    def _stand_at(self, offset: int, rows_above: int = 0) -> None:
        """Scroll without a word to anybody; at the end of the book the place can be below the first row."""
        layout = self._layout
        if layout is None:
            self.position = offset
            return
        row = max(0, layout.row_at(offset) - rows_above)
        self.position = layout.rows[row] if rows_above else offset
        self._placing = True
        self.scroll_target_y = self.scroll_y = row
        self._placing = False

    def go_to(self, offset: int, rows_above: int = 0) -> None:
        """Show an offset on the first row, or so many rows below it."""
        offset = clamped(offset, len(self._text))
        if self._layout is None:
            self._fit()
        layout = self._layout
        if layout is not None and not layout.start <= offset < layout.end and not self.laid:
            self._lay_out_near(offset, layout.width)
        self._stand_at(offset, rows_above)
        self.post_message(self.Moved())

    def shows(self, start: int, end: int) -> bool:
        """Tell whether a passage is on the screen, its beginning and its end."""
        first, after = self.on_screen()
        return first <= start and end <= after

    def on_screen(self) -> tuple[int, int]:
        """Return the offsets between which the screen is."""
        if self._layout is None:
            return self.position, self.position
        top = self.scroll_offset.y
        bottom = min(top + max(1, self.scrollable_content_region.height), len(self._layout.rows)) - 1
        return self._layout.span(min(top, bottom))[0], self._layout.span(bottom)[1]

    def first_row(self) -> tuple[int, int]:
        """Return where the row begins and ends at which the reader is; after a blank row it is the next one."""
        layout = self._layout
        if layout is None:
            return self.position, self.position + 1
        row = layout.row_at(self.position)
        start, end = layout.span(row)
        blank = self._text[start:end].isspace() and row + 1 < len(layout.rows)
        return layout.span(row + 1) if blank else (start, end)

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """Follow the reader's own scrolling."""
        super().watch_scroll_y(old_value, new_value)
        if not self._placing and self._layout is not None and round(old_value) != round(new_value):
            self.position = self._layout.rows[min(round(new_value), len(self._layout.rows) - 1)]
            self.post_message(self.Moved())

    def action_rows(self, count: int) -> None:
        """Scroll by rows."""
        self.scroll_to(y=self.scroll_offset.y + count, animate=False)

    def action_pages(self, count: int) -> None:
        """Scroll by screens, of which a row is seen again."""
        self.action_rows(count * max(1, self.scrollable_content_region.height - 1))

    def action_edge(self, end: bool) -> None:
        """Go to the beginning or the end of the book."""
        self.go_to(len(self._text) if end else 0)

    # -- what is selected with the mouse -----------------------------------------------------------------------------

    def get_selection(self, selection: Selection) -> tuple[str, str] | None:
        """Return the book's own text under the selection, its line ends as they are in the file."""
        start, end = self._selected(selection)
        return (self._text[start:end], "\n") if start < end else None

    def selection_updated(self, selection: Selection | None) -> None:
        """Show the selection."""
        self.refresh()

    def text_select_all(self) -> None:
        """Select what is on the screen: all of a book is more than anybody wants to copy."""
        if self._layout is not None:
            first = self.scroll_offset.y
            last = min(first + self.scrollable_content_region.height, len(self._layout.rows)) - 1
            start, end = self._layout.span(last)
            whole = Selection(Offset(0, first), Offset(end - start, last))
            self.screen.selections = {self: whole}

    def _selected(self, selection: Selection) -> tuple[int, int]:
        """Return the offsets of a selection; one that comes from another widget begins or ends at the screen's edge."""
        first, after = self.on_screen()
        start = first if selection.start is None else self._offset_at(selection.start)
        end = after if selection.end is None else self._offset_at(selection.end)
        return start, end

    def _offset_at(self, place: Offset) -> int:
        layout = self._layout
        if layout is None:
            return self.position
        start, end = layout.span(max(0, min(place.y, len(layout.rows) - 1)))
        start = self._shown_from(start)
        return start + max(0, min(place.x, len(self._text[start:end].rstrip())))

    def render_line(self, y: int) -> Strip:
        """Render one row: the mark beside it, then its text with what is lit and found in it."""
        row, width, base = y + self.scroll_offset.y, self.size.width, self.rich_style
        layout = self._layout
        if layout is None or row >= len(layout.rows):
            return Strip.blank(width, base)
        if row == self._rule:
            line = f"{RULE:─<{layout.width}}"[: layout.width]
            style = base + self._style("limit")
            return Strip([Segment(f"{'':<{GUTTER}}{line}", style)]).adjust_cell_length(width, style)
        first_of_row, end = layout.span(row)
        start = self._shown_from(first_of_row)
        shown = Text(self._text[start:end].rstrip().translate(SHOWN), end="")
        stop = start + len(shown)
        if self._is_heading(start):
            shown.stylize(self._style("heading"))
        lit = max(start, self.lit[0]) < min(stop, self.lit[1])
        if lit:
            shown.stylize(self._style("lit"), max(0, self.lit[0] - start), self.lit[1] - start)
        for number, first, after in self.hits.between(start, stop):
            name = "current" if number == self.current else "hit"
            shown.stylize(self._style(name), max(0, first - start), after - start)
        if (selection := self.text_selection) is not None:
            first, after = self._selected(selection)
            if max(first, start) < min(after, stop):
                shown.stylize(SELECTED, max(0, first - start), after - start)
        marked = bisect_left(self.bookmarks, first_of_row) < bisect_left(self.bookmarks, end)
        mark = "◆" if marked else "▌" if lit else " "
        segments = [Segment(f"{mark:<{GUTTER}}"), *shown.render(self.app.console)]
        strip = Strip(Segment.apply_style(segments, base)).apply_offsets(-GUTTER, row)
        return strip.adjust_cell_length(width, base)

    def _is_heading(self, offset: int) -> bool:
        """Tell whether an offset is on the line of a heading, however many rows this takes."""
        number = bisect_right(self._headings, offset) - 1
        return number >= 0 and self._text.find("\n", self._headings[number], offset) < 0

    def _shown_from(self, start: int) -> int:
        """Return where a row begins that may be a heading: Markdown's signs are not shown."""
        at = bisect_left(self._headings, start)
        found = HASHES.match(self._text, start) if at < len(self._headings) and self._headings[at] == start else None
        return found.end() if found else start

    def _style(self, name: str) -> Style:
        return self.get_component_rich_style(f"book-text--{name}")

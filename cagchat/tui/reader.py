"""The book itself beside the chat: its text from any place, contents, find, bookmarks, and passages that are lit.

Of a long book only the rows around the place are wrapped at once; the rest follows in pieces, between the keys.
"""

from __future__ import annotations

import asyncio
import re
import unicodedata
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar, Literal, Self

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from rich.text import Text
from textual import events
from textual.actions import SkipAction
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.geometry import Size
from textual.message import Message
from textual.screen import ModalScreen
from textual.scroll_view import ScrollView
from textual.strip import Strip
from textual.widget import Widget
from textual.widgets import Footer, Input, OptionList, Static

from cagchat.documents.document import Document, Section

MEASURE = 76  # longer rows are hard to read
GUTTER = 2  # cells before the text, for marks
LEAST_WIDTH = 8
WINDOW = 20_000  # characters at either side of the place that are wrapped at once
STEP = 100_000  # characters that are wrapped or folded between two keys
SEAM_REACH = 4_000
PROSE_WIDTH = 50  # lines of prose that came wrapped are at least this long
PROSE_SLACK = 6
MAX_HITS = 20_000
MAX_JUMPS = 50
EXCERPT = 60

PARAGRAPH = re.compile(r"[^\n]+(?:\n[^\n]+)*")
# Characters that are not known to take one cell: East Asian ones take two, combining ones none.
UNEVEN = re.compile(
    "[^\t\n -~\xa0-\u02ff\u0370-\u0482\u048a-\u0589\u1e00-\u1fff\u2010-\u2027\u2030-\u205e\u20a0-\u20bf]"
)
# What a terminal would obey instead of showing it, and line ends inside a row.
SHOWN = dict.fromkeys([*range(32), *range(127, 160), 0x2028, 0x2029], " ")
PLAIN_QUOTES = {"‘": "'", "’": "'", "‚": "'", "“": '"', "”": '"', "„": '"', "–": "-", "—": "-"}
PERCENT = re.compile(r"(\d+(?:[.,]\d+)?)\s*%?")

Listing = Literal["contents", "bookmarks"]
Asking = Literal["find", "go"]


# -- rows --------------------------------------------------------------------------------------------------------------


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


# -- finding -----------------------------------------------------------------------------------------------------------


class Folding(dict[int, str]):
    """Maps characters to what they are compared by: no case, no accents, plain quotes; each to one character."""

    def __missing__(self, code: int) -> str:
        self[code] = folded = folded_character(chr(code))
        return folded


def folded_character(character: str) -> str:
    """Return a character as it is compared; one that would become several stays, so that offsets do."""
    if character.isspace():
        return " "
    character = PLAIN_QUOTES.get(character, character)
    plain = "".join(c for c in unicodedata.normalize("NFKD", character) if not unicodedata.combining(c)).casefold()
    return plain if len(plain) == 1 else character


@dataclass(frozen=True, slots=True)
class Hits:
    """Where something was found, in order; `complete` is False when there is more than is kept."""

    starts: Sequence[int] = ()
    ends: Sequence[int] = ()
    complete: bool = True

    def __len__(self) -> int:
        return len(self.starts)

    def between(self, start: int, end: int) -> Iterator[tuple[int, int, int]]:
        """Return those that reach into a range: number, start, end."""
        for number in range(bisect_right(self.ends, start), bisect_left(self.starts, end)):
            yield number, self.starts[number], self.ends[number]

    def first_from(self, offset: int) -> int:
        """Return the number of the first one from an offset on; after the last one comes the first."""
        return bisect_left(self.starts, offset) % max(1, len(self.starts))


def find(folded: str, query: str, near: int) -> Hits:
    """Find a query in a folded text, the nearest after `near` first when there are too many; spaces match line ends."""
    words = query.translate(Folding()).split()
    if not words:
        return Hits()
    pattern = re.compile(r"\s+".join(map(re.escape, words)))
    found: list[tuple[int, int]] = []
    for start, end in ((near, len(folded)), (0, near)):
        for match in pattern.finditer(folded, start, end):
            if len(found) == MAX_HITS:
                break
            found.append(match.span())
    found.sort()
    return Hits([start for start, _ in found], [end for _, end in found], len(found) < MAX_HITS)


# -- places ------------------------------------------------------------------------------------------------------------


def full_titles(sections: Sequence[Section]) -> tuple[str, ...]:
    """Return each section's title after those of the sections it stands in."""
    names: list[str] = []
    above: list[Section] = []
    for section in sections:
        above = [outer for outer in above if outer.level < section.level] if section.level else []
        above.append(section)
        names.append(", ".join(outer.title for outer in above if outer.title))
    return tuple(names)


def place_line(full: str, short: str, share: float, width: int) -> str:
    """Return where a reader is, in `width` characters: the full title, the short one, or what fits of that."""
    end = f"{share:.1f} %"
    for title in (full, short):
        if title and len(title) + 3 + len(end) <= width:
            return f"{title} · {end}"
    room = width - len(end) - 4
    return f"{short[:room]}… · {end}" if short and room > 0 else end[: max(0, width)]


def goal(text: str, titles: Sequence[str], sections: Sequence[Section], length: int, here: int) -> int | None:
    """Return the offset that a reader means: a percentage, or words of a title (the next one after `here`)."""
    number = PERCENT.fullmatch(text.strip())
    if number:
        share = float(number[1].replace(",", "."))
        return round(share / 100 * length) if share <= 100 else None
    folding = Folding()
    words = re.findall(r"\w+", text.translate(folding))
    known = [title.translate(folding) for title in titles]
    whole = [i for i, title in enumerate(known) if words and set(words) <= set(re.findall(r"\w+", title))]
    partly = [i for i, title in enumerate(known) if words and all(word in title for word in words)]
    starts = [sections[i].start for i in whole or partly]
    return next((start for start in starts if start > here), starts[0] if starts else None)


# -- widgets -----------------------------------------------------------------------------------------------------------


class BookText(ScrollView, can_focus=True):
    """Rows of the book's text. It knows where it stands in characters, so that another width changes nothing."""

    ALLOW_SELECT = False

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "book-text--heading",
        "book-text--lit",
        "book-text--hit",
        "book-text--current",
    }

    DEFAULT_CSS = """
    BookText {
        height: 1fr; overflow-x: hidden; overflow-y: scroll; scrollbar-size-vertical: 1; background: transparent;
        & .book-text--heading { text-style: bold; }
        & .book-text--lit { text-style: bold; background: $accent 25%; }
        & .book-text--hit { text-style: underline; background: $warning 25%; }
        & .book-text--current { text-style: bold reverse; }
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

    def __init__(self, document: Document, position: int, bookmarks: Sequence[int]) -> None:
        super().__init__()
        self._text = document.text
        self._headings = {section.start for section in document.sections if section.level}
        self._layout: Layout | None = None
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

    def on_resize(self, event: events.Resize) -> None:
        """Wrap anew for another width, and stay where the reader is."""
        width = min(MEASURE, max(LEAST_WIDTH, self.scrollable_content_region.width - GUTTER))
        if self._layout is None or self._layout.width != width:
            self._lay_out_near(self.position, width)
        self._stand_at(self.position)

    def on_unmount(self) -> None:
        """Let go of the rows."""
        self._layout = None

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
        self._layout = layout
        self.virtual_size = Size(layout.width + GUTTER, len(layout.rows))
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

    def render_line(self, y: int) -> Strip:
        """Render one row: the mark beside it, then its text with what is lit and found in it."""
        row, width, base = y + self.scroll_offset.y, self.size.width, self.rich_style
        layout = self._layout
        if layout is None or row >= len(layout.rows):
            return Strip.blank(width, base)
        start, end = layout.span(row)
        shown = Text(self._text[start:end].rstrip().translate(SHOWN), end="")
        stop = start + len(shown)
        if start in self._headings:
            shown.stylize(self._style("heading"))
        lit = max(start, self.lit[0]) < min(stop, self.lit[1])
        if lit:
            shown.stylize(self._style("lit"), max(0, self.lit[0] - start), self.lit[1] - start)
        for number, first, after in self.hits.between(start, stop):
            name = "current" if number == self.current else "hit"
            shown.stylize(self._style(name), max(0, first - start), after - start)
        marked = bisect_left(self.bookmarks, start) < bisect_left(self.bookmarks, end)
        mark = "◆" if marked else "▌" if lit else " "
        segments = [Segment(f"{mark:<{GUTTER}}"), *shown.render(self.app.console)]
        return Strip(Segment.apply_style(segments, base)).adjust_cell_length(width, base)

    def _style(self, name: str) -> Style:
        return self.get_component_rich_style(f"book-text--{name}")


class ReaderPane(Widget):
    """A book to read in: its place, its text, and in the text's stead the contents or the bookmarks.

    It posts `PositionChanged` and `BookmarksChanged`; to keep them is the host's part.
    """

    HELP = """\
## The book

Arrows, **Page up**, **Page down**, **Home** and **End** move in it, and so does the mouse wheel.

- **t** table of contents, **g** go to a percentage or a chapter
- **/** find; **n** and **N** go to the next and the previous place
- **b** sets or removes a bookmark on the first row, **B** lists them
- **Backspace** goes back to before the last jump
- **Esc** takes marks away

`▌` stands beside a passage that was quoted, `◆` beside a bookmark.
"""

    DEFAULT_CSS = """
    ReaderPane {
        layout: vertical;
        #reader-place { height: 1; padding: 0 1; background: $panel; text-style: bold; text-wrap: nowrap; }
        #reader-list { height: 1fr; display: none; border: none; padding: 0; background: transparent; }
        #reader-line { height: 1; display: none; border: none; padding: 0 1; background: $panel; }
        #reader-note { height: 1; display: none; padding: 0 1; background: $panel; }
        #reader-list, #reader-line { scrollbar-size-vertical: 1; }
    }
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("t", "list('contents')", "Contents", id="reader.contents"),
        Binding("slash", "ask('find')", "Find", id="reader.find", key_display="/"),
        Binding("n", "hit(1)", "Next", show=False, id="reader.next"),
        Binding("N", "hit(-1)", "Previous", show=False, id="reader.previous"),
        Binding("g", "ask('go')", "Go to", id="reader.go"),
        Binding("b", "bookmark", "Bookmark", id="reader.bookmark"),
        Binding("B", "list('bookmarks')", "Bookmarks", id="reader.bookmarks"),
        Binding("backspace", "back", "Back", show=False, id="reader.back"),
        Binding("escape", "close", "Close", show=False, id="reader.close"),
    ]

    class PositionChanged(Message):
        """Another offset is at the top of the pane."""

        def __init__(self, pane: ReaderPane, offset: int) -> None:
            super().__init__()
            self.pane = pane
            self.offset = offset

        @property
        def control(self) -> ReaderPane:
            """The pane."""
            return self.pane

    class BookmarksChanged(Message):
        """A bookmark was set or removed; `bookmarks` are all there are, in order."""

        def __init__(self, pane: ReaderPane, bookmarks: tuple[int, ...]) -> None:
            super().__init__()
            self.pane = pane
            self.bookmarks = bookmarks

        @property
        def control(self) -> ReaderPane:
            """The pane."""
            return self.pane

    def __init__(
        self,
        document: Document,
        *,
        position: int = 0,
        bookmarks: tuple[int, ...] = (),
        id: str | None = None,
        classes: str | None = None,
    ) -> None:
        super().__init__(id=id, classes=classes)
        self.document = document
        self._titles = full_titles(document.sections)
        self._section_starts = [section.start for section in document.sections]
        length = len(document.text)
        self._book = BookText(document, position, sorted({clamped(mark, length) for mark in bookmarks}))
        self._place = Static(id="reader-place", markup=False)
        self._list = OptionList(id="reader-list", markup=False)
        self._line = Input(id="reader-line", compact=True)
        self._note = Static(id="reader-note", markup=False)
        self._folded: str | None = None
        self._asking: Asking = "find"
        self._listing: Listing | None = None
        self._query = ""
        self._anchor = 0
        self._jumps: list[int] = []

    def compose(self) -> ComposeResult:
        """Lay out place, text or list, and the line that asks."""
        yield from (self._place, self._book, self._list, self._note, self._line)

    def on_mount(self) -> None:
        """Make the text that is searched, in pieces between the keys."""
        self.run_worker(self._fold(), group="fold")

    async def _fold(self) -> None:
        folding, text = Folding(), self.document.text
        parts = []
        for start in range(0, len(text), STEP):
            parts.append(text[start : start + STEP].translate(folding))
            await asyncio.sleep(0)
        self._folded = "".join(parts)
        if self._query:
            self._find()

    def focus(self, scroll_visible: bool = True) -> Self:
        """Give the focus to what is open: the line, the list, or the text."""
        target = self._line if self._line.display else self._list if self._listing else self._book
        target.focus(scroll_visible)
        return self

    # -- what a host asks for ----------------------------------------------------------------------------------------

    @property
    def position(self) -> int:
        """The offset at the top, in characters."""
        return self._book.position

    @property
    def bookmarks(self) -> tuple[int, ...]:
        """The bookmarks in order, offsets in characters."""
        return tuple(self._book.bookmarks)

    @property
    def place(self) -> str:
        """The title line: where the reader is."""
        number = self._section_number(self.position)
        share = 100 * self.position / max(1, len(self.document.text))
        width = self._place.content_size.width or MEASURE
        titles = self._titles[number], self.document.sections[number].title
        return place_line(one_row(titles[0]), one_row(titles[1]), share, width)

    def go_to(self, offset: int) -> None:
        """Show an offset on the first row; Backspace goes back from there."""
        self._close_list()
        self._remember_jump(self.position)
        self._book.go_to(offset)

    def show(self, offset: int, length: int) -> None:
        """Light a passage, and scroll to it unless all of it is on the screen."""
        start = clamped(offset, len(self.document.text))
        self._close_list()
        self._book.lit = (start, start + max(0, length))
        self._reveal(*self._book.lit)
        self._book.refresh()

    # -- moving ------------------------------------------------------------------------------------------------------

    def _section_number(self, offset: int) -> int:
        return max(0, bisect_right(self._section_starts, offset) - 1)

    def _reveal(self, start: int, end: int) -> None:
        if not self._book.shows(start, end):
            if not self._line.display:  # while it is typed, the place where it began is the one to go back to
                self._remember_jump(self.position)
            self._book.go_to(start, max(1, self._book.size.height // 3))

    def _remember_jump(self, origin: int) -> None:
        if not self._jumps or self._jumps[-1] != origin:
            self._jumps = [*self._jumps[1 - MAX_JUMPS :], origin]

    def action_back(self) -> None:
        """Go to where the reader was before the last jump."""
        if not self._jumps:
            raise SkipAction
        self._close_list()
        self._book.go_to(self._jumps.pop())

    def on_book_text_moved(self, event: BookText.Moved) -> None:
        """Say where the reader is now."""
        event.stop()
        self._place.update(self.place)
        self.post_message(self.PositionChanged(self, self.position))

    def on_resize(self, event: events.Resize) -> None:
        """Fit the title line to another width."""
        self.call_after_refresh(lambda: self._place.update(self.place))

    # -- contents and bookmarks --------------------------------------------------------------------------------------

    def action_list(self, listing: Listing) -> None:
        """Show the contents or the bookmarks in the text's stead, or the text again."""
        if self._listing == listing:
            self._close_list()
            return
        self._close_line()
        self._listing = listing
        self._fill_list()
        self._book.display = False
        self._list.display = True
        self._list.focus()

    def _fill_list(self) -> None:
        self._list.clear_options()
        if self._listing == "contents":
            self._list.add_options([self._heading(section) for section in self.document.sections])
            self._list.highlighted = self._section_number(self.position)
        elif self.bookmarks:
            self._list.add_options([self._excerpt(mark) for mark in self.bookmarks])
            self._list.highlighted = max(0, bisect_right(self.bookmarks, self.position) - 1)
        else:
            self._say("No bookmark yet: b sets one on the first row.")

    def _heading(self, section: Section) -> Content:
        title = one_row(section.title) or "(before the first heading)"
        indent = "  " * max(0, section.level - 1)
        return Content(f"{self._share(section.start):>5}  {indent}{title}")

    def _excerpt(self, mark: int) -> Content:
        words = one_row(self.document.text[mark : mark + EXCERPT])
        return Content(f"{self._share(mark):>5}  {one_row(self._titles[self._section_number(mark)])}\n       {words}…")

    def _share(self, offset: int) -> str:
        return f"{100 * offset / max(1, len(self.document.text)):.0f} %"

    def _close_list(self) -> None:
        if self._listing is not None:
            self._listing = None
            self._list.display = False
            self._book.display = True
            self._book.focus()
            self._say("")

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Go to what was chosen."""
        event.stop()
        places = self._section_starts if self._listing == "contents" else self.bookmarks
        self.go_to(places[event.option_index])

    def action_bookmark(self) -> None:
        """Set a bookmark on the first row or remove those there; in the list, remove the one under the bar."""
        marks = self._book.bookmarks
        start, end = self._book.first_row()
        at = self._list.highlighted
        if self._listing == "bookmarks":
            here = [] if at is None else [marks[at]]
        else:
            here = [mark for mark in marks if start <= mark < end]
        if here or self._listing == "bookmarks":
            self._book.bookmarks = [mark for mark in marks if mark not in here]
        else:
            self._book.bookmarks = sorted([*marks, max(start, self.position)])
        if self._listing == "bookmarks":
            self._fill_list()
        self._book.refresh()
        self.post_message(self.BookmarksChanged(self, self.bookmarks))

    # -- finding and going -------------------------------------------------------------------------------------------

    def action_ask(self, asking: Asking) -> None:
        """Open the line that asks what to find, or where to go."""
        self._close_list()
        self._asking = asking
        self._anchor = self.position
        self._line.placeholder = "find in the book" if asking == "find" else "a percentage or a chapter, as 45 % or iii"
        self._line.display = True
        self._line.focus()
        with self.prevent(Input.Changed):
            self._line.value = self._query if asking == "find" else ""
        self._line.action_select_all()
        if asking == "go":
            self._say("")

    def _close_line(self) -> None:
        if self._line.display:
            self._line.display = False
            self._book.focus()

    def on_input_changed(self, event: Input.Changed) -> None:
        """Find while it is typed."""
        event.stop()
        if self._asking == "find" and self._line.display:
            self._query = event.value.strip()
            self._find()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Stay with what was found, or go where the reader wants to."""
        event.stop()
        if self._asking == "go":
            length, sections = len(self.document.text), self.document.sections
            offset = goal(event.value, self._titles, sections, length, self.position)
            if offset is None:
                self._say(f"No chapter is called {event.value.strip()}." if event.value.strip() else "")
                return
            self._close_line()
            self.go_to(offset)
        else:
            self._close_line()
            if self.position != self._anchor:
                self._remember_jump(self._anchor)

    def _find(self) -> None:
        if self._folded is None:
            self._say("One moment …")
            return
        self._book.hits = find(self._folded, self._query, self._anchor)
        if not self._book.hits and self.position != self._anchor:
            self._book.go_to(self._anchor)
        self._stand_on(self._book.hits.first_from(self._anchor))

    def action_hit(self, step: int) -> None:
        """Go to the next place of what was found, or the previous one."""
        hits = self._book.hits
        if not hits:
            self.action_ask("find")
            return
        self._close_list()
        number = self._book.current
        if self._book.shows(hits.starts[number], hits.ends[number]):
            number += step
        else:  # the reader has gone on since: from here
            number = hits.first_from(self.position) - (step < 0)
        self._stand_on(number % len(hits))

    def _stand_on(self, number: int) -> None:
        hits = self._book.hits
        self._book.current = number
        if hits:
            self._reveal(hits.starts[number], hits.ends[number])
            many = f"{len(hits):,}{'' if hits.complete else ' nearest'}"
            self._say(f"{number + 1:,} of {many} · {self._query}")
        else:
            self._say(f"Not in this book: {self._query}" if self._query else "")
        self._book.refresh()

    def _say(self, text: str) -> None:
        self._note.update(one_row(text))
        self._note.display = bool(text)

    def action_close(self) -> None:
        """Close the line or the list, else take marks away; with nothing to close the key is the host's."""
        book = self._book
        if self._line.display:
            self._close_line()
            if self._asking == "find":
                self._forget_hits()
                book.go_to(self._anchor)
            self._say("")
        elif self._listing is not None:
            self._close_list()
        elif book.hits or book.lit != (0, 0) or self._note.display:
            self._forget_hits()
            book.lit = (0, 0)
            book.refresh()
        else:
            raise SkipAction

    def _forget_hits(self) -> None:
        self._book.hits = Hits()
        self._query = ""
        self._say("")


class ReaderScreen(ModalScreen[int]):
    """The pane on a screen of its own, for terminals too narrow for two; its result is the position."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,q", "leave", "Back to the chat", id="reader.leave")]

    def __init__(
        self,
        document: Document,
        *,
        position: int = 0,
        bookmarks: tuple[int, ...] = (),
        passage: tuple[int, int] | None = None,
    ) -> None:
        """`passage` is the offset and the length of what to light."""
        super().__init__()
        self.pane = ReaderPane(document, position=position, bookmarks=bookmarks)
        self._passage = passage

    def compose(self) -> ComposeResult:
        """Lay out the pane and the keys."""
        yield self.pane
        yield Footer()

    def on_mount(self) -> None:
        """Light the passage once there are rows to scroll."""
        self.pane.focus()
        if self._passage is not None:
            self.call_after_refresh(self.pane.show, *self._passage)

    def action_leave(self) -> None:
        """Go back, with the position."""
        self.dismiss(self.pane.position)


def clamped(offset: int, length: int) -> int:
    """Return an offset inside a text of this length."""
    return max(0, min(offset, length - 1))


def one_row(text: str) -> str:
    """Return a text on one row, without what a terminal would obey."""
    return " ".join(text.translate(SHOWN).split())

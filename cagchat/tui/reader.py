"""The book itself beside the chat: its text from any place, contents, find, bookmarks, and passages that are lit."""

from __future__ import annotations

from bisect import bisect_right
from typing import ClassVar, Literal, Self

from textual import events
from textual.actions import SkipAction
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widget import Widget
from textual.widgets import Input, Static

from cagchat.documents.document import Document
from cagchat.tui.book_text import MEASURE, BookText
from cagchat.tui.finder import Finder
from cagchat.tui.place_list import Listing, PlaceList
from cagchat.tui.places import clamped, full_titles, goal, place_line
from cagchat.tui.rows import one_row

MAX_JUMPS = 50

Asking = Literal["find", "go"]


class ReaderPane(Widget):
    """A book to read in: its place, its text, and in the text's stead the contents or the bookmarks.

    It posts `PositionChanged` and `BookmarksChanged`; to keep them is the host's part.
    """

    HELP = """\
## The book

Arrows, **Page up**, **Page down**, **Home** and **End** move in it, and so does the mouse wheel. What is
selected with the mouse, **ctrl+c** copies as it stands in the book.

- **t** table of contents, **g** go to a percentage or a chapter
- **/** find; **n** and **N** go to the next and the previous place
- **b** sets or removes a bookmark on the first row, **B** lists them
- **u** lets the chat know the book up to here, the end of what is on the screen, and no further
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
        Binding("u", "up_to_here", "Up to here", id="reader.up_to_here", tooltip="Let the chat know no more of it"),
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

    class UpToHere(Message):
        """The chat is to know the book up to `offset`."""

        def __init__(self, pane: ReaderPane, offset: int) -> None:
            super().__init__()
            self.pane = pane
            self.offset = offset

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
        limit: int | None = None,
        id: str | None = None,
        classes: str | None = None,
    ) -> None:
        super().__init__(id=id, classes=classes)
        self.document = document
        self._titles = full_titles(document.sections)
        self._section_starts = [section.start for section in document.sections]
        length = len(document.text)
        self._book = BookText(document, position, sorted({clamped(mark, length) for mark in bookmarks}), limit)
        self._place = Static(id="reader-place", markup=False)
        self._list = PlaceList(document, self._titles, id="reader-list")
        self._line = Input(id="reader-line", compact=True)
        self._note = Static(id="reader-note", markup=False)
        self._finder = Finder(self._book, self._reveal, self._say)
        self._asking: Asking = "find"
        self._jumps: list[int] = []

    def compose(self) -> ComposeResult:
        """Lay out place, text or list, and the line that asks."""
        yield from (self._place, self._book, self._list, self._note, self._line)

    def on_mount(self) -> None:
        """Make the text that is searched, in pieces between the keys."""
        self.run_worker(self._finder.fold(self.document.text), group="fold")

    def focus(self, scroll_visible: bool = True) -> Self:
        """Give the focus to what is open: the line, the list, or the text."""
        target = self._line if self._line.display else self._list if self._list.listing else self._book
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
    def limit(self) -> int | None:
        """The offset up to which the chat knows the book, shown by a line; None for all of it."""
        return self._book.limit

    @limit.setter
    def limit(self, offset: int | None) -> None:
        self._book.limit = offset

    @property
    def place(self) -> str:
        """The title line: where the reader is."""
        number = self._section_number(self.position)
        share = 100 * self.position / max(1, len(self.document.text))
        width = self._place.content_size.width or MEASURE
        titles = self._titles[number], self.document.sections[number].title
        page = self.document.page_at(self.position)
        where = (f"p. {one_row(page.label)} · " if page and page.label else "") + f"{share:.1f} %"
        return place_line(one_row(titles[0]), one_row(titles[1]), where, width)

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

    def on_click(self, event: events.Click) -> None:
        """Show the contents, or the text again, when the title line is clicked."""
        if self._place.region.contains_point(event.screen_offset):
            event.stop()
            self.action_list("contents")

    def on_resize(self, event: events.Resize) -> None:
        """Fit the title line to another width."""
        self.call_after_refresh(lambda: self._place.update(self.place))

    # -- contents and bookmarks --------------------------------------------------------------------------------------

    def action_list(self, listing: Listing) -> None:
        """Show the contents or the bookmarks in the text's stead, or the text again."""
        if self._list.listing == listing:
            self._close_list()
            return
        self._close_line()
        self._fill_list(listing)
        self._book.display = False
        self._list.display = True
        self._list.focus()

    def _fill_list(self, listing: Listing) -> None:
        self._list.fill(listing, self.bookmarks, self.position)
        if listing == "bookmarks" and not self.bookmarks:
            self._say("No bookmark yet: b sets one on the first row.")

    def _close_list(self) -> None:
        if self._list.listing is not None:
            self._list.listing = None
            self._list.display = False
            self._book.display = True
            self._book.focus()
            self._say("")

    def on_place_list_place_chosen(self, event: PlaceList.PlaceChosen) -> None:
        """Go to what was chosen, unless the list was left meanwhile: by the first Enter when two are on their way."""
        event.stop()
        if self._list.listing is not None:
            self.go_to(event.offset)

    def action_bookmark(self) -> None:
        """Set a bookmark on the first row or remove those there; in the list, remove the one under the bar."""
        marks, listing = self._book.bookmarks, self._list.listing
        start, end = self._book.first_row()
        at = self._list.highlighted
        if listing == "bookmarks":
            here = [] if at is None else [marks[at]]
        else:
            here = [mark for mark in marks if start <= mark < end]
        if here or listing == "bookmarks":
            self._book.bookmarks = [mark for mark in marks if mark not in here]
        else:
            self._book.bookmarks = sorted([*marks, max(start, self.position)])
        if listing == "bookmarks":
            self._fill_list(listing)
        self._book.refresh()
        self.post_message(self.BookmarksChanged(self, self.bookmarks))

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Offer to end the chat's knowledge here while there is a here."""
        return self._list.listing is None if action == "up_to_here" else True

    def action_up_to_here(self) -> None:
        """Ask for the chat to know the book up to the end of what is on the screen."""
        self.post_message(self.UpToHere(self, self._book.on_screen()[1]))

    # -- finding and going -------------------------------------------------------------------------------------------

    def action_ask(self, asking: Asking) -> None:
        """Open the line that asks what to find, or where to go."""
        self._close_list()
        self._asking = asking
        self._finder.anchor = self.position
        self._line.placeholder = "find in the book" if asking == "find" else "a percentage or a chapter, as 45 % or iii"
        self._line.display = True
        self._line.focus()
        with self.prevent(Input.Changed):
            self._line.value = self._finder.query if asking == "find" else ""
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
            self._finder.look_for(event.value.strip())

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
            if self.position != self._finder.anchor:
                self._remember_jump(self._finder.anchor)

    def action_hit(self, step: int) -> None:
        """Go to the next place of what was found, or the previous one."""
        if self._finder.found:
            self._close_list()
            self._finder.step(step)
        else:
            self.action_ask("find")

    def _say(self, text: str) -> None:
        self._note.update(one_row(text))
        self._note.display = bool(text)

    def action_close(self) -> None:
        """Close the line or the list, else take marks away; with nothing to close the key is the host's."""
        book = self._book
        if self._line.display:
            self._close_line()
            if self._asking == "find":
                self._finder.forget()
                book.go_to(self._finder.anchor)
            self._say("")
        elif self._list.listing is not None:
            self._close_list()
        elif book.hits or book.lit != (0, 0) or self._note.display:
            self._finder.forget()
            book.lit = (0, 0)
            book.refresh()
        else:
            raise SkipAction

"""The library: every book that was read, what its state is good for, and what can be done with it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import ClassVar

from rich.table import Table
from rich.text import Text
from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.message import Message
from textual.screen import Screen
from textual.widgets import Button, DataTable, Input, Static

from cagchat.locations import Locations
from cagchat.recorded import Recorded
from cagchat.sessions.naming import one_line
from cagchat.settings import Settings
from cagchat.states.store import StateFolder, States
from cagchat.states.verifying import verify
from cagchat.tui.book_table import BookTable, Filter
from cagchat.tui.dialogs import Confirm
from cagchat.tui.found import Fact, Look, look_around
from cagchat.tui.key_line import KeyLine
from cagchat.tui.open_file import OpenFile
from cagchat.tui.shelf import Entry, LastChats, Shelf, read_shelf
from cagchat.tui.shelf_columns import cell, details, fitting, matching, size_text, status_text
from cagchat.tui.shelf_work import Delete, ShelfWork
from cagchat.tui.title_bar import TitleBar
from cagchat.tui.welcome import WELCOME, Welcome
from cagchat.units import size

WITH_BOOKS = ("filter", "read", "verify", "delete")


class BookChosen(Message):
    """A book is to be opened."""

    def __init__(self, book: Path | Recorded) -> None:
        super().__init__()
        self.book = book


class ReadingWanted(Message):
    """A book is to be read now, on from where its reading stopped or again, because its state is not ready."""

    def __init__(self, book: Path | Recorded) -> None:
        super().__init__()
        self.book = book


class LibraryScreen(Screen[None]):
    """Lists the books and posts `BookChosen` and `ReadingWanted`; what takes long runs beside it."""

    HELP = """\
## The library

Every book that was read, and what can be done with it. The palette (**ctrl+p**) has everything.
"""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("slash", "filter", "Filter", id="library.filter", key_display="/"),
        Binding("o", "open_file", "Open a file", id="library.open"),
        Binding("r", "read", "Read", id="library.read"),
        Binding("v", "verify", "Verify", id="library.verify"),
        Binding("d,delete", "delete", "Delete", id="library.delete"),
        Binding("s", "story", "Story", id="library.story"),
        Binding("escape", "clear_filter", "All books", show=False, id="library.all"),
        Binding("f5", "look_again", "Look again", show=False, id="library.refresh"),
    ]

    DEFAULT_CSS = """
    LibraryScreen {
        Filter { height: 1; background: $panel; &.-textual-compact { padding: 0 1; } }
        BookTable { height: 1fr; background: transparent; scrollbar-size-vertical: 1; overflow-x: hidden; }
        #library-details { height: 3; padding: 0 1; background: $panel; text-wrap: nowrap; text-overflow: ellipsis; }
        Welcome { height: 1fr; padding: 1 2; }
        Welcome Static { height: auto; margin-bottom: 1; }
        Welcome Horizontal { height: auto; margin-bottom: 1; }
        Welcome Button { margin-right: 2; }
    }
    """

    class Listed(Message):
        """The library was looked through."""

        def __init__(self, number: int, shelf: Shelf) -> None:
            super().__init__()
            self.number = number
            self.shelf = shelf

    class Found(Message):
        """The machine was looked at."""

        def __init__(self, facts: Sequence[Fact]) -> None:
            super().__init__()
            self.facts = facts

    def __init__(
        self,
        locations: Locations,
        settings: Settings,
        story: Path,
        *,
        chats: LastChats = tuple,
        look: Look = look_around,
        check: Callable[[StateFolder], tuple[str, ...]] = verify,
        delete: Delete = States.delete,
        forget: Callable[[str], object] = lambda digest: None,
        folder: Path,
    ) -> None:
        """`story` is the file to try; `chats` returns all there are; `folder` is where relative paths begin.

        `forget` is called with the digest of a book whose last state was deleted and that no chat is about.
        `chats`, `look`, `check`, `delete` and `forget` are called from other threads; but for the last they may raise
        `CagchatError`.
        """
        super().__init__()
        self._locations = locations
        self._settings = settings
        self._story = story
        self._chats = chats
        self._look = look
        self._folder = folder
        self._shelf: Shelf | None = None
        self._shown: list[Entry] = []
        self._asked = 0
        self._work = ShelfWork(
            self, locations, chats=chats, check=check, delete=delete, forget=forget, ended=self._work_ended
        )

    def compose(self) -> ComposeResult:
        """Lay out the books, or the welcome in their stead."""
        yield TitleBar("Library")
        yield Filter(placeholder="/ filter", compact=True)
        yield BookTable(cursor_type="row", zebra_stripes=False)
        yield Static(id="library-details", markup=False)
        with Welcome():
            yield Static(WELCOME, markup=False)
            with Horizontal():
                yield Button("Try the story (s)", id="story", variant="primary")
                yield Button("Open a file (o)", id="open")
            yield Static("Looking around …", id="library-found", markup=False)
        yield KeyLine()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Offer what is done with a book only where there are books, and all books where some are filtered out."""
        if action == "clear_filter":
            return bool(self.query(Filter)) and bool(self.query_one(Filter).value)
        return action not in WITH_BOOKS or self._shelf is None or bool(self._shelf.entries)

    def on_mount(self) -> None:
        """Show nothing that may be wrong before the library was looked through."""
        for widget in (Filter, BookTable, Welcome):
            self.query_one(widget).display = False
        self.query_one("#library-details").display = False

    def on_screen_resume(self) -> None:
        """Look again whenever the screen comes back: a book may have been read meanwhile."""
        self.action_look_again()

    def action_look_again(self) -> None:
        """Look through the library, beside the screen."""
        self._asked += 1
        number, locations, settings, chats = self._asked, self._locations, self._settings, self._chats

        self._work.beside(lambda: self.post_message(self.Listed(number, read_shelf(locations, settings, chats))))

    def on_library_screen_listed(self, event: Listed) -> None:
        """Show what was found, unless it was looked for again since."""
        event.stop()
        if event.number != self._asked:
            return
        first = self._shelf is None
        self._shelf = event.shelf
        empty = not event.shelf.entries
        for widget in (Filter, BookTable):
            self.query_one(widget).display = not empty
        self.query_one("#library-details").display = not empty
        self.query_one(Welcome).display = empty
        self.query_one(TitleBar).right = event.shelf.line
        self.query_one(TitleBar).refresh()
        self.refresh_bindings()
        self._fill()
        if empty:
            self.query_one("#story").focus()
            self._work.beside(lambda: self.post_message(self.Found(self._look(self._locations, self._settings))))
        elif first or not self.query_one(Filter).has_focus:
            self.query_one(BookTable).focus()

    def on_library_screen_found(self, event: Found) -> None:
        """Show what there is to read books with."""
        event.stop()
        found = Table.grid(padding=(0, 2))
        for fact in event.facts:
            found.add_row(fact.about, Text(one_line(fact.text)))
            if fact.mend:
                found.add_row("", Text(f"→ {one_line(fact.mend)}"))
        self.query_one("#library-found", Static).update(found)

    def on_resize(self, event: events.Resize) -> None:
        """Choose the columns for another width."""
        self._fill()

    def _fill(self) -> None:
        if self._shelf is None:
            return
        table = self.query_one(BookTable)
        before = self._under_bar()
        self._shown = matching(self._shelf.entries, self.query_one(Filter).value)
        columns = fitting(self._shown, self.size.width - table.scrollbar_size_vertical)
        table.clear(columns=True)
        for column, cells in columns:
            table.add_column(Text(column.name, justify="right" if column.right else "left"), width=cells)
        for entry in self._shown:
            table.add_row(*(cell(column, cells, entry) for column, cells in columns))
        names = [entry.standing.folder.name for entry in self._shown]
        if before and before.standing.folder.name in names:
            table.move_cursor(row=names.index(before.standing.folder.name))
        self._describe()

    def _under_bar(self) -> Entry | None:
        row = self.query_one(BookTable).cursor_row
        return self._shown[row] if 0 <= row < len(self._shown) else None

    def _describe(self) -> None:
        entry = self._under_bar()
        text = self._work.busy or (details(entry) if entry else "No book is called that: Esc shows all.")
        self.query_one("#library-details", Static).update(text)

    def on_data_table_row_highlighted(self, event: DataTable.RowHighlighted) -> None:
        """Say more about the book under the bar."""
        event.stop()
        self._describe()

    def on_data_table_row_selected(self, event: DataTable.RowSelected) -> None:
        """Open the book."""
        event.stop()
        entry = self._under_bar()
        if entry and (book := self._recorded(entry)):
            self.post_message(BookChosen(book))

    def _recorded(self, entry: Entry) -> Recorded | None:
        if entry.recorded is None:
            text = "Its state does not tell which file it was made from. Press o and choose the file again."
            self.notify(text, title=entry.title, severity="warning", markup=False)
        return entry.recorded

    # -- filter ------------------------------------------------------------------------------------------------------

    def on_input_changed(self, event: Input.Changed) -> None:
        """Filter while it is typed."""
        event.stop()
        self._fill()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Go from the filter to the books."""
        event.stop()
        self.action_to_books()

    def action_filter(self) -> None:
        """Stand in the filter."""
        if self.query_one(Filter).display:
            self.query_one(Filter).focus()

    def action_to_books(self) -> None:
        """Go to the books."""
        self.query_one(BookTable).focus()

    def action_clear_filter(self) -> None:
        """Show all books."""
        self.query_one(Filter).value = ""
        self.action_to_books()

    # -- opening and reading -----------------------------------------------------------------------------------------

    def action_story(self) -> None:
        """Open the story."""
        self.post_message(BookChosen(self._story))

    def action_open_file(self) -> None:
        """Ask for a file and open it."""

        def chosen(path: Path | None) -> None:
            if path is not None:
                self.post_message(BookChosen(path))

        self.app.push_screen(OpenFile(self._folder), chosen)

    def on_button_pressed(self, event: Button.Pressed) -> None:
        """Do what the welcome offers."""
        event.stop()
        if event.button.id == "story":
            self.action_story()
        else:
            self.action_open_file()

    def action_read(self) -> None:
        """Go on reading the book under the bar, or read it again."""
        entry = self._under_bar()
        if entry is None:
            return
        match entry.standing.status:
            case "ready":
                self.notify("It has been read. Enter opens it at once.", title=entry.title, markup=False)
            case "reading":
                self._refuse(entry)
            case "partial" | "outdated":
                if book := self._recorded(entry):
                    self.post_message(ReadingWanted(book))

    # -- verifying and deleting --------------------------------------------------------------------------------------

    def action_verify(self) -> None:
        """Check every byte of the state under the bar, beside the screen."""
        entry = self._free()
        if entry is not None:
            self._work.verify(entry.title, entry.standing.folder)
            self._describe()

    def action_delete(self) -> None:
        """Ask, then delete the state under the bar."""
        entry = self._free()
        if entry is None:
            return
        room = size(entry.aside_bytes)
        more = f" and what was set aside of it ({len(entry.aside)}, {room})" if entry.aside else ""
        text = f"Delete the state of {entry.title}, {size_text(entry)}{more}?"
        text += " The book's file and the chats about it stay."

        def answered(sure: bool | None) -> None:
            if sure:
                self._work.delete(entry.title, [entry.standing.folder, *entry.aside])
                self._describe()

        self.app.push_screen(Confirm(text, "Delete"), answered)

    def _free(self) -> Entry | None:
        """Return the book under the bar if something can be done with it now."""
        entry = self._under_bar()
        if self._work.busy:
            self.notify(self._work.busy, title="One thing at a time", severity="warning", markup=False)
            return None
        if entry is not None and entry.standing.status == "reading":
            self._refuse(entry)
            return None
        return entry

    def _refuse(self, entry: Entry) -> None:
        text = f"It is {status_text(entry)}. Stop that one first, or wait until it is done."
        self.notify(text, title=entry.title, severity="warning", markup=False)

    def _work_ended(self, changed: bool) -> None:
        """Go on with what there is after something was checked or deleted."""
        self._describe()
        if changed:
            self.action_look_again()

"""The library: every book that was read, what its state is good for, and what can be done with it.

With no book yet it says what was found on this machine and offers a story to try.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import ClassVar

from rich.cells import cell_len, set_cell_size
from rich.table import Table
from rich.text import Text
from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.message import Message
from textual.screen import ModalScreen, Screen
from textual.widgets import Button, DataTable, Footer, Input, OptionList, Static

from cagchat.engine.fastpath import processor_name
from cagchat.errors import CagchatError, ModelError, StateError
from cagchat.files import storage_error
from cagchat.locations import Locations
from cagchat.models.find import resolve_model
from cagchat.models.gguf import read_header
from cagchat.proof import size
from cagchat.sessions.naming import one_line
from cagchat.sessions.session import Session
from cagchat.settings import Settings
from cagchat.states.store import StateFolder, States, fold
from cagchat.states.upkeep import Remembered, Standing, aside, reader_of, standing, verify
from cagchat.tui.dialogs import Confirm
from cagchat.tui.title_bar import TitleBar

MODELS_FILE = "models.json"  # what the backend remembers of model files
GAP = 2  # cells that the table adds to each column
WITH_BOOKS = ("filter", "read", "verify", "delete")
MAX_ENTRIES = 500  # of a folder, as many as anybody looks through

WELCOME = "Open a book: a model on this machine reads it once, and then answers every question about it at once."

LastChats = Callable[[], Sequence[Session]]


# -- what is shown -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Fact:
    """Something that was found on this machine; `mend` says what to do where it is not enough."""

    about: str
    text: str
    mend: str = ""


@dataclass(frozen=True, slots=True)
class Entry:
    """A book on the shelf and the last chat about it."""

    standing: Standing
    chat: Session | None = None

    @property
    def title(self) -> str:
        """The book's title; of a state that tells none, its folder's name."""
        manifest = self.standing.manifest
        return one_line(manifest.book.title if manifest else "") or self.standing.folder.name

    @property
    def path(self) -> Path | None:
        """The book's file, None when the state does not tell."""
        manifest = self.standing.manifest
        return Path(manifest.book.path) if manifest else None


@dataclass(frozen=True, slots=True)
class Shelf:
    """Everything the library shows, the last used book first; `used_bytes` counts what was set aside too."""

    entries: tuple[Entry, ...] = ()
    used_bytes: int = 0
    budget_bytes: int = 0

    @property
    def line(self) -> str:
        """What the states take, against the budget."""
        over = ", over the budget" if self.used_bytes > self.budget_bytes else ""
        return f"{size(self.used_bytes)} used of {size(self.budget_bytes)}{over}"


def read_shelf(locations: Locations, settings: Settings, chats: LastChats) -> Shelf:
    """Look at every saved state, and at the chats for the last one about each book."""
    states, models = States(locations.states), Remembered.read(locations.cache / MODELS_FILE)
    last: dict[str, Session] = {}
    for chat in sorted(chats(), key=lambda chat: chat.updated_at):
        last[chat.book_digest] = chat
    entries = []
    for folder in states.all():
        found = standing(folder, models, settings.instructions)
        entries.append(Entry(found, last.get(found.manifest.book.digest) if found.manifest else None))
    used = sum(entry.standing.size_bytes for entry in entries) + sum(each.size_bytes for each in aside(states))
    return Shelf(tuple(entries), used, int(settings.disk_budget_gb * 1e9))


def look_around(locations: Locations, settings: Settings) -> tuple[Fact, ...]:
    """Say what there is to read books with: processor, memory, a model, and where things are kept."""
    cores = os.cpu_count() or 1
    return (
        Fact("processor", f"{processor_name()}, {cores} {'core' if cores == 1 else 'cores'}"),
        Fact("memory", memory_text()),
        model_fact(locations, settings),
        Fact("saved in", str(locations.data)),
        Fact("settings", str(locations.config_file)),
    )


def memory_text() -> str:
    """Return how much memory there is, in words."""
    try:
        return size(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    except (AttributeError, OSError, ValueError):
        return "this system does not say how much"


def model_fact(locations: Locations, settings: Settings) -> Fact:
    """Say which model would read a book, or how to get one."""
    try:
        header = read_header(resolve_model(settings.model, locations.models))
    except ModelError as error:
        return Fact("model", error.message, error.hint)
    context = f", context {header.context_length:,} tokens" if header.context_length else ""
    return Fact("model", f"{header.name}, {size(header.size_bytes)}{context}")


# -- columns -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Column:
    """A column of the table: what it says of a book, and between which widths it may be."""

    name: str
    text: Callable[[Entry], str]
    least: int
    most: int
    right: bool = False

    def wanted(self, entries: Sequence[Entry]) -> int:
        """Return the width at which nothing of these books is cut, within the limit."""
        return min(self.most, max([cell_len(self.name), *(cell_len(self.text(entry)) for entry in entries)]))


def status_text(entry: Entry) -> str:
    """Return what the state is good for."""
    return one_line(entry.standing.text)


def tokens_text(entry: Entry) -> str:
    """Return the size of the book in tokens."""
    manifest = entry.standing.manifest
    return f"{manifest.n_tokens:,}" if manifest else ""


def size_text(entry: Entry) -> str:
    """Return the size of the state on disk."""
    return size(entry.standing.size_bytes)


def model_text(entry: Entry) -> str:
    """Return the model that read the book, and how its cache is stored."""
    manifest = entry.standing.manifest
    return one_line(f"{manifest.model_name} {manifest.key.kv_type}") if manifest else ""


def chat_text(entry: Entry) -> str:
    """Return when the last chat was, and its title."""
    return f"{moment(entry.chat.updated_at)} {one_line(entry.chat.title)}" if entry.chat else ""


def moment(seconds: float) -> str:
    """Return a time as a reader's clock and calendar show it."""
    return f"{datetime.fromtimestamp(seconds).astimezone():%Y-%m-%d %H:%M}"


# In the order in which they stand; where there is no room the last ones go first, the title never.
TITLE = Column("Title", lambda entry: entry.title, 20, 60)
COLUMNS = (
    Column("Status", status_text, 19, 60),
    Column("Tokens", tokens_text, 11, 11, right=True),
    Column("Size", size_text, 8, 8, right=True),
    Column("Model", model_text, 14, 40),
    Column("Last chat", chat_text, 16, 60),
)


def fitting(entries: Sequence[Entry], width: int) -> list[tuple[Column, int]]:
    """Return the columns that fit into a width at their least, with their own widths; what is left goes to the first.

    The table is never wider than `width` while that is 3 or more.
    """
    taken = [(column, column.wanted(entries)) for column in (TITLE, *COLUMNS)]
    least = [min(column.least, wanted) for column, wanted in taken]
    while len(least) > 1 and sum(least) + GAP * len(least) > width:
        least.pop()
    least[0] = max(1, min(least[0], width - GAP)) if len(least) == 1 else least[0]
    spare = max(0, width - sum(least) - GAP * len(least))
    columns = []
    for (column, wanted), cells in zip(taken, least, strict=False):
        more = min(spare, max(0, wanted - cells))
        spare -= more
        columns.append((column, cells + more))
    return columns


def cut(text: str, cells: int) -> str:
    """Return a text in at most so many cells, with an ellipsis where it was longer."""
    return text if cell_len(text) <= cells else set_cell_size(text, max(0, cells - 1)).rstrip() + "…"


def matching(entries: Iterable[Entry], query: str) -> list[Entry]:
    """Return the books of which every word of a query is in the title, author, model, status or last chat."""
    words = fold(query).split()
    return [entry for entry in entries if all(word in fold(searched(entry)) for word in words)]


def searched(entry: Entry) -> str:
    """Return everything about a book that a filter looks at."""
    author = entry.standing.manifest.book.author if entry.standing.manifest else ""
    return " ".join((entry.title, author, model_text(entry), status_text(entry), chat_text(entry)))


def details(entry: Entry) -> str:
    """Return what the table may have no room for: author, the whole status, the last chat, and the file."""
    manifest, path = entry.standing.manifest, entry.path or entry.standing.folder.path
    author = one_line(manifest.book.author) if manifest else ""
    figures = " tokens, ".join(filter(None, (tokens_text(entry), size_text(entry))))
    lines = (
        (entry.title, author),
        (status_text(entry), figures),
        (f"last chat {chat_text(entry)}" if entry.chat else "", one_line(str(path))),
    )
    return "\n".join(" · ".join(filter(None, line)) for line in lines)


# -- opening another file ----------------------------------------------------------------------------------------------


def expanded(text: str, folder: Path) -> Path:
    """Return the path that was typed, a relative one below `folder`."""
    try:
        return folder / Path(text).expanduser()
    except RuntimeError:  # "~nobody": then it is a name
        return folder / text


def completions(text: str, folder: Path) -> list[str]:
    """Return the ways a typed path can go on, folders (with a slash) first; hidden names only when asked for."""
    head, slash, tail = text.rpartition("/")
    try:
        with os.scandir(expanded(head + slash, folder)) as found:
            names = [(not entry.is_dir(), entry.name) for entry in found if starts(entry.name, tail)]
    except (OSError, ValueError):
        return []
    return [f"{head}{slash}{name}{'' if is_file else '/'}" for is_file, name in sorted(names)[:MAX_ENTRIES]]


def starts(name: str, typed: str) -> bool:
    """Tell whether a name goes on from what was typed, whatever the case."""
    return name.lower().startswith(typed.lower()) and (typed.startswith(".") or not name.startswith("."))


class OpenFile(ModalScreen[Path | None]):
    """Asks for a book's file: type its path, Tab completes; or choose below. None when it was left."""

    HELP = """\
## Open a book

Type a path; **Tab** takes the first name below, **Down** goes into the list. **Enter** opens a file or looks into a
folder, **Esc** goes back.
"""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "dismiss(None)", "Back"),
        Binding("tab", "complete", "Complete", priority=True),
        Binding("down", "enter_list", "List", show=False),
    ]

    DEFAULT_CSS = """
    OpenFile {
        align: center middle;
        & > Vertical {
            width: 80; max-width: 96%; height: 80%; padding: 0 1; border: round $accent; background: $surface;
        }
        Input { border: none; height: 1; padding: 0; background: $panel; }
        OptionList { height: 1fr; border: none; padding: 0; background: transparent; scrollbar-size-vertical: 1; }
        #open-note { height: auto; }
    }
    """

    class Listed(Message):
        """A folder was read."""

        def __init__(self, text: str, names: Sequence[str]) -> None:
            super().__init__()
            self.text = text
            self.names = names

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._folder = folder
        self._names: list[str] = []

    def compose(self) -> ComposeResult:
        """Lay out the path, the list, and what is wrong."""
        with Vertical() as box:
            box.border_title = "Open a book"
            yield Input(placeholder="path of a text or Markdown file", compact=True)
            yield OptionList(markup=False)
            yield Static(one_line(str(self._folder)), id="open-note", markup=False)

    def on_mount(self) -> None:
        """Show the present folder."""
        self._list("")

    def _list(self, text: str) -> None:
        folder = self._folder
        in_background(lambda: self.post_message(self.Listed(text, completions(text, folder))))

    def on_open_file_listed(self, event: Listed) -> None:
        """Show how the path can go on, unless it has changed since."""
        event.stop()
        if event.text == self.query_one(Input).value:
            self._names = list(event.names)
            listed = self.query_one(OptionList)
            listed.clear_options()
            listed.add_options([Content(one_line(name)) for name in self._names])

    def on_input_changed(self, event: Input.Changed) -> None:
        """List while it is typed."""
        event.stop()
        self._list(event.value)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Take the path."""
        event.stop()
        self._choose(event.value)

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Take the name that was chosen."""
        event.stop()
        self._choose(self._names[event.option_index])

    def _choose(self, text: str) -> None:
        path = expanded(text, self._folder)
        if path.is_dir():
            self._write(text if not text or text.endswith("/") else f"{text}/")
        elif path.is_file():
            self.dismiss(path)
        else:
            self.query_one("#open-note", Static).update(f"There is no file at {one_line(str(path))}.")

    def _write(self, text: str) -> None:
        line = self.query_one(Input)
        line.value = text
        line.cursor_position = len(text)
        line.focus()

    def action_complete(self) -> None:
        """Take the first name, or the one under the bar."""
        if self._names:
            self._write(self._names[self.query_one(OptionList).highlighted or 0])

    def action_enter_list(self) -> None:
        """Go from the path into the list."""
        listed = self.query_one(OptionList)
        if self._names:
            listed.focus()
            listed.highlighted = listed.highlighted or 0


# -- the screen --------------------------------------------------------------------------------------------------------


class BookChosen(Message):
    """A book is to be opened."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path


class ReadingWanted(Message):
    """A book is to be read now, on from where its reading stopped or again, because its state is not ready."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path


class BookTable(DataTable[Text]):
    """The books."""

    HELP = """\
## Your books

**Enter** opens the one under the bar: at once when it is ready, else it is read first.

- **r** goes on reading one that was interrupted, or reads one again
- **v** checks every byte of its state, **d** deletes the state; file and chats stay
- **/** filters, **o** opens another file, **s** the story to try, **F5** looks again
"""


class Filter(Input):
    """What the books are filtered by."""

    HELP = """\
## Filter

Type parts of titles, authors, models, states or chats. **Enter** or **Down** goes to the books, **Esc** shows all.
"""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("down", "screen.to_books", "Books", show=False),
        Binding("escape", "screen.clear_filter", "All books", show=False),
    ]


class Welcome(VerticalScroll):
    """What was found, and what to begin with."""

    HELP = """\
## Welcome

**s** opens a short story that comes with the program, **o** a file of your own. A book is read once; that takes a
while, can be stopped and goes on where it stopped. From then on questions are answered at once.
"""


class LibraryScreen(Screen[None]):
    """Lists the books and posts `BookChosen` and `ReadingWanted`; what takes long runs beside it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("slash", "filter", "Filter", id="library.filter", key_display="/"),
        Binding("o", "open_file", "Open a file", id="library.open"),
        Binding("r", "read", "Read", id="library.read"),
        Binding("v", "verify", "Verify", id="library.verify"),
        Binding("d,delete", "delete", "Delete", id="library.delete"),
        Binding("s", "story", "Story", id="library.story"),
        Binding("f5", "look_again", "Look again", show=False, id="library.refresh"),
    ]

    DEFAULT_CSS = """
    LibraryScreen {
        Filter { border: none; height: 1; padding: 0 1; background: $panel; }
        BookTable { height: 1fr; background: transparent; scrollbar-size-vertical: 1; overflow-x: hidden; }
        #library-details { height: 3; padding: 0 1; background: $panel; text-wrap: nowrap; text-overflow: ellipsis; }
        Welcome { height: 1fr; padding: 1 2; }
        Welcome Static { height: auto; margin-bottom: 1; }
        Welcome Horizontal { height: auto; }
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

    class Reported(Message):
        """Something that took long is done; `changed` says that the library is another now."""

        def __init__(self, title: str, text: str, *, bad: bool = False, changed: bool = False) -> None:
            super().__init__()
            self.title = title
            self.text = text
            self.bad = bad
            self.changed = changed

    def __init__(
        self,
        locations: Locations,
        settings: Settings,
        story: Path,
        *,
        chats: LastChats = tuple,
        look: Callable[[Locations, Settings], Sequence[Fact]] = look_around,
        check: Callable[[StateFolder], tuple[str, ...]] = verify,
        delete: Callable[[States, StateFolder], int] = States.delete,
        folder: Path | None = None,
    ) -> None:
        """`story` is the file to try; `chats` returns all there are; `folder` is where relative paths begin.

        `chats`, `look`, `check` and `delete` are called from other threads and may raise `CagchatError`.
        """
        super().__init__()
        self._locations = locations
        self._settings = settings
        self._story = story
        self._chats = chats
        self._look = look
        self._check = check
        self._delete = delete
        self._folder = folder or Path.cwd()
        self._shelf: Shelf | None = None
        self._shown: list[Entry] = []
        self._asked = 0
        self._busy = ""

    def compose(self) -> ComposeResult:
        """Lay out the books, or the welcome in their stead."""
        yield TitleBar("Library")
        yield Filter(placeholder="/ filter", compact=True)
        yield BookTable(cursor_type="row", zebra_stripes=False)
        yield Static(id="library-details", markup=False)
        with Welcome():
            yield Static(WELCOME, markup=False)
            yield Static("Looking around …", id="library-found", markup=False)
            with Horizontal():
                yield Button("Try the story (s)", id="story", variant="primary")
                yield Button("Open a file (o)", id="open")
        yield Footer()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Offer what is done with a book only where there are books."""
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

        self._beside(lambda: self.post_message(self.Listed(number, read_shelf(locations, settings, chats))))

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
            self._beside(lambda: self.post_message(self.Found(self._look(self._locations, self._settings))))
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
        text = self._busy or (details(entry) if entry else "No book is called that: Esc shows all.")
        self.query_one("#library-details", Static).update(text)

    def on_data_table_row_highlighted(self, event: DataTable.RowHighlighted) -> None:
        """Say more about the book under the bar."""
        event.stop()
        self._describe()

    def on_data_table_row_selected(self, event: DataTable.RowSelected) -> None:
        """Open the book."""
        event.stop()
        entry = self._under_bar()
        if entry and (path := self._path_of(entry)):
            self.post_message(BookChosen(path))

    def _path_of(self, entry: Entry) -> Path | None:
        if entry.path is None:
            text = "Its state does not tell which file it was made from. Press o and choose the file again."
            self.notify(text, title=entry.title, severity="warning", markup=False)
        return entry.path

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
                if path := self._path_of(entry):
                    self.post_message(ReadingWanted(path))

    # -- verifying and deleting --------------------------------------------------------------------------------------

    def action_verify(self) -> None:
        """Check every byte of the state under the bar, beside the screen."""
        entry = self._free()
        if entry is None:
            return
        title, folder, check = entry.title, entry.standing.folder, self._check

        def work() -> None:
            if reader_of(folder) is not None:
                raise StateError(f"{folder.name} is being read by another process.", "Verify it when that is done.")
            problems = check(folder)
            if problems:
                text = "\n".join((*problems, "Open the book: the state is set aside and the book is read again."))
                self.post_message(self.Reported(f"{title} is damaged", text, bad=True))
            else:
                self.post_message(self.Reported(title, "Every byte of its state is as it was written."))

        self._begin(f"Checking every byte of {title} …", work)

    def action_delete(self) -> None:
        """Ask, then delete the state under the bar."""
        entry = self._free()
        if entry is None:
            return
        text = f"Delete the state of {entry.title}, {size_text(entry)}? The book's file and the chats about it stay."

        def answered(sure: bool | None) -> None:
            if sure:
                self._delete_now(entry)

        self.app.push_screen(Confirm(text, "Delete"), answered)

    def _delete_now(self, entry: Entry) -> None:
        states, folder, delete, title = States(self._locations.states), entry.standing.folder, self._delete, entry.title

        def work() -> None:
            freed = delete(states, folder)
            self.post_message(self.Reported(title, f"Its state is deleted: {size(freed)} freed.", changed=True))

        self._begin(f"Deleting {title} …", work)

    def _free(self) -> Entry | None:
        """Return the book under the bar if something can be done with it now."""
        entry = self._under_bar()
        if self._busy:
            self.notify(self._busy, title="One thing at a time", severity="warning", markup=False)
            return None
        if entry is not None and entry.standing.status == "reading":
            self._refuse(entry)
            return None
        return entry

    def _refuse(self, entry: Entry) -> None:
        text = f"It is {status_text(entry)}. Stop that one first, or wait until it is done."
        self.notify(text, title=entry.title, severity="warning", markup=False)

    def _begin(self, saying: str, work: Callable[[], None]) -> None:
        self._busy = saying
        self._describe()
        self._beside(work)

    def _beside(self, work: Callable[[], object]) -> None:
        """Run something that may take long; an error is reported."""

        def run() -> None:
            try:
                work()
            except CagchatError as error:
                self.post_message(self.Reported("That failed", said(error), bad=True))
            except OSError as error:
                refused = storage_error(error, Path(error.filename or self._locations.data))
                self.post_message(self.Reported("That failed", said(refused), bad=True))

        in_background(run)

    def on_library_screen_reported(self, event: Reported) -> None:
        """Say how it went."""
        event.stop()
        self._busy = ""
        self._describe()
        self.notify(event.text, title=event.title, severity="error" if event.bad else "information", markup=False)
        if event.changed:
            self.action_look_again()


def cell(column: Column, cells: int, entry: Entry) -> Text:
    """Return what a column says of a book, in so many cells."""
    return Text(cut(column.text(entry), cells), justify="right" if column.right else "left", no_wrap=True)


def said(error: CagchatError) -> str:
    """Return an error's sentence and what to do."""
    return f"{error.message}\n{error.hint}".rstrip()


def in_background(work: Callable[[], object]) -> None:
    """Run on a thread that does not keep the program from ending, as those of Textual's workers do."""
    threading.Thread(target=work, name="library", daemon=True).start()

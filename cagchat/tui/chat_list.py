"""The chats about the open book: found by their titles and words, continued, renamed, deleted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.message import Message
from textual.widgets import Input, OptionList
from textual.widgets.option_list import Option

from cagchat.errors import CagchatError
from cagchat.sessions.naming import one_line
from cagchat.sessions.session import Session
from cagchat.tui.background import in_background
from cagchat.tui.cells import cut
from cagchat.tui.chosen import ChangingList
from cagchat.tui.figure_lines import filled

NEW = "new"
INDENT = 2  # cells: the mark of the open chat stands there
PASSAGE_ROWS = 3
LEAST_WIDTH = 20  # before the list has a size
MOST_ROWS = 200  # a search finds the others; a list of thousands takes a third of a second to lay out


@dataclass(frozen=True, slots=True)
class Row:
    """A chat in the list, and the passage by which a search found it; `by_title` when its title says the same."""

    session: Session
    passage: str = ""
    by_title: bool = False


class ChatList(Vertical):
    """A search field over a list of chats."""

    HELP = """\
## Chats about this book

Type to search their titles and words, **Enter** goes on with one. Deleting one overwrites it on the disk.
"""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("f2,r", "rename", "Rename", id="chats.rename"),
        Binding("delete,d", "delete", "Delete", id="chats.delete"),
        Binding("slash", "search", "Search", id="chats.search", key_display="/"),
    ]

    DEFAULT_CSS = """
    ChatList {
        width: 28;
        border-right: vkey $panel;
        Input { height: 1; background: $panel; &.-textual-compact { padding: 0 1; } }
        OptionList:focus { border: none; }
        OptionList { height: 1fr; border: none; padding: 0 0 0 1; background: transparent; scrollbar-size-vertical: 1; }
    }
    """

    class Chosen(Message):
        """A chat is to be continued; None for a new one."""

        def __init__(self, session: Session | None) -> None:
            super().__init__()
            self.session = session

    class RenameWanted(Message):
        """A chat is to get another title."""

        def __init__(self, session: Session) -> None:
            super().__init__()
            self.session = session

    class DeleteWanted(Message):
        """A chat is to be deleted."""

        def __init__(self, session: Session) -> None:
            super().__init__()
            self.session = session

    class Listed(Message):
        """The chats were looked through; `error` says why they could not be."""

        def __init__(self, number: int, query: str, rows: Sequence[Row], error: CagchatError | None) -> None:
            super().__init__()
            self.number = number
            self.query = query
            self.rows = rows
            self.error = error

    class Refused(Message):
        """The chats could not be looked through."""

        def __init__(self, error: CagchatError) -> None:
            super().__init__()
            self.error = error

    def __init__(self, find: Callable[[str], Sequence[Row]]) -> None:
        """`find` returns the chats for what is typed, all of them for "", the last used first.

        It is called from another thread, one call at a time, and may raise `CagchatError`.
        """
        super().__init__(id="chats")
        self._find = find
        self._rows: Sequence[Row] = ()
        self._rows_of: str | None = None  # what was typed when they were found
        self._asked = 0
        self._looking = False
        self._entering = False  # the list is to be entered as soon as it is that of what is typed
        self._current: str | None = None

    def compose(self) -> ComposeResult:
        """Lay out search and list."""
        yield Input(placeholder="/ search chats", compact=True)
        yield ChangingList()

    def on_mount(self) -> None:
        """Fill the list."""
        self.refill()

    def on_resize(self, event: events.Resize) -> None:
        """Fit the titles to another width."""
        self.call_after_refresh(self._list)

    def refill(self, current: str | None = None) -> None:
        """Read the chats anew; `current` is the id of the one that is open."""
        self._current = current or self._current
        self._fill()

    def forget_current(self) -> None:
        """Note that a new chat is open, which is in no list yet."""
        self._current = None
        self._fill()

    @property
    def typed(self) -> str:
        """What is looked for."""
        return self.query_one(Input).value.strip()

    def _fill(self) -> None:
        self._asked += 1
        if not self._looking:
            self._look()

    def _look(self) -> None:
        """Look for what is typed now, beside the screen: another process may hold the chats."""
        self._looking = True
        number, query, find = self._asked, self.typed, self._find

        def work() -> None:
            rows: Sequence[Row] = ()
            error = None
            try:
                rows = find(query)
            except CagchatError as refused:
                error = refused
            self.post_message(self.Listed(number, query, rows, error))

        in_background(work)

    def on_chat_list_listed(self, event: Listed) -> None:
        """Show what was found, or look again when something else was asked for meanwhile."""
        event.stop()
        self._looking = False
        if event.number != self._asked:
            self._look()
            return
        if event.error is not None:
            self.post_message(self.Refused(event.error))
        self._rows, self._rows_of = event.rows, event.query
        self._list()
        if self._entering:
            self._enter()

    def _list(self) -> None:
        listed = self.query_one(OptionList)
        kept, under_bar = listed.highlighted, listed.highlighted_option
        width = listed.scrollable_content_region.width or LEAST_WIDTH
        listed.clear_options()
        listed.add_option(Option("+ new chat", id=NEW))
        shown = self._rows[:MOST_ROWS]
        listed.add_options(
            [Option(label(row, width, row.session.id == self._current), id=row.session.id) for row in shown]
        )
        if more := len(self._rows) - len(shown):
            said = Content.styled(f"{'':<{INDENT}}{more:,} more: / finds them", "dim")
            listed.add_option(Option(said, disabled=True))
        if kept is not None and under_bar is not None:
            ids = [NEW, *(row.session.id for row in shown)]
            # Where the chat under the bar has gone, the next one takes its row.
            listed.highlighted = ids.index(under_bar.id) if under_bar.id in ids else min(kept, len(shown))

    @property
    def highlighted(self) -> Session | None:
        """The chat under the bar."""
        option = self.query_one(OptionList).highlighted_option
        return self._chat(option.id) if option is not None else None

    def _chat(self, session_id: str | None) -> Session | None:
        return next((row.session for row in self._rows if row.session.id == session_id), None)

    def on_input_changed(self, event: Input.Changed) -> None:
        """Search while it is typed."""
        event.stop()
        self._entering = False
        self._fill()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Go from the search to what it found, as soon as it has."""
        event.stop()
        self._entering = self._rows_of != self.typed
        if not self._entering:
            self._enter()

    def _enter(self) -> None:
        self._entering = False
        listed = self.query_one(OptionList)
        listed.highlighted = min(1, len(self._rows))
        listed.focus()

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Continue the chat that was chosen."""
        event.stop()
        session = self._chat(event.option_id)
        if session is not None or event.option_id == NEW:
            self.post_message(self.Chosen(session))

    def action_search(self) -> None:
        """Stand in the search field."""
        self.query_one(Input).focus()

    def action_rename(self) -> None:
        """Ask for the chat under the bar to be renamed."""
        if (session := self.highlighted) is not None:
            self.post_message(self.RenameWanted(session))

    def action_delete(self) -> None:
        """Ask for the chat under the bar to be deleted."""
        if (session := self.highlighted) is not None:
            self.post_message(self.DeleteWanted(session))


def label(row: Row, width: int, is_open: bool) -> Content:
    """Return what the list shows of a chat: its title on one row, below it the passage, dim and hanging."""
    room = max(1, width - INDENT)
    title = one_line(row.session.title)
    shown = cut(title, room)
    passage = row.passage
    if row.by_title:  # what was found may be where the title is cut
        passage = f"…{title[len(shown) - 1 :].lstrip()}" if shown != title else ""
    rows = filled(passage, room) if passage else []
    if len(rows) > PASSAGE_ROWS:
        rows = [*rows[: PASSAGE_ROWS - 1], f"{rows[PASSAGE_ROWS - 1]} {rows[PASSAGE_ROWS]}"]
    below = "".join(f"\n{'':<{INDENT}}{cut(each, room)}" for each in rows)
    return Content(f"{'●' if is_open else ' ':<{INDENT}}{shown}") + Content.styled(below, "dim")

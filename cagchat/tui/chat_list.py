"""The chats about the open book: found by their titles and words, continued, renamed, deleted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.message import Message
from textual.widgets import Input, OptionList
from textual.widgets.option_list import Option

from cagchat.sessions.session import Session

NEW = "new"


@dataclass(frozen=True, slots=True)
class Row:
    """A chat in the list, and the passage by which a search found it."""

    session: Session
    passage: str = ""


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
        Input { border: none; height: 1; padding: 0 1; background: $panel; }
        OptionList:focus { border: none; }
        OptionList { height: 1fr; border: none; padding: 0; background: transparent; scrollbar-size-vertical: 1; }
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

    def __init__(self, find: Callable[[str], Sequence[Row]]) -> None:
        """`find` returns the chats for what is typed, all of them for "", the last used first."""
        super().__init__(id="chats")
        self._find = find
        self._rows: list[Row] = []
        self._current: str | None = None

    def compose(self) -> ComposeResult:
        """Lay out search and list."""
        yield Input(placeholder="/ search chats", compact=True)
        yield OptionList()

    def on_mount(self) -> None:
        """Fill the list."""
        self.refill()

    def refill(self, current: str | None = None) -> None:
        """Read the chats anew; `current` is the id of the one that is open."""
        self._current = current or self._current
        self._fill()

    def forget_current(self) -> None:
        """Note that a new chat is open, which is in no list yet."""
        self._current = None
        self._fill()

    def _fill(self) -> None:
        listed = self.query_one(OptionList)
        kept = listed.highlighted
        self._rows = list(self._find(self.query_one(Input).value.strip()))
        listed.clear_options()
        listed.add_option(Option("+ new chat", id=NEW))
        listed.add_options([Option(self._label(row), id=row.session.id) for row in self._rows])
        if kept is not None and kept < listed.option_count:
            listed.highlighted = kept

    def _label(self, row: Row) -> Content:
        mark = "●" if row.session.id == self._current else " "
        return Content(f"{mark} {row.session.title}" + (f"\n  {row.passage}" if row.passage else ""))

    @property
    def highlighted(self) -> Session | None:
        """The chat under the bar."""
        at = self.query_one(OptionList).highlighted
        return self._rows[at - 1].session if at else None

    def on_input_changed(self, event: Input.Changed) -> None:
        """Search while it is typed."""
        event.stop()
        self._fill()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Go from the search to what it found."""
        event.stop()
        listed = self.query_one(OptionList)
        listed.highlighted = min(1, listed.option_count - 1)
        listed.focus()

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Continue the chat that was chosen."""
        event.stop()
        found = [row.session for row in self._rows if row.session.id == event.option_id]
        self.post_message(self.Chosen(found[0] if found else None))

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

"""The book beside a chat: its text, the pane that shows it, and where its reader is, as it is remembered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from cagchat.errors import CagchatError
from cagchat.tui.error_card import ErrorCard
from cagchat.tui.reader import ReaderPane

if TYPE_CHECKING:
    from cagchat.documents.document import Document
    from cagchat.remembered import Place, Remembered
    from cagchat.tui.chat_screen import ChatScreen


class BookBeside:
    """Shows and hides the book of the chat on a screen, and remembers the reader's place in it."""

    def __init__(self, screen: ChatScreen, remembered: Remembered) -> None:
        self._screen = screen
        self._remembered = remembered
        self._digest = screen.book.manifest.book.digest

    @property
    def place(self) -> Place:
        """Where the reader is, the bookmarks, and the question that was being written."""
        return self._remembered.place(self._digest)

    def note(self, **changes: Any) -> None:
        """Change fields of the place; they are written with the next `save`."""
        self._remembered.remember(self._digest, replace(self.place, **changes))

    def save(self) -> None:
        """Write the place."""
        self._remembered.save()

    def leave(self, unasked: Sequence[str]) -> None:
        """Write the place; of questions that were sent and not asked yet the last is the draft, unless there is one."""
        texts = [*unasked, *filter(None, [self.place.draft])]
        if unasked:
            self.note(draft=texts.pop(), aside=(*self.place.aside, *texts))
        self.save()

    async def document(self) -> Document | None:
        """Return the book's text; None, and a card says why, when it cannot be read."""
        try:
            return self._screen.book.document
        except CagchatError as error:
            await self._screen.transcript.add(ErrorCard(error))
            return None

    async def show_or_hide(self, until: int | None) -> None:
        """Show the book, marked where the chat's knowledge ends (None: nowhere), or hide it and write the place."""
        screen = self._screen
        if panes := screen.query(ReaderPane):
            await panes.remove()
            screen.remove_class("-book")
            self.save()
            screen.prompt.focus()
        elif (document := await self.document()) is not None:
            pane = ReaderPane(document, position=self.place.position, bookmarks=self.place.bookmarks, limit=until)
            screen.add_class("-book")
            await screen.query_one("#body").mount(pane)
            pane.focus()

    async def show_passage(self, start: int, length: int, until: int | None) -> None:
        """Show the book at a passage, which is lit."""
        if not self._screen.query(ReaderPane):
            await self.show_or_hide(until)
        for pane in self._screen.query(ReaderPane):  # which knows its height after the next layout
            pane.call_after_refresh(pane.show, start, length)

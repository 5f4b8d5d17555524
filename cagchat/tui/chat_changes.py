"""Renaming and deleting chats from a screen, after asking and beside it: another process may be writing."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from cagchat.errors import CagchatError
from cagchat.tui.background import Latest, in_background
from cagchat.tui.dialogs import AskText, Confirm
from cagchat.tui.error_card import ErrorCard

if TYPE_CHECKING:
    from cagchat.sessions.session import Session
    from cagchat.sessions.store import Sessions
    from cagchat.tui.chat_screen import ChatScreen


class ChatChanges:
    """Changes chats and the list that shows them; a refusal becomes a card in the transcript."""

    def __init__(self, screen: ChatScreen, sessions: Sessions) -> None:
        self._screen = screen
        self._sessions = sessions
        self._latest = Latest(screen)

    def rename_open(self) -> None:
        """Ask for another title of the chat that is open."""
        self._with_open(self.rename)

    def delete_open(self) -> None:
        """Ask whether to delete the chat that is open."""
        self._with_open(self.delete)

    def _with_open(self, change: Callable[[Session], None]) -> None:
        """Begin a change of the open chat as it is recorded: its title and the number of its questions change."""
        if (opened := self._screen.session) is None:
            return

        async def begin(session: Session | None, error: CagchatError | None) -> None:
            if error is not None:
                self._screen.refuse(error)
            elif session is not None and self._is_open(session) and self._screen.is_current:
                change(session)  # nobody does anything else meanwhile

        self._latest.beside(partial(self._sessions.get, opened.id), begin)

    def rename(self, session: Session) -> None:
        """Ask for another title."""
        self._screen.app.push_screen(AskText("A title for this chat", session.title), partial(self._renamed, session))

    async def _renamed(self, session: Session, title: str | None) -> None:
        if title is not None and title != session.title:
            self._change(partial(self._sessions.rename, session.id, title))

    def delete(self, session: Session) -> None:
        """Ask whether to delete a chat, unless it is answering."""
        if self._screen.busy and self._is_open(session):
            self._screen.notify("It is still answering; Esc stops it.", markup=False)
            return
        count = f"{session.n_turns} question{'' if session.n_turns == 1 else 's'}"
        question = f'Delete "{session.title}" with {count}? Nothing of it is kept.'
        self._screen.app.push_screen(Confirm(question, "Delete"), partial(self._deleted, session))

    async def _deleted(self, session: Session, really: bool | None) -> None:
        if not really:
            return
        if self._is_open(session):
            await self._screen.go_to(None)
        self._change(partial(self._sessions.delete, session.id))

    def _is_open(self, session: Session) -> bool:
        return self._screen.session is not None and session.id == self._screen.session.id

    def _change(self, change: Callable[[], None]) -> None:
        """Change the chats; how that went is told by the app, because the screen may have been left by then."""
        app = self._screen.app

        def work() -> None:
            error = None
            try:
                change()
            except CagchatError as refused:
                error = refused
            app.call_later(self._changed, error)

        in_background(work)

    async def _changed(self, error: CagchatError | None) -> None:
        if self._screen.is_attached:
            if error is not None:
                await self._screen.transcript.add(ErrorCard(error))
            self._screen.chats.refill()
        elif error is not None:
            self._screen.app.notify(error.hint, title=error.message, severity="error", markup=False)

"""How far the chat on a screen knows the book: where to, what it costs, whether to, and a new chat for going back."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from cagchat.errors import CagchatError, Stopped, UsageError
from cagchat.limits.cost import Cost
from cagchat.limits.limit import Limit
from cagchat.tui.error_card import ErrorCard
from cagchat.tui.jobs import Knowing, LimitTo, Load, Weigh
from cagchat.tui.limit_dialogs import AskLimit, GoOn, Marks
from cagchat.tui.messages import Ended, Happened
from cagchat.tui.reader import ReaderPane
from cagchat.tui.rows import one_row

if TYPE_CHECKING:
    from cagchat.documents.document import Document
    from cagchat.sessions.session import Session
    from cagchat.tui.chat_screen import ChatScreen
    from cagchat.tui.desk import Desk


class LimitMoves:
    """Moves the limit of the chat on a screen, one move at a time; what comes of one that was left is not shown."""

    def __init__(self, screen: ChatScreen, desk: Desk) -> None:
        self.limit: Limit | None = None  # as the desk said last; None for the whole book
        self._screen = screen
        self._desk = desk
        self._job: Knowing | None = None

    def load(self, session: Session | None, limit: Limit | None = None) -> None:
        """Go on with a chat, or a new one; with a limit it knows the book up to there."""
        self._screen.prompt.known = None
        self._submit(Load(session, limit))

    @property
    def until(self) -> int | None:
        """Up to which character the chat knows the book; None for all of it."""
        return self.limit.offset if self.limit is not None else None

    def choose(self, document: Document, position: int, marks: Marks) -> None:
        """Ask for a place in the book and go there."""
        if self._may():
            self._screen.app.push_screen(AskLimit(document, position, marks), self._chosen)

    def to(self, limit: Limit) -> None:
        """Let the chat know the book up to a limit, when its cost is wanted too."""
        if self._may():
            self._submit(Weigh(limit))

    def happened(self, message: Happened) -> None:
        """Say what a limit costs; without any cost go there."""
        if message.job is self._job and isinstance(cost := message.event, Cost):
            if cost.to_read:
                self._screen.app.push_screen(GoOn(price(cost)), partial(self._priced, cost.limit))
            else:
                self._submit(LimitTo(cost.limit))

    async def ended(self, message: Ended) -> None:
        """Show how far the chat knows the book now, or why it did not get there."""
        job = message.job
        if job is not self._job:
            return
        self._job = None
        if message.error is None or isinstance(message.error, UsageError):
            self._show(message.limit)
        if message.error is not None:
            await self._failed(job, message.error)
        elif isinstance(job, LimitTo):
            self._screen.notify(f"The chat knows {known(message.limit)}.", markup=False)

    async def _failed(self, job: Knowing, error: CagchatError) -> None:
        limit = job.limit
        if isinstance(error, UsageError) and limit is not None:
            text = f"{error.message} A new chat can know {known(limit)} and no more."
            self._screen.app.push_screen(GoOn(text, "New chat"), partial(self._answered, limit))
        elif not isinstance(error, Stopped | UsageError) and not isinstance(job, Load):
            await self._screen.transcript.add(ErrorCard(error))  # of a chat that cannot be read its transcript tells

    def _chosen(self, limit: Limit | None) -> None:
        if limit is not None:
            self.to(limit)

    def _priced(self, limit: Limit, wanted: bool | None) -> None:
        if wanted:
            self._submit(LimitTo(limit))

    async def _answered(self, limit: Limit, wanted: bool | None) -> None:
        if wanted:
            await self._screen.go_to(None, limit)

    def _may(self) -> bool:
        if self._screen.busy:
            self._screen.notify("Still answering; Esc stops it.", markup=False)
        return not self._screen.busy

    def _submit(self, job: Knowing) -> None:
        self._job = job
        self._desk.submit(job, self._screen, self._screen.book)

    def _show(self, limit: Limit | None) -> None:
        self.limit = limit
        self._screen.prompt.known = one_row(limit.words) if limit is not None else ""
        for pane in self._screen.query(ReaderPane):
            pane.limit = self.until
        self._screen.refresh_bindings()


def known(limit: Limit | None) -> str:
    """Return what a chat with this limit knows, in words."""
    return f"the book up to {one_row(limit.words)}" if limit is not None else "the whole book"


def price(cost: Cost) -> str:
    """Say what going to a limit takes, before it is done."""
    count = "1 token" if cost.to_read == 1 else f"{cost.to_read:,} tokens"
    return f"Up to {one_row(cost.limit.words)}: before the next answer, {count} of the book are read again."

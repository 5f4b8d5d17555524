"""Looking up quotes beside the screen: those of recorded answers, and what makes the first look-up quick."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from textual.message import Message
from textual.message_pump import MessagePump

from cagchat.errors import CagchatError
from cagchat.tui.background import in_background

if TYPE_CHECKING:
    from cagchat.opened import OpenBook
    from cagchat.quotes.check import Checks
    from cagchat.tui.shown import Shown


class QuotesFound(Message, bubble=False):
    """The quotes of a recorded answer were looked up."""

    def __init__(self, shown: Shown, quotes: Checks) -> None:
        super().__init__()
        self.shown = shown
        self.quotes = quotes


class QuoteLookup:
    """One look-up at a time, on a thread that lives while there is something to look up."""

    def __init__(self, book: OpenBook, listener: MessagePump) -> None:
        """Tell `listener` of each answer by `QuotesFound`."""
        self._book = book
        self._listener = listener
        self._lock = threading.Lock()
        self._waiting: list[Shown] = []
        self._at_work = False
        self._prepared = False

    def prepare(self) -> None:
        """Have the book's words indexed, once: half a second for a long novel, while its first answer is made."""
        if not self._prepared:
            self._prepared = True
            in_background(self._prepare)

    def want(self, turns: Sequence[Shown]) -> None:
        """Look up the quotes of these answers, the first one first, in place of those that still wait."""
        with self._lock:
            self._waiting = list(turns)
            if self._at_work or not self._waiting:
                return
            self._at_work = True
        in_background(self._work)

    def _prepare(self) -> None:
        with suppress(CagchatError):  # a book that cannot be read is told where it is wanted
            self._book.quotes.prepare()

    def _work(self) -> None:
        while (shown := self._next()) is not None:
            try:
                quotes = self._book.quotes.check(shown.answer, until=shown.until)
            except CagchatError:  # the answers stay as they are recorded
                self.want(())
            else:
                self._listener.post_message(QuotesFound(shown, quotes))

    def _next(self) -> Shown | None:
        with self._lock:
            self._at_work = bool(self._waiting)
            return self._waiting.pop(0) if self._waiting else None

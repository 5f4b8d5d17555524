"""The transcript with its quotes looked up, those of recorded answers when they are shown."""

from __future__ import annotations

from collections.abc import Sequence

from cagchat.opened import OpenBook
from cagchat.quotes.check import Check
from cagchat.tui.quote_line import is_found
from cagchat.tui.quote_lookup import QuoteLookup, QuotesFound
from cagchat.tui.shown import Shown
from cagchat.tui.transcript import Transcript
from cagchat.tui.turn_view import TurnView


class CheckedTranscript(Transcript):
    """Has the book say something to every quote that is on the screen."""

    def __init__(self, book: OpenBook, greeting: str = "") -> None:
        super().__init__(greeting)
        self._lookup = QuoteLookup(book, self)
        self._number = -1

    async def show(self, turns: Sequence[Shown]) -> None:
        """Show a chat from its end; what was to be looked up of another one is not any more."""
        self._lookup.want(())
        await super().show(turns)

    async def begin(self, shown: Shown) -> TurnView:
        """Add a turn that is about to be answered; the look-up of its quotes is prepared meanwhile."""
        self._lookup.prepare()
        return await super().begin(shown)

    def settle(self, shown: Shown) -> None:
        """Note how the last turn ended; its first quote is the next one."""
        super().settle(shown)
        self._number = -1

    def next_quote(self) -> Check | None:
        """Return the next quote of the last answer that was looked up; None when none of them is in the book."""
        answered = [view.shown.quotes for view in self.views if view.shown.quotes is not None]
        found = [check for check in answered[-1].items if is_found(check)] if answered else []
        if not found:
            return None
        self._number = (self._number + 1) % len(found)
        return found[self._number]

    def on_transcript_unchecked(self, message: Transcript.Unchecked) -> None:
        """Look up the quotes of recorded answers that are shown."""
        message.stop()
        self._lookup.want(message.turns)

    async def on_quotes_found(self, message: QuotesFound) -> None:
        """Show them."""
        await self.show_quotes(message.shown, message.quotes)

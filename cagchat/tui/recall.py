"""The chat that is open, as it is recorded: read beside the screen, which another process must not hold, and shown."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from cagchat.errors import CagchatError
from cagchat.proof import recorded
from cagchat.sessions.session import Turn
from cagchat.tui.background import Latest, Then, beside
from cagchat.tui.error_card import ErrorCard
from cagchat.tui.shown import brief, of_turn

if TYPE_CHECKING:
    from cagchat.sessions.session import Session
    from cagchat.sessions.store import Sessions
    from cagchat.tui.chat_screen import ChatScreen


class Recall:
    """Shows the turns of one chat at a time; a chat that was chosen meanwhile wins."""

    def __init__(self, screen: ChatScreen, sessions: Sessions) -> None:
        self._screen = screen
        self._sessions = sessions
        self._latest = Latest(screen)
        self.early: list[str] = []  # what was sent before the chat was there

    async def show(self) -> None:
        """Show the chat that is open now as soon as it is read, and nothing until then."""
        session = self._screen.session
        self._latest.drop()
        while self.early:  # it was for a chat that is not shown any more
            self._screen.prompt.give_back(self.early.pop())
        await self.show_turns([], None)
        if session is not None:
            self._screen.draw(state="◌ opening")
            self._latest.beside(partial(self._sessions.turns, session.id), self._read)

    def read(self, session: Session | None, then: Then[Sequence[Turn]]) -> None:
        """Read the turns of a chat; a new one has none."""
        beside(self._screen, partial(self._sessions.turns, session.id) if session is not None else list, then)

    def holds(self, text: str) -> bool:
        """Tell whether what was sent has to wait until the chat is there, and keep it until then."""
        if self._latest.waits:
            self.early.append(text)
        return self._latest.waits

    async def _read(self, turns: Sequence[Turn] | None, error: CagchatError | None) -> None:
        self._screen.draw(state="● ready")
        await self.show_turns(turns or [], error)
        while self.early:
            await self._screen.send(self.early.pop(0))

    async def show_turns(self, turns: Sequence[Turn], error: CagchatError | None) -> None:
        """Show these turns, or why they cannot be read."""
        screen = self._screen
        screen.prompt.remember([turn.question for turn in turns])
        proof = recorded(turns[-1].proof) if turns else None
        screen.draw(
            proof=brief(proof) if proof else "",
            chat=proof.chat_tokens if proof else 0,
            speed=proof.tokens_per_s if proof else 0.0,
        )
        await screen.transcript.show([of_turn(turn) for turn in turns])
        if error is not None:
            await screen.transcript.add(ErrorCard(error))
        if screen.session is None:
            screen.chats.forget_current()
        else:
            screen.chats.refill(screen.session.id)
        screen.refresh_bindings()

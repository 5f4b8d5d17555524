"""What is done with an open book in the soak: scenes of a chat, in which every answer is checked.

A scene always begins with a chat of its own and says the same, so that its answers at temperature 0 must be those of
the first time, whatever was done before it and in whichever process.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass

from cagchat.conversation import Asking, AskOptions, Conversation
from cagchat.engine.protocol import BOOK, CHAT, Sampling
from cagchat.events import Answer, Answered, Limited, Notice, Reread
from cagchat.limits.ground import Ground
from cagchat.limits.until import parse_until
from cagchat.opened import OpenBook
from cagchat.proof import recorded
from cagchat.sessions.session import Session, Turn
from cagchat.sessions.store import Sessions
from cagchat.wording import Extras
from tests.torture.trial import Report

STOPPED_AFTER = 3  # fragments of an answer
KEPT = "kept from round to round"  # the title of the chat that every round goes on with
LONG = " ".join(["Tell me slowly what the keeper heard at night, and who came up the stairs before morning."] * 4)


@dataclass(slots=True)
class Chat:
    """A conversation, and whether old turns have left its context to make room."""

    conversation: Conversation
    turns_left: bool = False


@dataclass(frozen=True, slots=True)
class Stay:
    """A book while it is open. `answers` are the first round's, by step: the tokens that each turn put into the cache.

    `evidence_tokens` bounds passages, `new_tokens` an answer, `stopped_tokens` one that is meant to be stopped before.
    """

    name: str
    book: OpenBook
    sessions: Sessions
    report: Report
    answers: dict[str, array[int]]
    evidence_tokens: int = 200
    new_tokens: int = 12
    stopped_tokens: int = 64

    def chat(self, session: Session | None = None) -> Chat:
        """Begin a chat about the book, or go on with a recorded one."""
        self.report.counts["chats gone on with" if session else "chats begun"] += 1
        return Chat(Conversation(self.book, self.sessions, session))

    def options(self, max_tokens: int = 0, extras: Extras | None = None) -> AskOptions:
        """Return options for the likeliest answer."""
        return AskOptions(
            Sampling(temperature=0.0), max_tokens=max_tokens or self.new_tokens, extras=extras or Extras()
        )

    def ask(self, step: str, chat: Chat, question: str, extras: Extras | None = None) -> None:
        """Ask, check, and compare with the first round's answer."""
        self.report.counts["questions"] += 1
        self.compare(step, self.follow(step, chat, chat.conversation.ask(question, self.options(extras=extras))))

    def regenerate(self, step: str, chat: Chat) -> Turn:
        """Ask the last question again, check, and compare with the first round's answer."""
        self.report.counts["regenerates"] += 1
        turn = self.follow(step, chat, chat.conversation.regenerate(self.options()))
        self.compare(step, turn)
        return turn

    def edit(self, step: str, chat: Chat, number: int, question: str) -> None:
        """Ask another question in place of one, check, and compare with the first round's answer."""
        self.report.counts["edits"] += 1
        self.compare(step, self.follow(step, chat, chat.conversation.edit(number, question, self.options())))

    def stop(self, step: str, chat: Chat, question: str) -> Turn:
        """Ask, and stop the answer after some fragments."""
        self.report.counts["questions"] += 1
        events = chat.conversation.ask(question, self.options(self.stopped_tokens))
        return self.follow(step, chat, events, STOPPED_AFTER)

    def walk_away(self, chat: Chat, question: str) -> None:
        """Ask, and listen no longer after some fragments, as a window does that is closed."""
        self.report.counts["answers nobody waited for"] += 1
        heard = 0
        with closing(chat.conversation.ask(question, self.options(self.stopped_tokens))) as events:
            for event in events:
                heard += isinstance(event, Answer)
                if heard >= STOPPED_AFTER:
                    return

    def follow(self, step: str, chat: Chat, events: Asking, stop_after: int = 0) -> Turn:
        """Take events to the end, stopping the answer on the way if wanted, and check what the turn left behind."""
        announced = heard = 0
        answered: Answered | None = None
        with closing(events):
            for event in events:
                match event:
                    case Answer():
                        heard += 1
                        if heard == stop_after:
                            chat.conversation.stop()
                    case Limited():
                        announced += event.to_read
                    case Notice(text) if "left the context" in text:
                        self.report.counts["times that old turns left the context"] += 1
                        chat.turns_left = True
                    case Reread():
                        self.report.counts["questions with passages"] += 1
                    case Answered():
                        answered = event
        assert answered is not None, "ask ends with Answered"
        if answered.status == "stopped":
            self.report.counts["stops"] += 1
        if answered.status not in (("done", "stopped") if stop_after else ("done",)):
            self.broke(step, f"ended as {answered.status}")
        return self.check(step, chat, answered, announced)

    def check(self, step: str, chat: Chat, answered: Answered, announced: int) -> Turn:
        """Compare proof, context and record with each other; return the turn as it is recorded."""
        proof, engine, turns = answered.proof, self.book.engine, chat.conversation.turns()
        turn = turns[-1]
        if proof.book_evaluated != announced:
            self.broke(step, f"{proof.book_evaluated} book tokens evaluated, {announced} were announced")
        if proof.book_reused != proof.book_tokens - announced:
            self.broke(step, f"{proof.book_reused} of {proof.book_tokens} book tokens reused")
        if (length := engine.length(BOOK)) != self.book.n_tokens:
            self.broke(step, f"the book's sequence has {length} tokens instead of {self.book.n_tokens}")
        if turn.number != answered.number or turn.status != answered.status or recorded(turn.proof) != proof:
            self.broke(step, "the record is not what was answered")
        position = engine.length(CHAT)
        if position != proof.book_tokens + proof.chat_tokens:
            self.broke(step, f"position {position}, the proof says {proof.book_tokens + proof.chat_tokens}")
        if position not in self.positions(chat, turns):
            self.broke(step, f"position {position}, which the record does not give")
        self.report.counts["answers checked"] += 1
        return turn

    def positions(self, chat: Chat, turns: list[Turn]) -> list[int]:
        """Return where the record says that the context ends; several places where the oldest turns left it."""
        pieces = self.book.pieces
        bodies = [turn.tokens for turn in turns if turn.tokens]
        begin = Ground(self.book, chat.conversation.limit).n_tokens
        return [
            begin + sum(len(pieces.before(is_first=not number) + body) for number, body in enumerate(bodies[first:]))
            for first in range(len(bodies) if chat.turns_left else 1)
        ]

    def compare(self, step: str, turn: Turn) -> None:
        """Compare a turn's tokens, the answer's among them, with the first round's."""
        if (first := self.answers.setdefault(f"{self.name}: {step}", turn.tokens)) is turn.tokens:
            self.report.counts["answers of the first round"] += 1
            return
        self.report.counts["answers compared with it"] += 1
        if turn.tokens != first:
            self.broke(step, f"{turn.answer!r} is not the first round's answer")

    def broke(self, step: str, what: str) -> None:
        """Report a broken promise."""
        self.report.broken.append(f"{self.name}: {step}: {what}")


Scene = Callable[[Stay], None]


def talk(stay: Stay) -> None:
    """Three questions."""
    chat = stay.chat()
    for number, question in enumerate(("Who kept the light?", "What was in the letter?", "And after that?"), start=1):
        stay.ask(f"talk {number}", chat, question)


def stopped(stay: Stay) -> None:
    """An answer stopped, made again, and a question after it."""
    chat = stay.chat()
    before = stay.stop("stop", chat, "Where did the boat go?").tokens
    again = stay.regenerate("stop, again", chat).tokens
    shared = min(len(before), len(again))
    if before[:shared] != again[:shared]:
        stay.broke("stop", "what was answered until the stop is not how the whole answer begins")
    stay.ask("stop, next", chat, "Was there a storm?")


def edited(stay: Stay) -> None:
    """The first of two questions asked differently, and a new second one."""
    chat = stay.chat()
    stay.ask("edit, first", chat, "Which door was open?")
    stay.ask("edit, second", chat, "Who closed it?")
    stay.edit("edit", chat, 1, "Which window was open?")
    stay.ask("edit, next", chat, "Who closed it?")


def abandoned(stay: Stay) -> None:
    """An answer nobody waits for, made again."""
    chat = stay.chat()
    stay.ask("abandon, first", chat, "What colour was the stone?")
    stay.walk_away(chat, "How many stairs were there?")
    stay.regenerate("abandon, again", chat)


def evidence(stay: Stay) -> None:
    """A question with passages of the book beside it, and one without."""
    chat = stay.chat()
    stay.ask("evidence", chat, "When did the harbour lamp go out?", Extras("always", stay.evidence_tokens))
    stay.ask("evidence, next", chat, "And then?")


def limited(stay: Stay) -> None:
    """A chat that knows the book up to a place, then up to a later one."""
    chat = stay.chat()
    for share in ("40%", "75%"):
        chat.conversation.limit_to(parse_until(stay.book.document, share))
        stay.report.counts["questions up to a limit"] += 1
        stay.ask(f"until {share}", chat, "Who has come to the island so far?")


def reloaded(stay: Stay) -> None:
    """A chat of this round, left and gone on with from its record."""
    chat = stay.chat()
    stay.ask("reload, first", chat, "Whose house was it?")
    assert chat.conversation.session is not None, "it was asked"
    stay.ask("reload, next", stay.chat(chat.conversation.session), "Was it old?")


def kept(stay: Stay) -> None:
    """A chat of an earlier round, whose second question is asked again.

    Its first turn is read back in one batch then, not token by token as when it was answered. That rounds differently,
    so the answers that must be equal are those after it was read back.
    """
    session = kept_session(stay)
    if session is None:
        chat = stay.chat()
        stay.ask("kept, first", chat, "What did she find under the tower?")
        stay.ask("kept, second", chat, "Did she keep it?")
        assert chat.conversation.session is not None, "it was asked"
        stay.sessions.rename(chat.conversation.session.id, kept_title(stay))
        return
    stay.edit("kept, second after reading back", stay.chat(session), 2, "Did she keep it?")


def crowded(stay: Stay) -> None:
    """So many long questions that the oldest turns leave the context."""
    chat = stay.chat()
    for number in range(1, 6):
        stay.ask(f"crowded {number}", chat, f"{number}. {LONG}")


SCENES: tuple[Scene, ...] = (talk, stopped, edited, abandoned, evidence, limited, reloaded, kept)


def kept_title(stay: Stay) -> str:
    """Return the title of the chat that every round goes on with."""
    return f"{stay.name}, {KEPT}"


def kept_session(stay: Stay) -> Session | None:
    """Return that chat, once there is one."""
    sessions = stay.sessions.list(stay.book.manifest.book.digest)
    return next((session for session in sessions if session.title == kept_title(stay)), None)

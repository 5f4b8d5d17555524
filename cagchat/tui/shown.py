"""A turn as the transcript shows it, made from a recorded one or from the end of an answer."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from cagchat.limits.limit import NOTED, noted_in
from cagchat.printable import printable
from cagchat.proof import Proof, recorded
from cagchat.sessions.export import proof_sentence

if TYPE_CHECKING:
    from cagchat.events import Answered
    from cagchat.quotes.check import Checks
    from cagchat.sessions.session import Status, Turn


@dataclass(frozen=True, slots=True)
class Shown:
    """One question and its answer, in words; `remark` says why an answer is not complete.

    `quotes` are those of an answer that was just made; of recorded ones they are None until they are looked up again,
    in what the chat knew: the book before character `until`.
    """

    number: int
    question: str
    answer: str = ""
    thinking: str = ""
    remark: str = ""
    proof: str = ""
    quotes: Checks | None = None
    until: int | None = None

    @property
    def unchecked(self) -> bool:
        """Whether this is a recorded answer whose quotes were not looked up yet."""
        return self.quotes is None and bool(self.answer and self.proof)

    def checked(self, quotes: Checks) -> Shown:
        """Return the turn with what the book says to its quotes."""
        return replace(self, proof=f"{self.proof}, {quotes}", quotes=quotes)


def of_turn(turn: Turn) -> Shown:
    """Return a recorded turn."""
    proof = recorded(turn.proof)
    line = proof.line() if proof else proof_sentence({k: v for k, v in turn.proof.items() if k != NOTED})
    limit = noted_in(turn.proof)
    return Shown(
        turn.number,
        clean(turn.question),
        clean(turn.answer),
        clean(turn.thinking),
        remark_on(turn.status, turn.error),
        line,
        until=limit.offset if limit else None,
    )


def of_answer(question: str, answered: Answered) -> Shown:
    """Return a turn that was just answered."""
    answer, thinking = clean(answered.answer), clean(answered.thinking)
    remark = remark_on(answered.status, "")
    shown = Shown(answered.number, clean(question), answer, thinking, remark, answered.proof.line())
    return shown if answered.quotes is None else shown.checked(answered.quotes)


def remark_on(status: Status, error: str) -> str:
    """Say how an answer that is not complete ended; "" for one that is."""
    match status:
        case "done":
            return ""
        case "running":
            return "Still being answered in another window."
        case "stopped":
            return f"Stopped here. {error}".rstrip()
        case "failed":
            return f"Failed. {error}".rstrip()


def brief(proof: Proof) -> str:
    """Return what the status bar says of an answer's proof: a mark, and what was reused and evaluated."""
    if proof.book_evaluated and not proof.reading:
        return f"✘ {proof.book_evaluated:,} READ AGAIN"
    if proof.book_evaluated:
        return f"✔ {proof.book_evaluated:,} read once, {proof.evaluated:,} evaluated"
    return f"✔ {proof.book_reused:,} reused, {proof.evaluated:,} evaluated"


def clean(text: str) -> str:
    """Return the text without control characters, which a terminal would obey."""
    return printable(text)

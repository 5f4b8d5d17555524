"""How far a chat knows its book, as a value and as the record of the chat's turns notes it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from cagchat.errors import UsageError
from cagchat.sessions.session import Turn

NOTED = "until"  # the name under which a turn's proof notes the limit; without it the whole book was known


@dataclass(frozen=True, slots=True)
class Limit:
    """The book up to `offset`, in characters of its text; `words` name the place as a reader would."""

    offset: int
    words: str

    def noted(self) -> dict[str, object]:
        """Return what a turn's proof notes of it."""
        return {NOTED: asdict(self)}


def noted_in(proof: Mapping[str, object]) -> Limit | None:
    """Return the limit that a turn's proof notes; None for the whole book."""
    found = proof.get(NOTED)
    if not isinstance(found, dict):
        return None
    offset, words = found.get("offset"), found.get("words")
    return Limit(offset, words) if type(offset) is int and offset >= 0 and isinstance(words, str) else None


def last_limit(turns: Sequence[Turn], otherwise: Limit | None = None) -> Limit | None:
    """Return the limit of a chat's newest turn that has a proof, None for the whole book; `otherwise` without turns."""
    proofs = [turn.proof for turn in turns if turn.proof]
    return noted_in(proofs[-1]) if proofs else otherwise


def check_forward(limit: Limit | None, turns: Sequence[Turn]) -> None:
    """Raise `UsageError` when a chat's answers were made knowing more of the book than `limit` allows."""
    known = [noted_in(turn.proof) for turn in turns if turn.proof]
    if limit is None or not known:
        return
    whole = None in known
    furthest = max(filter(None, known), key=lambda one: one.offset, default=limit)
    if whole or furthest.offset > limit.offset:
        raise UsageError(
            f"This chat already knows the book up to {'the end' if whole else furthest.words}, so its answers may tell "
            f"what comes after {limit.words}.",
            "Begin a new chat with this limit.",
        )

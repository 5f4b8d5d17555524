"""A chat as it leaves the program, by the command line and by the app: its proofs in words, its time that of here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime

from cagchat.limits.limit import noted_in
from cagchat.proof import recorded as read
from cagchat.sessions.export import proof_sentence, to_markdown
from cagchat.sessions.session import Session, Turn


def as_markdown(session: Session, turns: Iterable[Turn]) -> str:
    """Return the chat as Markdown."""
    zone = datetime.fromtimestamp(session.created_at).astimezone().tzinfo
    assert zone is not None
    return to_markdown(session, turns, proof=proof_line, zone=zone)


def proof_line(recorded: Mapping[str, object]) -> str:
    """Return a recorded proof as the line that stood under its answer, with how far the chat knew the book.

    One that another version wrote is told key by key.
    """
    proof, limit = read(recorded), noted_in(recorded)
    if proof is None:
        return proof_sentence(recorded)
    return f"{proof.line()}, known up to {limit.words}" if limit else proof.line()

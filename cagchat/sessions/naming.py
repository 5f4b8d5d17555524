"""What chats are called: their ids, their first titles, and which one a user means by a name."""

from __future__ import annotations

from collections.abc import Sequence

from cagchat.errors import SessionError
from cagchat.sessions.session import Session

UNTITLED = "New chat"
LAST = "last"
ID_LENGTH = 8
# 32 characters that cannot be taken for each other when read aloud or copied by hand: no l and 1, no o and 0.
ID_CHARACTERS = "abcdefghijkmnpqrstuvwxyz23456789"
TITLE_LENGTH = 60
CANDIDATES_SHOWN = 8


def new_id() -> str:
    """Draw an id of eight characters: 40 random bits."""
    import secrets

    return "".join(secrets.choice(ID_CHARACTERS) for _ in range(ID_LENGTH))


def one_line(text: str) -> str:
    """Return the text with every run of white space and control characters as one space."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def short_title(question: str) -> str:
    """Return the question as a title: one line, cut after a whole word where there is one."""
    line = one_line(question)
    if len(line) <= TITLE_LENGTH:
        return line or UNTITLED
    cut = line[: TITLE_LENGTH - 1]
    # A last word longer than half the title (or a script without spaces) is cut inside.
    end = cut.rfind(" ")
    return (cut[:end] if end > TITLE_LENGTH // 2 else cut).rstrip(" ,;:.-–—") + "…"


def match(name: str, sessions: Sequence[Session]) -> Session:
    """Return the session that `name` means; `sessions` are in order, the last used one first.

    Tried in this order: the word "last", an id, the beginning of one id, a title, the beginning of one title in any
    case. A name that fits several is refused with their ids.
    """
    name = name.strip()
    folded = name.casefold()
    if not sessions:
        raise SessionError("There are no chats yet.", "Open a book to begin one: `cagchat open FILE`.")
    if folded == LAST:
        return sessions[0]
    if not name:
        raise SessionError("A chat was asked for by an empty name.", candidates(sessions))
    rules = (
        [s for s in sessions if s.id == folded],
        [s for s in sessions if s.id.startswith(folded)],
        [s for s in sessions if s.title == name],
        [s for s in sessions if s.title.casefold().startswith(folded)],
    )
    for found in rules:
        if len(found) == 1:
            return found[0]
    fitting = [s for s in sessions if any(s in found for found in rules)]
    if fitting:
        raise SessionError(f'"{name}" fits {len(fitting)} chats.', candidates(fitting))
    raise SessionError(f'No chat is called "{name}".', candidates(sessions))


def candidates(sessions: Sequence[Session]) -> str:
    """Return a hint that lists the sessions by id and title, the last used first."""
    shown = ", ".join(f'{s.id} "{s.title}"' for s in sessions[:CANDIDATES_SHOWN])
    more = len(sessions) - CANDIDATES_SHOWN
    return f"Name one by its id: {shown}{f' and {more} more' if more > 0 else ''}."

"""Find the book that a command line names, and the chat about it to continue."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from cagchat.errors import SessionError

if TYPE_CHECKING:
    from cagchat.cli.app import App
    from cagchat.documents import Source
    from cagchat.sessions.session import Session
    from cagchat.states.standing import Standing
    from cagchat.states.store import States


def book_source(app: App, names: Sequence[str]) -> Source:
    """Return the bytes of a book given by files, a folder or -, or by title or beginning of one that has been read.

    When a book that was read is no longer where it was (its file is gone or holds another text, it came through stdin),
    the text in its state stands in for it: it is the same text, so it is the same book. Raises `BookError` for what is
    missing, and `StateError` for a title that could be several books'.
    """
    from cagchat import documents
    from cagchat.documents.gathering import expanded, is_there
    from cagchat.documents.source import STDIN
    from cagchat.identities import Identities
    from cagchat.recorded import Recorded

    if len(names) > 1 or names[0] == STDIN or is_there(expanded(names[0])):
        return documents.gather(names)
    folder = states_of(app).find_book(names[0])
    if folder is None:
        return documents.gather(names)  # says what is missing
    return Recorded(folder, folder.manifest()).source(Identities.under(app.locations))


def states_of(app: App) -> States:
    """Return the saved states without building what only reading needs."""
    from cagchat.states.store import States

    return States(app.locations.states)


def standings(app: App) -> list[Standing]:
    """Return every state with what it is good for now, the last used first."""
    from cagchat.states.standing import Remembered, standing

    models = Remembered.read(app.locations.cache / "models.json")
    return [standing(folder, models, app.settings.instructions) for folder in states_of(app).all()]


def session_to_continue(app: App, digest: str, title: str, name: str | None, go_on: bool) -> Session | None:
    """Return the chat that `--session` names, or with `-c` the last one about the book; None for a new one.

    Raises `SessionError` when there is none, or when it is about another book.
    """
    from cagchat.sessions.naming import one_line

    title = one_line(title)
    if name is not None:  # "" is refused: where a script's variable is not set, its chat would be left for a new one
        session = app.sessions.find(name)
        if session.book_digest != digest:
            raise SessionError(
                f"The chat {session.id} is about {one_line(session.book_title)}, not about {title}.",
                "`cagchat sessions list` shows which chat is about which book.",
            )
        return session
    if not go_on:
        return None
    latest = app.sessions.latest(digest)
    if latest is None:
        raise SessionError(f"There is no chat about {title} to go on with.", "Leave out -c to begin one.")
    return latest

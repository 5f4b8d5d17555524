"""Forgetting a reader's place in a book of which nothing else is left."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from cagchat.errors import SessionError, StorageError

if TYPE_CHECKING:
    from cagchat.cli.app import App


def forget_place(app: App, digest: str) -> None:
    """Forget the place in a book that is neither saved nor talked about in a chat, and say so.

    When the chats cannot be read, nobody knows what they are about, and it stays.
    """
    from cagchat.cli.app import say
    from cagchat.cli.books import states_of
    from cagchat.forgetting import described, is_left
    from cagchat.remembered import Remembered

    remembered = Remembered.under(app.locations)
    if not digest or not remembered.knows(digest):
        return
    with suppress(SessionError, StorageError):
        sessions = app.sessions
        if sessions.notice or is_left(digest, states_of(app), sessions.list(digest)):
            return
        place = remembered.place(digest)
        if remembered.forget(digest):
            say(f"With it went {described(place)}.")
        else:
            say(f"Remembered all the same, because the disk does not take the change: {described(place)}.")

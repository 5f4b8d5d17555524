"""What goes with the last state or chat of a book: its title in the cache, and the reader's place and unsent question.

A book that is still saved, or still talked about in a chat, keeps its place and bookmarks.
"""

from __future__ import annotations

from collections.abc import Iterable, Set
from contextlib import suppress
from typing import TYPE_CHECKING

from cagchat.cli.books import states_of
from cagchat.errors import SessionError, StateDamaged, StorageError

if TYPE_CHECKING:
    from cagchat.cli.app import App
    from cagchat.states.store import StateFolder


def digests_of(folders: Iterable[StateFolder]) -> set[str]:
    """Return the digests of the books whose states these are, as far as they can be read."""
    found = set()
    for folder in folders:
        try:
            found.add(folder.manifest().book.digest)
        except StateDamaged:
            continue
    return found


def forget_titles(app: App, saved: Set[str], among: Set[str] | None = None) -> None:
    """Forget which files hold books that are not saved: those `among` some, or all."""
    from cagchat.identities import Identities

    Identities.under(app.locations).forget(
        lambda digest: digest not in saved and (among is None or digest in among),
    )


def forget_places(app: App, digests: Set[str]) -> None:
    """Forget the places in those books that are neither saved nor talked about in a chat."""
    from cagchat.remembered import Place, Remembered

    remembered = Remembered.under(app.locations)
    placed = {digest for digest in digests if remembered.place(digest) != Place()}
    unsaved = placed - digests_of(states_of(app).all())
    with suppress(SessionError, StorageError):  # with chats that cannot be read, nothing is known to be unused
        remembered.forget({digest for digest in unsaved if not app.sessions.list(digest)})

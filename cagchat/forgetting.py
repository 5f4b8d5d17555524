"""What goes with the state of a book that its reader deletes: what was set aside of it, its title, the place in it.

The place with its bookmarks and the question that was not sent are the reader's, as the chats are: they stay while
there is a chat about the book, and when `prune` makes room. With the last state and the last chat they go too.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from cagchat.errors import StateDamaged
from cagchat.identities import Identities
from cagchat.locations import Locations
from cagchat.remembered import Place
from cagchat.sessions.session import Session
from cagchat.states.store import ASIDE, StateFolder, States


def digest_of(folder: StateFolder) -> str:
    """Return the digest of the book whose state this is, "" when the manifest cannot be read."""
    try:
        return folder.manifest().book.digest
    except StateDamaged:
        return ""


def digests_of(folders: Iterable[StateFolder]) -> set[str]:
    """Return the digests of the books whose states these are, as far as they can be read."""
    return {digest for folder in folders if (digest := digest_of(folder))}


def aside_of(states: States, leaving: Collection[StateFolder]) -> list[StateFolder]:
    """Return what was set aside of the books whose states are about to be deleted: their texts lie in it too.

    States that were set aside and are deleted by name take nothing with them.
    """
    aside = states.aside()
    whole = [folder for folder in leaving if folder not in aside]
    names, digests = tuple(f"{folder.name}{ASIDE}" for folder in whole), digests_of(whole)
    return [f for f in aside if f not in leaving and (f.name.startswith(names) or digest_of(f) in digests)]


def forget_titles(locations: Locations, leaving: Collection[StateFolder] = ()) -> None:
    """Forget which files hold books that no state is of, but for those that are about to be deleted.

    Called before they are, and when nothing refuses it any more, so that a program that is killed in between leaves
    files to be parsed again and not the name of a deleted book.
    """
    folders = States(locations.states).all()
    Identities.under(locations).keep_only(digests_of(folder for folder in folders if folder not in leaving))


def is_left(digest: str, states: States, chats: Sequence[Session]) -> bool:
    """Tell whether there is a state of a book, or a chat about it."""
    return any(chat.book_digest == digest for chat in chats) or digest in digests_of(states.all())


def described(place: Place) -> str:
    """Return what a place consists of, in words."""
    parts = ["where you were in it"]
    if place.bookmarks:
        parts.append("a bookmark" if len(place.bookmarks) == 1 else f"{len(place.bookmarks)} bookmarks")
    if unsent := bool(place.draft) + len(place.aside):
        parts.append("a question that was not sent" if unsent == 1 else f"{unsent} questions that were not sent")
    return " and ".join((", ".join(parts[:-1]), parts[-1])) if len(parts) > 1 else parts[0]

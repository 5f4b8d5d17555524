"""The chats about a book that a reader looks for."""

from __future__ import annotations

from collections.abc import Sequence

from cagchat.sessions.store import Sessions
from cagchat.tui.chat_list import Row

HITS = 200  # turns that a search looks at, over all books


def find_chats(sessions: Sessions, digest: str, query: str) -> Sequence[Row]:
    """Return the chats about the book with this digest whose title or words fit, all of them for ""."""
    chats = sessions.list(digest)
    if not query:
        return [Row(chat) for chat in chats]
    hits = sessions.search(query, HITS, marks=("", ""))
    passages = {hit.session.id: hit.snippet for hit in reversed(hits)}
    folded = query.casefold()
    return [
        Row(chat, " ".join(passages.get(chat.id, "").split()))
        for chat in chats
        if chat.id in passages or folded in chat.title.casefold()
    ]

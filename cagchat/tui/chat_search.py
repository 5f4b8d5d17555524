"""The chats about a book that a reader looks for."""

from __future__ import annotations

import re
from collections.abc import Sequence

from cagchat.sessions.store import Sessions
from cagchat.tui.chat_list import Row

HITS = 200  # turns that a search looks at
MARKUP = re.compile(r"(?<!\w)[*_`~]+|[*_`~]+(?!\w)|(?:^|(?<=\s))(?:#{1,6}|[>|]|\|?[-:|]{3,})(?=\s|$)")


def find_chats(sessions: Sessions, digest: str, query: str) -> Sequence[Row]:
    """Return the chats about the book with this digest whose title or words fit, all of them for ""."""
    chats = sessions.list(digest)
    if not query:
        return [Row(chat) for chat in chats]
    hits = sessions.search(query, HITS, book_digest=digest, marks=("", ""))
    passages = {hit.session.id: hit.snippet for hit in reversed(hits)}
    folded = query.casefold()
    return [
        Row(chat, passage, by_title=repeats(chat.title, passage))
        for chat in chats
        for passage in [plain(passages.get(chat.id, ""))]
        if chat.id in passages or folded in chat.title.casefold()
    ]


def plain(text: str) -> str:
    """Return Markdown without its signs, on one line."""
    return " ".join(MARKUP.sub("", text).split())


def repeats(title: str, passage: str) -> bool:
    """Tell whether a passage only says again what a title says; one that was not found does."""
    words, said = passage.strip("… ").casefold(), title.rstrip("… ").casefold()
    return words in said or words.startswith(said)

"""What a reader looks for in a book: the places where it was found, and the one that is shown."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from cagchat.tui.book_text import BookText
from cagchat.tui.finding import Folding, Hits, find

STEP = 100_000  # characters that are folded between two keys


class Finder:
    """Finds in a book's text, marks the places in it, and goes from one to the next."""

    def __init__(self, book: BookText, reveal: Callable[[int, int], None], say: Callable[[str], None]) -> None:
        """`reveal` shows a passage, from one offset to another; `say` tells what was found, nothing for ""."""
        self.query = ""
        self.anchor = 0  # where the reader was when the search began
        self._book = book
        self._reveal = reveal
        self._say = say
        self._folded: str | None = None

    @property
    def found(self) -> bool:
        """Whether places are marked."""
        return bool(self._book.hits)

    async def fold(self, text: str) -> None:
        """Make the text that is searched, in pieces between the keys; what was typed meanwhile is looked for then."""
        folding, parts = Folding(), []
        for start in range(0, len(text), STEP):
            parts.append(text[start : start + STEP].translate(folding))
            await asyncio.sleep(0)
        self._folded = "".join(parts)
        if self.query:
            self.look_for(self.query)

    def look_for(self, query: str) -> None:
        """Mark every place and show the first one from where the search began; that itself when there is none."""
        self.query = query
        if self._folded is None:
            self._say("One moment …")
            return
        self._book.hits = find(self._folded, query, self.anchor)
        if not self._book.hits and self._book.position != self.anchor:
            self._book.go_to(self.anchor)
        self._stand_on(self._book.hits.first_from(self.anchor))

    def step(self, step: int) -> None:
        """Show the next place (1) or the previous one (-1); there has to be one."""
        book = self._book
        hits, number = book.hits, book.current
        if book.shows(hits.starts[number], hits.ends[number]):
            number += step
        else:  # the reader has gone on since: from here
            number = hits.first_from(book.position) - (step < 0)
        self._stand_on(number % len(hits))

    def forget(self) -> None:
        """Take the marks away."""
        self._book.hits = Hits()
        self.query = ""
        self._say("")

    def _stand_on(self, number: int) -> None:
        hits = self._book.hits
        self._book.current = number
        if hits:
            self._reveal(hits.starts[number], hits.ends[number])
            many = f"{len(hits):,}{'' if hits.complete else ' nearest'}"
            self._say(f"{number + 1:,} of {many} · {self.query}")
        else:
            self._say(f"Not in this book: {self.query}" if self.query else "")
        self._book.refresh()

"""The quotes of an answer, each with what the book says to it, and a sentence that counts them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

from cagchat.documents.document import Document
from cagchat.quotes.book_index import BookIndex
from cagchat.quotes.find import Quoted, quoted
from cagchat.quotes.locating import Located, Mark, locate

# What every front end says of an answer that the book does not bear out: it quotes nothing, or nothing that is there.
NOTHING_TO_CHECK = "no quote to check"
UNVERIFIED = "no verified evidence"


@dataclass(frozen=True, slots=True)
class Check:
    """A quote of an answer and what the book says to it."""

    quoted: Quoted
    located: Located

    def as_dict(self) -> dict[str, object]:
        """Return what `--json` prints: the quote, where it stands in the answer, and where in the book."""
        answer = {"start": self.quoted.start, "end": self.quoted.end}
        return {"quote": self.quoted.text, "in_answer": answer, **self.located.as_dict()}


@dataclass(frozen=True, slots=True)
class Checks:
    """The quotes of one answer, in its order."""

    items: tuple[Check, ...] = ()

    def count(self, mark: Mark) -> int:
        """Return how many quotes have a mark."""
        return sum(check.located.mark == mark for check in self.items)

    @property
    def has_evidence(self) -> bool:
        """Tell whether anything in the answer is verified."""
        return self.count("verified") > 0

    def __str__(self) -> str:
        """Say it in one line: "3 quotes: 1 found in the book, 1 nearly, 1 not"; and when nothing is verified."""
        n, found, near = len(self.items), self.count("verified"), self.count("near")
        if n == 0:
            return NOTHING_TO_CHECK
        if n == 1:
            counts = [f"{'found' if found else 'nearly found' if near else 'not'} in the book"]
        elif found == n:
            counts = ["all found in the book"]
        else:
            absent = n - found - near
            counts = [f"{found or 'none'} found in the book", f"{near} nearly" if near else ""]
            counts.append(f"{absent} not" if absent < n and absent else "")
        counts.append("" if self.has_evidence else UNVERIFIED)
        return f"{n} quote{'' if n == 1 else 's'}: {', '.join(filter(None, counts))}"

    def as_dict(self) -> dict[str, object]:
        """Return what `--json` prints and a session keeps."""
        counts = {mark: self.count(mark) for mark in ("verified", "near", "absent")}
        return {**counts, "quotes": [check.as_dict() for check in self.items]}


class QuoteChecker:
    """Checks answers about one book; its words are indexed when the first quote is looked up, and kept."""

    def __init__(self, document: Document, *, make_index: Callable[[Document], BookIndex] = BookIndex) -> None:
        """Take the book; nothing is read before an answer quotes something."""
        self._document = document
        self._make_index = make_index
        self._index: BookIndex | None = None
        self._making = threading.Lock()  # the app prepares on one thread what another may want meanwhile

    def prepare(self) -> BookIndex:
        """Return the book's index; half a second for the longest novel, once, whichever thread asks first."""
        with self._making:
            if self._index is None:
                self._index = self._make_index(self._document)
            return self._index

    def check(self, answer: str, *, until: int | None = None) -> Checks:
        """Look up every quote of an answer in the book, or in what stands before character `until` of it."""
        passages = quoted(answer)
        if not passages:
            return Checks()
        book = self.prepare()
        known = {text: locate(book, Quoted(text, 0, len(text)), until=until) for text in {p.text for p in passages}}
        return Checks(tuple(Check(passage, known[passage.text]) for passage in passages))

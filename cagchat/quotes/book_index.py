"""A book's words by number, with their places: made once, asked for every quote."""

from __future__ import annotations

import re
from array import array
from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from heapq import nlargest

from cagchat.documents.document import Document
from cagchat.quotes.words import WORD, compared

UNKNOWN = 0  # the number of words that the book has not
MOST_VOTES = 8000  # words of the book that are looked at to find where a quote nearly stands
MOST_STRETCHES = 6  # of the book that a quote is compared with word by word

# Between letters only: "10-" / "12" are two numbers.
_AT_LINE_END = re.compile(r"(?<=[^\W\d_])[-\u2010\u00ad][ \t]*\n{1,2}[ \t]*(?=[^\W\d_])")


@dataclass(frozen=True, slots=True)
class Stretch:
    """Words of the book by their numbers in it, from `start` up to `end`."""

    start: int
    end: int


class _Numbers(dict[str, int]):
    """Numbers words as they come, by what they are compared by; one that nobody sees is 0."""

    def __init__(self, numbers: dict[str, int]) -> None:
        super().__init__()
        self._numbers = numbers

    def __missing__(self, raw: str) -> int:
        word = compared(raw)
        self[raw] = number = self._numbers.setdefault(word, len(self._numbers) + 1) if word else UNKNOWN
        return number


class BookIndex:
    """The words of a book, where each stands in its text, and where each is used: about 24 bytes a word.

    `words` are numbers from `numbers`; word n is `document.text[starts[n]:ends[n]]`. `joined` are words that a line's
    end may have cut ("some-" / "thing"): the number of the whole word by the place of its first half.
    """

    def __init__(self, document: Document) -> None:
        """Read the book's words: in half a second for half a million."""
        self.document = document
        self.numbers: dict[str, int] = {}
        self.words, self.starts, self.ends = array("I"), array("I"), array("I")
        known = _Numbers(self.numbers)
        add_word, add_start, add_end = self.words.append, self.starts.append, self.ends.append
        for match in WORD.finditer(document.text):
            if number := known[match[0]]:
                add_word(number)
                add_start(match.start())
                add_end(match.end())
        self.joined = self._joined(known)
        self._used = [array("I") for _ in range(len(self.numbers) + 1)]
        for place, number in enumerate(self.words):
            self._used[number].append(place)
        for place, number in self.joined.items():
            insort(self._used[number], place)
        self._joined_at = array("I", self.joined)

    def _joined(self, known: _Numbers) -> dict[int, int]:
        """Return the words that are whole when a hyphen at a line's end is left out."""
        text = self.document.text
        found = {}
        for match in _AT_LINE_END.finditer(text):
            place = bisect_left(self.starts, match.end()) - 1
            if 0 <= place < len(self.words) - 1 and self.starts[place + 1] == match.end():
                halves = text[self.starts[place] : match.start()], text[match.end() : self.ends[place + 1]]
                found[place] = known["".join(halves)]
        return found

    def number(self, word: str) -> int:
        """Return a word's number, `UNKNOWN` for one that the book has not."""
        return self.numbers.get(word, UNKNOWN)

    def word_at(self, offset: int) -> int:
        """Return how many words end at or before a character of the text."""
        return bisect_left(self.ends, offset + 1)

    def occurrences(self, words: Sequence[int], stop: int) -> Iterator[Stretch]:
        """Yield every place before word `stop` where these words stand one after the other, in order."""
        if not words or UNKNOWN in words:
            return
        wanted, n = array("I", words), len(words)
        rarest = min(range(n), key=lambda i: len(self._used[words[i]]))
        book = self.words
        cuts = iter(self._joined_at)
        cut = next(cuts, None)
        for place in self._used[words[rarest]]:
            start = place - rarest
            stretch: Stretch | None = None
            # A word cut by a line's end is two of the book's, so the passage reaches twice as far at most.
            while cut is not None and cut < start - rarest:
                cut = next(cuts, None)
            if start >= 0 and book[start : start + n] == wanted:
                stretch = Stretch(start, start + n)
            elif cut is not None and cut < place + 2 * (n - rarest):
                stretch = self._around(words, rarest, place)
            if stretch and stretch.end <= stop:
                yield stretch

    def _around(self, words: Sequence[int], i: int, place: int) -> Stretch | None:
        """Return where the words stand with the i-th at `place`, when a line's end cuts some; None when they do not."""
        start = end = place
        for word in words[i:]:
            width = self._width(word, end)
            if not width:
                return None
            end += width
        for word in reversed(words[:i]):
            if start >= 1 and self.words[start - 1] == word:
                start -= 1
            elif self.joined.get(start - 2) == word:
                start -= 2
            else:
                return None
        return Stretch(start, end)

    def _width(self, word: int, place: int) -> int:
        """Return how many of the book's words one is made of at `place`; 0 when another stands there."""
        if place < len(self.words) and self.words[place] == word:
            return 1
        return 2 if self.joined.get(place) == word else 0

    def likely(self, words: Sequence[int], reach: int, stop: int) -> list[Stretch]:
        """Return the stretches before word `stop` that share most with these words in their order, the best first.

        Every use of a word votes for where the quote would begin, rare words first and no more than `MOST_VOTES` in
        all (or two words' uses); beginnings within `reach` words count as one.
        """
        n, width = len(words), max(8, 2 * reach)
        votes: Counter[int] = Counter()
        n_voters = n_votes = 0
        for i in sorted((i for i in range(n) if words[i] != UNKNOWN), key=lambda i: len(self._used[words[i]])):
            uses = self._used[words[i]]
            if stop < len(self.words):
                uses = uses[: bisect_left(uses, stop)]
            if n_voters >= 2 and n_votes + len(uses) > MOST_VOTES:
                break
            n_voters += 1
            n_votes += len(uses)
            votes.update([(place - i + n) // width for place in uses])
        half = max(votes.values(), default=0) / 2
        if half <= 0.5 < n_voters / 2:
            return []  # no two of the words stand together anywhere
        strong = [bucket for bucket, n_here in votes.items() if n_here > half]
        pairs = {*strong, *(bucket - 1 for bucket in strong)}
        best = nlargest(MOST_STRETCHES, pairs, key=lambda bucket: (votes[bucket] + votes[bucket + 1], -bucket))
        starts = [bucket * width - n for bucket in best]
        # The last beginning of the second bucket, the words themselves, and those that may have been left out of them.
        return [
            Stretch(max(0, start - reach), min(stop, start + 2 * width + n + reach)) for start in starts if start < stop
        ]

"""A book's words by number, with their places: made once, asked for every quote."""

from __future__ import annotations

import re
from array import array
from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from heapq import nlargest
from itertools import pairwise
from operator import itemgetter

from cagchat.documents.document import Document
from cagchat.quotes.words import WORD, compared

UNKNOWN = 0  # the number of words that the book has not
MOST_VOTES = 8000  # words of the book that are looked at to find where a quote nearly stands
MOST_STRETCHES = 6  # of the book that a quote is compared with word by word
COMMON = 2000  # uses from which on a word is looked up together with a common neighbour: "of the" has far fewer

NOWHERE = array("I")

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
    """The words of a book, where each stands in its text, and where each is used: about 26 bytes a word.

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
        self._pairs = self._common_pairs()

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

    def _common_pairs(self) -> dict[tuple[int, int], array[int]]:
        """Return where two common words stand side by side, by the place of the first."""
        common = bytes(len(uses) >= COMMON for uses in self._used)
        pairs: dict[tuple[int, int], array[int]] = {}
        words = self.words
        for place, (first, second) in enumerate(pairwise(words)):
            if common[first] and common[second]:
                try:
                    pairs[first, second].append(place)
                except KeyError:
                    pairs[first, second] = array("I", (place,))
        for place, number in self.joined.items():
            if not common[number]:
                continue
            befores = (place - 1, words[place - 1]) if place else None, (place - 2, self.joined.get(place - 2))
            afters = {words[place + 2] if place + 2 < len(words) else UNKNOWN, self.joined.get(place + 2, UNKNOWN)}
            found = [(at, word, number) for at, word in filter(None, befores) if word] + [
                (place, number, word) for word in afters
            ]
            for at, first, second in found:
                if common[first] and common[second]:
                    insort(pairs.setdefault((first, second), array("I")), at)
        return pairs

    def _rarest(self, words: Sequence[int]) -> tuple[int, array[int]]:
        """Return the word, or the pair of common words, that is used least: its place among `words`, and its uses."""
        found = min(((len(self._used[word]), i, self._used[word]) for i, word in enumerate(words)), key=itemgetter(0))
        if found[0] >= COMMON and len(words) > 1:
            uses = [self._pairs.get(pair, NOWHERE) for pair in pairwise(words)]
            return min(enumerate(uses), key=lambda pair: len(pair[1]))
        return found[1:]

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
        rarest, uses = self._rarest(words)
        book = self.words
        cuts = iter(self._joined_at)
        cut = next(cuts, None)
        for place in uses:
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

    def _voters(self, words: Sequence[int]) -> list[tuple[int, array[int], int]]:
        """Return words that are not common and pairs that are: their places among `words`, uses and weights.

        Where these are not enough to agree on a place, the common words themselves vote.
        """
        used = [(i, self._used[word], 1) for i, word in enumerate(words) if word != UNKNOWN]
        voters = [voter for voter in used if len(voter[1]) < COMMON]
        voters += [(i, uses, 2) for i, pair in enumerate(pairwise(words)) if (uses := self._pairs.get(pair))]
        return voters if sum(weight for _, _, weight in voters) >= 2 else used

    def likely(self, words: Sequence[int], reach: int, stop: int) -> list[Stretch]:
        """Return the stretches before word `stop` that share most with these words in their order, the best first.

        Every use of a word votes for where the quote would begin, and so does every use of two common words side by
        side, which counts as two; the rarest first and no more than `MOST_VOTES` in all (or two of them). Beginnings
        within `reach` words count as one.
        """
        n, width = len(words), max(8, 2 * reach)
        votes: Counter[int] = Counter()
        n_voters = n_votes = 0
        for i, uses, weight in sorted(self._voters(words), key=lambda voter: len(voter[1])):
            if stop < len(self.words):
                uses = uses[: bisect_left(uses, stop)]
            if n_voters >= 2 and n_votes + len(uses) > MOST_VOTES:
                break
            n_voters += weight
            n_votes += len(uses)
            votes.update([(place - i + n) // width for place in uses] * weight)
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

"""Finding words in a book as a reader means them: whatever their case, accents, quotes and line ends."""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, takewhile

MAX_HITS = 20_000
PLAIN_QUOTES = {"‘": "'", "’": "'", "‚": "'", "“": '"', "”": '"', "„": '"', "–": "-", "—": "-"}


class Folding(dict[int, str]):
    """Maps characters to what they are compared by: no case, no accents, plain quotes; each to one character."""

    def __missing__(self, code: int) -> str:
        self[code] = folded = folded_character(chr(code))
        return folded


def folded_character(character: str) -> str:
    """Return a character as it is compared; one that would become several stays, so that offsets do."""
    if character.isspace():
        return " "
    character = PLAIN_QUOTES.get(character, character)
    plain = "".join(c for c in unicodedata.normalize("NFKD", character) if not unicodedata.combining(c)).casefold()
    return plain if len(plain) == 1 else character


@dataclass(frozen=True, slots=True)
class Hits:
    """Where something was found, in order; `complete` is False when there is more than is kept."""

    starts: Sequence[int] = ()
    ends: Sequence[int] = ()
    complete: bool = True

    def __len__(self) -> int:
        return len(self.starts)

    def between(self, start: int, end: int) -> Iterator[tuple[int, int, int]]:
        """Return those that reach into a range: number, start, end."""
        for number in range(bisect_right(self.ends, start), bisect_left(self.starts, end)):
            yield number, self.starts[number], self.ends[number]

    def first_from(self, offset: int) -> int:
        """Return the number of the first one from an offset on; after the last one comes the first."""
        return bisect_left(self.starts, offset) % max(1, len(self.starts))


def find(folded: str, query: str, near: int) -> Hits:
    """Find a query in a folded text, the nearest after `near` first when there are too many; spaces match line ends."""
    words = query.translate(Folding()).split()
    if not words:
        return Hits()
    pattern = re.compile(r"\s+".join(map(re.escape, words)))
    found = [match.span() for match in islice(pattern.finditer(folded, near), MAX_HITS)]
    first = found[0][0] if found else len(folded)
    # Up to that one and not to `near`: a row may begin in the middle of what is looked for.
    before = takewhile(lambda span: span[0] < near and span[1] <= first, map(re.Match.span, pattern.finditer(folded)))
    found = sorted([*found, *islice(before, MAX_HITS - len(found))])
    return Hits([start for start, _ in found], [end for _, end in found], len(found) < MAX_HITS)

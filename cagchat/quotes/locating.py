"""Look a quote up in the book: word for word, nearly, or not at all.

"Verified" means that every word of the quote stands in the book, one after the other; where the quote has an ellipsis,
its parts must stand in order and close together. A part may be left out that is no longer than eight times the shorter
of the parts beside it, and 120 words at most. "Near" means that up to a quarter of the words are changed, added or left
out (a word that is spelt almost alike counts half), and that the rest is still enough to prove something.
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import pairwise
from typing import Literal

from cagchat.quotes.align import Alignment, Pair, align
from cagchat.quotes.book_index import UNKNOWN, BookIndex, Stretch
from cagchat.quotes.find import Quoted
from cagchat.quotes.words import Word, proves, words_of

Mark = Literal["verified", "near", "absent"]

MOST_LEFT_OUT = 120  # words, where an ellipsis stands
LEFT_OUT_PER_WORD = 8
MOST_WORDS = 3000  # of a quote that is compared with the book when it is not in it word for word
NEAR_SHARE = 0.25
ALIKE = 0.7
MOST_CHANGES_SHOWN = 4
MOST_SHOWN = 60  # characters of one change
TRIED_ANCHORS = 4  # places of a quote's longest part around which the others are looked for

MOST_PIECES = 20  # between ellipses

SHORT = "too short to prove anything"
FAR = "its parts stand further apart than an ellipsis may tell"
APART = "its parts stand in the book, but not together in this order"

_ELLIPSIS = re.compile(r"[\[(]?[ \t]*(?:…|\.[ \t]?\.[ \t]?\.(?:[ \t]?\.)?|⋯)[ \t]*[\])]?")
_BRACKETED = re.compile(r"\[([^\[\]]{1,80})\]")
_IN_WORD_BRACKETS = re.compile(r"(?<=\w)\[([^\W\d_]*)\]|\[([^\W\d_]+)\](?=\w)")
_SIC = re.compile(r"\[[ \t]*sic[ \t]*[!.]?[ \t]*\]", re.IGNORECASE)
_CUT = re.compile(r"(?<=[^\W\d_])-[ \t]*\n[ \t]*(?=[^\W\d_])")


@dataclass(frozen=True, slots=True)
class Change:
    """Where a quote and the book differ: what it says, and what the book says there; "" for nothing.

    `start` and `end` are offsets in the book's text.
    """

    quote: str
    book: str
    start: int
    end: int

    def __str__(self) -> str:
        said, book = _shown(self.quote), _shown(self.book)
        if not said:
            return f"leaves out “{book}”"
        return f"says “{said}” for “{book}”" if book else f"adds “{said}”"

    def as_dict(self) -> dict[str, object]:
        """Return what `--json` prints."""
        return {"quote": self.quote, "book": self.book, "start": self.start, "end": self.end}


@dataclass(frozen=True, slots=True)
class Located:
    """What the book says to a quote: `text[start:end]` at `place`, the first of `count` such passages.

    `exact` when it is there character for character. `changes` are those of a near quote; `left_out` is what its
    ellipses stand for. An absent quote has neither offsets (0) nor a place.
    """

    mark: Mark
    start: int = 0
    end: int = 0
    place: str = ""
    count: int = 0
    exact: bool = False
    changes: tuple[Change, ...] = ()
    left_out: tuple[str, ...] = ()
    note: str = ""

    @property
    def difference(self) -> str:
        """What is not as in the book, in a few words; "" when everything is."""
        said = [*map(str, self.changes[:MOST_CHANGES_SHOWN])]
        if len(self.changes) > MOST_CHANGES_SHOWN:
            said.append(f"and {len(self.changes) - MOST_CHANGES_SHOWN} more")
        said += [f"… stands for “{_shown(text)}”" for text in self.left_out[:MOST_CHANGES_SHOWN]]
        return "; ".join([*said, self.note] if self.note else said)

    def as_dict(self) -> dict[str, object]:
        """Return what `--json` prints; an absent quote has only its mark and what is said about it."""
        if self.mark == "absent":
            return {"mark": self.mark, "difference": self.difference}
        return {
            "mark": self.mark,
            "start": self.start,
            "end": self.end,
            "place": self.place,
            "count": self.count,
            "exact": self.exact,
            "difference": self.difference,
            "changes": [change.as_dict() for change in self.changes],
            "left_out": list(self.left_out),
        }


@dataclass(frozen=True, slots=True)
class _Part:
    """A quote, or what stands between two of its ellipses: its words, and their numbers in the book."""

    text: str
    words: tuple[Word, ...]
    numbers: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class _Near:
    """A part and the stretch of the book that is most like it; `cost` is what its changes count."""

    part: _Part
    stretch: Stretch
    pairs: tuple[Pair, ...]
    cost: float


def locate(book: BookIndex, passage: Quoted, *, until: int | None = None) -> Located:
    """Look a quote up in a book, or in what stands before character `until` of it."""
    stop = len(book.words) if until is None else book.word_at(until)
    text = _IN_WORD_BRACKETS.sub(r"\1\2", _SIC.sub(" ", passage.text))
    parts = _parts(book, text)
    if not parts or not proves(word.word for word in parts[0].words):
        return Located("absent", note=SHORT)
    found = _verified(book, parts, stop)
    uncut = _CUT.sub("", text)
    if not found and uncut != text:
        found = _verified(book, _parts(book, uncut), stop)
    if found:
        return _with_exact(book, found, passage.text)
    whole, pieces = parts[0], parts[1:]
    # A word in brackets is the quoter's own, and may stand for several; half the quote must be the book's all the same.
    n_bracketed = sum(len(match[1].split()) for match in _BRACKETED.finditer(text))
    n_words = len(whole.words)
    allowed = min(NEAR_SHARE * n_words + 3 * n_bracketed, n_words / 2)
    if near := _nearly(book, pieces or [whole], allowed, stop):
        return near
    together = len(pieces) > 1 and all(next(book.occurrences(part.numbers, stop), None) for part in pieces)
    return Located("absent", note=APART if together else "")


def _parts(book: BookIndex, text: str) -> list[_Part]:
    """Return a quote as a whole and then, if it has ellipses, what stands between them; nothing without words."""
    pieces = _ELLIPSIS.split(text)
    parts = [_part(book, piece) for piece in (text, *(pieces if len(pieces) > 1 else ()))]
    return [part for part in parts if part.words]


def _part(book: BookIndex, text: str) -> _Part:
    words = tuple(words_of(text))
    return _Part(text, words, tuple(book.number(word.word) for word in words))


def _verified(book: BookIndex, parts: Sequence[_Part], stop: int) -> Located | None:
    """Return where a quote stands as a whole (the first of `parts`), or its pieces (the others) do together."""
    whole, *pieces = parts
    found = list(book.occurrences(whole.numbers, stop))
    if found:
        return _located(book, "verified", found[0], count=len(found))
    stretches, count = _chain(book, pieces, stop)
    if not stretches:
        return None
    whole_stretch = Stretch(stretches[0].start, stretches[-1].end)
    return _located(book, "verified", whole_stretch, count=count, left_out=_left_out(book, stretches))


def _chain(book: BookIndex, pieces: Sequence[_Part], stop: int) -> tuple[list[Stretch], int]:
    """Return the first place where pieces stand in order and close together, and how many such ends there are."""
    if not 0 < len(pieces) <= MOST_PIECES or not any(proves(word.word for word in piece.words) for piece in pieces):
        return [], 0
    if any(UNKNOWN in piece.numbers for piece in pieces):
        return [], 0
    # Each level holds the places of a piece that can be reached from the one before, and from which of them.
    levels = [[(stretch, 0) for stretch in book.occurrences(pieces[0].numbers, stop)]]
    for before, piece in pairwise(pieces):
        ends = [stretch.end for stretch, _ in levels[-1]]
        reach = _reach(before, piece)
        level = []
        for stretch in book.occurrences(piece.numbers, stop) if ends else ():
            # The latest one before it is the nearest; when that is too far, all are.
            i = bisect_right(ends, stretch.start) - 1
            if i >= 0 and stretch.start - ends[i] <= reach:
                level.append((stretch, i))
        levels.append(level)
    if not levels[-1]:
        return [], 0
    stretches, i = [], 0
    for level in reversed(levels):
        stretch, i = level[i]
        stretches.append(stretch)
    return stretches[::-1], len(levels[-1])


def _left_out(book: BookIndex, stretches: Sequence[Stretch]) -> tuple[str, ...]:
    """Return what stands between stretches of the book."""
    return tuple(_text(book, one.end, two.start) for one, two in pairwise(stretches) if two.start > one.end)


def _reach(before: _Part, after: _Part) -> int:
    """Return how many words an ellipsis may stand for."""
    return min(MOST_LEFT_OUT, LEFT_OUT_PER_WORD * min(len(before.words), len(after.words)))


def _nearly(book: BookIndex, pieces: Sequence[_Part], allowed: float, stop: int) -> Located | None:
    """Return where pieces nearly stand together, at the place that costs least; None when too much is changed."""
    n_words = sum(len(piece.words) for piece in pieces)
    n_unknown = sum(piece.numbers.count(UNKNOWN) for piece in pieces)
    if not n_words or n_words > MOST_WORDS or n_unknown / 2 > allowed:
        return None
    longest = max(range(len(pieces)), key=lambda i: len(pieces[i].words))
    anchors = _anchors(book, pieces[longest], allowed, stop)
    best: list[_Near] = []
    for anchor in anchors[:TRIED_ANCHORS]:
        found = _around(book, pieces, longest, anchor, stop)
        if not best or _cost(found) < _cost(best):
            best = found
    kept = [
        near.part.words[pair.quote].word for near in best for pair in near.pairs if pair.same and pair.quote is not None
    ]
    if not best or _cost(best) > allowed or not proves(kept):
        return None
    changes = tuple(change for near in best for change in _changes(book, near))
    placed = [near.stretch for near in best if near.stretch.end > near.stretch.start]
    stretch = Stretch(placed[0].start, placed[-1].end)
    note = "" if changes else FAR
    return _located(book, "near", stretch, count=1, changes=changes, left_out=_left_out(book, placed), note=note)


def _cost(found: Sequence[_Near]) -> float:
    return sum(near.cost for near in found)


def _anchors(book: BookIndex, part: _Part, allowed: float, stop: int) -> list[_Near]:
    """Return the stretches of the book that are most like a part, the best first."""
    found = []
    for stretch in book.likely(part.numbers, int(allowed) + 1, stop):
        fit = align(part.numbers, book.words[stretch.start : stretch.end])
        if fit.distance / 2 <= allowed:
            found.append(_priced(book, part, stretch, fit))
    return sorted(found, key=lambda near: (near.cost, near.stretch.start))


def _around(book: BookIndex, pieces: Sequence[_Part], i: int, anchor: _Near, stop: int) -> list[_Near]:
    """Return every piece where it stands best beside the i-th, which stands at `anchor`, in order."""
    found = [anchor]
    for k in range(i - 1, -1, -1):
        end = found[0].stretch.start
        room = _reach(pieces[k], pieces[k + 1]) + len(pieces[k].words) * 5 // 4 + 1
        found.insert(0, _compared(book, pieces[k], Stretch(max(0, end - room), end)))
    for k in range(i + 1, len(pieces)):
        start = found[-1].stretch.end
        room = _reach(pieces[k - 1], pieces[k]) + len(pieces[k].words) * 5 // 4 + 1
        found.append(_compared(book, pieces[k], Stretch(start, min(stop, start + room))))
    return found


def _compared(book: BookIndex, part: _Part, stretch: Stretch) -> _Near:
    """Align a part with a stretch of the book."""
    return _priced(book, part, stretch, align(part.numbers, book.words[stretch.start : stretch.end]))


def _priced(book: BookIndex, part: _Part, stretch: Stretch, fit: Alignment) -> _Near:
    """Return an alignment in numbers of the book's words, with what its changes count."""
    pairs = [
        Pair(pair.quote, None if pair.book is None else pair.book + stretch.start, pair.same) for pair in fit.pairs
    ]
    start, end = stretch.start + fit.start, stretch.start + fit.end
    # A word said at the end of the passage that the book has not may as well stand for the book's next: then that is
    # shown, unless a sentence or a speech ends between.
    if len(pairs) > 1 and end < stretch.end and pairs[-1].book is None and pairs[-2].same and _go_on(book, end):
        pairs[-1], end = Pair(pairs[-1].quote, end), end + 1
    if len(pairs) > 1 and start > stretch.start and pairs[0].book is None and pairs[1].same and _go_on(book, start):
        start -= 1
        pairs[0] = Pair(pairs[0].quote, start)
    cost = sum(0.0 if pair.same else _price(book, part, pair) for pair in pairs)
    return _Near(part, Stretch(start, end), tuple(pairs), cost)


def _go_on(book: BookIndex, word: int) -> bool:
    """Tell whether nothing but space is between a word of the book and the one before."""
    return book.document.text[book.ends[word - 1] : book.starts[word]].isspace()


def _price(book: BookIndex, part: _Part, pair: Pair) -> float:
    """Return what a change counts: half for a word that is spelt almost alike, one for everything else."""
    if pair.quote is None or pair.book is None:
        return 1.0
    said, written = part.words[pair.quote].word, _text(book, pair.book, pair.book + 1).casefold()
    return 0.5 if SequenceMatcher(None, said[:40], written[:40], autojunk=False).ratio() >= ALIKE else 1.0


def _changes(book: BookIndex, near: _Near) -> list[Change]:
    """Return the differences of an alignment, neighbours as one."""
    changes: list[Change] = []
    group: list[Pair] = []
    at = near.stretch.start
    for pair in (*near.pairs, Pair(None, None, True)):
        if not pair.same:
            group.append(pair)
            continue
        if group:
            changes.append(_change(book, near, group, at))
            group = []
        at = at if pair.book is None else pair.book + 1
    return changes


def _change(book: BookIndex, near: _Near, group: Sequence[Pair], at: int) -> Change:
    """Return a group of changed words as one difference; `at` is the book's word behind the last one that is kept."""
    said = [pair.quote for pair in group if pair.quote is not None]
    written = [pair.book for pair in group if pair.book is not None]
    words = near.part.words
    quote = near.part.text[words[said[0]].start : words[said[-1]].end] if said else ""
    if not written:
        offset = book.starts[at] if at < len(book.starts) else len(book.document.text)
        return Change(quote, "", offset, offset)
    return Change(quote, _text(book, written[0], written[-1] + 1), book.starts[written[0]], book.ends[written[-1]])


def _text(book: BookIndex, start: int, end: int) -> str:
    """Return the book's text from word `start` up to word `end`."""
    return book.document.text[book.starts[start] : book.ends[end - 1]]


def _located(
    book: BookIndex,
    mark: Mark,
    stretch: Stretch,
    *,
    count: int,
    changes: tuple[Change, ...] = (),
    left_out: tuple[str, ...] = (),
    note: str = "",
) -> Located:
    start, end = book.starts[stretch.start], book.ends[stretch.end - 1]
    place = book.document.place(start)
    return Located(mark, start, end, place, count, changes=changes, left_out=left_out, note=note)


def _with_exact(book: BookIndex, found: Located, said: str) -> Located:
    """Say whether a verified quote is there character for character; marks at its ends may be the answer's."""
    text = said.strip()
    around = book.document.text[max(0, found.start - len(text)) : found.end + len(text)]
    if found.left_out or not text or text not in around:
        return found
    return Located(found.mark, found.start, found.end, found.place, found.count, exact=True)


def _shown(text: str) -> str:
    """Return text on one line, without control characters, and not too long."""
    line = " ".join("".join(c for c in text if c.isspace() or unicodedata.category(c)[0] != "C").split())
    return line if len(line) <= MOST_SHOWN else f"{line[: MOST_SHOWN - 1].rstrip()}…"

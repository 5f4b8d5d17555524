"""Align a quote's words with a stretch of the book's: the least number of words changed, added and left out.

The method is Myers's (1999, "A fast bit-vector algorithm for approximate string matching"), in Hyyrö's form: one column
of the table of distances is two integers, and Python's are as long as any quote. The columns are kept, so that the way
back through the table gives the changes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Pair:
    """A step of an alignment: a quote's word and a book's, as numbers in what was aligned; None where one has none."""

    quote: int | None
    book: int | None
    same: bool = False


@dataclass(frozen=True, slots=True)
class Alignment:
    """Where a quote fits best: `book[start:end]`, and word by word what stands where."""

    distance: int
    start: int
    end: int
    pairs: tuple[Pair, ...]


def align(quote: Sequence[int], book: Sequence[int]) -> Alignment:
    """Return the best place of a quote (at least one word) in a stretch of the book; the first of equals.

    Words are numbers; 0 is a word that the book has not, and equals nothing. What stands before and after the place
    costs nothing. Time and memory grow with the product of the lengths, at 64 steps an operation.
    """
    masks: dict[int, int] = {}
    for row, word in enumerate(quote):
        masks[word] = masks.get(word, 0) | 1 << row
    masks.pop(0, None)
    everything = (1 << len(quote)) - 1
    last = 1 << (len(quote) - 1)
    up, down = everything, 0  # where the distance grows, and where it falls, from one row to the next
    ups, downs = [up], [down]
    distance = best = len(quote)
    end = 0
    for column, word in enumerate(book, 1):
        same = masks.get(word, 0)
        diagonal = ((((same & up) + up) ^ up) | same | down) & everything
        right = down | (everything & ~(diagonal | up))
        left = diagonal & up
        distance += bool(right & last) - bool(left & last)
        right = right << 1 & everything
        left = left << 1 & everything
        up, down = left | (everything & ~(diagonal | right)), right & diagonal
        ups.append(up)
        downs.append(down)
        if distance < best:
            best, end = distance, column
    pairs = _way_back(quote, book, ups, downs, end)
    start = min((pair.book for pair in pairs if pair.book is not None), default=end)
    return Alignment(best, start, end, pairs)


def _way_back(
    quote: Sequence[int], book: Sequence[int], ups: list[int], downs: list[int], column: int
) -> tuple[Pair, ...]:
    """Follow the least distances from the end of the quote to its beginning."""
    pairs = []
    row = len(quote)
    while row:
        bit = 1 << (row - 1)
        if ups[column] & bit:
            row -= 1
            pairs.append(Pair(row, None))
            continue
        column -= 1
        if downs[column] & bit:
            pairs.append(Pair(None, column))
            continue
        row -= 1
        pairs.append(Pair(row, column, quote[row] == book[column] != 0))
    return tuple(reversed(pairs))

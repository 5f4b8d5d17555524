"""Which section ends of a book to keep a snapshot at, for models whose cache cannot be cut anywhere."""

from __future__ import annotations

from collections.abc import Sequence


def choose(section_ends: Sequence[int], most: int, last: int) -> tuple[int, ...]:
    """Return at most `most` of the section ends before `last`, as evenly spread over the book as they allow.

    The end of the book itself needs none: the whole state stands there.
    """
    ends = sorted({end for end in section_ends if 0 < end < last})
    if len(ends) <= most:
        return tuple(ends)
    chosen: set[int] = set()
    for i in range(1, most + 1):  # the end nearest to each of `most` equal steps through the book
        target = last * i / (most + 1)
        chosen.add(min(ends, key=lambda end: abs(end - target)))
    return tuple(sorted(chosen))

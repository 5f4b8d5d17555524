"""Books of invented words, no two alike unless asked for, so that a passage stands in one place only."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice, product

from cagchat.documents.document import Document, Page, Section

_SYLLABLES = ("ba", "ré", "ki", "lo", "mu", "ska", "ton", "ver", "zil", "dra")


def invented(n: int) -> list[str]:
    """Return n different words."""
    return ["".join(syllables) for syllables in islice(product(_SYLLABLES, repeat=3), n)]


def document(text: str, *, breaks: Iterable[int] = (), pages: Iterable[int] = ()) -> Document:
    """Return a book whose sections ("Part 1", ...) begin at these characters, and its pages at those."""
    starts = [0, *breaks]
    ends = [*starts[1:], len(text)]
    sections = tuple(
        Section(f"Part {i}", start, end) for i, (start, end) in enumerate(zip(starts, ends, strict=True), 1)
    )
    numbered = tuple(Page(str(i), start) for i, start in enumerate(pages, 1))
    return Document("Invented", text, sections, "text", pages=numbered)

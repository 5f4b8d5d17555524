"""Take off running heads, running feet and page numbers.

A row at the edge of a page is one of them when the same words, but for their digits, stand at the same place of
several pages, or when it holds the number that this page must have.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from statistics import median
from typing import Any

from cagchat.documents.numerals import roman
from cagchat.documents.pdf.layout import Row, rows_of
from cagchat.documents.pdf.page import Page, Span

# Rows at either edge that are looked at, and pages that must agree.
_DEPTH = 3
_FEWEST_PAGES = 3
_BUCKET_POINTS = 4
# A head stands apart from the text by more than the distance of its lines.
_APART = 1.25

_DIGITS = re.compile(r"\d+")
_ALONE = re.compile(
    r"\W{0,3}(?:(?:page|seite|p\.|pág\.|s\.)\s*)?(?P<number>\d{1,5}|[ivxlcdm]{1,9})(?:\s*(?:of|von|de|/)\s*\d{1,5})?\W{0,3}",
    re.I,
)


@dataclass(frozen=True, slots=True)
class _Edge:
    """A row near the top or the bottom of a page: `depth` rows are farther out."""

    page: int
    side: str
    depth: int
    row: Row
    gap: float

    @property
    def key(self) -> tuple[str, str]:
        return self.side, _DIGITS.sub("#", self.row.text.casefold())

    @property
    def has_words(self) -> bool:
        return any(character.isalpha() for character in self.row.text)

    @property
    def bucket(self) -> int:
        return round(self.row.baseline / _BUCKET_POINTS)


def without_running(pages: Sequence[Page]) -> tuple[list[Page], bool]:
    """Return the pages without their running heads and numbers, and whether there were any.

    Pages of which more than half would go, such as labels and slides, stay as they are.
    """
    edges = [edge for page in pages for edge in _edges(page)]
    repeated = Counter((edge.key, edge.bucket) for edge in edges)
    offsets = _offsets(edges, len(pages))
    headed = Counter(
        (edge.side, edge.bucket) for edge in edges if any(n - edge.page in offsets for n in _numbers_at_end(edge))
    )
    dropped: dict[int, set[Span]] = {}
    for _, side in _by_side(edges):
        for edge in side:
            if not (
                _is_number(edge, pages[edge.page], offsets)
                or (_is_headed(edge, offsets) and _near(headed, (edge.side, edge.bucket)) >= _FEWEST_PAGES)
                or (edge.gap > _APART and edge.has_words and _near(repeated, (edge.key, edge.bucket)) >= _FEWEST_PAGES)
            ):
                break
            dropped.setdefault(edge.page, set()).update(edge.row.spans)
    kept = [
        replace(page, spans=tuple(span for span in page.spans if span not in dropped[page.index]))
        if page.index in dropped
        else page
        for page in pages
    ]
    if 2 * _length(kept) < _length(pages):
        return list(pages), False
    return kept, bool(dropped)


def _length(pages: Sequence[Page]) -> int:
    """Return how many characters the pages hold."""
    return sum(len(span.text) for page in pages for span in page.spans)


def _edges(page: Page) -> Iterator[_Edge]:
    """Yield the rows at the top from the outside in, then those at the bottom."""
    rows = rows_of(page.spans)
    distances = [below.baseline - above.baseline for above, below in pairwise(rows)]
    usual = median(distances) if len(distances) >= _DEPTH else 0.0
    for depth in range(min(_DEPTH, (len(rows) + 1) // 2)):
        for side, at, gap in (("top", depth, depth), ("bottom", len(rows) - 1 - depth, len(rows) - 2 - depth)):
            apart = distances[gap] / usual if usual > 0 and 0 <= gap < len(distances) else 2 * _APART
            yield _Edge(page.index, side, depth, rows[at], apart)


def _by_side(edges: list[_Edge]) -> Iterator[tuple[tuple[int, str], list[_Edge]]]:
    """Yield the rows of each page's top and of each page's bottom, from the outside in."""
    sides: dict[tuple[int, str], list[_Edge]] = {}
    for edge in edges:
        sides.setdefault((edge.page, edge.side), []).append(edge)
    yield from sides.items()


def _offsets(edges: list[_Edge], pages: int) -> set[int]:
    """Return what page numbers and positions in the file differ by, where several pages agree."""
    found = Counter(offset for _, offset in {(edge.page, n - edge.page) for edge in edges for n in _numbers(edge)})
    fewest = _FEWEST_PAGES if pages > _FEWEST_PAGES else max(2, pages)
    return {offset for offset, count in found.items() if count >= fewest}


def _numbers(edge: _Edge) -> list[int]:
    """Return every number in a row that may be the page's."""
    alone = _number_alone(edge)
    return [alone] if alone else _numbers_at_end(edge)


def _number_alone(edge: _Edge) -> int:
    """Return the number that is all of a row, 0 when there is more."""
    match = _ALONE.fullmatch(edge.row.text)
    if match is None:
        return 0
    return int(match["number"]) if match["number"].isdecimal() else roman(match["number"].upper()) or 0


def _numbers_at_end(edge: _Edge) -> list[int]:
    """Return the numbers that begin and end a row."""
    words = edge.row.text.split()
    return [int(word) for word in {words[0], words[-1]} if word.isdecimal() and len(word) <= 5] if words else []


def _is_number(edge: _Edge, page: Page, offsets: set[int]) -> bool:
    """Tell whether a row is this page's number and nothing else."""
    number = _number_alone(edge)
    if not number:
        return False
    match = _ALONE.fullmatch(edge.row.text)
    labelled = match is not None and match["number"].casefold() == page.label.casefold()
    return number - edge.page in offsets or (labelled and bool(offsets))


def _is_headed(edge: _Edge, offsets: set[int]) -> bool:
    """Tell whether a row begins or ends with this page's number."""
    return any(number - edge.page in offsets for number in _numbers_at_end(edge))


def _near(counts: Counter[tuple[Any, int]], place: tuple[Any, int]) -> int:
    """Return how often something stands at a place or beside it."""
    what, bucket = place
    return sum(counts[what, bucket + step] for step in (-1, 0, 1))

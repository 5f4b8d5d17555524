"""Take off running heads, running feet and page numbers.

A row at the edge of a page is one of them when the same words, but for their digits, stand at the same place of
several pages, or when it holds the number that this page must have. "Chapter 1", "Chapter 2" at the top of pages far
from each other are headings: a running head stands on neighbouring pages, or counts them.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from statistics import median
from typing import Any

from cagchat.documents.headings import label_of
from cagchat.documents.numerals import roman
from cagchat.documents.pdf.layout import Row, rows_of
from cagchat.documents.pdf.page import Page, Span

# Rows at either edge that are looked at, and pages that must agree.
_DEPTH = 3
_FEWEST_PAGES = 3
_BUCKET_POINTS = 4
# How far a running head is from the next of its kind, where left and right pages have different ones.
_CLOSE_PAGES = 2
# Three numbers that count pages are not farther from each other, some pages having none.
_NEARBY_PAGES = 8
_MOST_NUMBERS = 6
_LONGEST_NUMBER = 5
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
    stays = Counter((edge.key, edge.bucket) for edge in _on_neighbours(edges))
    counting = _counting(edges)
    dropped: dict[int, set[Span]] = {}
    for _, side in _by_side(edges):
        for edge in side:
            is_alone = not _near(stays, (edge.key, edge.bucket))
            is_chapter = is_alone and _is_numbered_heading(edge)
            is_headed = _is_headed(edge, offsets) and _near(headed, (edge.side, edge.bucket)) >= _FEWEST_PAGES
            is_repeated = edge.has_words and _near(repeated, (edge.key, edge.bucket)) >= _FEWEST_PAGES
            if not (
                _is_number(edge, pages[edge.page], offsets)
                or (is_headed and not is_chapter)
                or (is_repeated and edge.gap > _APART and not is_chapter and (not is_alone or edge.key in counting))
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


def _on_neighbours(edges: list[_Edge]) -> Iterator[_Edge]:
    """Yield the rows that stand, digits and all, at the same place of a page close by, facing or overleaf."""
    before: dict[tuple[str, str], list[_Edge]] = {}
    for edge in edges:
        same = before.setdefault((edge.side, edge.row.text), [])
        while same and edge.page - same[0].page > _CLOSE_PAGES:
            same.pop(0)
        if any(abs(edge.bucket - other.bucket) <= 1 for other in same if other.page != edge.page):
            yield edge
        same.append(edge)


def _counting(edges: list[_Edge]) -> set[tuple[str, str]]:
    """Return the keys of rows in which a number counts pages, wherever it stands."""
    found: dict[tuple[tuple[str, str], int, int], set[int]] = {}
    for edge in edges:
        for place, number in enumerate(_DIGITS.findall(edge.row.text)[:_MOST_NUMBERS]):
            if len(number) <= _LONGEST_NUMBER:
                found.setdefault((edge.key, place, int(number) - edge.page), set()).add(edge.page)
    return {key for (key, _, _), on in found.items() if _agree(on, _FEWEST_PAGES)}


def _is_numbered_heading(edge: _Edge) -> bool:
    """Tell whether a row says "Chapter 3" and no more."""
    label = label_of(edge.row.text)
    return label is not None and label.form == "keyword" and not label.title


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
    """Return what page numbers and positions in the file differ by, where several pages close together agree.

    Far from each other they agree by chance: a hundred definitions are numbered too.
    """
    fewest = _FEWEST_PAGES if pages > _FEWEST_PAGES else max(2, pages)
    found: dict[int, set[int]] = {}
    for edge in edges:
        for number in _numbers(edge):
            found.setdefault(number - edge.page, set()).add(edge.page)
    return {offset for offset, on in found.items() if _agree(on, fewest)}


def _agree(on: set[int], fewest: int) -> bool:
    """Tell whether so many of these pages are close together."""
    pages = sorted(on)
    return any(last - first <= _NEARBY_PAGES for first, last in zip(pages, pages[fewest - 1 :], strict=False))


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

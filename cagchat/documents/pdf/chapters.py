"""Find where the chapters of a PDF begin: by its outline, by large type, or by the words of its headings."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from cagchat.documents.chapters import find_sections
from cagchat.documents.document import Section
from cagchat.documents.pdf.page import Mark
from cagchat.documents.pdf.reflow import Paragraph

FRONT_MATTER = "Front matter"

_MOST_LEVELS = 6
_LARGER = 1.15
_LONGEST_HEADING = 160
_MOST_LINES = 3
# A book has more text than headings: below this many characters a heading, large type is only decoration.
_FEWEST_CHARACTERS = 300
# Paragraphs on a page among which an entry of the outline is looked for.
_MOST_PARAGRAPHS = 1_000

_LETTERS = re.compile(r"\W+")
_NUMBER = re.compile(r"^[\divxlc]{1,6}(?:\d{1,3}){0,3}(?=\D)")


@dataclass(frozen=True, slots=True)
class Placed:
    """A paragraph and where it begins in the text."""

    paragraph: Paragraph
    start: int


@dataclass(frozen=True, slots=True)
class _Heading:
    title: str
    level: int
    start: int


def sections_of(text: str, placed: Sequence[Placed], outline: Sequence[Mark], body: float) -> tuple[Section, ...]:
    """Return sections that tile the text, by the best signs that the file has."""
    for headings in (_by_outline(placed, outline), _by_size(text, placed, body)):
        if len(headings) > 1:
            return _tile(text, headings)
    return find_sections(text)


def _by_outline(placed: Sequence[Placed], outline: Sequence[Mark]) -> list[_Heading]:
    """Return the entries of the outline at the paragraphs that have their words, or at their places on the page."""
    first_on_page = _first_on_pages(placed)
    headings: list[_Heading] = []
    used: set[int] = set()
    for mark in outline:
        start = first_on_page[min(mark.page, len(first_on_page) - 1)] if first_on_page else 0
        place = _paragraph_at(placed, start, mark, used)
        if place is None:
            continue
        used.add(place)
        headings.append(_Heading(mark.title, min(mark.level, _MOST_LEVELS), placed[place].start))
    return sorted(headings, key=lambda heading: heading.start)


def _first_on_pages(placed: Sequence[Placed]) -> list[int]:
    """Return for each page the index of the first paragraph that begins on it or after it."""
    pages = [each.paragraph.page for each in placed]
    return [bisect_left(pages, page) for page in range(pages[-1] + 1)] if pages else []


def _paragraph_at(placed: Sequence[Placed], start: int, mark: Mark, used: set[int]) -> int | None:
    """Return the index of the paragraph that an entry of the outline leads to; None when there is none left."""
    wanted = _plain(mark.title)
    below: int | None = None
    nearest: tuple[float, int] | None = None
    for index in range(start, min(len(placed), start + _MOST_PARAGRAPHS)):
        paragraph = placed[index].paragraph
        if paragraph.page > mark.page:
            below = index if below is None and start == index else below
            break
        if wanted and index not in used and _begins_with(_plain(paragraph.text[: len(mark.title) + 40]), wanted):
            distance = abs(paragraph.top - mark.top) if mark.top >= 0 else 0.0
            nearest = min(nearest or (distance, index), (distance, index))
        if below is None and paragraph.top + paragraph.size >= mark.top:
            below = index
    return nearest[1] if nearest else below


def _plain(title: str) -> str:
    """Return the letters and digits of a title, without case."""
    return _LETTERS.sub("", title.casefold())


def _begins_with(paragraph: str, title: str) -> bool:
    """Tell whether a paragraph begins with a title, with a number before either of them or not."""
    bare = _NUMBER.sub("", title)
    return paragraph.startswith(title) or (len(bare) > 2 and _NUMBER.sub("", paragraph).startswith(bare))


def _by_size(text: str, placed: Sequence[Placed], body: float) -> list[_Heading]:
    """Return the short paragraphs in larger type; the largest sizes are the outermost levels."""
    found: list[tuple[float, str, int]] = []
    end = -1
    for each in placed:
        paragraph = each.paragraph
        title = " ".join(paragraph.text.split())
        if (
            paragraph.size >= _LARGER * body
            and paragraph.lines <= _MOST_LINES
            and len(title) <= _LONGEST_HEADING
            and sum(character.isalpha() for character in title) > 2
        ):
            if found and end == each.start and paragraph.size <= 1.02 * found[-1][0]:
                size, above, start = found.pop()
                found.append((size, f"{above.rstrip(':')}. {title}" if len(above) < 40 else above, start))
            else:
                found.append((round(paragraph.size, 1), title, each.start))
            end = each.start + len(paragraph.text) + 2
    if len(found) * _FEWEST_CHARACTERS > len(text):
        return []
    levels = _levels([size for size, _, _ in found])
    return [_Heading(title, levels[size], start) for size, title, start in found]


def _levels(sizes: list[float]) -> dict[float, int]:
    """Return a level for each size, 1 for the largest; one that stands alone, as a title does, shares its level."""
    counts = Counter(sizes)
    level = 1
    levels: dict[float, int] = {}
    previous = 0.0
    for size in sorted(counts, reverse=True):
        if previous and previous / size > 1.04 and sum(counts[each] for each in levels if levels[each] == level) > 1:
            level = min(level + 1, _MOST_LEVELS)
        levels[size] = level
        previous = size
    return levels


def _tile(text: str, headings: Sequence[_Heading]) -> tuple[Section, ...]:
    """Make a section from each heading to the next; headings at one place are one."""
    merged: list[_Heading] = []
    for heading in headings:
        if merged and merged[-1].start == heading.start:
            above = merged[-1]
            merged[-1] = _Heading(f"{above.title}. {heading.title}", above.level, above.start)
        else:
            merged.append(heading)
    front = [Section(FRONT_MATTER, 0, merged[0].start, 0)] if merged[0].start else []
    bounds = [*(heading.start for heading in merged), len(text)]
    return (
        *front,
        *(
            Section(heading.title, start, end, heading.level)
            for heading, (start, end) in zip(merged, pairwise(bounds), strict=True)
        ),
    )

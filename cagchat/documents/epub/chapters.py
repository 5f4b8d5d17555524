"""Make sections of an EPUB's table of contents; where it says too little, of the headings in its pages."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise

from cagchat.documents.assembly import Mark
from cagchat.documents.chapters import FRONT_MATTER
from cagchat.documents.document import Section
from cagchat.documents.epub.contents import Entry
from cagchat.documents.epub.pages import Pages

_LONGEST_TITLE = 200
# Of the text in one section: such a table of contents lists a cover and a beginning.
_NEARLY_ALL = 0.8


def sections(chapters: Sequence[Entry], pages: Pages) -> tuple[Section, ...]:
    """Tile the text where the table of contents says; where that is little and the headings say more, at those."""
    length = len(pages.joined.text)
    listed = marks(chapters, pages)
    tiles = _tile(listed, length)
    longest = max(tile.end - tile.start for tile in tiles)
    if len(listed) > 1 and longest <= _NEARLY_ALL * length:
        return tiles
    found = pages.joined.sections
    return found if len(found) > len(listed) * (2 if len(listed) > 1 else 1) else tiles


def marks(chapters: Sequence[Entry], pages: Pages) -> list[Mark]:
    """Return where the table's lines lead, in the order of the text, and the headings of files that it leaves out."""
    found = sorted(_listed(chapters, pages), key=lambda mark: mark.start)
    if len(found) > 1:
        listed = {entry.target.path for entry in chapters if entry.target}
        found = sorted([*found, *_unlisted(found, listed, pages)], key=lambda mark: mark.start)
    return _merged(found, pages)


def _listed(chapters: Iterable[Entry], pages: Pages) -> Iterator[Mark]:
    """Yield a mark for each line that leads into the text; a line without a link begins where the next one does."""
    titles = _titles(pages)
    waiting: list[Entry] = []
    for entry in chapters:
        if entry.target is None:
            waiting.append(entry)
            continue
        offset = pages.offset_of(entry.target)
        if offset is None:  # a dead id: the heading of that title is meant
            offset = titles.get((entry.target.path, entry.title.casefold()))
        if offset is not None:
            parents = [parent for parent in waiting if parent.level < entry.level]
            for line in (*parents, entry):
                yield Mark(offset, line.title, line.level)
        waiting = []


def _titles(pages: Pages) -> dict[tuple[str, str], int]:
    """Return where the headings of each file stand, by file and title."""
    anchors = pages.joined.anchors
    starts = [(anchors[f"{path}#"], path) for path in pages.paths if f"{path}#" in anchors]
    titles: dict[tuple[str, str], int] = {}
    for heading in pages.joined.marks:
        if index := bisect_right(starts, heading.start, key=lambda start: start[0]):
            titles.setdefault((starts[index - 1][1], heading.title.casefold()), heading.start)
    return titles


def _unlisted(found: Iterable[Mark], listed: set[str], pages: Pages) -> Iterator[Mark]:
    """Yield the headings at the beginnings of files that no line names.

    They stand on the level of listed headings of the same rank, or below those of higher ones.
    """
    headings = {heading.start: heading for heading in pages.joined.marks}
    levels: dict[int, int] = {}
    for mark in found:
        if mark.start in headings:
            levels.setdefault(headings[mark.start].level, mark.level)
    for path in pages.paths:
        heading = headings.get(pages.joined.anchors.get(f"{path}#", -1))
        if path not in listed and heading:
            above = [level for rank, level in levels.items() if rank < heading.level]
            yield Mark(heading.start, heading.title, levels.get(heading.level, 1 + max(above, default=0)))


def _merged(found: Iterable[Mark], pages: Pages) -> list[Mark]:
    """Leave one mark at each place, with a title: a part and its first chapter become "Part: Chapter".

    Of two lines of the same rank the later counts: the earlier one led to a picture.
    """
    headings = {heading.start: heading.title for heading in pages.joined.marks}
    merged: list[Mark] = []
    for mark in found:
        title = mark.title or headings.get(mark.start, "")
        if not title:
            continue
        level = mark.level
        if merged and merged[-1].start == mark.start:
            previous = merged.pop()
            if previous.level < mark.level:
                level = previous.level
                if not title.casefold().startswith(previous.title.casefold()):
                    title = f"{previous.title}: {title}"[:_LONGEST_TITLE]
        merged.append(Mark(mark.start, title, level))
    return merged


def _tile(found: Sequence[Mark], length: int) -> tuple[Section, ...]:
    """Make a section from each mark to the next; what precedes the first has level 0."""
    whole = [*found] if found and not found[0].start else [Mark(0, FRONT_MATTER, 0), *found]
    bounds = [*(mark.start for mark in whole), length]
    return tuple(Section(mark.title, *span, mark.level) for mark, span in zip(whole, pairwise(bounds), strict=True))

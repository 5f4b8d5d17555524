"""Join blocks into the text of a book: sections at its headings, and the place of every id and printed page."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from cagchat.documents.chapters import FRONT_MATTER, find_sections
from cagchat.documents.document import Page, Section
from cagchat.documents.headings import label_of
from cagchat.documents.markup import Block

_LONGEST_TITLE = 200
_GAP = "\n\n"


@dataclass(frozen=True, slots=True)
class Mark:
    """The beginning of a section."""

    start: int
    title: str
    level: int


@dataclass(frozen=True, slots=True)
class Assembled:
    """A text with what is known about places in it; `anchors` are ids, `marks` its headings."""

    text: str
    marks: tuple[Mark, ...]
    anchors: dict[str, int]
    pages: tuple[Page, ...]

    def part(self, start: int, text: str) -> Assembled:
        """Return what is known about `text`, which begins at `start` of this one; the end may be cut off too."""
        end = start + len(text)
        return Assembled(
            text=text,
            marks=tuple(Mark(mark.start - start, mark.title, mark.level) for mark in self.marks_in(start, end)),
            anchors={name: at - start for name, at in self.anchors.items() if start <= at < end},
            pages=tuple(Page(page.label, page.start - start) for page in self.pages if start <= page.start < end),
        )

    def marks_in(self, start: int, end: int) -> Iterator[Mark]:
        """Yield the headings between two places."""
        return (mark for mark in self.marks if start <= mark.start < end)

    @property
    def sections(self) -> tuple[Section, ...]:
        """Sections that tile the text: at its headings; without any, where lines look like headings."""
        marks = list(_merged(self.marks, self.text))
        if len(marks) < 2:
            found = find_sections(self.text)
            if len(found) > len(marks) + 1 or not marks:
                return found
        return _tile(marks, len(self.text))


def assemble(blocks: Iterable[Block]) -> Assembled:
    """Put blocks one below the other, with a blank line between them where they are not tight."""
    pieces: list[str] = []
    marks: list[Mark] = []
    anchors: dict[str, int] = {}
    pages: list[Page] = []
    position = 0
    for block in blocks:
        if block.text and pieces:
            pieces.append("\n" if block.tight else _GAP)
            position += len(pieces[-1])
        for anchor in block.anchors:
            anchors.setdefault(anchor, position)
        pages += (Page(label, position + at) for label, at in block.breaks)
        if not block.text:
            continue
        if block.level:
            marks.append(Mark(position, block.text[:_LONGEST_TITLE], block.level))
        pieces.append(block.text)
        position += len(block.text)
    text = "".join(pieces)
    return Assembled(f"{text}\n" if text else "", tuple(marks), anchors, tuple(dict.fromkeys(pages)))


def _merged(marks: Sequence[Mark], text: str) -> Iterator[Mark]:
    """Yield the headings with levels counted from 1 without a gap; "Chapter 1" and a title below it are one."""
    ranks = {level: rank for rank, level in enumerate(sorted({mark.level for mark in marks}), start=1)}
    waiting: Mark | None = None
    for mark in marks:
        ranked = Mark(mark.start, mark.title, ranks[mark.level])
        if waiting:
            between = text[waiting.start : mark.start].strip()
            if mark.start - waiting.start <= _LONGEST_TITLE and between == waiting.title and _wants(waiting, ranked):
                title = f"{waiting.title.rstrip('.:')}. {ranked.title}"[:_LONGEST_TITLE]
                waiting = Mark(waiting.start, title, waiting.level)
                continue
            yield waiting
        waiting = ranked
    if waiting:
        yield waiting


def _wants(mark: Mark, below: Mark) -> bool:
    """Tell whether a heading is a bare "Chapter 1" and the one below it a title rather than another chapter."""
    label = label_of(mark.title)
    if label is None or label.title or label.kind in ("front", "other", "volume", "book", "part"):
        return False
    return below.level >= mark.level and label_of(below.title) is None


def _tile(marks: Sequence[Mark], length: int) -> tuple[Section, ...]:
    """Make a section from each heading to the next; what precedes the first has level 0."""
    bounds = [*(mark.start for mark in marks), length]
    sections = [Section(mark.title, *span, mark.level) for mark, span in zip(marks, pairwise(bounds), strict=True)]
    return tuple(sections) if not bounds[0] else (Section(FRONT_MATTER, 0, bounds[0], 0), *sections)

"""Find the chapters of a plain text by its headings.

A line is a heading when its form says so and its surroundings agree: a blank line before it, a number that continues
a sequence, text after it. A table of contents has the same lines without text between them, and is left out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise

from cagchat.documents.document import Section
from cagchat.documents.headings import LONGEST_LINE, RANKS, Label, is_title, label_of
from cagchat.documents.parts import parts

FRONT_MATTER = "Front matter"

_TITLE_LINES = 2
# A numbered list has less text between its numbers than a book between its chapters.
_SHORTEST_CHAPTER = 1000
_LISTING_GAP = 1000
_CONTENTS_GAP = 300
# A listing whose numbers begin again is taken away in several pieces.
_MOST_LISTINGS = 8
_FEWEST_BARE = 3
_ENDS_OF_PARAGRAPHS = tuple(".!?:;…\"'”’»*)]—–-_")


@dataclass(frozen=True, slots=True)
class _Heading:
    """A heading at `text[start:end]`; `later_title` is a title-like paragraph below it.

    `run_in` tells that the chapter's text goes on in the same paragraph.
    """

    label: Label
    start: int
    end: int
    title: str
    later_title: str = ""
    run_in: bool = False

    @property
    def kind(self) -> str:
        return self.label.kind


@dataclass(frozen=True, slots=True)
class _Lines:
    """The lines of a text and where each starts."""

    lines: list[str]
    starts: list[int]

    def end_of_paragraph(self, index: int, most: int) -> int:
        """Return the index of the first blank line at or after `index`, `index + most` when it is farther."""
        stop = min(index + most, len(self.lines))
        while index < stop and self.lines[index]:
            index += 1
        return index


def find_sections(text: str) -> tuple[Section, ...]:
    """Return sections that tile the text: its chapters; without headings, even parts.

    Parts, books and volumes have level 1 and the chapters in them level 2 (3 where volumes hold books); chapters that
    stand alone have level 1. What precedes the first heading has level 0. Time is linear in the length of the text.
    """
    headings = _find_headings(text)
    return _tile(text, headings) if headings else parts(text)


def _find_headings(text: str) -> list[_Heading]:
    """Return the headings that can be trusted, in order."""
    lines = text.split("\n")
    table = _Lines(lines, [0, *accumulate(len(line) + 1 for line in lines)])
    candidates = list(_candidates(table))
    named = _without_contents(text, [heading for heading in candidates if heading.label.form != "bare"])
    named = _with_trusted_words(_with_trusted_numbers(named))
    first = named[0].start if named else 0
    headings = named
    for kind in dict.fromkeys(heading.kind for heading in candidates if heading.label.form == "bare"):
        bare = [heading for heading in candidates if heading.kind == kind and heading.start >= first * bool(named)]
        headings = [*headings, *_trusted_bare(text, bare)]
    headings = headings or _capital_titles(table, len(text))
    return _with_later_titles(_without_contents(text, sorted(headings, key=lambda heading: heading.start)))


def _candidates(table: _Lines) -> Iterator[_Heading]:
    """Yield every line that reads as a heading at the start of a paragraph, or straight below another heading."""
    lines = table.lines
    below = -1
    for index, line in enumerate(lines):
        if not line or len(line) > LONGEST_LINE or (index and lines[index - 1] and index != below):
            continue
        label = label_of(line)
        if label is None:
            continue
        heading = _heading_at(table, index, label)
        if heading is not None:
            yield heading
            below = index + 1


def _heading_at(table: _Lines, index: int, label: Label) -> _Heading | None:
    """Describe the heading on line `index`, or return None when its paragraph lists several of the same kind."""
    lines = table.lines
    stop = table.end_of_paragraph(index + 1, most=8)
    below = [label_of(line) for line in lines[index + 1 : stop]]
    if any(other is not None and other.kind == label.kind for other in below):
        return None
    inner = next((place for place, other in enumerate(below) if other is not None), len(below))
    under = " ".join(" ".join(lines[index + 1 : index + 1 + inner]).split())
    printed = label.printed
    if inner <= _TITLE_LINES:
        if label.form == "bare" and under:
            return None
        if under and not label.title and is_title(under):
            printed = f"{printed.rstrip('.')}. {under}"
        elif under and label.title:
            printed = f"{printed} {under}"
        end = table.starts[index + 1 + inner] if label.title or is_title(under) else table.starts[index + 1]
        later = "" if under or label.title else _paragraph_below(table, stop)
        return _Heading(label, table.starts[index], end, _tidy(printed), later)
    if label.form != "keyword":
        return None
    if label.title:
        printed = printed.removesuffix(label.title)
    return _Heading(label, table.starts[index], table.starts[index + 1], _tidy(printed), run_in=True)


def _paragraph_below(table: _Lines, index: int) -> str:
    """Return the next paragraph when it is short and reads like a title, else ""."""
    lines = table.lines
    stop = min(index + 4, len(lines))
    while index < stop and not lines[index]:
        index += 1
    end = table.end_of_paragraph(index, most=_TITLE_LINES + 2)
    if not 0 < end - index <= _TITLE_LINES + 1 or label_of(lines[index]):
        return ""
    paragraph = " ".join(" ".join(lines[index:end]).split())
    return paragraph if is_title(paragraph) else ""


def _tidy(title: str) -> str:
    """Drop what a printer puts after a heading."""
    return title.rstrip(" .:,;") or title


def _without_contents(text: str, headings: list[_Heading]) -> list[_Heading]:
    """Drop tables of contents: headings at the front without text between them, whose like comes again later."""
    for _ in range(_MOST_LISTINGS):
        found = _contents(text, headings)
        if found is None:
            break
        headings = headings[: found[0]] + headings[found[1] :]
    return headings


def _contents(text: str, headings: list[_Heading]) -> tuple[int, int] | None:
    """Return the slice of the headings that is a table of contents, None when there is none.

    Up to two headings, such as a preface, may stand before it.
    """
    paths = _paths(headings)
    for first in range(min(3, len(headings))):
        announced = "contents" in text[max(0, headings[first].start - 400) : headings[first].start].lower()
        if announced and (last := _listed(headings, paths, first, _CONTENTS_GAP)):
            return first, last
        last = _listed(headings, paths, first, _LISTING_GAP)
        if last:
            listed, later = Counter(paths[first:last]), Counter(paths[last:])
            if (listed & later).total() >= 0.8 * listed.total():
                return first, last
    return None


def _listed(headings: list[_Heading], paths: Sequence[object], first: int, gap: int) -> int:
    """Return where a run of headings with less than `gap` characters between them ends; 0 when it is too short.

    The run ends before a heading that it already has: there the book begins.
    """
    seen = {paths[first]}
    last = first + 1
    while last < len(headings) and headings[last].start - headings[last - 1].end < gap and paths[last] not in seen:
        seen.add(paths[last])
        last += 1
    kinds = Counter(heading.kind for heading in headings[first:last])
    return last if last - first >= 3 and max(kinds.values()) >= 2 else 0


def _paths(headings: list[_Heading]) -> list[tuple[tuple[str, int, str], ...]]:
    """Return for each heading the numbers of what it stands in and its own."""
    ranks = _ranks(headings)
    stack: list[_Heading] = []
    paths = []
    for heading in headings:
        while stack and ranks[stack[-1].kind] >= ranks[heading.kind]:
            stack.pop()
        paths.append((*(_key(outer) for outer in stack), _key(heading)))
        if heading.kind not in ("front", "other"):
            stack.append(heading)
    return paths


def _key(heading: _Heading) -> tuple[str, int, str]:
    """Name a heading so that it is found again: by its number, or by its first word."""
    label = heading.label
    return label.kind, label.number, "" if label.number else label.printed.split()[0].strip(".:").lower()


def _ranks(headings: list[_Heading]) -> dict[str, float]:
    """Return how far in each kind of heading stands.

    Books hold parts or parts hold books, whichever comes first. Bare numbers stand inside what comes before them.
    """
    ranks: dict[str, float] = {}
    for kind in dict.fromkeys(heading.kind for heading in headings):
        if kind in RANKS:
            ranks[kind] = RANKS[kind] + (0.5 if kind in ("book", "part") and {"book", "part"} & ranks.keys() else 0)
        elif kind in ("front", "other"):
            ranks[kind] = 2 if kind == "front" else 0
        else:
            numbered = [rank for outer, rank in ranks.items() if outer not in ("front", "other")]
            ranks[kind] = max(numbered, default=0) + 0.25
    return ranks


def _with_trusted_numbers(headings: list[_Heading]) -> list[_Heading]:
    """Drop keywords that may be a sentence's beginning: their number has no neighbour, or others are set apart."""
    numbers = {(heading.kind, heading.label.number) for heading in headings}
    set_apart = {heading.kind for heading in headings if heading.label.form == "keyword" and not heading.run_in}
    innermost = max((RANKS[kind] for kind in set_apart), default=0)

    def is_trusted(heading: _Heading) -> bool:
        label = heading.label
        if heading.run_in and (RANKS[label.kind] < innermost or (label.kind in set_apart and label.title)):
            return False
        if label.form != "keyword" or (not heading.run_in and (label.kind == "chapter" or label.loud)):
            return True
        return any((label.kind, label.number + step) in numbers for step in (-1, 1))

    return [heading for heading in headings if is_trusted(heading)]


def _with_trusted_words(headings: list[_Heading]) -> list[_Heading]:
    """Keep headings without a number where they belong: prefaces before the chapters, and none in a text without."""
    numbered = [heading.start for heading in headings if heading.label.form == "keyword"]
    if not numbered:
        return headings if len(headings) > 1 else []
    kept: list[_Heading] = []
    for heading in headings:
        opens_part = bool(kept) and RANKS.get(kept[-1].kind, 9) < 2 and heading.start - kept[-1].end < _CONTENTS_GAP
        if heading.kind != "front" or heading.start < numbered[0] or opens_part:
            kept.append(heading)
    return kept


def _trusted_bare(text: str, headings: list[_Heading]) -> list[_Heading]:
    """Keep bare numbers of one kind when they count from 1 through text of some length, and are no page numbers."""
    headings = _in_sequence(_without_contents(text, headings))
    if len(headings) < _FEWEST_BARE:
        return []
    bounds = [*(heading.start for heading in headings), len(text)]
    lengths = [end - start for start, end in pairwise(bounds)]
    if _middle(lengths) < _SHORTEST_CHAPTER:
        return []
    # A page ends in the middle of a sentence, a chapter does not.
    before = [text[max(0, heading.start - LONGEST_LINE) : heading.start].rstrip() for heading in headings]
    closed = sum(not line or line.endswith(_ENDS_OF_PARAGRAPHS) or line[-1].isdigit() for line in before)
    return headings if closed >= 0.8 * len(headings) else []


def _middle(lengths: list[int]) -> int:
    """Return the upper median."""
    return sorted(lengths)[len(lengths) // 2] if lengths else 0


def _in_sequence(headings: list[_Heading]) -> list[_Heading]:
    """Keep the headings that count 1, 2, 3; a new 1 starts again when a 2 follows it."""
    kept: list[_Heading] = []
    expected = 1
    for index, heading in enumerate(headings):
        number = heading.label.number
        following = next((other.label.number for other in headings[index + 1 : index + 2]), 0)
        if number == expected or (number == 1 and following == 2):
            kept.append(heading)
            expected = number + 1
    return kept


def _capital_titles(table: _Lines, length: int) -> list[_Heading]:
    """Take lines in capitals with two blank lines before and one after for titles, as in collections of stories."""
    lines = table.lines
    found = []
    for index, line in enumerate(lines):
        if (
            0 < len(line) <= 60
            and line.isupper()
            and (index < 2 or not (lines[index - 1] or lines[index - 2]))
            and index + 1 < len(lines)
            and not lines[index + 1]
            and sum(character.isalpha() for character in line) >= 3
        ):
            title = " ".join(line.split())
            label = Label("titled", 0, title, title, "word")
            found.append(_Heading(label, table.starts[index], table.starts[index + 1], _tidy(title)))
    bounds = [*(heading.start for heading in found), length]
    lengths = [end - start for start, end in pairwise(bounds)]
    return found if len(found) >= _FEWEST_BARE and _middle(lengths) >= 2 * _SHORTEST_CHAPTER else []


def _with_later_titles(headings: list[_Heading]) -> list[_Heading]:
    """Give headings the title-like paragraphs below them, for kinds of which most have one.

    A single one may be a short first paragraph; below acts and scenes stand stage directions.
    """
    alone = Counter(heading.kind for heading in headings)
    titled = Counter(heading.kind for heading in headings if heading.later_title)
    kinds = {kind for kind in titled if titled[kind] > 1 and titled[kind] >= 0.6 * alone[kind]}
    kinds -= {"act", "scene", "front", "other"}
    return [
        replace(heading, title=f"{heading.title}. {_tidy(heading.later_title)}")
        if heading.kind in kinds and heading.later_title
        else heading
        for heading in headings
    ]


def _tile(text: str, headings: list[_Heading]) -> tuple[Section, ...]:
    """Make a section from each heading to the next."""
    first = headings[0].start
    sections = []
    if text[:first].strip():
        sections.append(Section(FRONT_MATTER, 0, first, 0))
    else:
        first = 0
    starts = [first, *(heading.start for heading in headings[1:])]
    for heading, level, start, end in zip(headings, _levels(headings), starts, [*starts[1:], len(text)], strict=True):
        sections.append(Section(heading.title, start, end, level))
    return tuple(sections)


def _levels(headings: list[_Heading]) -> Iterator[int]:
    """Yield 1 for the outermost headings, one more for each that a heading stands in."""
    ranks = _ranks(headings)
    stack: list[float] = []
    for heading, following in zip(headings, [*headings[1:], None], strict=True):
        rank = ranks[heading.kind]
        if heading.kind == "other" and following and following.label.number > 1 and stack:
            # An interlude: the part that it interrupts goes on.
            rank = max(rank, ranks[following.kind] if ranks[following.kind] > stack[0] else rank)
        while stack and stack[-1] >= rank:
            stack.pop()
        yield len(stack) + 1
        if _holds(heading, following):
            stack.append(rank)


def _holds(heading: _Heading, following: _Heading | None) -> bool:
    """Tell whether other headings can stand inside this one: an epilogue holds chapters that count from 1 again."""
    if heading.kind == "other":
        return following is not None and following.label.number == 1 and RANKS.get(following.kind, 9) >= 2
    return heading.kind != "front"

"""Cut a book into paragraphs of about the same length, which is what is searched and what is shown of it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from cagchat.documents.document import Document, Section

USUAL = 1000  # characters: some 250 tokens, so that a budget of 2,000 holds eight places of the book
LONGEST = 1400
SHORTEST = 400  # a line of dialogue says little without the lines around it

_BLANK_LINES = re.compile(r"\n[^\S\n]*\n\s*")
_SENTENCE_END = re.compile(r"[.!?…]+[\"'”’»)\]_]*\s+|[。！？]+[」』”’）]*\s*")
_SPACE = re.compile(r"\s+")


@dataclass(frozen=True, slots=True)
class Paragraph:
    """`text[start:end]` of a document, without blanks around it, inside its section number `section`."""

    start: int
    end: int
    section: int

    def __len__(self) -> int:
        return self.end - self.start


def paragraphs(document: Document, until: int | None = None) -> tuple[Paragraph, ...]:
    """Return the document's paragraphs up to a character: long ones cut at sentence ends, short ones merged.

    None reaches over the border of a section.
    """
    text = document.text if until is None else document.text[:until]
    return tuple(
        Paragraph(start, end, number)
        for number, section in enumerate(document.sections)
        for start, end in _merged(_blocks(text, section))
    )


def sentence_ends(text: str, start: int, end: int) -> list[int]:
    """Return where sentences inside a range end, each after the blanks behind it; the range's own end is not one."""
    return [match.end() for match in _SENTENCE_END.finditer(text, start, end) if match.end() < end]


def _blocks(text: str, section: Section) -> Iterator[tuple[int, int]]:
    """Yield what stands between blank lines, trimmed, in pieces no longer than the longest."""
    start, end = section.start, min(section.end, len(text))
    while start < end:
        blank = _BLANK_LINES.search(text, start, end)
        yield from _pieces(text, *_trimmed(text, start, blank.start() if blank else end))
        start = blank.end() if blank else end


def _pieces(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    while end - start > LONGEST:
        cut = _cut(text, start)
        yield _trimmed(text, start, cut)
        start = cut
    start, end = _trimmed(text, start, end)
    if start < end:
        yield start, end


def _cut(text: str, start: int) -> int:
    """Return where a long paragraph is cut: at the sentence end nearest the usual length, else at a blank, else there.

    Some texts have neither for a megabyte.
    """
    least, most = start + SHORTEST, start + LONGEST
    for pattern in (_SENTENCE_END, _SPACE):
        ends = [match.end() for match in pattern.finditer(text, least, most)]
        if ends:
            return min(ends, key=lambda end: abs(end - start - USUAL))
    return start + USUAL


def _trimmed(text: str, start: int, end: int) -> tuple[int, int]:
    while start < end and text[start].isspace():
        start += 1
    while start < end and text[end - 1].isspace():
        end -= 1
    return start, end


def _merged(blocks: Iterator[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Join a short block with what follows or precedes it, while the whole is not too long."""
    held: tuple[int, int] | None = None
    for start, end in blocks:
        if held is None:
            held = start, end
            continue
        is_short = min(held[1] - held[0], end - start) < SHORTEST
        if is_short and end - held[0] <= LONGEST:
            held = held[0], end
        else:
            yield held
            held = start, end
    if held is not None:
        yield held

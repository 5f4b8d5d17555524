"""Find what an answer quotes: between quotation marks of any language, and in block quotes.

Only the outermost quotation counts, so that a quote with speech inside is one passage. Marks pair within a paragraph;
one that is never closed quotes nothing, unless the next paragraph goes on with the same mark, as printed speeches do.
Code is left out. A quote with less than three words or ten letters proves nothing and is not counted; between straight
single marks, which are apostrophes too, it takes four words.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from cagchat.quotes.words import proves, words_of

CLOSING = {
    "“": "”",
    "„": "“”",
    "‟": "”",
    "”": "”",
    "«": "»",
    "»": "«»",
    "‹": "›",
    "›": "‹›",
    "「": "」",
    "『": "』",
    "｢": "｣",
    "〝": "〞〟",
    "＂": "＂",
    "‘": "’",
    "‚": "‘’",
    '"': '"',
    "'": "'",
}
# These open and close, in one language or another; only the spaces around them tell.
_EITHER_WAY = frozenset("\"'”»›＂")
_APOSTROPHES = frozenset("'’‘")
_MARKS = re.compile("[" + "".join({*CLOSING, *"".join(CLOSING.values())}) + "]")
_PARAGRAPH_END = re.compile(r"\n[ \t]*\n\s*")
_BLOCK = re.compile(r"(?:^[ \t]{0,3}>.*(?:\n|\Z))+", re.MULTILINE)
_BLOCK_SIGN = re.compile(r"^[ \t]{0,3}(?:>[ \t]?)+", re.MULTILINE)
_CODE = re.compile(r"^[ \t]{0,3}(```+|~~~+).*?(?:^[ \t]{0,3}\1|\Z)|`[^`\n]+`", re.MULTILINE | re.DOTALL)
# "— Chapter 3" after a quote or on its last line says where it is from.
_SOURCE = re.compile(r"(?:\n|(?<=[”\"»’.!?…*_ ]))[ \t]*(?:[—–―]|--?[ \t]|\()[^\n]{1,120}\Z")
_SINGLE = re.compile("['‘’]")
_LEAST_IN_APOSTROPHES = 4
_DEEPEST = 16  # quotations inside quotations; marks that wait further out are not looked at
_PLURAL_REACH = 400  # characters in which a quotation goes on after "the dogs’ house"


@dataclass(frozen=True, slots=True)
class Quoted:
    """A quoted passage: its text without marks, and where it stands in the answer.

    `answer[start:end]` is the passage inside its marks, still with the `>` of a block quote.
    """

    text: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class _Open:
    """A mark that waits for its end, and where the text behind it begins."""

    mark: str
    start: int


def quoted(answer: str) -> tuple[Quoted, ...]:
    """Return the passages that an answer quotes, in order, without those that are too short to prove anything."""
    plain = _CODE.sub(lambda match: _blank(match[0]), answer)
    found: list[Quoted] = []
    for block in _BLOCK.finditer(plain):
        found += _block_quotes(plain, block.start(), block.end())
    plain = _BLOCK.sub(lambda match: _blank(match[0], "\n"), plain)
    found += [_stripped(plain, start, end) for start, end in _between_marks(plain)]
    return tuple(sorted((one for one in found if _counts(one, answer)), key=lambda one: one.start))


def _blank(text: str, filling: str = " ") -> str:
    """Return as many characters without a word; lines stay lines."""
    return re.sub("[^\n]", filling, text)


def _stripped(text: str, start: int, end: int) -> Quoted:
    """Return a passage without the spaces that French sets inside its marks."""
    inside = text[start:end]
    passage = inside.strip()
    start += len(inside) - len(inside.lstrip())
    return Quoted(passage, start, start + len(passage))


def _counts(passage: Quoted, answer: str) -> bool:
    """Tell whether a passage is long enough to be looked up."""
    words = [word.word for word in words_of(passage.text)]
    apostrophes = answer[max(0, passage.start - 1) : passage.start] == "'" == answer[passage.end : passage.end + 1]
    return proves(words) and not (apostrophes and len(words) < _LEAST_IN_APOSTROPHES)


def _block_quotes(answer: str, start: int, end: int) -> Iterator[Quoted]:
    """Yield the paragraphs of a block quote, each without its signs and without a last line that names its source."""
    paragraph: list[tuple[str, int]] = []  # lines without their signs, and where they begin
    at = start
    for line in [*answer[start:end].splitlines(keepends=True), ""]:
        body = _BLOCK_SIGN.sub("", line)
        if body.strip():
            paragraph.append((body, at + len(line) - len(body)))
        elif paragraph:
            yield _without_source(paragraph)
            paragraph = []
        at += len(line)


def _without_source(paragraph: list[tuple[str, int]]) -> Quoted:
    """Return a paragraph of lines and their offsets as one passage."""
    text = _SOURCE.sub("", "".join(body for body, _ in paragraph).rstrip()).rstrip()
    left = len(text)
    end = paragraph[0][1]
    for body, at in paragraph:
        if left <= 0:
            break
        end = at + min(left, len(body))
        left -= len(body)
    return Quoted(text, paragraph[0][1], end)


def _between_marks(text: str) -> Iterator[tuple[int, int]]:
    """Yield start and end of the outermost quotations."""
    spans: list[tuple[int, int]] = []
    carried: _Open | None = None
    at = 0
    while at < len(text):
        gap = _PARAGRAPH_END.search(text, at)
        end, following = gap.span() if gap else (len(text), len(text))
        found, carried = _in_paragraph(text, at, end, carried)
        spans += found
        if carried and not text.startswith(carried.mark, following):
            carried = None
        at = following
    reached = 0
    for start, end in sorted(spans, key=lambda span: (span[0], -span[1])):
        if start >= reached:
            yield start, end
            reached = end


def _in_paragraph(text: str, start: int, end: int, carried: _Open | None) -> tuple[list[tuple[int, int]], _Open | None]:
    """Return the quotations that end in a paragraph, and the outermost that is still open."""
    spans, waiting = [], [carried] if carried else []
    for match in _MARKS.finditer(text, start, end):
        mark, at = match[0], match.start()
        if carried and at == start:
            continue  # the mark again, at the head of the next paragraph of the same speech
        before, after = text[at - 1 : at] if at > start else "", text[at + 1 : at + 2] if at + 1 < end else ""
        opened = _opened_by(mark, waiting)
        if opened is not None and _can_close(mark, before, after) and not _is_plural(text, at, end):
            spans.append((waiting[opened].start, at))
            del waiting[opened:]
        elif mark in CLOSING and _can_open(mark, before, after):
            waiting.append(_Open(mark, at + 1))
    outermost = next((one for one in waiting if one.mark not in _EITHER_WAY | _APOSTROPHES), None)
    return spans, outermost


def _opened_by(mark: str, waiting: list[_Open]) -> int | None:
    """Return the number of the innermost open mark that this one closes."""
    innermost = range(len(waiting) - 1, max(-1, len(waiting) - 1 - _DEEPEST), -1)
    return next((i for i in innermost if mark in CLOSING[waiting[i].mark]), None)


def _can_close(mark: str, before: str, after: str) -> bool:
    """Tell whether a mark can end a quotation: after text, and no apostrophe inside a word."""
    if mark in _APOSTROPHES and after.isalnum():
        return False
    if mark == "“":  # the end of a German quotation, unless it begins an English one
        return not before.isspace() and not after.isalnum()
    return mark not in _EITHER_WAY or not before.isspace() or mark in "»›"


def _can_open(mark: str, before: str, after: str) -> bool:
    """Tell whether a mark can begin a quotation: before text, and not after a letter if it could be something else."""
    if mark in _EITHER_WAY | _APOSTROPHES:
        return bool(after) and not after.isspace() and not before.isalnum()
    return True


def _is_plural(text: str, at: int, end: int) -> bool:
    """Tell whether a single mark is the apostrophe of "the dogs’ house": the quotation's own end is still to come."""
    mark = text[at]
    if mark not in "'’" or text[at - 1 : at] != "s" or text[at + 1 : at + 2] != " ":
        return False
    for match in _SINGLE.finditer(text, at + 1, min(end, at + _PLURAL_REACH)):
        before, after = text[match.start() - 1], text[match.end() : match.end() + 1]
        if match[0] == "‘" or (mark == "'" and before.isspace()):
            return False
        if match[0] == mark and not before.isspace() and not after.isalnum():
            return True
    return False

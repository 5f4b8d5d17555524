"""Join the lines of all pages into paragraphs.

Where a line ends because the next word did not fit, the paragraph goes on; where it would have fitted, somebody ended
the line. That, the space between lines, indents and a change of size are all that a PDF says about paragraphs.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from statistics import median, quantiles

from cagchat.documents.pdf.page import Line

# In heights of a line: the space that parts paragraphs, the shortest indent, what may be missing at a full line's end.
_PARTING = 1.3
_INDENT = 0.7
_SLACK = 0.6
_OTHER_SIZE = 1.14
_FOOTNOTE_SIZE = 0.91

# Lines below an indented one that are looked at to tell a paragraph's first line from a quotation.
_LOOK_AHEAD = 12
# A paragraph of thousands of lines is kept in parts of about so many characters: adding to one string copies it.
_LONG_PART = 8_000

# A hyphen at the end of a line that only the line's end made; as a parting it says that the hyphen goes.
_SOFT = "\u00ad"
_HYPHENS = f"-\u2010{_SOFT}"
_ENDS = tuple(".!?:;…\"'”’»)]*")
_ITEM = re.compile(r"[•▪◦‣∙·–—*-]\s|\(?(?:\d{1,3}|[a-zA-Z]|[ivx]{1,4})[.)]\s")
_FOOTNOTE = re.compile(r"(?:\[?\d{1,3}[\]).]?|[*†‡§])\s*\S")
_WORDS = re.compile(r"\w+(?:[-\u2010]\w+)*")
_LEADERS = re.compile(r"(?:\s?[.·]){8,}\s*")
_LISTED = re.compile(r" … \S{1,8}$")
_UMLAUT = re.compile("¨ ?([aeiouAEIOU])")
_SIGNS = str.maketrans(
    {
        **{chr(code): unicodedata.normalize("NFKC", chr(code)) for code in range(0xFB00, 0xFB07)},
        # Pieces of tall brackets, and bullets of symbol fonts, which have no place in Unicode.
        **{chr(code): "" for code in range(0xF8E0, 0xF8FF)},
        **{chr(code): "•" for code in (0xF0B7, 0xF0A7, 0xF076, 0xF0D8, 0xF02D)},
        "\ufeff": "",
        "\ufffe": _SOFT,
        "\uffff": "",
    }
)
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u200b\ud800-\udfff]+")


@dataclass(slots=True)
class Paragraph:
    """A paragraph while it grows: `parts` are its pieces with the index of the page that each is on.

    `size` is the height of its lines, `top` where its first one is on its page.
    """

    size: float
    top: float
    lines: int = 0
    parts: list[tuple[int, str]] = field(default_factory=list)

    @property
    def page(self) -> int:
        """The index of the page on which it begins."""
        return self.parts[0][0]

    @property
    def text(self) -> str:
        """The words."""
        return "".join(text for _, text in self.parts)


def body_size(pages: Iterable[Sequence[Line]]) -> float:
    """Return the height of the lines that most of the text stands in."""
    sizes: Counter[float] = Counter()
    for lines in pages:
        for line in lines:
            sizes[round(2 * line.size) / 2] += len(line.text)
    return max(sizes, key=lambda size: (sizes[size], size)) if sizes else 0.0


def paragraphs_of(pages: Sequence[Sequence[Line]]) -> list[Paragraph]:
    """Return the paragraphs of pages of lines; footnotes that interrupt one stand behind it."""
    mended = [[_mended(line) for line in lines] for lines in pages]
    joiner = _Joiner(mended)
    body = body_size(mended)
    done: list[Paragraph] = []
    waiting: list[Paragraph] = []
    open_line: Line | None = None
    for index, lines in enumerate(mended):
        main, notes = _without_footnotes([line for line in lines if line.text], body)
        usual = _usual_distance(main)
        first_of_paragraph = True
        for place, line in enumerate(main):
            previous = open_line if place == 0 else main[place - 1]
            if previous is None or not done:
                parting = "\n\n"
            elif place == 0 or _is_elsewhere(previous, line):
                parting = joiner.across(previous, line)
            else:
                after = main[place + 1 : place + 1 + _LOOK_AHEAD]
                parting = joiner.between(previous, line, after, usual, before_is_first=first_of_paragraph)
            first_of_paragraph = parting == "\n\n"
            if first_of_paragraph:
                done += waiting
                waiting = []
                done.append(Paragraph(line.size, line.top, 1, [(index, line.text)]))
            else:
                _append(done[-1], index, parting, line.text)
        if main:
            open_line = main[-1]
        waiting += _footnotes(notes, index, joiner)
    return [_finished(paragraph) for paragraph in (*done, *waiting)]


def _append(paragraph: Paragraph, page: int, parting: str, text: str) -> None:
    """Add a line behind what parts it from the last one; a soft hyphen before it becomes a hyphen, or goes."""
    last, before = paragraph.parts[-1]
    if parting == _SOFT:
        before, parting = before[:-1], ""
    elif before.endswith(_SOFT):
        before = f"{before[:-1]}-"
    paragraph.lines += 1
    if last == page and len(before) < _LONG_PART:
        paragraph.parts[-1] = (page, before + parting + text)
    else:
        paragraph.parts[-1] = (last, before + parting)
        paragraph.parts.append((page, text))


def _finished(paragraph: Paragraph) -> Paragraph:
    """Return a paragraph with a visible hyphen at its end, where one waited for a line that never came."""
    page, text = paragraph.parts[-1]
    if text.endswith(_SOFT):
        paragraph.parts[-1] = (page, f"{text[:-1]}-")
    return paragraph


class _Joiner:
    """Decides what stands between two lines; it knows every word of the book, with its hyphens."""

    def __init__(self, pages: Sequence[Sequence[Line]]) -> None:
        self._words: Counter[str] = Counter()
        firsts = fulls = 0
        for lines in pages:
            for line in lines:
                self._words.update(_WORDS.findall(line.text.casefold()))
            for before, line in pairwise(lines):
                if not _is_elsewhere(before, line):
                    firsts += _is_indented(line) and not _is_indented(before)
                    fulls += 1
        self._has_indents = firsts > max(2, fulls // 50)

    def between(self, before: Line, line: Line, after: Sequence[Line], usual: float, *, before_is_first: bool) -> str:
        """Return the parting of two lines, one below the other: a blank line, a line end, a space, or nothing.

        `after` has the lines that follow, `usual` the distance of lines on this page.
        """
        if before.text[-1] == _SOFT and line.text[0].islower():
            return self._joined(before.text, line.text)
        distance = line.baseline - before.baseline
        if distance > _PARTING * max(usual, 0.9 * line.size) or _differs(before, line):
            return "\n\n"
        broken = _is_deliberate(before, line)
        if _ITEM.match(line.text) and (broken or not line.text[0].isalnum()):
            return "\n\n"
        step = line.left - before.left
        indent = _INDENT * line.size
        # An indent opens a paragraph, and so does a line that hangs out below a paragraph's second or later line.
        if (step > indent and not _hangs(before, line)) or (step < -indent and not before_is_first):
            return "\n\n"
        if before_is_first and self._has_indents and _begins_alike(before, line, after):
            return "\n\n"
        if broken:
            ended = before.text.endswith(_ENDS)
            fills = _is_indented(line) and not _is_short(line)
            return "\n\n" if fills or (ended and not (_is_short(before) and _is_short(line))) else "\n"
        return self._joined(before.text, line.text)

    def across(self, before: Line, line: Line) -> str:
        """Return the parting of two lines on two pages or in two columns."""
        if _differs(before, line):
            return "\n\n"
        if line.text[0].islower() or before.text[-1] in _HYPHENS:
            return self._joined(before.text, line.text)
        if _is_indented(line) or _is_deliberate(before, line):
            return "\n\n"
        if before.text.endswith(_ENDS) and not self._has_indents:
            return "\n\n"
        return self._joined(before.text, line.text)

    def _joined(self, before: str, line: str) -> str:
        """Return what stands between the halves of a line that was too long."""
        last, first = before[-1], line[0]
        if last in _HYPHENS and len(before) > 1 and before[-2].isalpha():
            return self._hyphen(before, line)
        if last == "—" and first != "—" and not before.endswith(" —"):
            return ""
        return "" if _is_wide(last) and _is_wide(first) else " "

    def _hyphen(self, before: str, line: str) -> str:
        """Decide about a hyphen at the end of a line: a word that is written with it elsewhere keeps it."""
        if not line[0].isalpha():
            return " "
        if not line[0].islower():
            return ""
        head = _WORDS.findall(before.casefold()[-80:-1])[-1:] or [""]
        tail = _WORDS.findall(line.casefold()[:80])[:1] or [""]
        written = self._words[f"{head[0]}-{tail[0]}"]
        return "" if written > self._words[head[0] + tail[0]] else _SOFT


def _mended(line: Line) -> Line:
    """Return a line with its ligatures apart, its soft hyphens gone and its unknown signs left out."""
    text = line.text.translate(_SIGNS)
    text = _CONTROL.sub("", text)
    if "¨" in text:
        text = _UMLAUT.sub("\\1\u0308", text)
    if "." * 3 in text or ". ." in text:
        text = _LEADERS.sub(" … ", text)
    # A soft hyphen inside a line is invisible; at its end it is a hyphen.
    text = unicodedata.normalize("NFC", text).strip()
    text = text[:-1].replace(_SOFT, "") + text[-1:]
    while text and unicodedata.combining(text[0]):
        text = text[1:]  # it would change the end of the line before
    text = "" if text in _HYPHENS else text
    return replace(line, text=text)


def _without_footnotes(lines: list[Line], body: float) -> tuple[list[Line], list[Line]]:
    """Part the small lines at the end of a page that begin with a note's sign from the lines above."""
    start = len(lines)
    while start and lines[start - 1].size < _FOOTNOTE_SIZE * body:
        start -= 1
    if start == 0 or start == len(lines):
        return lines, []
    while start < len(lines) and not _FOOTNOTE.match(lines[start].text):
        start += 1
    return lines[:start], lines[start:]


def _footnotes(lines: Sequence[Line], page: int, joiner: _Joiner) -> Iterator[Paragraph]:
    """Yield the footnotes of a page."""
    note: Paragraph | None = None
    for before, line in zip([None, *lines], lines, strict=False):
        if note is None or before is None or (_FOOTNOTE.match(line.text) and _is_deliberate(before, line)):
            if note is not None:
                yield note
            note = Paragraph(line.size, line.top, 1, [(page, line.text)])
        else:
            parting = joiner.across(before, line)
            _append(note, page, "\n" if parting == "\n\n" else parting, line.text)
    if note is not None:
        yield note


def _usual_distance(lines: Sequence[Line]) -> float:
    """Return the distance of the baselines of neighbours in a paragraph on a page, 0 when there are none."""
    distances = [line.baseline - before.baseline for before, line in pairwise(lines) if not _is_elsewhere(before, line)]
    if len(distances) < 2:
        return sum(distances)
    # The first third: a page of short paragraphs has more space between its lines than in them.
    return min(quantiles(distances, n=3)[0], 2.5 * median(line.size for line in lines))


def _is_elsewhere(before: Line, line: Line) -> bool:
    """Tell whether a line is not below the one before it but at the top of another column."""
    return line.baseline <= before.baseline


def _differs(before: Line, line: Line) -> bool:
    """Tell whether two lines have different sizes."""
    return not 1 / _OTHER_SIZE < line.size / before.size < _OTHER_SIZE


def _is_indented(line: Line) -> bool:
    """Tell whether a line begins a little to the right of its column's margin."""
    return _INDENT * line.size < line.left - line.margin < 6 * line.size


def _hangs(before: Line, line: Line) -> bool:
    """Tell whether a line is indented because the one before it is a list's item or begins an entry."""
    return bool(_ITEM.match(before.text)) and not _is_deliberate(before, line)


def _is_deliberate(before: Line, line: Line) -> bool:
    """Tell whether the first word of a line would have fitted behind the line before it."""
    if before.text[-1] in _HYPHENS:
        return False
    if before.has_gap or line.has_gap or _LISTED.search(before.text):
        return True
    word = line.text.split(maxsplit=1)[0]
    width = (line.right - line.left) * (len(word) + 1) / max(1, len(line.text))
    return before.right + width < max(before.measure, line.right) - _SLACK * line.size


def _begins_alike(before: Line, line: Line, after: Sequence[Line]) -> bool:
    """Tell whether two indented lines each begin a paragraph, and are not a quotation that is indented as a whole.

    The last indented line decides: when it goes on in a line that is not indented, it was the first of its paragraph.
    """
    if not (_is_indented(before) and _is_indented(line)):
        return False
    last = line
    for following in after:
        if _is_elsewhere(last, following):
            return False
        if not _is_indented(following):
            return not _is_deliberate(last, following)
        if _is_deliberate(last, following):
            return True
        last = following
    return False


def _is_short(line: Line) -> bool:
    """Tell whether a line is far from filling its column, as verses are and lines of paragraphs seldom."""
    return line.right - line.left < 0.7 * (line.measure - line.margin)


def _is_wide(character: str) -> bool:
    """Tell whether a script without spaces has this character."""
    return unicodedata.east_asian_width(character) in "WF" and not "\uac00" <= character <= "\ud7a3"

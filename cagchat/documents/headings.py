"""Recognise one line of plain text as a heading: `CHAPTER IV`, `Book One: 1805`, `FIRST EPILOGUE`, `[ 3 ]`, `XII.`."""

from __future__ import annotations

import re
from dataclasses import dataclass

from cagchat.documents.numerals import numeral_at_start, roman

LONGEST_LINE = 160

# What each keyword counts, and how far in it stands: 0 volumes, 1 parts, 2 chapters, 3 sections of chapters.
_KEYWORDS = {
    "volume": ("volume", 0),
    "vol": ("volume", 0),
    "tome": ("volume", 0),
    "tomo": ("volume", 0),
    "том": ("volume", 0),
    "book": ("book", 1),
    "livre": ("book", 1),
    "buch": ("book", 1),
    "libro": ("book", 1),
    "книга": ("book", 1),
    "part": ("part", 1),
    "partie": ("part", 1),
    "teil": ("part", 1),
    "parte": ("part", 1),
    "часть": ("part", 1),
    "epilogue": ("epilogue", 1),
    "act": ("act", 1),
    "acte": ("act", 1),
    "chapter": ("chapter", 2),
    "chap": ("chapter", 2),
    "chapitre": ("chapter", 2),
    "kapitel": ("chapter", 2),
    "capítulo": ("chapter", 2),
    "capitulo": ("chapter", 2),
    "capitolo": ("chapter", 2),
    "глава": ("chapter", 2),
    "scene": ("scene", 2),
    "scène": ("scene", 2),
    "letter": ("letter", 2),
    "canto": ("canto", 2),
    "stave": ("stave", 2),
    "episode": ("episode", 2),
    "lecture": ("lecture", 2),
    "section": ("section", 3),
    "§": ("section", 3),
}
RANKS = dict(_KEYWORDS.values())

# Headings without a number that stand before the first chapter, and those that may stand anywhere.
_FRONT_WORDS = (
    "preface|foreword|introduction|introductory|prologue|etymology|extracts|dedication|prelude|proem|argument|"
    "author['’]s note|author['’]s preface|to the reader|translator['’]s note|translator['’]s preface|editor['’]s note"
)
_OTHER_WORDS = (
    "epilogue|conclusion|afterword|postscript|interlude|intermezzo|appendix|appendices|glossary|finale|"
    "acknowledge?ments|afterpiece|coda"
)
_WORDS = re.compile(
    rf"(?:(?P<front>{_FRONT_WORDS})|(?P<other>{_OTHER_WORDS}))"
    r"(?:[ .:]{0,2}[A-Z1-9]{1,4})?[.:]?(?P<more> ?[(\[—–-].*| (?:TO|BY|OF) [^a-z]*| (?:to|by) .*)?",
    re.I,
)
_KEYWORD = re.compile(rf"(?P<keyword>{'|'.join(_KEYWORDS)})(?![\w'’])\.? {{0,3}}(?P<the>the )?", re.I)
_THE = re.compile("the ", re.I)
_LAST = re.compile(r"last(?!\w)", re.I)
_BREAK = re.compile(r" {0,8}(?P<mark>[.:;,)\]—–-]{0,4}) {0,8}")

_BARE_FORMS = (
    ("bracketed", re.compile(r"[\[(] {0,3}(?P<number>[IVXLC]+|\d{1,3}) {0,3}[\])]")),
    ("dashed", re.compile(r"[—–-]{1,3} {0,3}(?P<number>[IVXLC]+|\d{1,3}) {0,3}[—–-]{1,3}")),
    ("roman", re.compile(r"(?P<number>[IVXLC]+)\.?")),
    ("digits", re.compile(r"(?P<number>\d{1,3})\.?")),
    ("roman titled", re.compile(r"(?P<number>[IVXLC]+)[.:] {1,4}(?P<title>[^a-z ].*)")),
    ("digits titled", re.compile(r"(?P<number>\d{1,3})[.:] {1,4}(?P<title>[^a-z ].*)")),
)

_MARKUP = " \t_*=~#"
_SENTENCE_ENDS = ('."', ".”", "!”", "?”", ".’", ".", ",", ";", ":", '"', "”")
_QUOTES = frozenset("\"'“‘«„—–-([")


@dataclass(frozen=True, slots=True)
class Label:
    """What a line says as a heading.

    `kind` is what is counted ("chapter", "roman"), "front" or "other" for headings without a number. `number` is 0
    where there is none. `title` is what follows the number on the line. `form` tells how far the line can be trusted:
    a "keyword" with a number, a "word" such as Preface, or a "bare" number.
    """

    kind: str
    number: int
    title: str
    printed: str
    form: str

    @property
    def loud(self) -> bool:
        """Tell whether the line's label is set in capitals."""
        return self.printed.removesuffix(self.title).isupper()


def label_of(line: str) -> Label | None:
    """Read a line as a heading; None for a line of text. Time is linear in the line's length."""
    printed = " ".join(line.strip(_MARKUP).split())
    if not printed or len(printed) > LONGEST_LINE:
        return None
    first = printed[0]
    if first.isupper() or first in "§0123456789":
        return _keyword_label(printed) or _word_label(printed) or _bare_label(printed)
    return _bare_label(printed) if first in "[(—–-" else None


def is_title(text: str) -> bool:
    """Tell whether a short text under a heading is its title rather than the first sentence of the chapter."""
    if not text or len(text) > 200 or text[0] in _QUOTES or text[0].islower():
        return False
    return is_capitalised(text) or not text.endswith(_SENTENCE_ENDS)


def is_capitalised(text: str) -> bool:
    """Tell whether a text is in capitals or most of its longer words begin with one."""
    if text.isupper():
        return True
    words = [word for word in text.split() if len(word) > 3 and word[0].isalpha()]
    return bool(words) and sum(word[0].isupper() for word in words) >= 0.7 * len(words)


def _keyword_label(printed: str) -> Label | None:
    """Read `CHAPTER IV. Title`, `Chapter the Last`, `FIRST EPILOGUE: 1813`."""
    if match := _KEYWORD.match(printed):
        rest = printed[match.end() :]
        if numeral := numeral_at_start(rest):
            number, rest = numeral.value, rest[numeral.end :]
        elif match["the"] and (last := _LAST.match(rest)):
            number, rest = 0, rest[last.end() :]
        else:
            return None
    else:
        the = _THE.match(printed)
        start = the.end() if the else 0
        numeral = numeral_at_start(printed[start:])
        # A plain number before the word counts things: "3 parts", "I act".
        if not numeral or not printed[start : start + 3].isalpha():
            return None
        match = _KEYWORD.match(printed, start + numeral.end + 1)
        if not match or match["the"]:
            return None
        number, rest = numeral.value, printed[match.end("keyword") :]
    loud = printed[: len(printed) - len(rest)].isupper()
    title = _title_after(rest, loud)
    if title is None:
        return None
    return Label(_KEYWORDS[match["keyword"].lower()][0], number, title, printed, "keyword")


def _title_after(rest: str, loud: bool) -> str | None:
    """Return the title behind a number, "" without one; None when the line goes on like a sentence."""
    match = _BREAK.match(rest)
    if not match:
        return None
    title = rest[match.end() :]
    if title and not loud and (title[0].islower() or match["mark"] in (",", ";")):
        return None
    if title and not match["mark"] and (title[0].islower() or not match[0]):
        return None
    return title


def _word_label(printed: str) -> Label | None:
    """Read `PREFACE`, `Epilogue`, `EXTRACTS. (Supplied by a friend)`."""
    match = _WORDS.fullmatch(printed)
    if not match:
        return None
    kind = "front" if match["front"] else "other"
    return Label(kind, 0, "", printed, "word")


def _bare_label(printed: str) -> Label | None:
    """Read a number that stands alone, or before a title in capitals."""
    for kind, form in _BARE_FORMS:
        if match := form.fullmatch(printed):
            digits = match["number"]
            number = int(digits) if digits.isdigit() else roman(digits)
            title = match.groupdict().get("title", "")
            if not number or (title and not is_capitalised(title)):
                return None
            return Label(kind, number, title, printed, "bare")
    numeral = numeral_at_start(printed)
    if numeral and numeral.end == len(printed.rstrip(".")) and printed.rstrip(".").replace("-", "").isalpha():
        return Label("spelt", numeral.value, "", printed, "bare")
    return None

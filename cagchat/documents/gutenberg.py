"""Take off the frame that Project Gutenberg puts around a text, and read title, author and language from it."""

from __future__ import annotations

import re
from dataclasses import dataclass

# Licence headers of the oldest files take about 12,000 characters; a marker further in belongs to the text.
_HEADER_CHARACTERS = 60_000
_TRAILER_CHARACTERS = 60_000
# An older closing line stands right above the end marker; further up it closes another book, or is text.
_CLOSING_CHARACTERS = 400

_START = re.compile(r"^\*{3} ?START OF (?:THE|THIS) PROJECT GUTENBERG [^\n*]{0,200}(?:\n[^\n*]{0,200})?\*{3}", re.M)
_SMALL_PRINT = re.compile(r"^\*END\*? ?THE SMALL PRINT![^\n]{0,200}(?:\n[^\n*]{0,80}\*END\*)?$", re.M)
_END = re.compile(r"^\*{3} ?END OF (?:THE|THIS) PROJECT GUTENBERG ", re.M)
_OLD_END = re.compile(r"^[ *]{0,8}(?:The )?End of (?:The |This )?Project Gutenberg(?:'s|’s)? ", re.M | re.I)
_CREDITS = re.compile(r"(?:Produced by|E-text prepared by|This e-?text was (?:produced|prepared) by)\b", re.I)
_FIELD = re.compile(r"^(Title|Author|Language): ?([^\n]{0,300}(?:\n[ \t]{2,}[^\n]{1,300})*)$", re.M)
_OPENING = re.compile(
    r"^\W{0,6}(?:The |This is the )?Project Gutenberg(?:'s|’s)? (?:E-?(?:text|book) of )?"
    r"(?P<title>[^\n]{1,200}?)(?:, by (?P<author>[^\n,]{1,100}))?[ ,.*]*$",
    re.M | re.I,
)
_LANGUAGES = {
    "chinese": "zh",
    "danish": "da",
    "dutch": "nl",
    "english": "en",
    "esperanto": "eo",
    "finnish": "fi",
    "french": "fr",
    "german": "de",
    "greek": "el",
    "hungarian": "hu",
    "italian": "it",
    "japanese": "ja",
    "latin": "la",
    "norwegian": "no",
    "polish": "pl",
    "portuguese": "pt",
    "russian": "ru",
    "spanish": "es",
    "swedish": "sv",
}


@dataclass(frozen=True, slots=True)
class Framed:
    """A text without its frame, and what the frame said; the fields are empty where it said nothing.

    `start` is where the text began with the frame around it, 0 without one.
    """

    text: str
    start: int = 0
    title: str = ""
    author: str = ""
    language: str = ""
    notes: tuple[str, ...] = ()


def unframe(text: str) -> Framed:
    """Return the text between the start marker and the end marker; without a start marker it stays as it is."""
    start = _start_of_text(text)
    if not start:
        return Framed(text)
    header = text[:start]
    end = _end_of_text(text, start)
    start = _skip(text, "\n", start, end)
    start = _end_of_credits(text, start, end)
    body = text[start:end].rstrip("\n")
    fields = {match[1]: " ".join(match[2].split()) for match in reversed(list(_FIELD.finditer(header)))}
    opening = _OPENING.search(header)
    language = fields.get("Language", "")
    return Framed(
        text=f"{body}\n" if body else "",
        start=start,
        title=fields.get("Title") or (opening["title"].strip(" *.,") if opening else ""),
        author=fields.get("Author") or (opening["author"] or "" if opening else ""),
        language=_LANGUAGES.get(language.lower(), language),
        notes=(_note(end < len(text)),),
    )


def _start_of_text(text: str) -> int:
    """Return where the last line of the header ends, 0 without a header."""
    header = text[:_HEADER_CHARACTERS]
    if match := _START.search(header):
        return match.end()
    ends = [match.end() for match in _SMALL_PRINT.finditer(header)]
    return ends[-1] if ends and "gutenberg" in header[: ends[-1]].lower() else 0


def _end_of_text(text: str, start: int) -> int:
    """Return where the trailer begins: at the marker, or at the older closing line when that stands before it."""
    end, reach = len(text), _TRAILER_CHARACTERS
    if markers := list(_END.finditer(text, start)):
        end, reach = markers[-1].start(), _CLOSING_CHARACTERS
    nearby = max(start, end - reach)
    closing = _OLD_END.search(text, nearby, end)
    return closing.start() if closing else end


def _end_of_credits(text: str, start: int, end: int) -> int:
    """Return where the text goes on after the paragraph that names who typed it, if it begins with one."""
    if not _CREDITS.match(text, start, end):
        return start
    blank = text.find("\n\n", start, end)
    return end if blank < 0 else _skip(text, "\n", blank, end)


def _skip(text: str, character: str, start: int, end: int) -> int:
    """Return the first place from `start` on, and `end` at the latest, where another character stands."""
    while start < end and text[start] == character:
        start += 1
    return start


def _note(both_ends: bool) -> str:
    """Say what was taken off."""
    if both_ends:
        return "The Project Gutenberg header and licence were taken off."
    return "The Project Gutenberg header was taken off; no licence was found at the end."

"""Find a title that a reader would use: from a file's name, or from a text's first lines."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePath

_SMALL_WORDS = "a an and as at but by de du for in la le of on or the to und von with y"
_MOST_CHARACTERS = 80
_OPENING_CHARACTERS = 2000
_BY = re.compile(r"(?:written )?by(?: |\n+)(?P<author>[^\n]{2,60})", re.I)
_PARAGRAPHS = re.compile(r"\n{2,}")


@dataclass(frozen=True, slots=True)
class TitlePage:
    """What the first lines say; empty where they say nothing."""

    title: str = ""
    author: str = ""


def title_from_name(name: str) -> str:
    """Make a title of a file's name: `war_and_peace.txt` is "War and Peace"; names with capitals keep them."""
    stem = printable(PurePath(name).stem).strip()
    if not any(character.isalnum() for character in stem):
        return "Untitled"
    words = stem.replace("_", " ")
    if " " not in words.strip():
        words = words.replace("-", " ")
    if any(character.isupper() for character in words):
        return " ".join(words.split())
    small = _SMALL_WORDS.split()
    return " ".join(
        word if index and word in small else word[:1].upper() + word[1:] for index, word in enumerate(words.split())
    )


def printable(name: str) -> str:
    """Return a file's name with spaces for what a terminal would obey instead of showing it: it may hold anything."""
    return "".join(character if character.isprintable() else " " for character in name)


def title_page(text: str) -> TitlePage:
    """Read the title and a following "by" line from the first paragraphs, when they look like a title page."""
    paragraphs = _PARAGRAPHS.split(text[:_OPENING_CHARACTERS].strip("\n"))
    if len(paragraphs) < 2:
        return TitlePage()
    title, author = _split_author(paragraphs[0])
    if not _is_title(title):
        return TitlePage()
    if not author and (match := _BY.fullmatch("\n".join(paragraphs[1:3]).strip()) or _BY.fullmatch(paragraphs[1])):
        author = match["author"]
    return TitlePage(" ".join(title.split()), " ".join(author.split()).rstrip("."))


def _split_author(paragraph: str) -> tuple[str, str]:
    """Part a first paragraph whose last line is "by Someone" from that line."""
    title, _, last = paragraph.rpartition("\n")
    match = _BY.fullmatch(last.strip())
    return (title, match["author"]) if title and match else (paragraph, "")


def _is_title(paragraph: str) -> bool:
    """Tell whether a first paragraph is short, begins like a title and does not end like a sentence."""
    line = " ".join(paragraph.split())
    return (
        0 < len(line) <= _MOST_CHARACTERS
        and paragraph.count("\n") <= 2
        and (line[0].isupper() or line[0].isdigit() or line[0] in "¡¿")
        and any(character.isalpha() for character in line)
        and (line[-1] not in ".,;:" or line.isupper())
    )

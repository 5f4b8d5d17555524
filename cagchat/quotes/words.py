"""Words as quotes are compared by: what a reader sees as the same word is the same, what looks alike is not.

Two passages are the same when their words are: case, spaces, line ends, quotes, dashes and sentence marks between words
do not count, nor do soft hyphens, zero-width characters and ligatures inside them. Accents, apostrophes and the points
and signs of numbers do count, and so does the script a letter is from. Characters that turn the direction of writing
are parts of words: with them a reader sees something other than what is compared.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

LEAST_WORDS = 3  # what is shorter stands in any book, and is as often a name or a title as a quote
LEAST_LETTERS = 10

# Scripts that are written without spaces: there every character is a word, and counts as half a one.
_SPACELESS = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3041-\u30fa\u30fc-\u30ff\u3400-\u4dbf\u4e00-\u9fff"
    "\uf900-\ufaff\uff66-\uff9f\U00020000-\U0003ffff"
)
# Symbols ($, %, &, =, a degree sign) are words, because leaving one out changes what is said.
_BETWEEN = (
    r"\s!-#'-*,\-./:;?\[-`{-~"
    "¡§«¶·»¿\u037e\u0387\u0589\u05be\u05c0\u05c3\u060c\u061b\u061f\u06d4\u0964\u0965\u2010-\u2029\u2031-\u2043"
    "\u2045-\u205e\u3001-\u3003\u3008-\u3020\u3030\u303d\u30fb\uff01\uff02\uff07-\uff0a\uff0c-\uff0f\uff1a\uff1b"
    "\uff1f\uff3b-\uff40\uff5b-\uff65"
)
_IN_WORD = f"[^{_BETWEEN}{_SPACELESS}]"
WORD = re.compile(
    f"[{_SPACELESS}]"
    rf"|(?:(?<!\S)-(?=\d))?{_IN_WORD}+"
    rf"(?:(?:['’\uff07](?={_IN_WORD})|(?<=\d)[.,:/](?=\d)){_IN_WORD}+)*"
)

_TURNS = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_SAME = {"’": "'", "\u02bc": "'", "\uff07": "'", "\u2212": "-"}
_SAYING = frozenset("'-%&@‰")  # punctuation by its category, part of what is said where it stands in a word
_IN_NUMBERS = frozenset(".,:/")
_OTHER_NUMBERS = ("<super>", "<sub>", "<fraction>")  # ten squared is not 102
_spaceless = re.compile(f"[{_SPACELESS}]")


@dataclass(frozen=True, slots=True)
class Word:
    """A word as it is compared, and where it stands: `text[start:end]`."""

    word: str
    start: int
    end: int


def words_of(text: str) -> Iterator[Word]:
    """Yield the words of a text in order."""
    for match in WORD.finditer(text):
        if word := compared(match[0]):
            yield Word(word, match.start(), match.end())


def compared(raw: str) -> str:
    """Return what a word is compared by; "" for one that nobody sees."""
    if raw.isascii():
        return raw.casefold()
    return unicodedata.normalize("NFC", "".join(map(_character, raw)).casefold())


def _character(character: str) -> str:
    """Return what one character of a word is compared by."""
    if character in _TURNS or character in _IN_NUMBERS:
        return character
    if character in _SAME:
        return _SAME[character]
    if _is_unseen(character):
        return ""
    if unicodedata.decomposition(character).startswith(_OTHER_NUMBERS):
        return character
    form = unicodedata.normalize("NFKC", character)
    return "".join(c for c in form if unicodedata.category(c)[0] != "P" or c in _SAYING)


def _is_unseen(character: str) -> bool:
    """Tell soft hyphens, zero-width characters and variation selectors."""
    return (
        unicodedata.category(character) == "Cf"
        or character == "\u034f"
        or "\ufe00" <= character <= "\ufe0f"
        or "\U000e0100" <= character <= "\U000e01ef"
    )


def proves(words: Iterable[str]) -> bool:
    """Tell whether words are enough to prove something: three words and ten letters, or six characters of Chinese."""
    halves = letters = 0
    for word in words:
        spaceless = _spaceless.match(word) is not None
        halves += 1 if spaceless else 2
        letters += 2 if spaceless else sum(map(str.isalnum, word))
    return halves >= 2 * LEAST_WORDS and letters >= LEAST_LETTERS

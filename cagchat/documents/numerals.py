"""Read the numbers that headings carry: `12`, `XII`, `Twelve`, `the Twelfth`, `Twenty-one`."""

from __future__ import annotations

import re
from dataclasses import dataclass

_CARDINALS = (
    "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen"
)
_ORDINALS = (
    "first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth thirteenth fourteenth "
    "fifteenth sixteenth seventeenth eighteenth nineteenth"
)
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety"

_SMALL = {word: number for words in (_CARDINALS, _ORDINALS) for number, word in enumerate(words.split(), start=1)}
_TEN = {word: 10 * number for number, word in enumerate(_TENS.split(), start=2)}
_TENTH = {word.removesuffix("y") + "ieth": number for word, number in _TEN.items()}
# As headings in other languages have them, `Erstes Kapitel`, `Chapitre premier`, from one on; a bar parts spellings.
_GERMAN = (
    "erst zweit dritt viert fünft sechst siebent|siebt acht neunt zehnt elft|eilft zwölft dreizehnt vierzehnt "
    "fünfzehnt sechzehnt siebzehnt achtzehnt neunzehnt"
)
_GERMAN_UNITS = "ein zwei drei vier fünf sechs sieben acht neun"
_GERMAN_TENS = "zwanzig dreißig|dreissig vierzig fünfzig sechzig siebzig achtzig neunzig"
_OTHERS = (
    "premier|première deuxième|seconde troisième quatrième cinquième sixième septième huitième neuvième dixième "
    "onzième douzième treizième quatorzième quinzième seizième",
    "primero|primera|primer segundo|segunda tercero|tercera|tercer cuarto|cuarta quinto|quinta sexto|sexta "
    "séptimo|séptima octavo|octava noveno|novena décimo|décima undécimo|undécima duodécimo|duodécima",
    "primo|prima secondo|seconda terzo|terza quarto|quarta quinto|quinta sesto|sesta settimo|settima ottavo|ottava "
    "nono|nona decimo|decima undicesimo dodicesimo tredicesimo quattordicesimo quindicesimo",
    "первая|первый|первое вторая|второй|второе третья|третий|третье четвёртая|четвертая|четвёртый|четвертый "
    "пятая|пятый шестая|шестой седьмая|седьмой восьмая|восьмой девятая|девятый десятая|десятый "
    "одиннадцатая двенадцатая тринадцатая четырнадцатая пятнадцатая шестнадцатая семнадцатая восемнадцатая "
    "девятнадцатая двадцатая",
)


def _spellings(words: str) -> dict[str, int]:
    """Return the number of each spelling, by its place in the list."""
    return {word: number for number, spelt in enumerate(words.split(), start=1) for word in spelt.split("|")}


def _german() -> dict[str, int]:
    """Return the German ordinals up to ninety-nine with their endings."""
    units = {"": 0} | {f"{unit}und": number for unit, number in _spellings(_GERMAN_UNITS).items()}
    tens = {f"{ten}st": 10 * number + 10 for ten, number in _spellings(_GERMAN_TENS).items()}
    large = {unit + ten: tenth + number for unit, number in units.items() for ten, tenth in tens.items()}
    return {stem + ending: value for stem, value in (_spellings(_GERMAN) | large).items() for ending in _GERMAN_ENDINGS}


_GERMAN_ENDINGS = ("e", "er", "es", "en")
_FOREIGN = _german() | {word: number for words in _OTHERS for word, number in _spellings(words).items()}
_WORDS = _FOREIGN | _SMALL | _TEN | _TENTH

# Printers also wrote IIII and XXXX.
_ROMAN = re.compile(r"(M{0,3})(CM|CD|D?C{0,4})(XC|XL|L?X{0,4})(IX|IV|V?I{0,4})")
_ROMAN_VALUES = {"I": 1, "V": 5, "X": 10, "L": 50, "C": 100, "D": 500, "M": 1000}
_LEADING = re.compile(r"(\d{1,4}|[IVXLCDMivxlcdm]{1,12})(?:st|nd|rd|th)?(?![\w'’])")
_WORD = re.compile(r"[^\W\d_]{2,24}(?![\w'’])")


@dataclass(frozen=True, slots=True)
class Numeral:
    """A number at the start of a text; `end` is where the text goes on."""

    value: int
    end: int


def roman(text: str) -> int | None:
    """Return the value of an upper-case Roman numeral, or None when the letters are not one."""
    if not text or not _ROMAN.fullmatch(text):
        return None
    values = [_ROMAN_VALUES[letter] for letter in text]
    return sum(
        -value if value < following else value for value, following in zip(values, [*values[1:], 0], strict=True)
    )


def numeral_at_start(text: str) -> Numeral | None:
    """Read a number in digits, Roman letters or words, English up to ninety-nine, at the start of `text`."""
    if match := _LEADING.match(text):
        digits = match[1]
        value = int(digits) if digits.isascii() and digits.isdigit() else roman(digits.upper())
        return None if value is None else Numeral(value, match.end())
    return _words_at_start(text)


def _words_at_start(text: str) -> Numeral | None:
    """Read `Twelve`, `Twelfth`, `Twenty-one`, `twenty first`."""
    first = _WORD.match(text)
    if not first or (value := _WORDS.get(first[0].lower())) is None:
        return None
    end = first.end()
    if first[0].lower() in _TEN and text[end : end + 1] in ("-", " "):
        second = _WORD.match(text, end + 1)
        if second and (unit := _SMALL.get(second[0].lower(), 10)) < 10:
            return Numeral(value + unit, second.end())
    return Numeral(value, end)

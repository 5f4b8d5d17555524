"""Find out how a file's bytes spell text. The same bytes always give the same answer."""

from __future__ import annotations

import codecs
import re

REPLACEMENT = "\ufffd"

_MARKS = (
    # UTF-32's little-endian mark begins with UTF-16's.
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)

# Enough to tell languages apart, little enough to take well under a second.
_SAMPLE_BYTES = 1 << 17
_FEWEST_BYTES = 8
# So few accents say nothing about how many a language has.
_FEW = 12

# What books were written in before Unicode, most common first. Left to choose among all it knows, the detector names
# mainframe code pages for short texts.
_LEGACY = (
    "cp1252 cp1250 cp1251 koi8_r cp1253 cp1254 cp1255 cp1256 cp1257 cp866 cp437 cp850 mac_roman iso8859_2 iso8859_5 "
    "iso8859_7 cp932 euc_jp gb18030 big5 cp949"
)

_WESTERN_LETTERS = frozenset("ÀÁÂÃÄÅÆÇÈÉÊËÌÍÎÏÑÒÓÔÕÖØÙÚÛÜàáâãäåæçèéêëìíîïñòóôõöøùúûüÿßŒœ")
_WESTERN_WORDS = frozenset("ÀàÈèÉéóô")
_WESTERN_SIGNS = frozenset("‘’“”–—…•«»‹›„£§©®°½¼¾¡¿\u00a0")
_SIGNS_INSIDE_WORDS = frozenset("’–—…\u00a0")
# Western letters, quotes and dashes. Their bytes in UTF-8 read as cp1252 are `Ã©` and `â€™`, which nobody writes.
_WESTERN_IN_UTF8 = re.compile("[\u00a0-\u00ff\u2010-\u2044]")
_BYTES_PER_LOSS = 10_000
_HIGH = re.compile("[^\x00-\x7f]")
_HIGH_BYTE = re.compile(rb"[\x80-\xff]")
_HIRAGANA = re.compile("[\u3041-\u3096]")
_SPACES = frozenset("\n \u3000\u3001\u3002")


def decode(content: bytes) -> tuple[str, str]:
    """Return the text and the name of its encoding. Bytes that do not fit become U+FFFD, never an exception."""
    if mark := mark_of(content):
        name, length = mark
        return content[length:].decode(name, "replace"), name
    if wide := unmarked_utf16(content):
        return content.decode(wide, "replace"), wide
    try:
        return content.decode("utf-8"), "utf-8"
    except UnicodeDecodeError:
        pass
    if (damaged := _damaged_utf8(content)) is not None:
        return damaged, "utf-8"
    name = "cp1252" if _is_western(content) else _detect(content)
    return content.decode(name, "replace"), name


def notes_on(text: str, encoding: str) -> tuple[str, ...]:
    """Say what a reader should know about the decoding: a guessed encoding, characters that were lost."""
    notes = []
    if encoding != "utf-8":
        notes.append(f"The file is not UTF-8; it was read as {encoding}.")
    if lost := text.count(REPLACEMENT):
        amount = "1 character" if lost == 1 else f"{lost} characters"
        notes.append(f"The file is damaged: {amount} could not be read and became {REPLACEMENT}.")
    return tuple(notes)


def mark_of(content: bytes) -> tuple[str, int] | None:
    """Return the encoding that a byte order mark announces and the mark's length, or None without one."""
    for mark, name in _MARKS:
        if content.startswith(mark):
            return name, len(mark)
    return None


def unmarked_utf16(content: bytes) -> str | None:
    """Return "utf-16-le" or "utf-16-be" when the bytes are UTF-16 without a mark, else None.

    Text in any script has spaces or line ends; they are found as 16-bit units in one byte order and not in the other.
    """
    sample = content[: _SAMPLE_BYTES & ~1]
    if len(sample) < _FEWEST_BYTES or b"\0" not in sample:
        return None
    shares = {name: _plain_share(sample[: len(sample) & ~1], name) for name in ("utf-16-le", "utf-16-be")}
    best = max(shares, key=lambda name: shares[name])
    return best if shares[best] >= 0.01 and shares[best] > 5 * min(shares.values()) else None


def _plain_share(sample: bytes, encoding: str) -> float:
    """Return the share of spaces and line ends among the units; 0 when control characters show it is no text."""
    text = sample.decode(encoding, "replace")
    controls = sum(1 for character in text if character < " " and character not in "\t\n\r\f")
    if controls > len(text) // 100 or text.count(REPLACEMENT) > 1 + len(text) // 100:
        return 0.0
    return sum(1 for character in text if character in _SPACES) / len(text)


def _damaged_utf8(content: bytes) -> str | None:
    """Return UTF-8 with its invalid bytes replaced when there are few of them beside valid characters, else None.

    A multi-byte character is valid by chance too seldom for another encoding to look like this. In a long text with
    hardly an accent, one of a Western language is enough: no other encoding writes these bytes but as nonsense.
    """
    text = content.decode("utf-8", "replace")
    lost = text.count(REPLACEMENT) - content.count(REPLACEMENT.encode())
    valid = sum(1 for _ in _HIGH.finditer(text)) - lost
    is_sure = lost <= 1 + len(content) // _BYTES_PER_LOSS and _WESTERN_IN_UTF8.search(text) is not None
    return text if is_sure or valid >= 3 * lost else None


def _is_western(content: bytes) -> bool:
    """Tell whether the bytes read as cp1252 look like a Western language: accents inside words, quotes around them.

    A statistical detector needs many such bytes and names anything for a few; this needs no more than one. Languages
    with more accents than French are left to the detector.
    """
    sample = _telling_lines(content)
    text = sample.decode("cp1252", "replace")
    high = [match.start() for match in _HIGH.finditer(text)]
    letters = sum(1 for character in text if character.isalpha())
    accents = sum(1 for index in high if text[index] in _WESTERN_LETTERS)
    likely = sum(1 for index in high if _fits_western(text, index))
    return likely >= 0.95 * len(high) and accents <= max(_FEW, 0.1 * letters)


def _fits_western(text: str, index: int) -> bool:
    """Tell whether one character stands where a Western text would have it."""
    character = text[index]
    before, after = text[index - 1 : index], text[index + 1 : index + 2]
    inside = _is_ascii_letter(before) and _is_ascii_letter(after)
    if character in _WESTERN_LETTERS:
        if _is_ascii_letter(before) or _is_ascii_letter(after):
            return not (character.isupper() and before.islower())
        return character in _WESTERN_WORDS
    return character in _WESTERN_SIGNS and (not inside or character in _SIGNS_INSIDE_WORDS)


def _is_ascii_letter(character: str) -> bool:
    """Tell whether this is one letter from A to Z; "" at the ends of the text is not."""
    return character.isascii() and character.isalpha()


def _detect(content: bytes) -> str:
    """Name the most likely encoding by its statistics; cp1252 when there is no answer."""
    sample = _telling_lines(content)
    # The detector takes short Japanese texts for Korean; nothing but Japanese is full of hiragana.
    for name in ("cp932", "euc_jp"):
        text = sample.decode(name, "replace")
        if len(_HIRAGANA.findall(text)) > 0.15 * len(text) and text.count(REPLACEMENT) <= 0.01 * len(text):
            return name
    from charset_normalizer import from_bytes  # 27 ms

    best = from_bytes(sample, cp_isolation=_LEGACY.split(), preemptive_behaviour=False).best()
    return best.encoding if best else "cp1252"


def _telling_lines(content: bytes) -> bytes:
    """Return the first lines with bytes above 127: an English preface says nothing about the language after it."""
    lines: list[bytes] = []
    size = position = 0
    while size < _SAMPLE_BYTES and (high := _HIGH_BYTE.search(content, position)):
        start = max(content.rfind(b"\n", position, high.start()) + 1, high.start() - _SAMPLE_BYTES // 2, position)
        end = content.find(b"\n", high.end(), start + _SAMPLE_BYTES)
        position = start + _SAMPLE_BYTES if end < 0 else end + 1
        lines.append(content[start:position])
        size += len(lines[-1])
    return b"".join(lines)

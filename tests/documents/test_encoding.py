"""Which encoding a file is read in."""

from __future__ import annotations

import codecs

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cagchat.documents.encoding import REPLACEMENT, decode, notes_on
from tests.documents.invented_text import prose

ENGLISH = "“Who’s there?” he said — and nobody answered… The café by the harbour was shut.\n"
FRENCH = (
    "L'été dernier, le gardien montait lentement à la tour, où la mer semblait calme et foncée. Les bateaux "
    "gagnaient le large sans se presser.\n"
)
GERMAN = "Der alte Wärter stieg auf den Turm und schaute über das Meer. Die Lichter der Schiffe waren groß.\n"
POLISH = "Zażółć gęślą jaźń. Wieczorem stary latarnik wszedł na wieżę i patrzył na morze, które było spokojne.\n"
RUSSIAN = "Старый смотритель поднялся на башню и долго смотрел на тёмное море, которое было спокойно.\n"
JAPANESE = "老いた灯台守は塔に登り、暗い海を長い間見つめていた。海は静かで、船の灯りがゆっくり動いていた。\n"
CHINESE = "老守塔人登上灯塔，久久地望着黑暗的大海。海面平静，船灯缓缓移动。\n"


@pytest.mark.parametrize(
    ("mark", "encoding"),
    [
        (codecs.BOM_UTF8, "utf-8"),
        (codecs.BOM_UTF16_LE, "utf-16-le"),
        (codecs.BOM_UTF16_BE, "utf-16-be"),
        (codecs.BOM_UTF32_LE, "utf-32-le"),
        (codecs.BOM_UTF32_BE, "utf-32-be"),
    ],
)
def test_a_byte_order_mark_decides(mark: bytes, encoding: str) -> None:
    """A mark names the encoding and is not part of the text."""
    assert decode(mark + ENGLISH.encode(encoding)) == (ENGLISH, encoding)


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("text", [ENGLISH, RUSSIAN, JAPANESE])
def test_utf16_is_seen_without_a_mark(text: str, encoding: str) -> None:
    """Spaces and line ends show the byte order, in any script."""
    assert decode((text * 5).encode(encoding)) == (text * 5, encoding)


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        (ENGLISH, "cp1252"),
        (FRENCH, "cp1252"),
        (GERMAN, "cp1252"),
        (ENGLISH, "mac_roman"),
        (POLISH, "cp1250"),
        (RUSSIAN, "cp1251"),
        (RUSSIAN, "koi8_r"),
        (RUSSIAN, "cp866"),
        (JAPANESE, "cp932"),
        (JAPANESE, "euc_jp"),
        (CHINESE, "gb18030"),
    ],
)
def test_older_encodings_are_recognised(text: str, encoding: str) -> None:
    """Books from before Unicode come out as they were written."""
    assert decode((text * 30).encode(encoding)) == (text * 30, encoding)


@pytest.mark.parametrize("foreign", ["’", "“sea”", "café", " — "])
def test_one_foreign_character_in_english_is_cp1252(foreign: str) -> None:
    """A few quotes or accents in a long English text are enough."""
    text = prose(200_000) + f"the keeper{foreign}s" if foreign == "’" else f"{prose(200_000)}the {foreign} again"
    assert decode(text.encode("cp1252")) == (text, "cp1252")


def test_latin1_accents_are_read() -> None:
    """Latin-1 text is read as its superset cp1252."""
    text = prose() + "The naïve señor ate his crème brûlée at the café.\n"
    assert decode(text.encode("latin-1")) == (text, "cp1252")


def test_an_english_preface_does_not_hide_the_language() -> None:
    """The lines that are not ASCII decide, however late they come."""
    text = prose(300_000) + RUSSIAN * 30
    assert decode(text.encode("cp1251")) == (text, "cp1251")


def test_damaged_utf8_stays_utf8() -> None:
    """A few bad bytes are replaced; the good characters do not become mojibake."""
    text, encoding = decode(ENGLISH.encode() + b"bad \xff byte" + FRENCH.encode())
    assert (text, encoding) == (f"{ENGLISH}bad {REPLACEMENT} byte{FRENCH}", "utf-8")


def test_utf8_cut_inside_a_character_stays_utf8() -> None:
    """A download that ended early loses its last character only."""
    assert decode((ENGLISH + "é").encode()[:-1]) == (ENGLISH + REPLACEMENT, "utf-8")


@pytest.mark.parametrize("broken", [b"\xe2\x80", b"\xff", b"\xe9"])
def test_one_broken_byte_in_a_book_with_few_accents_stays_utf8(broken: bytes) -> None:
    """One valid letter or quote in a long text outweighs a byte that fits nothing."""
    before, after = prose(40_000) + "the naïve keeper", prose(20_000) + "in a café.\n"
    assert decode(before.encode() + broken + after.encode()) == (before + REPLACEMENT + after, "utf-8")
    lines = f"{prose(100_000)}It’s late.\n".encode() + b"one \xff, two \xff, three \xff.\n"
    assert decode(lines)[1] == "utf-8"


@pytest.mark.parametrize("text", ["«CAFÉ»", "He read «CAFÉ» on the sign.\n", "“É”, he wrote.\n"])
def test_bytes_that_are_utf8_by_chance_do_not_decide(text: str) -> None:
    """An accented capital and a quote in cp1252 make a letter that no Western text has."""
    assert decode(text.encode("cp1252")) == (text, "cp1252")


def test_a_damaged_file_has_a_note() -> None:
    """The number of lost characters is said."""
    assert notes_on(f"a{REPLACEMENT}b{REPLACEMENT}", "utf-8") == (
        "The file is damaged: 2 characters could not be read and became \ufffd.",
    )


def test_a_guessed_encoding_has_a_note() -> None:
    """The encoding is named when it is not UTF-8."""
    assert notes_on("plain", "cp1252") == ("The file is not UTF-8; it was read as cp1252.",)


def test_good_utf8_has_no_note() -> None:
    """Nothing is said about a file without anything to say."""
    assert notes_on(ENGLISH, "utf-8") == ()


@pytest.mark.parametrize("content", [b"x" * (5 << 20) + b"\n\xe9", b"\x81\x82" * (5 << 19), b"\x00" * (5 << 20)])
def test_five_megabytes_in_one_line_are_no_trap(content: bytes) -> None:
    """One long line is decoded in linear time, whatever is in it."""
    assert decode(content)[0]


@given(st.binary(max_size=300))
def test_any_bytes_decode_and_the_same_ones_alike(content: bytes) -> None:
    """Decoding never raises, and its answer depends on nothing but the bytes."""
    assert decode(content) == decode(content)


@given(st.text(st.characters(codec="utf-8", exclude_characters="\0\ufeff")))
def test_utf8_comes_back(text: str) -> None:
    """Valid UTF-8 without NULs is never taken for anything else."""
    assert decode(text.encode()) == (text, "utf-8")

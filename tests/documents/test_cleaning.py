"""The shape of clean text."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cagchat.documents.cleaning import clean


@pytest.mark.parametrize("end", ["\r\n", "\r", "\n", "\v", "\f", "\x85", "\u2028", "\u2029"])
def test_every_line_end_becomes_a_newline(end: str) -> None:
    """Windows, Mac, vertical tab, form feed and Unicode line ends are one newline."""
    assert clean(f"one{end}two") == "one\ntwo\n"


def test_controls_and_unseen_characters_go() -> None:
    """Control characters, byte order marks and soft hyphens are dropped; tabs stay."""
    assert clean("a\x00b\x1b\x7fc\ufeffd\u00ade\tf") == "abcde\tf\n"


@pytest.mark.parametrize(
    ("saved", "text"),
    [
        ("N\bNA\bAM\bME\bE", "NAME"),
        ("_\bf_\bi_\bl_\be B\bB\bB", "file B"),
        ("a\n\bb", "a\nb"),
        ("\x1b[1mbold\x1b[0m \x1b[38;5;12mblue\x1b(B\x1b[m", "bold blue"),
        ("\x1b]0;title\x07a \x1b]8;;https://x\x1b\\link\x1b]8;;\x1b\\", "a link"),
        ("\x1b]never ended", "]never ended"),
    ],
)
def test_what_terminals_draw_with_goes(saved: str, text: str) -> None:
    """Of letters written one over the other the last is left; colours, titles and links are no text."""
    assert clean(saved) == f"{text}\n"


def test_letters_are_composed() -> None:
    """A letter and its accent become one character."""
    assert clean("e\u0301") == "\u00e9\n"


def test_spaces_at_line_ends_go() -> None:
    """Trailing blanks are dropped and leading ones kept."""
    assert clean("  one \t\n  two  ") == "  one\n  two\n"


def test_at_most_three_blank_lines_stand_together() -> None:
    """Longer piles of blank lines are cut; three are kept."""
    assert clean("a\n\n\n\nb" + "\n" * 50 + "c") == "a\n\n\n\nb\n\n\n\nc\n"


def test_blanks_alone_are_nothing() -> None:
    """A text of blanks and control characters is empty."""
    assert clean(" \r\n\t\f\ufeff\n") == ""


def test_five_megabytes_of_spaces_are_no_trap() -> None:
    """One line of spaces with a letter at its end is cleaned in linear time."""
    line = " " * (5 << 20) + "x"
    assert clean(line) == f"{line}\n"


@given(st.text(st.characters(codec="utf-8")))
def test_cleaning_twice_changes_nothing(text: str) -> None:
    """Clean text is clean: NFC, one newline at its end, no carriage returns."""
    once = clean(text)
    assert clean(once) == once
    assert unicodedata.is_normalized("NFC", once)
    assert "\r" not in once
    assert not once or once.endswith("\n")

"""Numbers in headings."""

from __future__ import annotations

import pytest

from cagchat.documents.numerals import Numeral, numeral_at_start, roman


@pytest.mark.parametrize(
    ("text", "value"), [("I", 1), ("IV", 4), ("IX", 9), ("XIV", 14), ("XL", 40), ("XCIX", 99), ("CCCLXV", 365)]
)
def test_roman_numerals_have_their_value(text: str, value: int) -> None:
    """Additive and subtractive Roman numerals are read."""
    assert roman(text) == value


@pytest.mark.parametrize(("text", "value"), [("IIII", 4), ("VIIII", 9), ("XXXX", 40)])
def test_printers_romans_are_read(text: str, value: int) -> None:
    """Four equal letters, as old printers set them, are read."""
    assert roman(text) == value


@pytest.mark.parametrize("text", ["", "IIV", "VX", "IC", "HELLO", "xi"])
def test_words_are_no_romans(text: str) -> None:
    """Letters in an order that is no numeral have no value."""
    assert roman(text) is None


@pytest.mark.parametrize(
    ("text", "numeral"),
    [
        ("12. The Storm", Numeral(12, 2)),
        ("XII: The Storm", Numeral(12, 3)),
        ("iv", Numeral(4, 2)),
        ("1st", Numeral(1, 3)),
        ("Twelve", Numeral(12, 6)),
        ("TWENTY-ONE: 1805", Numeral(21, 10)),
        ("Twenty first", Numeral(21, 12)),
        ("thirtieth", Numeral(30, 9)),
        ("Forty Days", Numeral(40, 5)),
    ],
)
def test_the_end_is_where_the_text_goes_on(text: str, numeral: Numeral) -> None:
    """Digits, Roman letters and words are read up to their end."""
    assert numeral_at_start(text) == numeral


@pytest.mark.parametrize("text", ["", "The Storm", "I'm", "I’ll", "Onerous", "12345", "Mill"])
def test_words_that_begin_like_numbers_are_none(text: str) -> None:
    """A number ends where a word ends."""
    assert numeral_at_start(text) is None

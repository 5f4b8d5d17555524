"""Words as quotes are compared by: what counts as the same, and what only looks alike."""

from __future__ import annotations

import pytest

from cagchat.quotes.words import proves, words_of


def words(text: str) -> list[str]:
    return [word.word for word in words_of(text)]


@pytest.mark.parametrize(
    ("written", "same"),
    [
        ("The LAMP was lit", "the lamp was lit"),
        ("the lamp — was lit", "the lamp -- was-lit"),
        ("“the lamp,” was «lit»!", "the lamp was lit"),
        ("the\n   lamp\u00a0was\tlit", "the lamp was lit"),
        ("don’t", "don't"),
        ("o\ufb03ce \ufb01re", "office fire"),
        ("lamp\u00adlight la\u200bmp\ufeff", "lamplight lamp"),
        ("cafe\u0301", "café"),
        ("_the_ **lamp**", "the lamp"),
        ("Straße ΛΌΓΟΣ", "STRASSE λόγος"),
        ("\uff21\uff11", "a1"),
        ("don\u02bct 5\uff05", "don't 5%"),
    ],
)
def test_what_a_reader_reads_the_same_is_the_same(written: str, same: str) -> None:
    """Case, spaces, dashes, quotes, ligatures, hidden characters and emphasis do not count."""
    assert words(written) == words(same) != []


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("he'll", "hell"),
        ("nowhere", "now here"),
        ("lamp", "l\u0430mp"),
        ("año", "ano"),
        ("3.5", "35"),
        ("3.5", "3 5"),
        ("10²", "102"),
        ("-5", "5"),
        ("\u22125", "5"),
        ("5%", "5"),
        ("5\uff05", "5"),
        ("5‰", "5"),
        ("$5", "£5"),
        ("1½", "11 2"),
        ("\u202elive\u202c", "live"),
        ("✔ yes", "yes"),
    ],
)
def test_what_says_something_else_is_not_the_same(one: str, other: str) -> None:
    """Apostrophes, accents, other scripts, numbers' points and signs, and turned writing do count."""
    assert words(one) != words(other)


def test_words_know_where_they_stand() -> None:
    """Offsets are those of the text as it was given."""
    text = "  “Don’t —\nyou go!"
    assert [text[word.start : word.end] for word in words_of(text)] == ["Don’t", "you", "go"]


def test_a_script_without_spaces_has_a_word_each_character() -> None:
    """A part of a Chinese sentence is words of it."""
    assert words("山路を登り") == list("山路を登り")


@pytest.mark.parametrize(
    ("text", "enough"),
    [
        ("", False),
        ("Old Fisherman", False),
        ("of the sea", False),
        ("the lamp was", True),
        ("incomprehensibilities", False),
        ("山路を登", False),
        ("山路を登りな", True),
    ],
)
def test_three_words_and_ten_letters_prove_something(text: str, enough: bool) -> None:
    """Less is a name, a title or chance; a character of Chinese is half a word and two letters."""
    assert proves(words(text)) is enough

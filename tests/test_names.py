"""Which names of a book are offered to a reader who asks about somebody."""

from __future__ import annotations

import pytest

from cagchat.names import begins, frequent_names

STORY = """\
CHAPTER ONE

Nobody knew who Ines Varga was or what she wanted at the quay. “Tomorrow,” said Perrin, “Ines will be there, and so I'll
wait for her all day long.” The prince only smiled, and in the evening Prince Orlo left for Aldermouth. It was at the
quay of Aldermouth that he met Mrs. Varga, who was old by then; and with her came Perrin. When the ferry was in,
Perrin saw that Ines had not come. It was late. It rained on Mrs. Orlo and on the prince, who had no coat. Yet it is
true, and I'll say it again, that Perrin had waited for a prince and for nobody else in the whole wide world.
"""


def test_names_come_most_frequent_first() -> None:
    """Who is named most often stands first; words that begin sentences, titles and capitals are no names."""
    assert frequent_names(STORY) == ["Perrin", "Ines", "Varga", "Orlo", "Aldermouth"]


def test_no_more_names_than_wanted() -> None:
    """As many as are asked for, the most frequent."""
    assert frequent_names(STORY, 2) == ["Perrin", "Ines"]


def test_where_nouns_are_capitalised_no_name_is_offered() -> None:
    """In a language that writes nouns as names, nothing tells them apart."""
    german = "der Hund sah den Mond und die Katze am Fenster, der Mond sah den Hund und das Haus am Fenster. "
    assert frequent_names(german * 20) == []


@pytest.mark.parametrize("text", ["", "no name at all", "Once. Once. Once. Once."])
def test_a_text_may_have_no_names(text: str) -> None:
    """Then there are none."""
    assert frequent_names(text) == []


@pytest.mark.parametrize(
    ("gap", "last", "expected"),
    [
        ("", "", True),
        (" ", "saw", False),
        (", ", "saw", False),
        (". ", "rain", True),
        (". ", "Mrs", False),
        ("! ", "Oh", True),
        ("\n", "saw", False),
        ("\n\n", "saw", True),
        (", “", "said", True),
        (".” ", "quay", True),
    ],
)
def test_where_a_sentence_begins(gap: str, last: str, expected: bool) -> None:
    """After its end, at a paragraph and inside opening marks; not after an abbreviation or a line's end."""
    assert begins(gap, last) is expected

"""What an answer quotes: marks of all languages, block quotes, nesting, and what is no quote."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cagchat.quotes import quoted

PASSAGE = "the lamps of the harbour were lit"


def texts(answer: str) -> list[str]:
    return [passage.text for passage in quoted(answer)]


@pytest.mark.parametrize(
    "marks",
    [
        '""',
        "“”",
        "„“",
        "„”",
        "””",
        "«»",
        "»«",
        "‹›",
        "›‹",
        "「」",
        "『』",
        "‘’",
        "‚‘",
        "''",
        "＂＂",
    ],
)
def test_every_language_has_its_marks(marks: str) -> None:
    """A passage is found between them, twice in a sentence, with its offsets in the answer."""
    answer = f"There {marks[0]}{PASSAGE}{marks[1]} stands, and {marks[0]}{PASSAGE},{marks[1]} again."
    found = quoted(answer)
    assert [passage.text for passage in found] == [PASSAGE, f"{PASSAGE},"]
    assert [answer[passage.start : passage.end] for passage in found] == [PASSAGE, f"{PASSAGE},"]


def test_spaces_inside_marks_are_not_quoted() -> None:
    """French sets its marks off with spaces."""
    answer = f"On lit « {PASSAGE} » et «\u00a0{PASSAGE}\u00a0»."
    assert texts(answer) == [PASSAGE, PASSAGE]


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "Nothing is quoted here at all.",
        "It's the keeper's lamp, and it wasn't the sailors' fault that they didn't see it.",
        "The “tower” and the “Old Fisherman” are names.",
        'He is 5\'10" tall and the board is 6" wide and 7" long or so.',
        "“It is never closed in this whole paragraph\n\nand “neither is this one, as it ends",
        '`say "one two three four"` and\n```\nsay "one two three four"\n```\n',
        "'tis the year of the lamps",
    ],
)
def test_what_is_no_quote(answer: str) -> None:
    """Apostrophes, inches, names, code and marks without a partner quote nothing."""
    assert texts(answer) == []


@pytest.mark.parametrize(
    "passage",
    [
        "he said ‘light the lamps now’ and left",
        'he said "light the lamps now" and left',
        "he said “light the lamps now” and left",
        "he said «light the lamps now» and left",
        "‘light the lamps now,’ he said, ‘and go’",
    ],
)
def test_speech_inside_a_quote_belongs_to_it(passage: str) -> None:
    """Only the outermost quotation is one."""
    assert texts(f"It says “{passage}” there.") == [passage]
    assert texts(f'It says "{passage}" there.') == [passage]


def test_the_plural_does_not_end_a_quote() -> None:
    """An apostrophe after an s goes on when the quotation's own end follows."""
    assert texts("‘The sailors’ lamps were lit,’ he said, ‘and so is this one.’") == [
        "The sailors’ lamps were lit,",
        "and so is this one.",
    ]


def test_a_quote_goes_over_lines_but_not_over_paragraphs() -> None:
    """A line's end is a space; a blank line ends what was never closed."""
    assert texts('"the lamps\nof the harbour" and "not this\n\none here", no') == ["the lamps\nof the harbour"]


def test_a_speech_of_paragraphs_is_one_quote() -> None:
    """Each paragraph opens with the mark again and only the last closes it."""
    assert texts("“The lamps were lit.\n\n“The harbour slept.” So it ends.") == [
        "The lamps were lit.\n\n“The harbour slept."
    ]


def test_an_unclosed_mark_hides_no_later_quote() -> None:
    """What opens and never closes is passed over."""
    assert texts(f'He said "oh, and then "{PASSAGE}" and went.') == [PASSAGE]


def test_a_block_quote_is_a_quote_for_each_paragraph() -> None:
    """Signs are left out, blank lines part it, marks inside belong to it."""
    answer = f"See:\n\n> {PASSAGE},\n> and “nobody” came.\n>\n> > {PASSAGE}\n\nThat is all."
    assert texts(answer) == [f"{PASSAGE},\nand “nobody” came.", PASSAGE]
    first, second = quoted(answer)
    assert answer[first.start : first.end] == f"{PASSAGE},\n> and “nobody” came."
    assert answer[second.start : second.end] == PASSAGE


@pytest.mark.parametrize("source", ["\n> — Chapter 3", "\n> -- the keeper", "\n> (Part 2, p. 12)"])
def test_a_block_quote_ends_before_its_source(source: str) -> None:
    """A last line that says where it is from is the answer's own."""
    answer = f"> {PASSAGE}.{source}\n"
    (passage,) = quoted(answer)
    assert (passage.text, answer[passage.start : passage.end]) == (f"{PASSAGE}.", f"{PASSAGE}.")


def test_emphasis_around_marks_does_not_hide_them() -> None:
    """Answers are Markdown."""
    assert texts(f'*“{PASSAGE}”* and **"{PASSAGE}"** and “**{PASSAGE}**”') == [PASSAGE, PASSAGE, f"**{PASSAGE}**"]


@given(st.text(alphabet="“”„«»‘’'\"> \n`.—as", max_size=200))
def test_any_marks_are_survived(answer: str) -> None:
    """Quotes are in order, apart, and where they say they are."""
    reached = 0
    for passage in quoted(answer):
        assert reached <= passage.start < passage.end <= len(answer)
        reached = passage.end


def test_a_pile_of_marks_ends() -> None:
    """Many open marks take one look each."""
    assert texts("“«„" * 20_000 + "’ ”") == []

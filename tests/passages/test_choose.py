"""Which passages are shown, in which order, and how many."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cagchat.passages.choose import Passage, passages
from cagchat.passages.index import PassageIndex
from cagchat.passages.render import quoted
from tests.passages.invented_book import FACTS, four_a_token, index_of

QUESTION = "What did Casimir hide, who forgave him the astrolabe, and how many buttons had Captain Marrow?"


@pytest.fixture(scope="module")
def index() -> Iterator[PassageIndex]:
    with index_of() as index:
        yield index


def chosen(index: PassageIndex, question: str, budget: int = 2000, until: int | None = None) -> tuple[Passage, ...]:
    return passages(index, question, budget_tokens=budget, count=four_a_token, until=until)


@pytest.mark.parametrize(
    ("question", "fact"),
    [
        ("What colour did Ottilie paint the boathouse door?", 0),
        ("How many buttons did the captain keep?", 1),
        ("Who hid the astrolabe?", 2),
        ("Where did the mother of Casimir come from?", 3),
    ],
)
def test_a_planted_fact_is_found(index: PassageIndex, question: str, fact: int) -> None:
    """The passage with the fact is among those chosen."""
    assert any(FACTS[fact] in passage.text for passage in chosen(index, question))


def test_the_order_is_the_books(index: PassageIndex) -> None:
    """However they score, passages follow each other as in the book, without an overlap."""
    found = chosen(index, QUESTION)
    assert len(found) > 1
    assert all(before.end <= after.start for before, after in itertools.pairwise(found))


def test_a_passage_is_the_books_text_with_its_place(index: PassageIndex) -> None:
    """Offsets, text and place agree."""
    for passage in chosen(index, QUESTION):
        assert index.document.text[passage.start : passage.end] == passage.text
        assert index.document.place(passage.start) == passage.place
        assert passage.place.startswith("Chapter")


@settings(deadline=None)
@given(budget=st.integers(0, 3000))
def test_the_budget_is_never_exceeded(index: PassageIndex, budget: int) -> None:
    """What the passages become in the prompt never counts more than the budget, by the caller's own count."""
    found = passages(index, QUESTION, budget_tokens=budget, count=lambda text: len(text.split()), render=quoted)
    assert not found or len(quoted(found).split()) <= budget


def test_a_small_budget_keeps_what_fits_best(index: PassageIndex) -> None:
    """With less room the passages with the lower scores are left out."""
    many, few = chosen(index, QUESTION, 2000), chosen(index, QUESTION, 500)
    assert len(few) < len(many)
    assert max(passage.score for passage in few) == max(passage.score for passage in many)


def test_a_passage_too_long_for_the_budget_loses_its_last_sentences() -> None:
    """When not even one passage fits, its first sentences are shown."""
    with index_of("Vermilion it was. " + "And so it went on and on. " * 30) as index:
        (passage,) = chosen(index, "What was vermilion?", 60)
        assert passage.text.endswith(".")
        assert len(passage.text) <= 240


@settings(deadline=None)
@given(until=st.integers(0, 25_000))
def test_nothing_beyond_the_limit_is_shown(index: PassageIndex, until: int) -> None:
    """No character at or beyond the limit is in a passage, and none of them is empty."""
    for passage in chosen(index, QUESTION, until=until):
        assert passage.start < passage.end <= until


def test_nothing_beyond_the_limit_counts(index: PassageIndex) -> None:
    """A paragraph that the limit cuts is not found for what its hidden part says."""
    at = index.document.text.index("hid the astrolabe")
    assert chosen(index, "Where is the astrolabe?", until=at) == ()
    assert chosen(index, "Where is the astrolabe?", until=at + 17) != ()
    assert chosen(index, "Where is the astrolabe?", until=at + 14) == ()


def test_neighbours_are_one_passage() -> None:
    """Paragraphs that follow each other are shown as one."""
    filler = "The mill by the river turned all night. " * 20
    with index_of(f"The heron watched. {filler}\n\nThe heron flew. {filler}") as index:
        assert len(chosen(index, "What did the heron do?")) == 1


@pytest.mark.parametrize(
    "question", ["Who is Zebulon Quist?", "What is the book about?", "", "Why did Zebulon Quist climb?", "of the"]
)
def test_nothing_is_shown_when_nothing_fits(index: PassageIndex, question: str) -> None:
    """A question about what the book does not have, or about nothing, has no passages."""
    assert chosen(index, question) == ()


def test_what_was_said_before_is_understood(index: PassageIndex) -> None:
    """A question about "his mother" finds the mother of the one named before."""
    found = passages(index, "And his mother?", ["Who is Casimir?"], budget_tokens=500, count=four_a_token, until=None)
    assert any(FACTS[3] in passage.text for passage in found)


def test_a_quoted_phrase_finds_its_place() -> None:
    """Words that stand everywhere are found where they follow each other."""
    with index_of("The lamps were up before the clock in the kitchen was wet.") as index:
        found = chosen(index, 'Where does it say "lamps were up before the clock"?', 500)
        assert any("lamps were up" in passage.text for passage in found)

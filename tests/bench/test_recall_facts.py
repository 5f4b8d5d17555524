"""Invented facts: made from a seed, unlike each other and the book, and scored by the exact word or number."""

from __future__ import annotations

from random import Random

import pytest

from cagchat.bench.facts import Fact, facts_of_seeds, holds, made_facts, words_of

BOOK = "The weighbridge stood at the pass, and 48213 carts had crossed it in 1,904 days."
NAME = Fact("name", "The cat of Senk was named Tanopamb.", "What was the name of the cat of Senk?", "Tanopamb")
NUMBER = Fact("number", "The barge Senk carried the number 48213.", "Which number did the barge Senk carry?", "48213")


def test_seeds_make_the_same_facts() -> None:
    """A seed's facts are the same each time, and do not depend on how many seeds follow it."""
    assert facts_of_seeds((1, 2, 3), 20, BOOK)[1] == facts_of_seeds((1,), 20, BOOK)[1]


def test_facts_share_no_word() -> None:
    """No answer is given twice, whatever the seed, and none stands in the book or in any question."""
    facts = [fact for found in facts_of_seeds(range(6), 30, BOOK).values() for fact in found]
    answers = [fact.answer.casefold() for fact in facts]
    assert len(facts) == 180
    assert len({fact.question for fact in facts}) == len(set(answers)) == 180
    asked = words_of(" ".join(fact.question for fact in facts))
    assert not set(answers) & (asked | words_of(BOOK))


def test_facts_hold_their_answer() -> None:
    """Each sentence has its own answer and no other fact's."""
    facts = made_facts(40, Random(4), set())
    for fact in facts:
        assert [other.answer for other in facts if holds(fact.sentence, other)] == [fact.answer]


def test_kinds_take_turns() -> None:
    """Names, numbers and places are equally many in every full round."""
    kinds = [fact.kind for fact in made_facts(18, Random(4), set())]
    assert {kind: kinds.count(kind) for kind in kinds} == {"name": 6, "number": 6, "place": 6}


@pytest.mark.parametrize(
    ("answer", "right"),
    [
        ("It was named Tanopamb.", True),
        ("TANOPAMB!", True),
        ("“tanopamb”, says the book", True),
        ("Tanopamb's owner", True),
        ("Tanopambs", False),
        ("Xtanopamb", False),
        ("Tano pamb", False),
        ("", False),
    ],
)
def test_names_are_whole_words(answer: str, right: bool) -> None:
    """A name counts in any case and between any marks, and not as a part of another word."""
    assert holds(answer, NAME) is right


@pytest.mark.parametrize(
    ("answer", "right"),
    [
        ("48213", True),
        ("The number 48,213.", True),
        ("48.213", True),
        ("48 213", True),
        ("48\u202f213", True),
        ("48'213", True),
        ("No. 48213, 500 of them", True),
        ("148213", False),
        ("482135", False),
        ("48213 was not 1,48,213", True),
        ("1,148,213", False),
        ("4821", False),
        ("48,2135", False),
    ],
)
def test_numbers_are_whole(answer: str, right: bool) -> None:
    """A number counts with and without separators, and not as a part of a longer one."""
    assert holds(answer, NUMBER) is right

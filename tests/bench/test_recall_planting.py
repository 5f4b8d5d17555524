"""Planting: facts stand at the paragraph border nearest to their depth, and nothing else of the book changes."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cagchat.bench.facts import made_facts
from cagchat.bench.planting import cut, depths, paragraphs, plant

TEN = "\n\n".join(" ".join([f"p{number}"] * 10) for number in range(10))
FACTS = made_facts(9, Random(1), set())


def words(texts: Sequence[str]) -> list[array[int]]:
    """Take each word for a token."""
    return [array("i", range(len(text.split()))) for text in texts]


def letters(texts: Sequence[str]) -> list[array[int]]:
    """Take each byte for a token."""
    return [array("i", list(text.encode())) for text in texts]


def bytes_of(tokens: Sequence[int]) -> bytes:
    return bytes(list(tokens))


@pytest.mark.parametrize(("count", "expected"), [(1, (0.5,)), (2, (0.05, 0.95)), (5, (0.05, 0.275, 0.5, 0.725, 0.95))])
def test_depths_are_even(count: int, expected: tuple[float, ...]) -> None:
    """Depths go from 5 % to 95 % in equal steps."""
    assert depths(count) == expected


@pytest.mark.parametrize(("share", "before"), [(0.0, 0), (0.04, 0), (0.06, 1), (0.5, 5), (0.72, 7), (0.96, 10)])
def test_facts_stand_at_the_nearest_border(share: float, before: int) -> None:
    """Of ten equal paragraphs as many stand before a fact as its share says, rounded."""
    planted = plant(TEN, [(FACTS[0], share)], words)
    assert paragraphs(planted.text).index(FACTS[0].sentence) == before


def test_real_depth_is_measured() -> None:
    """A fact's depth is the share of the text's tokens before it, those of other facts included."""
    first, second = FACTS[:2]
    planted = plant(TEN, [(first, 0.2), (second, 0.8)], words)
    sizes = [len(tokens) for tokens in words([first.sentence, second.sentence])]
    assert planted.n_tokens == 100 + sum(sizes)
    assert [item.depth for item in planted.plantings] == [20 / planted.n_tokens, (80 + sizes[0]) / planted.n_tokens]


def test_shared_border_keeps_the_order() -> None:
    """Facts that are nearest to one border stand there in the order of their shares."""
    planted = plant(TEN, [(FACTS[0], 0.52), (FACTS[1], 0.48)], words)
    assert paragraphs(planted.text)[5:7] == [FACTS[1].sentence, FACTS[0].sentence]


@given(
    st.lists(st.integers(1, 40), min_size=1, max_size=30),
    st.lists(st.floats(0, 1), min_size=1, max_size=len(FACTS)),
)
def test_book_is_left_as_it_is(sizes: list[int], shares: list[float]) -> None:
    """Without the planted sentences the text is the book again, and each stands in it once, no border nearer."""
    book = [" ".join([f"p{number}"] * size) for number, size in enumerate(sizes)]
    planted = plant("\n\n".join(book), list(zip(FACTS, shares, strict=False)), words)
    sentences = [item.fact.sentence for item in planted.plantings]
    content = paragraphs(planted.text)
    assert [part for part in content if part not in sentences] == book
    assert [part for part in content if part in sentences] == sentences
    assert len(sentences) == len(shares)
    borders = [sum(sizes[:number]) / sum(sizes) for number in range(len(sizes) + 1)]
    for item in planted.plantings:
        before = [part for part in content[: content.index(item.fact.sentence)] if part not in sentences]
        here = abs(borders[len(before)] - item.wanted)
        assert here <= min(abs(border - item.wanted) for border in borders) + 1e-9


def test_book_is_cut_at_a_token() -> None:
    """A book is cut to exactly so many tokens; half a character at the end goes."""
    assert cut("Kettle Gap", 6, letters, bytes_of) == "Kettle"
    assert cut("Brücke", 3, letters, bytes_of) == "Br"
    assert cut("Brücke", 99, letters, bytes_of) == "Brücke"

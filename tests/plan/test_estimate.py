"""Tokens without a tokenizer: an estimate whose error is known."""

from __future__ import annotations

import pytest

from cagchat.documents import load
from cagchat.plan.estimate import LARGEST_ERROR, TOKENS_A_WORD, estimated_tokens
from tests.documents.invented_text import novels, prose

# The novels' tokens by the tokenizer of Qwen3.5.
COUNTED = {"war_and_peace": 769_558, "moby-dick": 300_633, "ulysses": 389_545, "pride_and_prejudice": 160_311}


def test_error_on_the_novels_is_the_stated_one() -> None:
    """On no novel beside the checkout the estimate is further off than is said; without them there is no more."""
    errors = {}
    for path in novels():
        errors[path.stem] = estimated_tokens(load(path).text) / COUNTED[path.stem] - 1
    assert all(abs(error) <= LARGEST_ERROR for error in errors.values()), errors


def test_nothing_has_no_tokens() -> None:
    """An empty text is estimated at nothing."""
    assert estimated_tokens("") == 0


@pytest.mark.parametrize(
    ("text", "words"), [("one two", 2), ("Well, no!", 4), ("l'été", 3), ("  spaced   out ", 2), ("数字 42", 2)]
)
def test_words_and_marks_are_counted(text: str, words: int) -> None:
    """A word of any script counts as one, a mark as one, space as none."""
    assert estimated_tokens(text) == round(TOKENS_A_WORD * words)


def test_line_ends_are_counted() -> None:
    """Each line end is a token."""
    assert estimated_tokens("\n\n\n") == 3


def test_estimate_grows_with_the_text() -> None:
    """Twice the text is estimated at twice the tokens."""
    once, twice = estimated_tokens(prose(50_000)), estimated_tokens(prose(50_000) * 2)
    assert abs(twice - 2 * once) <= 1

"""The token that a state is proved with."""

from __future__ import annotations

from array import array

from hypothesis import given
from hypothesis import strategies as st

from cagchat.reading import telling_token


@given(st.lists(st.integers(0, 9), min_size=1, max_size=60))
def test_no_token_is_rarer(tokens: list[int]) -> None:
    """The token chosen occurs in the text, and none occurs less often."""
    chosen = telling_token(array("i", tokens))
    assert 0 < tokens.count(chosen) == min(map(tokens.count, tokens))


def test_of_the_rarest_the_nearest_to_the_middle() -> None:
    """Among tokens that stand once, the one in the middle is taken: both ends of a text are often formulas."""
    assert telling_token(array("i", [7, 1, 1, 8, 1, 1, 9])) == 8


def test_an_empty_text_has_some_token() -> None:
    """Where nothing was read, token 0 serves."""
    assert telling_token(array("i")) == 0

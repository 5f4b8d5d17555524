"""When fillers make a short batch cheaper."""

from __future__ import annotations

import pytest

from cagchat.engine.padding import TILE_TOKENS, Work, padding

SMOLLM2 = Work(elements_per_position=30 * 576, parameters=135_000_000)


@pytest.mark.parametrize("n_tokens", [2, 13, 28, 40])
def test_shallow_batches_are_left_alone(n_tokens: int) -> None:
    """Where the cache is short the slow path costs less than the fillers."""
    assert padding(n_tokens, 0, SMOLLM2) == 0


@pytest.mark.parametrize("n_tokens", [20, 28, 63])
def test_deep_batches_are_filled_up_to_a_tile(n_tokens: int) -> None:
    """Deep in a book a question is filled up to exactly one tile."""
    assert n_tokens + padding(n_tokens, 3100, SMOLLM2) == TILE_TOKENS


@pytest.mark.parametrize("n_tokens", [1, 64, 65, 512])
def test_single_tokens_and_full_tiles_need_none(n_tokens: int) -> None:
    """Decoding has a path of its own, and whole tiles are fast already."""
    assert padding(n_tokens, 100_000, SMOLLM2) == 0


def test_a_few_tokens_do_not_pay() -> None:
    """Two or three tokens are cheaper alone than a whole tile is."""
    assert padding(3, 3100, SMOLLM2) == 0

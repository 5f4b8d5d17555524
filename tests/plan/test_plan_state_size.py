"""Predicted sizes of saved states against those the engine writes."""

from __future__ import annotations

from pathlib import Path

import pytest

from cagchat.engine.protocol import BOOK, KV_TYPES, KvType
from cagchat.models.gguf import read_header
from cagchat.models.shape import shape_of
from cagchat.plan.caches import token_bytes
from cagchat.plan.state_size import boundary_bytes, state_bytes
from tests.engine_cases import MEMORY, Case, model_path, start_engine
from tests.plan.flagship import FLAGSHIP

LENGTHS = (1, 63, 64, 65, 200)  # gemma3's window has 64 tokens
FEW_LENGTHS = (1, 40)  # SmolLM2 is slow


@pytest.mark.parametrize("kv_type", KV_TYPES)
@pytest.mark.parametrize("model", MEMORY)
def test_state_sizes_are_exact(model: str, kv_type: KvType, models: Path, tmp_path: Path) -> None:
    """A saved state and a boundary have the predicted size to the byte, at every length."""
    shape = shape_of(read_header(model_path(model, models)))
    engine = start_engine(Case(model, kv_type), models, n_context=512)
    try:
        for length in FEW_LENGTHS if model == "smollm2" else LENGTHS:
            missing = length - engine.length(BOOK)
            assert all(step.position for step in engine.evaluate(BOOK, [7] * missing))
            assert engine.state_size(BOOK) == state_bytes(shape, length, kv_type)
            path = tmp_path / str(length)
            boundary = engine.save_boundary(BOOK, path)
            assert (boundary.size_bytes if boundary else 0) == boundary_bytes(shape, length, kv_type)
    finally:
        engine.close()


def test_a_whole_book_is_mostly_keys_and_values() -> None:
    """War and Peace in the 35B's q4_0 cache takes 5,784 bytes a token and one recurrent state on disk."""
    size = state_bytes(FLAGSHIP, 769_558, "q4_0")
    per_token = token_bytes(FLAGSHIP, "q4_0") + 24
    assert size - 769_558 * per_token - boundary_bytes(FLAGSHIP, 769_558, "q4_0") == 16 + 20 * 12
    assert per_token == 5_784

"""Random blocks: finite weights of the deviation asked for, in every type, and no row twice."""

from __future__ import annotations

import gguf
import numpy as np
import pytest

from cagchat.bench.synth_blocks import FLOATS, PATTERN_BYTES, SCALES, Array, Loom, prime_below
from cagchat.models.tensors import BLOCKS, QUANTISATIONS

WIDTH = 2048


def woven(type_name: str, rows: int, deviation: float, seed: int = 0, name: str = "a") -> bytes:
    elements, block_bytes = BLOCKS[type_name]
    size_bytes = rows * WIDTH // elements * block_bytes
    return b"".join(bytes(piece) for piece in Loom(seed).tensor(name, type_name, size_bytes, deviation))


def weights(type_name: str, content: bytes) -> Array:
    if type_name == "BF16":
        return (np.frombuffer(content, np.uint16).astype(np.uint32) << 16).view(np.float32).reshape(-1, WIDTH)
    if type_name in FLOATS:
        return np.frombuffer(content, np.float16 if type_name == "F16" else np.float32).reshape(-1, WIDTH)
    kind = gguf.GGMLQuantizationType[type_name]
    flat = gguf.quants.dequantize(np.frombuffer(content, np.uint8), kind)
    found: Array = flat.reshape(-1, WIDTH)
    return found


@pytest.mark.parametrize("type_name", [*SCALES, *FLOATS])
def test_weights_have_the_deviation(type_name: str) -> None:
    """Weights are finite, of mean zero, and deviate by what was asked for."""
    found = weights(type_name, woven(type_name, 200, 0.02)).astype(np.float32)
    assert np.isfinite(found).all()
    assert found.std() == pytest.approx(0.02, rel=0.05)
    assert abs(found.mean()) < 0.0005


def test_every_mixture_can_be_written() -> None:
    """There are blocks for the types of all quantisations whose tensors are known."""
    assert {base for _, base in QUANTISATIONS.values()} <= {*SCALES, *FLOATS}


def test_rows_differ_where_the_pattern_comes_round() -> None:
    """A matrix of several patterns' size has no two equal rows."""
    content = woven("Q6_K", 4 * PATTERN_BYTES // (WIDTH // 256 * 210), 0.02)
    rows = np.frombuffer(content, np.uint8).reshape(-1, WIDTH // 256 * 210)
    assert len(content) > 3 * PATTERN_BYTES
    assert len(np.unique(rows, axis=0)) == len(rows)


def test_columns_of_rows_do_not_agree() -> None:
    """Rows are no copies of each other: products with a vector scatter as a random matrix's do."""
    found = weights("Q4_K", woven("Q4_K", 2000, WIDTH**-0.5)).astype(np.float32)
    vector = np.random.default_rng(3).standard_normal(WIDTH).astype(np.float32)
    assert (found @ vector).std() == pytest.approx(1, rel=0.1)


def test_seed_and_name_decide() -> None:
    """The same seed and name give the same bytes, another seed or name others."""
    first = woven("Q3_K", 8, 0.02)
    assert woven("Q3_K", 8, 0.02) == first
    assert woven("Q3_K", 8, 0.02, seed=1) != first
    assert woven("Q3_K", 8, 0.02, name="b") != first


def test_memory_does_not_grow_with_the_tensor() -> None:
    """A piece is never larger than the pattern, whatever the tensor's size."""
    pieces = [len(piece) for piece in Loom(0).tensor("a", "Q8_0", 34 * 10**6, 0.02)]
    assert sum(pieces) == 34 * 10**6
    assert max(pieces) <= PATTERN_BYTES


def test_prime_below_is_prime() -> None:
    """The largest prime up to a limit is found."""
    assert [prime_below(limit) for limit in (2, 10, 97, 20_000)] == [2, 7, 97, 19_997]

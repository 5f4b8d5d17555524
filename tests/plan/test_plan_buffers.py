"""Predicted buffers against those that llama.cpp reports, for every architecture and at full size."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from cagchat.engine.protocol import KV_TYPES, KvType
from cagchat.models.gguf import read_header
from cagchat.models.shape import ModelShape, shape_of
from cagchat.plan.buffers import compute_bytes, input_bytes, output_bytes
from cagchat.plan.caches import kv_bytes, recurrent_bytes, token_bytes
from tests.plan.flagship import FLAGSHIP, GEMMA3_4B, QWEN35_9B, QWEN35_27B
from tests.plan.reported import MIB, QWEN35, SHAPES, Case, Reported, reported, write_hollow

PRINTED = 0.005 + 1e-6  # llama.cpp prints hundredths of MiB


def agree(found: Reported, shape: ModelShape, case: Case) -> None:
    """Check that every buffer is predicted to the last digit that llama.cpp prints."""
    sizes = (case.n_ubatch, case.n_sequences)
    flash = case.flash_attention
    compute = compute_bytes(shape, case.n_context, *sizes, case.kv_type, flash_attention=flash)
    assert abs(compute / MIB - found.compute) <= PRINTED + 1 / 1024, case
    # One number for each of gemma3's two caches.
    assert abs(kv_bytes(shape, case.n_context, case.kv_type, *sizes) / MIB - found.kv) <= 2 * PRINTED, case
    assert abs(recurrent_bytes(shape, case.n_sequences) / MIB - found.recurrent) <= PRINTED, case
    assert abs(output_bytes(shape, case.n_sequences) / MIB - found.output) <= PRINTED, case


def check(
    path: Path, shape: ModelShape, contexts: list[tuple[int, int, int]], kv_types: tuple[KvType, ...] = KV_TYPES
) -> None:
    """Compare contexts of (n_context, n_ubatch, n_sequences) with each KV type, f16 without flash attention too."""
    write_hollow(path, shape)
    assert shape_of(read_header(path)) == shape
    cases = [Case(str(path), context, batch, kv, seqs) for context, batch, seqs in contexts for kv in kv_types]
    cases += [replace(case, flash_attention=False) for case in cases if case.kv_type == "f16"]
    for case, found in zip(cases, reported(cases), strict=True):
        agree(found, shape, case)


@pytest.mark.parametrize("name", SHAPES)
def test_buffers_are_those_llama_cpp_reports(name: str, tmp_path: Path) -> None:
    """KV cache, recurrent states, compute and output buffers are exact for every context, batch and KV type."""
    contexts = [(256, 32, 1), (1024, 512, 4), (1024, 96, 2), (4096, 128, 2), (5000, 500, 3), (20_000, 64, 2)]
    check(tmp_path / "m.gguf", SHAPES[name], contexts)


@pytest.mark.parametrize("name", SHAPES)
def test_number_of_layers_is_followed(name: str, tmp_path: Path) -> None:
    """Gaps that tensors leave move from layer to layer, and the prediction follows them."""
    few, many = (with_layers(SHAPES[name], count) for count in (1, 7))
    check(tmp_path / "few.gguf", few, [(1024, 512, 2), (2048, 64, 1)])
    check(tmp_path / "many.gguf", many, [(1024, 512, 2), (2048, 64, 1)])


def with_layers(shape: ModelShape, count: int) -> ModelShape:
    """Return the shape with `count` layers, or groups of two for a hybrid, or so many after a window's first five."""
    if shape.recurrent:
        return replace(shape, kv_heads=(0, 2) * count, windowed=(False,) * (2 * count))
    if shape.slides:
        count += 5
        return replace(shape, kv_heads=(2,) * count, windowed=tuple(layer % 6 != 5 for layer in range(count)))
    return replace(shape, kv_heads=(2,) * count, windowed=(False,) * count)


def test_widths_are_followed(tmp_path: Path) -> None:
    """Vocabulary, width, heads and feed-forward change the buffers as predicted."""
    shape = replace(SHAPES["qwen3"], n_vocab=30_000, n_embed=512, n_feed_forward=2048, n_heads=8, key_length=96)
    check(tmp_path / "m.gguf", replace(shape, value_length=96), [(3000, 300, 2)])


@pytest.mark.parametrize(
    ("shape", "contexts"),
    [
        (FLAGSHIP, [(32_768, 512, 2), (786_432, 128, 2), (1_048_576, 64, 2)]),
        (QWEN35_27B, [(131_072, 128, 2)]),
        (GEMMA3_4B, [(100_000, 128, 2)]),
    ],
    ids=["35B-A3B", "27B", "gemma3 4B"],
)
def test_real_models_are_predicted_at_full_size(
    shape: ModelShape, contexts: list[tuple[int, int, int]], tmp_path: Path
) -> None:
    """Models of tens of gigabytes with long contexts are predicted as exactly as tiny ones."""
    check(tmp_path / "m.gguf", shape, contexts, ("q4_0",))


@pytest.mark.parametrize(
    ("shape", "state_mib", "bytes_a_token"),
    [
        (FLAGSHIP, 62.8, (20_480, 10_880, 5_760)),
        (QWEN35_27B, 150, (65_536, 34_816, 18_432)),
        (QWEN35_9B, 50, (32_768, 17_408, 9_216)),
    ],
    ids=["35B-A3B", "27B", "9B"],
)
def test_published_sizes(shape: ModelShape, state_mib: float, bytes_a_token: tuple[int, ...]) -> None:
    """KV bytes a token and a sequence's recurrent state are those that are published for the models."""
    assert tuple(token_bytes(shape, kv) for kv in KV_TYPES) == bytes_a_token
    assert recurrent_bytes(shape, 1) / MIB == pytest.approx(state_mib, rel=0.006)


def test_a_gpu_holds_one_layers_keys_and_values_in_f16() -> None:
    """With a quantised cache of 1M positions, CUDA's compute buffer has 2 GiB for the 35B's K and V in f16."""
    quantised = compute_bytes(FLAGSHIP, 1 << 20, 128, 2, "q8_0", "cuda")
    plain = compute_bytes(FLAGSHIP, 1 << 20, 128, 2, "f16", "cuda")
    assert quantised - plain == pytest.approx(2 << 30, rel=0.01)


def test_inputs_are_mostly_the_mask() -> None:
    """What a GPU's batch holds in RAM is two bytes for each token and position, and little else."""
    assert input_bytes(FLAGSHIP, 1 << 20, 128, 2, "q4_0") == pytest.approx((1 << 20) * 128 * 2, rel=0.02)


def test_fewer_logits_take_less() -> None:
    """A bound on how many tokens have logits shrinks the compute buffer of a model with a large vocabulary."""
    few = compute_bytes(FLAGSHIP, 32_768, 512, 2, "f16")
    assert few < compute_bytes(FLAGSHIP, 32_768, 512, 2, "f16", n_outputs=512) / 3


def test_batches_longer_than_the_context_do_not_count() -> None:
    """A batch cannot be longer than the context."""
    assert compute_bytes(QWEN35, 256, 4096, 2, "f16") == compute_bytes(QWEN35, 256, 256, 2, "f16")

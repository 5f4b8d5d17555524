"""Tensors by rule: the names llama.cpp loads, the types llama-quantize chooses, the sizes that were published."""

from __future__ import annotations

import ctypes
import os
import re
from itertools import pairwise
from math import prod
from pathlib import Path

import pytest

from cagchat.bench.synth import ARCHITECTURES, Architecture, write_model
from cagchat.bench.synth_full import write_full
from cagchat.engine.bindings import bindings
from cagchat.errors import ModelError, UsageError
from cagchat.models.gguf import DEFAULT_ALIGNMENT, Value, read_header
from cagchat.models.shape import ModelShape, parse_shape, shape_of
from cagchat.models.tensors import QUANTISATIONS, bytes_of, data_bytes, tensors

HEADER_BYTES = 11_000_000  # 248,320 tokens and their merges
LINE = re.compile(r"\] +(\S+) +- \[.*?\], type = +(\w+), size = .*?(?:\((\w+)\))?$")


def shape(architecture: str, layers: int = 16, **sizes: Value) -> ModelShape:
    """A narrow shape, deep enough for every rule about layers."""
    small: dict[str, Value] = {
        "block_count": layers,
        "embedding_length": 256,
        "feed_forward_length": 512,
        "attention.head_count": 8,
        "attention.head_count_kv": 2,
        "attention.key_length": 32,
        "attention.value_length": 32,
        "context_length": 4096,
        "vocab_size": 512,
        "ssm.conv_kernel": 4,
        "ssm.state_size": 32,
        "ssm.inner_size": 256,
        "ssm.group_count": 4,
        "ssm.time_step_rank": 8,
    }
    mixture: dict[str, Value] = {
        "expert_count": 4,
        "expert_used_count": 2,
        "expert_feed_forward_length": 256,
        "expert_shared_feed_forward_length": 256,
    }
    known = small | (mixture if architecture == "qwen35moe" else {})
    return parse_shape(architecture, known | {key.replace("__", "."): size for key, size in sizes.items()}, "a test")


def qwen35(layers: int, embed: int, feed_forward: int, heads: int, kv_heads: int, value_heads: int) -> ModelShape:
    """A published dense hybrid."""
    return shape(
        "qwen35",
        layers,
        embedding_length=embed,
        feed_forward_length=feed_forward,
        attention__head_count=heads,
        attention__head_count_kv=kv_heads,
        attention__key_length=256,
        attention__value_length=256,
        vocab_size=248_320,
        ssm__state_size=128,
        ssm__group_count=16,
        ssm__time_step_rank=value_heads,
        ssm__inner_size=128 * value_heads,
    )


FLAGSHIP = shape(
    "qwen35moe",
    40,
    embedding_length=2048,
    feed_forward_length=0,
    attention__head_count=16,
    attention__key_length=256,
    attention__value_length=256,
    vocab_size=248_320,
    ssm__state_size=128,
    ssm__group_count=16,
    ssm__time_step_rank=32,
    ssm__inner_size=4096,
    expert_count=256,
    expert_used_count=8,
    expert_feed_forward_length=512,
    expert_shared_feed_forward_length=512,
)
DENSE_27B = qwen35(64, 5120, 17408, 24, 4, 48)

# Every architecture, and the shapes that some rule looks at.
SHAPES = {
    "llama": shape("llama"),
    "llama-70B": shape("llama", 80, embedding_length=64, feed_forward_length=64, attention__key_length=8),
    "llama-8-experts": shape("llama", expert_count=8, expert_used_count=2, expert_feed_forward_length=256),
    "llama-equal-heads": shape("llama", attention__head_count_kv=8),
    "narrow rows": shape("qwen3", embedding_length=96, feed_forward_length=160),
    "odd rows": shape("qwen3", embedding_length=72, feed_forward_length=512),
    "qwen2": shape("qwen2", attention__key_length=32),
    "qwen3": shape("qwen3"),
    "gemma3": shape("gemma3", attention__sliding_window=32),
    "qwen35": shape("qwen35"),
    "qwen35moe": shape("qwen35moe"),
}


@pytest.fixture(params=SHAPES)
def case(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def quantised_by_llama(path: Path, quantisation: str, *, imatrix: bool = False) -> dict[str, str]:
    """Ask llama-quantize what type it would give each tensor; nothing is quantised."""
    ll = bindings()
    lines: list[str] = []

    def receive(_level: int, text: bytes, _user_data: object) -> None:
        lines.append(text.decode(errors="replace"))

    callback = ll.llama_log_callback(receive)
    ll.llama_log_set(callback, None)
    try:
        params = ll.llama_model_quantize_default_params()
        params.ftype, params.nthread, params.dry_run = QUANTISATIONS[quantisation][0], 1, True
        if imatrix:
            data = (ctypes.c_float * 1)(1.0)
            entries = (ll.llama_model_imatrix_data * 2)()
            entries[0].name, entries[0].data, entries[0].size = b"none", data, 1
            params.imatrix = entries
        output = os.fsencode(path.with_suffix(".out"))
        assert ll.llama_model_quantize(os.fsencode(path), output, ctypes.byref(params)) == 0, lines[-3:]
    finally:
        ll.llama_log_set(ll.llama_log_callback(), None)
    found = (LINE.search(line) for line in "".join(lines).splitlines())
    return {match[1]: (match[3] or match[2]).upper() for match in found if match}


@pytest.fixture
def plain(case: str, models: Path) -> Path:
    """The shape in f16, written once a run."""
    path = models / f"plain {case}.gguf"
    return path if path.exists() else write_full(path, SHAPES[case], "F16")


@pytest.mark.parametrize("quantisation", QUANTISATIONS)
def test_types_are_llama_quantizes(case: str, plain: Path, quantisation: str) -> None:
    """Every tensor has the name and the type that llama-quantize gives it."""
    ours = {info.name: info.type_name for info in tensors(SHAPES[case], quantisation)}
    assert ours == quantised_by_llama(plain, quantisation)


@pytest.mark.parametrize("quantisation", ["Q4_0", "Q5_0", "IQ4_XS", "IQ4_NL", "Q4_K_M"])
def test_types_with_an_importance_matrix(case: str, plain: Path, quantisation: str) -> None:
    """The same holds when an importance matrix is at hand."""
    ours = {info.name: info.type_name for info in tensors(SHAPES[case], quantisation, imatrix=True)}
    assert ours == quantised_by_llama(plain, quantisation, imatrix=True)


@pytest.mark.parametrize("quantisation", ["Q8_0", "Q4_0", "Q3_K_M", "Q2_K"])
def test_tied_embeddings_get_the_outputs_type(models: Path, quantisation: str) -> None:
    """Embeddings that are the output as well have the type that an output gets, and there is no other output."""
    path = models / "tied.gguf"
    if not path.exists():
        write_full(path, SHAPES["qwen3"], "F16", tied=True)
    ours = {info.name: info.type_name for info in tensors(SHAPES["qwen3"], quantisation, tied=True)}
    assert ours == quantised_by_llama(path, quantisation)
    assert "output.weight" not in ours


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_tensors_are_those_of_the_tiny_models(tmp_path: Path, architecture: Architecture) -> None:
    """The tensors of a shape read from a tiny model's header are the tensors that model has."""
    header = read_header(write_model(tmp_path / "m.gguf", architecture))
    expected = {(info.name, info.dimensions, info.type_name) for info in header.tensors}
    found = tensors(shape_of(header), "F16")
    assert {(info.name, info.dimensions, info.type_name) for info in found} == expected


def test_places_follow_each_other(case: str) -> None:
    """Tensors lie one after the other, each at the first aligned place."""
    infos = tensors(SHAPES[case], "Q4_K_M")
    assert infos[0].offset == 0
    for before, after in pairwise(infos):
        assert 0 <= after.offset - before.offset - before.size_bytes < DEFAULT_ALIGNMENT
        assert after.offset % DEFAULT_ALIGNMENT == 0
    assert data_bytes(infos) == sum(-(-info.size_bytes // 32) * 32 for info in infos)


@pytest.mark.parametrize(
    ("model", "quantisation", "published_bytes"),
    [
        (DENSE_27B, "Q4_K_M", 15.404 * 2**30),  # mradermacher and lmstudio-community
        (DENSE_27B, "Q4_K_S", 14.499 * 2**30),
        (DENSE_27B, "Q8_0", 28.6e9),  # unsloth, as the next ones
        (FLAGSHIP, "Q8_0", 36.9e9),
        (qwen35(32, 4096, 12288, 16, 4, 32), "Q8_0", 9.53e9),
        (FLAGSHIP, "Q4_K_M", 21.2e9),  # as its pruned versions' makers cite it, as the next one
        (FLAGSHIP, "Q3_K_M", 16.8e9),
    ],
)
def test_sizes_are_the_published_ones(model: ModelShape, quantisation: str, published_bytes: float) -> None:
    """The sizes of files that were made by the rule are met within what their publishers rounded."""
    ours = data_bytes(tensors(model, quantisation)) + HEADER_BYTES
    assert ours == pytest.approx(published_bytes, rel=0.003)


def test_flagship_has_its_parameters() -> None:
    """The 35B-A3B shape has 34.66 billion weights."""
    assert sum(prod(info.dimensions) for info in tensors(FLAGSHIP, "F16")) == pytest.approx(34.66e9, rel=1e-4)


def test_sizes_are_whole_blocks() -> None:
    """A tensor's size is its blocks'."""
    assert bytes_of("Q3_K", (512, 3)) == 2 * 3 * 110


def test_unknown_architecture_is_refused() -> None:
    """An architecture without a list of tensors is an error that names those with one."""
    with pytest.raises(ModelError, match="mamba") as caught:
        tensors(shape("mamba"), "Q8_0")
    assert "qwen35moe" in caught.value.hint


def test_unknown_quantisation_is_refused() -> None:
    """A mixture that follows no rule is an error that lists those that do."""
    with pytest.raises(UsageError, match="UD-Q4_K_XL") as caught:
        tensors(FLAGSHIP, "UD-Q4_K_XL")
    assert "Q3_K_M" in caught.value.hint

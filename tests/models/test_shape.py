"""The sizes of a model, from GGUF metadata or a catalogue."""

from __future__ import annotations

from pathlib import Path

import pytest

from cagchat.bench.synth import Architecture, write_model
from cagchat.errors import ModelError
from cagchat.models.gguf import ArrayInfo, Value, read_header
from cagchat.models.shape import Experts, ModelShape, Recurrent, parse_shape, per_layer, shape_of

LLAMA: dict[str, Value] = {
    "vocab_size": 100,
    "block_count": 3,
    "embedding_length": 64,
    "feed_forward_length": 128,
    "attention.head_count": 4,
    "context_length": 2048,
}
HYBRID: dict[str, Value] = LLAMA | {
    "block_count": 9,
    "attention.head_count_kv": 2,
    "nextn_predict_layers": 1,
    "ssm.conv_kernel": 4,
    "ssm.inner_size": 32,
    "ssm.state_size": 8,
    "ssm.group_count": 2,
    "ssm.time_step_rank": 4,
}


def parse(architecture: str, sizes: dict[str, Value]) -> ModelShape:
    return parse_shape(architecture, sizes, "m.gguf")


def synthetic(architecture: Architecture, folder: Path) -> ModelShape:
    return shape_of(read_header(write_model(folder / "m.gguf", architecture)))


def test_silent_files_have_llama_cpps_defaults() -> None:
    """Without other keys every layer has as many KV heads as heads, and a head is the width's share."""
    shape = parse("llama", LLAMA)
    assert (shape.kv_heads, shape.key_length, shape.value_length) == ((4, 4, 4), 16, 16)
    assert (shape.n_layers, shape.attention_layers, shape.recurrent_layers, shape.slides) == (3, 3, 0, False)


def test_hybrids_attend_in_every_fourth_layer() -> None:
    """A hybrid's other layers are recurrent, and layers that predict further tokens are left out."""
    shape = parse("qwen35", HYBRID)
    assert shape.kv_heads == (0, 0, 0, 2, 0, 0, 0, 2)
    assert (shape.n_layers, shape.attention_layers, shape.recurrent_layers) == (8, 2, 6)


def test_full_attention_interval_is_read() -> None:
    """A file may name another interval."""
    assert parse("qwen35", HYBRID | {"full_attention_interval": 2}).attention_layers == 4


def test_recurrent_sizes() -> None:
    """R has the convolution's past, S a matrix for each value head."""
    recurrent = parse("qwen35", HYBRID).recurrent
    assert recurrent == Recurrent(4, 32, 8, 2, 4)
    assert (recurrent.mixed_size, recurrent.history_size, recurrent.memory_size) == (64, 192, 256)


def test_windows_spare_every_sixth_layer() -> None:
    """Gemma's layers see a window, but for every sixth."""
    shape = parse("gemma3", LLAMA | {"block_count": 8, "attention.sliding_window": 16})
    assert shape.windowed == (True, True, True, True, True, False, True, True)
    assert shape.slides
    assert [layer for layer in range(8) if not shape.is_windowed(layer)] == [5]


def test_windows_of_other_architectures_do_not_slide() -> None:
    """A window that llama.cpp ignores (qwen2 writes one) slides nowhere."""
    assert not parse("qwen2", LLAMA | {"attention.sliding_window": 16}).slides


def test_experts_are_read() -> None:
    """A mixture's numbers come with the shape; a dense model has none."""
    sizes: dict[str, Value] = {
        "expert_count": 8,
        "expert_used_count": 2,
        "expert_feed_forward_length": 32,
        "expert_shared_feed_forward_length": 16,
    }
    assert parse("qwen35moe", HYBRID | sizes).experts == Experts(8, 2, 32, 16)
    assert parse("qwen35", HYBRID).experts is None


def test_values_may_differ_by_layer() -> None:
    """An array has one number for each layer; missing ones are 0, further ones ignored."""
    assert per_layer(ArrayInfo("u32", 3, (1, 2, 3)), 2) == (1, 2)
    assert per_layer(ArrayInfo("u32", 1, (1,)), 2) == (1, 0)
    assert parse("llama", LLAMA | {"attention.head_count_kv": ArrayInfo("u32", 3, (4, 0, 2))}).kv_heads == (4, 0, 2)


def test_unknown_architectures_are_estimates() -> None:
    """A shape says whether its layers are known in detail."""
    assert parse("llama", LLAMA).exact
    assert not parse("mamba", LLAMA).exact


@pytest.mark.parametrize("key", ["block_count", "embedding_length", "attention.head_count"])
def test_missing_sizes_are_named(key: str) -> None:
    """A size that is needed and missing is named with the file."""
    with pytest.raises(ModelError, match=rf"m\.gguf: llama\.{key} is None"):
        parse("llama", {name: value for name, value in LLAMA.items() if name != key})


@pytest.mark.parametrize("value", [-1, 1 << 31, 1.5, "8"])
def test_absurd_sizes_are_refused(value: Value) -> None:
    """What cannot be a size is refused."""
    with pytest.raises(ModelError, match="not a size"):
        parse("llama", LLAMA | {"embedding_length": value})


@pytest.mark.parametrize("count", [0, 5000])
def test_absurd_numbers_of_layers_are_refused(count: int) -> None:
    """A model has at least one layer and not thousands."""
    with pytest.raises(ModelError, match=f"{count} layers"):
        parse("llama", LLAMA | {"block_count": count})


@pytest.mark.parametrize("architecture", ["qwen3", "qwen35", "qwen35moe", "gemma3"])
def test_shapes_are_read_from_files(architecture: Architecture, tmp_path: Path) -> None:
    """A GGUF's header describes the shape it was written with."""
    shape = synthetic(architecture, tmp_path)
    assert (shape.architecture, shape.n_layers, shape.n_embed, shape.n_heads, shape.key_length) == (
        architecture,
        8,
        256,
        4,
        64,
    )
    assert shape.n_vocab > 256
    assert shape.exact
    assert (shape.recurrent is not None) == architecture.startswith("qwen35")
    assert (shape.experts is not None) == architecture.endswith("moe")
    assert shape.slides == (architecture == "gemma3")

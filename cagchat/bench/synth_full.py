"""Write random-weight GGUFs of real models: every tensor, type and size as published, at full size or scaled down.

llama.cpp loads and runs them at the real model's speed and in its memory; only what they say is noise. Whatever the
size, the file streams through a few patterns (`synth_blocks`), so memory stays small and the disk sets the pace.
MTP layers (nextn) are left out: we never run them. Needs the `bench` extra.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from math import prod, sqrt
from pathlib import Path

import gguf
import numpy as np

from cagchat.bench.synth_blocks import Array, Loom
from cagchat.bench.synth_scale import scaled
from cagchat.bench.synth_words import Words, add_words, own_words, padded, words_of
from cagchat.errors import StorageError
from cagchat.files import partial_path, publish, storage_errors
from cagchat.models.gguf import DEFAULT_ALIGNMENT, TensorInfo
from cagchat.models.shape import ModelShape
from cagchat.models.tensors import QUANTISATIONS, aligned, data_bytes, tensors
from cagchat.units import size

Progress = Callable[[int, int], None]

HEADER_BYTES = 16 << 20  # more than the largest vocabulary takes
RMS_EPSILON = 1e-6
FREQ_BASES = {"llama": 5e5, "qwen2": 1e6, "qwen3": 1e6, "gemma3": 1e6, "qwen35": 1e7, "qwen35moe": 1e7}
ROTATED_PART = 4  # hybrids rotate only this part of a head

# Factors on the deviation that keeps a product at the variance of what goes in: logits with a deviation of 3, so that
# the likeliest token stands out as a trained model's does, and a delta net that forgets slowly.
GAINS = {"output": 3.0, "ssm_alpha": 0.2}
DEVIATIONS = {"ssm_conv1d": 0.5, "ssm_dt": 0.1}
BIAS_DEVIATION = 0.1
SHARP_NORM = 1.5  # of Q and K: single positions matter, so that a wrong cache shows
FORGETTING = (-0.005, -0.05)  # ssm_a of the first and the last head


def unheard(done_bytes: int, total_bytes: int) -> None:
    """Take progress that nobody asked for."""


def write_full(
    path: Path,
    shape: ModelShape,
    quantisation: str,
    *,
    seed: int = 0,
    layers: int | None = None,
    experts: int | None = None,
    width: int | None = None,
    n_vocab: int | None = None,
    vocabulary: Path | None = None,
    tied: bool = False,
    progress: Progress = unheard,
) -> Path:
    """Write a GGUF of the shape, or of what `layers`, `experts`, `width` and `n_vocab` make of it, and return its path.

    The same arguments always give the same bytes. `vocabulary` is a GGUF whose tokenizer is taken, padded with unused
    tokens to the model's number; without one, bytes are the tokens. `progress` hears the bytes written and in all.
    Raises `UsageError` for a shape or quantisation that cannot be, and `StorageError` before anything is written when
    the disk has no room.
    """
    shape = scaled(shape, layers=layers, experts=experts, width=width, n_vocab=n_vocab)
    words = words_of(vocabulary) if vocabulary else own_words()
    words = padded(words, shape.n_vocab)
    infos = tensors(shape, quantisation, tied=tied)
    partial = partial_path(path)
    with storage_errors(path):
        check_room(path, data_bytes(infos) + HEADER_BYTES)
        try:
            write_head(partial, shape, quantisation, words, infos)
            write_data(partial, shape, infos, seed, tied, progress)
            publish(partial, path)
        finally:
            partial.unlink(missing_ok=True)
    return path


def check_room(path: Path, needed_bytes: int) -> None:
    """Refuse to fill a disk."""
    free_bytes = shutil.disk_usage(path.parent).free
    if free_bytes < needed_bytes:
        raise StorageError(
            f"{path} needs {size(needed_bytes)}, and {path.parent} has {size(free_bytes)} free.",
            "Write it to another disk, or scale the model down: --layers, --experts, --width.",
        )


def write_head(
    partial: Path, shape: ModelShape, quantisation: str, words: Words, infos: tuple[TensorInfo, ...]
) -> None:
    """Write everything before the tensors' data, padded so that the data can be appended."""
    writer = gguf.GGUFWriter(partial, shape.architecture)
    writer.add_name(f"Synthetic {shape.architecture} {quantisation}")
    writer.add_file_type(QUANTISATIONS[quantisation][0])
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    add_sizes(writer, shape)
    add_words(writer, words)
    for info in infos:
        rows_last = tuple(reversed(info.dimensions))
        kind = gguf.GGMLQuantizationType[info.type_name]
        writer.add_tensor_info(info.name, rows_last, np.dtype(np.float32), info.size_bytes, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    writer.close()
    with partial.open("ab") as file:
        file.write(bytes(-file.tell() % DEFAULT_ALIGNMENT))


def write_data(
    partial: Path, shape: ModelShape, infos: tuple[TensorInfo, ...], seed: int, tied: bool, progress: Progress
) -> None:
    """Append the tensors."""
    loom, total, done = Loom(seed), data_bytes(infos), 0
    with partial.open("ab", buffering=0) as file:
        for info in infos:
            if info.type_name == "F32":
                file.write(small(info, seed).tobytes())
            else:
                spread = deviation(info, shape, tied)
                for piece in loom.tensor(info.name, info.type_name, info.size_bytes, spread):
                    write_all(file.write, piece)
                    progress(done := done + len(piece), total)
            file.write(bytes(aligned(info.size_bytes) - info.size_bytes))
            done = info.offset + aligned(info.size_bytes)
            progress(done, total)


def write_all(write: Callable[[memoryview], int | None], piece: memoryview) -> None:
    """Write a piece to the end: a disk that is nearly full takes a part first and refuses only the rest."""
    left = piece
    while left:
        left = left[write(left) or 0 :]


# -- weights -----------------------------------------------------------------------------------------------------------


def role_of(info: TensorInfo) -> str:
    """Return what a tensor does, as "attn_q" or "output"."""
    parts = info.name.split(".")
    return parts[2] if parts[0] == "blk" else parts[0]


def deviation(info: TensorInfo, shape: ModelShape, tied: bool) -> float:
    """Return the deviation of a tensor's weights, by the length of the rows that they are summed over."""
    role = role_of(info)
    if role in DEVIATIONS:
        return DEVIATIONS[role]
    if info.name.endswith(".bias"):
        return BIAS_DEVIATION
    fair = 1 / sqrt(info.dimensions[0])
    if role == "token_embd":
        # What reads them as an output needs logits; llama.cpp multiplies gemma's by the root of their length itself.
        return fair * GAINS["output"] if tied else fair if shape.architecture == "gemma3" else 1.0
    return fair * GAINS.get(role, 1.0)


def small(info: TensorInfo, seed: int) -> Array:
    """Return one of the tensors that stay in f32: norms, biases, routers, and what steers a delta net."""
    role, count = role_of(info), prod(info.dimensions)
    if role.endswith("_norm"):
        value = SHARP_NORM if role in ("attn_q_norm", "attn_k_norm") else 1.0
        return np.full(count, value, np.float32)
    if role == "ssm_a":
        return np.linspace(*FORGETTING, count, dtype=np.float32)
    spread = DEVIATIONS.get(role, BIAS_DEVIATION if info.name.endswith(".bias") else 1 / sqrt(info.dimensions[0]))
    random = np.random.default_rng([seed, *info.name.encode()])
    return random.standard_normal(count, dtype=np.float32) * np.float32(spread)


# -- metadata ----------------------------------------------------------------------------------------------------------


def add_sizes(writer: gguf.GGUFWriter, shape: ModelShape) -> None:
    """Write the hyperparameters that llama.cpp reads for the architecture."""
    writer.add_context_length(shape.n_context_trained)
    writer.add_embedding_length(shape.n_embed)
    writer.add_block_count(shape.n_layers)
    writer.add_feed_forward_length(shape.n_feed_forward)
    writer.add_head_count(shape.n_heads)
    writer.add_head_count_kv(max(shape.kv_heads))
    writer.add_key_length(shape.key_length)
    writer.add_value_length(shape.value_length)
    writer.add_layer_norm_rms_eps(RMS_EPSILON)
    writer.add_rope_freq_base(FREQ_BASES[shape.architecture])
    writer.add_vocab_size(shape.n_vocab)
    if any(shape.windowed):
        writer.add_sliding_window(shape.window)
        writer.add_sliding_window_pattern(first_without(shape.windowed))
    if shape.experts is not None:
        writer.add_expert_count(shape.experts.count)
        writer.add_expert_used_count(shape.experts.used)
        writer.add_expert_feed_forward_length(shape.experts.width)
        writer.add_expert_shared_feed_forward_length(shape.experts.shared_width)
    if shape.recurrent is not None:
        add_delta_net(writer, shape)


def add_delta_net(writer: gguf.GGUFWriter, shape: ModelShape) -> None:
    """Write what only hybrids have: which layers attend, M-RoPE on a part of each head, and the delta net's sizes."""
    assert shape.recurrent is not None
    rotated = shape.key_length // ROTATED_PART
    writer.add_full_attention_interval(first_without(tuple(not heads for heads in shape.kv_heads)))
    writer.add_rope_dimension_count(rotated)
    writer.add_rope_dimension_sections(sections(rotated // 2))
    writer.add_ssm_conv_kernel(shape.recurrent.conv_kernel)
    writer.add_ssm_state_size(shape.recurrent.state_size)
    writer.add_ssm_inner_size(shape.recurrent.inner_size)
    writer.add_ssm_time_step_rank(shape.recurrent.value_heads)
    writer.add_ssm_group_count(shape.recurrent.key_heads)


def first_without(marks: tuple[bool, ...]) -> int:
    """Return the number, from 1, of the first layer without the mark, one past the last when all have it."""
    return next((number for number, mark in enumerate(marks, start=1) if not mark), len(marks) + 1)


def sections(pairs: int) -> list[int]:
    """Return how M-RoPE shares pairs among time, height and width, as 11, 11 and 10 of 32."""
    time = -(-pairs // 3)
    height = (pairs - time + 1) // 2
    return [time, height, pairs - time - height, 0]

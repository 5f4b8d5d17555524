"""Synthetic models are sound GGUF files with what llama.cpp asks of each architecture."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import gguf
import jinja2.sandbox
import pytest

from cagchat.bench.synth import (
    ARCHITECTURES,
    CHATML,
    NO_TEMPLATE,
    THINKING,
    Architecture,
    byte_alphabet,
    byte_vocabulary,
    write_model,
)
from cagchat.errors import StorageError, UsageError
from cagchat.models.gguf import ArrayInfo, read_header

MESSAGES = [
    {"role": "user", "content": "Who?"},
    {"role": "assistant", "content": "<think>\nhm\n</think>\n\nShe."},
    {"role": "user", "content": "Why?"},
]


@pytest.fixture(params=ARCHITECTURES)
def architecture(request: pytest.FixtureRequest) -> Architecture:
    chosen: Architecture = request.param
    return chosen


def rendered(template: str, **settings: bool) -> str:
    environment = jinja2.sandbox.ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(template).render(messages=MESSAGES, add_generation_prompt=True, **settings)


def test_header_is_accepted_by_our_reader(tmp_path: Path, architecture: Architecture) -> None:
    """Our own reader finds the architecture, its layers and the context that was asked for."""
    header = read_header(write_model(tmp_path / "m.gguf", architecture, context=2048))
    assert (header.architecture, header.block_count, header.context_length) == (architecture, 8, 2048)


def test_readers_agree_on_tensors(tmp_path: Path, architecture: Architecture) -> None:
    """Our reader and the gguf package's list the same tensors in the same places."""
    path = write_model(tmp_path / "m.gguf", architecture)
    ours = read_header(path)
    theirs = gguf.GGUFReader(path)
    assert [
        (t.name, list(t.dimensions), t.type_name, ours.data_offset + t.offset, t.size_bytes) for t in ours.tensors
    ] == [(t.name, t.shape.tolist(), t.tensor_type.name, t.data_offset, t.n_bytes) for t in theirs.tensors]


def test_same_arguments_same_bytes(tmp_path: Path, architecture: Architecture) -> None:
    """A model is determined by its arguments."""
    first = write_model(tmp_path / "a.gguf", architecture, seed=7).read_bytes()
    assert write_model(tmp_path / "b.gguf", architecture, seed=7).read_bytes() == first


def test_seed_changes_only_weights(tmp_path: Path, architecture: Architecture) -> None:
    """Another seed gives other weights under the same header."""
    one, two = (write_model(tmp_path / f"{seed}.gguf", architecture, seed=seed) for seed in (1, 2))
    header = read_header(one)
    assert dataclasses.replace(header, path=two) == read_header(two)
    assert one.read_bytes()[header.data_offset :] != two.read_bytes()[header.data_offset :]


def test_file_is_small(tmp_path: Path, architecture: Architecture) -> None:
    """A model is small enough to be written for every test that needs one."""
    assert write_model(tmp_path / "m.gguf", architecture).stat().st_size < 20_000_000


def test_nothing_is_left_beside(tmp_path: Path) -> None:
    """Only the model itself remains in the folder."""
    path = write_model(tmp_path / "m.gguf", "qwen3", layers=1)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("kind", ["qwen35", "qwen35moe"])
def test_hybrid_attends_in_every_fourth_layer(tmp_path: Path, kind: Architecture) -> None:
    """A hybrid has attention in every fourth layer and a recurrent state in all others."""
    names = {tensor.name for tensor in read_header(write_model(tmp_path / "m.gguf", kind)).tensors}
    assert [layer for layer in range(8) if f"blk.{layer}.attn_k.weight" in names] == [3, 7]
    assert [layer for layer in range(8) if f"blk.{layer}.ssm_a" in names] == [0, 1, 2, 4, 5, 6]


def test_gemma_slides_the_window_it_was_given(tmp_path: Path) -> None:
    """The sliding window is an argument, and the metadata say which layers have it."""
    header = read_header(write_model(tmp_path / "m.gguf", "gemma3", window=32))
    assert (header.number("attention.sliding_window"), header.number("attention.sliding_window_pattern")) == (32, 6)


def test_alphabet_is_one_character_a_byte() -> None:
    """Every byte has its own character, none of them a space or a control character."""
    alphabet = byte_alphabet()
    assert len(set(alphabet)) == 256
    assert all(character.isprintable() and not character.isspace() for character in alphabet)


def test_merges_make_tokens_of_tokens() -> None:
    """Both halves of a merge and what they make are in the vocabulary."""
    tokens, merges = byte_vocabulary()
    assert merges
    for merge in merges:
        left, right = merge.split(" ")
        assert {left, right, left + right} <= set(tokens)


def test_control_tokens_end_the_vocabulary(tmp_path: Path) -> None:
    """The last three tokens are control tokens, and <|im_end|> ends both turns and answers."""
    header = read_header(write_model(tmp_path / "m.gguf", "qwen3", layers=1))
    tokens, _ = byte_vocabulary()
    kinds = header.metadata["tokenizer.ggml.token_type"]
    assert isinstance(kinds, ArrayInfo)
    assert [
        token for token, kind in zip(tokens, kinds.values, strict=True) if kind == gguf.TokenType.CONTROL
    ] == tokens[-3:]
    assert header.metadata["tokenizer.ggml.eos_token_id"] == tokens.index("<|im_end|>")
    assert header.metadata["tokenizer.ggml.eot_token_id"] == tokens.index("<|im_end|>")
    assert header.vocabulary_size == len(tokens)


@pytest.mark.parametrize("template", [CHATML, THINKING, NO_TEMPLATE])
def test_template_is_kept(tmp_path: Path, template: str) -> None:
    """The chat template is stored as it was given, or not at all."""
    header = read_header(write_model(tmp_path / "m.gguf", "qwen3", layers=1, template=template))
    assert header.chat_template == template
    assert ("tokenizer.chat_template" in header.metadata) == bool(template)


def test_chatml_frames_turns() -> None:
    """ChatML puts each message between its marks and opens the answer."""
    assert rendered(CHATML).startswith("<|im_start|>user\nWho?<|im_end|>\n<|im_start|>assistant\n<think>")
    assert rendered(CHATML).endswith("<|im_start|>user\nWhy?<|im_end|>\n<|im_start|>assistant\n")


def test_thinking_can_be_switched_off() -> None:
    """The thinking template opens a thought, or closes an empty one when thinking is off."""
    assert rendered(THINKING).endswith("<|im_start|>assistant\n<think>\n")
    assert rendered(THINKING, enable_thinking=True).endswith("<|im_start|>assistant\n<think>\n")
    assert rendered(THINKING, enable_thinking=False).endswith("<|im_start|>assistant\n<think>\n\n</think>\n\n")


def test_thinking_forgets_earlier_thoughts() -> None:
    """The thinking template leaves out what earlier answers thought."""
    assert "hm" not in rendered(THINKING)
    assert "She.<|im_end|>" in rendered(THINKING)


def test_unknown_architecture_is_refused(tmp_path: Path) -> None:
    """An architecture that cannot be written is a usage error that lists those that can."""
    with pytest.raises(UsageError) as caught:
        write_model(tmp_path / "m.gguf", "mamba")  # type: ignore[arg-type]  # what a command line may pass
    assert "gemma3" in caught.value.hint


def test_folder_must_exist(tmp_path: Path) -> None:
    """A folder that is not there is reported as an error of storage."""
    with pytest.raises(StorageError):
        write_model(tmp_path / "missing" / "m.gguf", "qwen3", layers=1)

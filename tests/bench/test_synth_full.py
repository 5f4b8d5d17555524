"""Random-weight models of real shapes: their files, what llama.cpp makes of them, and how they are scaled down."""

from __future__ import annotations

import argparse
import math
import shutil
from dataclasses import replace
from pathlib import Path

import gguf
import pytest

from cagchat.bench.synth import THINKING, write_model
from cagchat.bench.synth_full import check_room, first_without, sections, write_full
from cagchat.bench.synth_scale import scaled
from cagchat.bench.synth_words import own_words, padded, words_of
from cagchat.cli import bench_synth
from cagchat.cli.app import App
from cagchat.engine.process import EngineProcess
from cagchat.engine.protocol import BOOK, EngineSettings
from cagchat.engine.wire import Start
from cagchat.errors import ModelError, StorageError, UsageError
from cagchat.models.gguf import ArrayInfo, read_header
from cagchat.models.shape import ModelShape, shape_of
from cagchat.models.tensors import QUANTISATIONS, tensors
from tests.models.test_tensors import DENSE_27B, FLAGSHIP, SHAPES

NARROW = scaled(FLAGSHIP, layers=4, experts=8, width=256, n_vocab=512)
GEMMA3 = replace(SHAPES["gemma3"], n_vocab=512)
LOADED = {"llama": SHAPES["llama"], "qwen2": SHAPES["qwen2"], "gemma3": GEMMA3, "qwen35moe": NARROW}


def sparse_disk(free: int) -> object:
    return type("Usage", (), {"free": free})()


@pytest.mark.parametrize("kind", ["qwen35moe", "gemma3", "llama", "qwen35", "qwen3", "qwen2"])
def test_header_describes_the_shape(tmp_path: Path, kind: str) -> None:
    """The shape that is read back from the file is the shape that was written."""
    shape = NARROW if kind == "qwen35moe" else SHAPES[kind]
    assert shape_of(read_header(write_full(tmp_path / "m.gguf", shape, "Q4_K_M"))) == shape


def test_tensors_lie_where_the_rule_says(tmp_path: Path) -> None:
    """The file's tensors are those of the rule, in type, place and size, and the gguf package finds the same."""
    path = write_full(tmp_path / "m.gguf", NARROW, "Q3_K_M")
    header = read_header(path)
    assert header.tensors == tensors(NARROW, "Q3_K_M")
    theirs = gguf.GGUFReader(path).tensors
    assert [(t.name, t.tensor_type.name, t.data_offset, t.n_bytes) for t in theirs] == [
        (t.name, t.type_name, header.data_offset + t.offset, t.size_bytes) for t in header.tensors
    ]


@pytest.mark.parametrize("quantisation", ["Q3_K_M", "Q4_0", "IQ4_XS", "BF16", "Q2_K"])
@pytest.mark.parametrize("kind", LOADED)
def test_llama_runs_it(tmp_path: Path, kind: str, quantisation: str) -> None:
    """llama.cpp loads the model, and its logits are finite and spread as a trained model's."""
    path = write_full(tmp_path / "m.gguf", LOADED[kind], quantisation)
    settings = EngineSettings(model=path, n_context=64, n_batch=32, threads=1, fast_kernels=False)
    engine = EngineProcess(Start("llama", (settings,)))
    try:
        (text,) = engine.tokenize(["She counted forty-one lanterns."], special=False)
        first, second = (engine.logits(BOOK, part) for part in (text[:-1], text[-1:]))
        assert all(map(math.isfinite, [*first, *second]))
        assert 1 < (sum(value * value for value in first) / len(first)) ** 0.5 < 9
        assert first != second
    finally:
        engine.close()


def test_same_arguments_same_bytes(tmp_path: Path) -> None:
    """A model is determined by its arguments, and another seed changes its weights only."""
    one, two, three = (
        write_full(tmp_path / f"{number}.gguf", NARROW, "Q3_K_M", seed=seed).read_bytes()
        for number, seed in enumerate((5, 5, 6))
    )
    start = read_header(tmp_path / "0.gguf").data_offset
    assert one == two
    assert one[:start] == three[:start]
    assert one[start:] != three[start:]


def test_progress_reaches_the_whole(tmp_path: Path) -> None:
    """Progress only grows and ends at the size of the data."""
    heard: list[tuple[int, int]] = []
    path = write_full(tmp_path / "m.gguf", NARROW, "Q3_K_M", progress=lambda done, total: heard.append((done, total)))
    assert heard == sorted(heard)
    assert heard[-1][0] == heard[-1][1] == path.stat().st_size - read_header(path).data_offset


def test_nothing_is_left_beside(tmp_path: Path) -> None:
    """Only the model remains in the folder; a write that is stopped leaves nothing."""
    path = write_full(tmp_path / "m.gguf", NARROW, "Q3_K_M")
    assert list(tmp_path.iterdir()) == [path]
    path.unlink()

    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_full(path, NARROW, "Q3_K_M", progress=stop)
    assert list(tmp_path.iterdir()) == []


def test_full_disk_is_refused_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk without room for the model is an error that says both sizes, before anything is written."""
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: sparse_disk(10**9))
    with pytest.raises(StorageError, match=r"17\.\d GB.* 1\.0 GB free"):
        check_room(tmp_path / "m.gguf", 17 * 10**9 + 10**8)
    assert list(tmp_path.iterdir()) == []


def test_folder_must_exist(tmp_path: Path) -> None:
    """A folder that is not there is reported as an error of storage."""
    with pytest.raises(StorageError):
        write_full(tmp_path / "missing" / "m.gguf", NARROW, "Q3_K_M")


# -- the tokenizer -----------------------------------------------------------------------------------------------------


def test_vocabulary_is_padded(tmp_path: Path) -> None:
    """Tokens fill up to the shape's number with unused ones, each with a text of its own."""
    header = read_header(write_full(tmp_path / "m.gguf", NARROW, "Q8_0"))
    kinds = header.metadata["tokenizer.ggml.token_type"]
    assert isinstance(kinds, ArrayInfo)
    assert header.vocabulary_size == NARROW.n_vocab == len(kinds.values)
    words = padded(own_words(), NARROW.n_vocab)
    assert kinds.values == words.kinds
    assert len(set(words.tokens)) == len(words.tokens)


def test_vocabulary_can_be_borrowed(tmp_path: Path) -> None:
    """Another GGUF's tokenizer is taken with its merges, control tokens and template."""
    other = write_model(tmp_path / "other.gguf", "qwen3", layers=1, template=THINKING)
    path = write_full(tmp_path / "m.gguf", NARROW, "Q8_0", vocabulary=other)
    ours, theirs = words_of(path), words_of(other)
    n_words = len(theirs.tokens)
    assert ours.tokens[:n_words] == theirs.tokens
    assert ours.kinds[:n_words] == theirs.kinds
    assert (ours.merges, ours.others, ours.template) == (theirs.merges, theirs.others, THINKING)


def test_larger_vocabulary_is_refused(tmp_path: Path) -> None:
    """More tokens than the model has rows for cannot be."""
    with pytest.raises(UsageError, match="267 tokens"):
        write_full(tmp_path / "m.gguf", NARROW, "Q8_0", n_vocab=200)


def test_vocabulary_of_another_kind_is_refused(tmp_path: Path) -> None:
    """A GGUF without a byte-level tokenizer is an error with its path."""
    writer = gguf.GGUFWriter(tmp_path / "spm.gguf", "llama")
    writer.add_tokenizer_model("llama")
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with pytest.raises(ModelError, match=r"spm\.gguf has no byte-level"):
        words_of(tmp_path / "spm.gguf")


# -- the command -------------------------------------------------------------------------------------------------------


def run_command(home: Path, *arguments: str | Path) -> int:
    parser = argparse.ArgumentParser()
    bench_synth.configure(parser)
    args = parser.parse_args([str(argument) for argument in arguments])
    with App.from_arguments(args, {"CAGCHAT_HOME": str(home)}) as app:
        return bench_synth.run(app, args)


def test_command_writes_an_entry(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A key of the catalogue gives its shape in its first quantisation, scaled as asked, and the path on stdout."""
    path = tmp_path / "m.gguf"
    scale = ("--layers", "4", "--experts", "8", "--width", "256")
    assert run_command(tmp_path, "qwen3.5-35b-a3b", path, *scale) == 0
    assert capsys.readouterr().out == f"{path}\n"
    header = read_header(path)
    assert (header.architecture, header.block_count, header.vocabulary_size) == ("qwen35moe", 4, 248_320)
    assert header.metadata["general.file_type"] == QUANTISATIONS["Q3_K_M"][0]


def test_command_takes_the_shape_of_a_file(tmp_path: Path) -> None:
    """A GGUF in place of a key gives its shape, in the quantisation that was asked for, which must be said."""
    like = write_full(tmp_path / "like.gguf", NARROW, "Q8_0", tied=True)
    assert run_command(tmp_path, like, tmp_path / "m.gguf", "--quant", "Q4_K_M") == 0
    assert read_header(tmp_path / "m.gguf").tensors == tensors(NARROW, "Q4_K_M", tied=True)
    with pytest.raises(UsageError, match="quantisation"):
        run_command(tmp_path, like, tmp_path / "m.gguf")


# -- scaling -----------------------------------------------------------------------------------------------------------


def test_scaling_keeps_the_kind() -> None:
    """A flagship an eighth as wide keeps head sizes, queries a head, every fourth layer, and rows of whole blocks."""
    small = scaled(FLAGSHIP, layers=8, experts=16, width=256)
    assert (small.n_layers, small.n_embed, small.key_length) == (8, 256, FLAGSHIP.key_length)
    assert small.kv_heads == (0, 0, 0, 1) * 2
    assert small.n_heads // max(small.kv_heads) == FLAGSHIP.n_heads // max(FLAGSHIP.kv_heads)
    assert small.experts is not None
    assert small.recurrent is not None
    assert (small.experts.count, small.experts.used, small.experts.width % 256) == (16, 8, 0)
    assert small.recurrent.inner_size == small.recurrent.value_heads * small.recurrent.state_size
    assert small.recurrent.value_heads == 2 * small.recurrent.key_heads


def test_scaling_by_nothing_changes_nothing() -> None:
    """Without arguments, or with the model's own numbers, the shape stays as it is."""
    assert scaled(FLAGSHIP) == FLAGSHIP
    assert scaled(DENSE_27B, layers=64, width=5120) == DENSE_27B


@pytest.mark.parametrize(
    ("shape", "change", "message"),
    [
        (FLAGSHIP, {"layers": 41}, "40 layers"),
        (FLAGSHIP, {"layers": 3}, "no attention"),
        (FLAGSHIP, {"experts": 257}, "256 experts"),
        (DENSE_27B, {"experts": 4}, "no experts"),
        (FLAGSHIP, {"width": 300}, "multiple of 256"),
        (FLAGSHIP, {"width": 4096}, "2048"),
    ],
)
def test_impossible_scales_are_refused(shape: ModelShape, change: dict[str, int], message: str) -> None:
    """What no such model can be is a usage error with the number in it."""
    with pytest.raises(UsageError, match=message):
        scaled(shape, **change)


def test_sections_share_the_pairs() -> None:
    """M-RoPE's sections are the published ones for a head of 256, and always use up the pairs."""
    assert sections(32) == [11, 11, 10, 0]
    assert all(sum(sections(pairs)) == pairs for pairs in range(1, 65))


def test_first_without_counts_from_one() -> None:
    """The first layer without a mark is counted from 1, and one past the end stands for none."""
    assert first_without((True, True, True, False)) == 4
    assert first_without((True, True)) == 3

"""Rows of logits: the largest, and those that are no numbers, found before anything is sampled from them."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import gguf
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cagchat.bench.synth import Architecture, write_model
from cagchat.engine.logits import are_numbers, largest
from cagchat.engine.process import EngineProcess
from cagchat.engine.protocol import BOOK, CHAT, EngineSettings, Sampling
from cagchat.engine.wire import Start
from cagchat.errors import ModelError, StateDamaged

LOGITS = st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1, max_size=50)


@given(LOGITS)
def test_finite_logits_are_numbers(logits: list[float]) -> None:
    """Any finite row passes, however large its numbers."""
    assert are_numbers(array("f", logits))


@given(LOGITS, st.integers(0, 50), st.sampled_from([math.nan, -math.nan, math.inf]))
def test_one_bad_logit_is_found(logits: list[float], place: int, bad: float) -> None:
    """A single NaN or positive infinity is found anywhere in a row."""
    logits.insert(place, bad)
    assert not are_numbers(array("f", logits))


@given(LOGITS)
def test_a_token_may_be_ruled_out(logits: list[float]) -> None:
    """A negative infinity rules a token out and is no fault, unless all are."""
    assert are_numbers(array("f", [*logits, -math.inf]))
    assert not are_numbers(array("f", [-math.inf] * len(logits)))


@given(st.lists(st.sampled_from([-2.5, 0.0, 0.5, 1.0, 7.25]), min_size=1, max_size=60), st.integers(1, 12))
def test_largest_are_those_of_a_sorted_row(logits: list[float], count: int) -> None:
    """The largest come first, of equal ones the lower token, and never more than there are."""
    row = array("f", logits)
    assert largest(row, count) == sorted(range(len(row)), key=row.__getitem__, reverse=True)[:count]


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EngineProcess]:
    path = tmp_path_factory.mktemp("models") / "nan.gguf"
    write_model(path, "qwen3", layers=2, embed=64, heads=1, kv_heads=1, feed_forward=64)
    for tensor in gguf.GGUFReader(path, "r+").tensors:
        if tensor.name == "blk.1.ffn_norm.weight":
            tensor.data[0] = np.nan
    settings = EngineSettings(path, n_context=512, n_batch=64, threads=1, fast_kernels=False)
    engine = EngineProcess(Start("llama", (settings,)))
    yield engine
    engine.close()


def test_reading_ends_after_the_first_batch(engine: EngineProcess) -> None:
    """A model with damaged weights is refused after one batch of a book, not after the wait for all of it."""
    engine.clear(BOOK)
    with pytest.raises(ModelError, match="64 tokens the model computes no numbers"):
        list(engine.evaluate(BOOK, [1] * 300))
    assert engine.length(BOOK) == 64


@pytest.mark.parametrize("temperature", [0.0, 0.8])
def test_nothing_is_sampled(engine: EngineProcess, temperature: float) -> None:
    """No token is chosen by logits that are no numbers, greedily or by chance."""
    engine.clear(CHAT)
    pieces = []
    with pytest.raises(ModelError, match="no numbers"):
        for piece in engine.generate(CHAT, [1, 2], Sampling(temperature), max_tokens=4):
            pieces.append(piece)
    assert pieces == []


def test_a_probe_says_that_the_state_is_no_good(engine: EngineProcess) -> None:
    """A probe raises the error that sets a restored state aside, and leaves its sequence free."""
    engine.clear(BOOK)
    engine.clear(CHAT)
    with pytest.raises(ModelError):
        engine.logits(BOOK, [1, 2, 3])
    with pytest.raises(StateDamaged, match="no numbers"):
        engine.probe(BOOK, 1, 4)
    assert engine.length(CHAT) == 0


@pytest.mark.parametrize("architecture", ["qwen3", "qwen35"])
@pytest.mark.parametrize("flash_attention", [False, True])
def test_a_chat_without_numbers_does_not_spoil_the_next(
    architecture: Architecture, flash_attention: bool, tmp_path: Path
) -> None:
    """After a question that gave no numbers the next one is answered to the bit, and nothing is read again."""
    path = write_model(tmp_path / "m.gguf", architecture, embed=64, heads=1, kv_heads=1, feed_forward=64)
    for tensor in gguf.GGUFReader(path, "r+").tensors:
        if tensor.name == "token_embd.weight":
            tensor.data[200] = np.nan
    settings = EngineSettings(path, n_context=512, n_batch=64, threads=1, fast_kernels=False)
    start = Start("llama", (replace(settings, flash_attention=flash_attention),))
    with closing(EngineProcess(start)) as engine:
        list(engine.evaluate(BOOK, list(range(100, 190))))
        engine.fork(BOOK, CHAT)
        first = engine.logits(CHAT, [5, 6, 7])
        engine.fork(BOOK, CHAT)
        with pytest.raises(ModelError, match="no numbers"):
            engine.logits(CHAT, [200] * 40)
        engine.take_spans()
        engine.fork(BOOK, CHAT)
        assert engine.logits(CHAT, [5, 6, 7]) == first
        assert [span.start for span in engine.take_spans() if not span.padding] == [90]
        assert engine.length(BOOK) == 90

"""The path of the largest models on scaled-down ones: their shapes and weight types, YaRN at 4x, compressed K and V.

"The same" means bitwise, as in the contract: equal logits at every step of 24 greedy tokens.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from cagchat.bench.synth_full import write_full
from cagchat.engine.blob import GGML_TYPES
from cagchat.engine.process import EngineProcess
from cagchat.engine.protocol import BOOK, CHAT, Engine, EngineSettings, KvType, RopeSettings
from cagchat.engine.wire import Start
from cagchat.models.gguf import read_header
from cagchat.models.shape import ModelShape, parse_shape
from tests.engine.test_contract import TEXT, ask, greedy, text_spans, tokens

NATIVE = 256  # what the scaled-down models claim to be trained for
YARN = RopeSettings(4.0, NATIVE)
N_BOOK = 700  # past the native context, and in the last of six batches
HALF = 333

COMMON = {
    "attention.head_count": 16,
    "attention.key_length": 256,
    "attention.value_length": 256,
    "context_length": NATIVE,
    "vocab_size": 248_320,
    "ssm.conv_kernel": 4,
    "ssm.state_size": 128,
    "ssm.inner_size": 4096,
    "ssm.group_count": 16,
    "ssm.time_step_rank": 32,
}
A3B = parse_shape(
    "qwen35moe",
    COMMON
    | {
        "block_count": 40,
        "embedding_length": 2048,
        "attention.head_count_kv": 2,
        "expert_count": 256,
        "expert_used_count": 8,
        "expert_feed_forward_length": 512,
        "expert_shared_feed_forward_length": 512,
    },
    "Qwen3.5-35B-A3B",
)
DENSE = parse_shape(
    "qwen35",
    COMMON
    | {
        "block_count": 32,
        "embedding_length": 4096,
        "feed_forward_length": 12_288,
        "attention.head_count_kv": 4,
    },
    "Qwen3.5-9B",
)


@dataclass(frozen=True, slots=True)
class Flagship:
    """A model scaled down, the mixture its weights are in, and how K and V are kept."""

    shape: ModelShape
    quantisation: str
    types: frozenset[str]
    kv_type: KvType

    def __str__(self) -> str:
        return f"{self.shape.architecture}-{self.quantisation}-{self.kv_type}"


KINDS = (
    (A3B, "Q3_K_M", frozenset({"F32", "Q3_K", "Q4_K", "Q5_K", "Q6_K"})),
    (DENSE, "Q4_K_M", frozenset({"F32", "Q4_K", "Q6_K"})),
)
KV: tuple[KvType, ...] = ("q8_0", "q4_0")
CASES = [Flagship(*kind, kv_type) for kind in KINDS for kv_type in KV]


@pytest.fixture(scope="module", params=CASES, ids=str)
def flagship(request: pytest.FixtureRequest) -> Flagship:
    assert isinstance(request.param, Flagship)
    return request.param


@pytest.fixture(scope="module")
def model(flagship: Flagship, models: Path) -> Path:
    path = models / f"flagship {flagship.shape.architecture}.gguf"
    if not path.exists():
        experts = 16 if flagship.shape.experts else None
        write_full(
            path, flagship.shape, flagship.quantisation, layers=8, experts=experts, width=256, n_vocab=512, seed=1
        )
    return path


def settings(model: Path, flagship: Flagship) -> EngineSettings:
    return EngineSettings(
        model=model,
        n_context=4 * NATIVE,
        n_batch=128,
        n_sequences=4,
        kv_type=flagship.kv_type,
        rope=YARN,
        threads=1,
        fast_kernels=False,
    )


def start(settings: EngineSettings) -> Engine:
    return EngineProcess(Start("llama", (settings,)))


@pytest.fixture(scope="module")
def running(model: Path, flagship: Flagship) -> Iterator[tuple[Engine, Engine]]:
    engines = start(settings(model, flagship)), start(settings(model, flagship))
    yield engines
    for engine in engines:
        engine.close()


@pytest.fixture
def engine(running: tuple[Engine, Engine]) -> Engine:
    return emptied(running[0])


@pytest.fixture
def other(running: tuple[Engine, Engine]) -> Engine:
    """An engine in another process, with the same model and settings."""
    return emptied(running[1])


def emptied(engine: Engine) -> Engine:
    for sequence in range(3):
        engine.clear(sequence)
    engine.take_spans()
    return engine


def book(engine: Engine) -> array[int]:
    found = tokens(engine, TEXT * 10)[:N_BOOK]
    assert len(found) == N_BOOK > 2 * NATIVE
    return found


def read(engine: Engine, text: array[int]) -> None:
    for _ in engine.evaluate(BOOK, text):
        pass


def test_weights_have_the_mixture(model: Path, flagship: Flagship) -> None:
    """Scaling down keeps every type of the mixture: rows still divide into blocks of 256."""
    assert {info.type_name for info in read_header(model).tensors} == flagship.types


def test_restore_continues_bitwise(engine: Engine, other: Engine, flagship: Flagship, tmp_path: Path) -> None:
    """A state of compressed K and V past the native context continues in another process as the one it was saved of."""
    read(engine, book(engine))
    engine.mark(BOOK)
    saved, _ = engine.save(BOOK, tmp_path / "state")
    attention, recurrent = saved.parts
    assert {kind for kind, _ in attention.layers} == {GGML_TYPES[flagship.kv_type]}
    assert (len(attention.layers), len(recurrent.layers)) == (2 * 2, 2 * 6)
    first, second = ask(engine, "Who was late?"), ask(engine, "How many lanterns were there?")
    other.restore(BOOK, tmp_path / "state", saved)
    assert ask(other, "Who was late?") == first
    assert ask(other, "How many lanterns were there?") == second
    assert min(span.start for span in text_spans(other)) == N_BOOK


def test_resumed_reading_is_the_same(engine: Engine, other: Engine, tmp_path: Path) -> None:
    """A checkpoint in the middle, finished by another process, ends in the state of a reading in one go."""
    text = book(engine)
    read(engine, text[:HALF])
    saved, _ = engine.save(BOOK, tmp_path / "checkpoint")
    read(engine, text[HALF:])
    other.restore(BOOK, tmp_path / "checkpoint", saved)
    read(other, text[HALF:])
    assert sum(span.count for span in text_spans(other)) == N_BOOK - HALF
    assert ask(other, "Who was late?") == ask(engine, "Who was late?")


def test_rewind_and_fork(engine: Engine) -> None:
    """Rewinding to the book's end and forking it anew give the first answer again, with no book token read."""
    read(engine, book(engine))
    engine.mark(BOOK)
    first = ask(engine, "Who was late?")
    engine.take_spans()
    assert engine.rewind(CHAT, N_BOOK)
    assert greedy(engine, CHAT, "Who was late?") == first
    engine.fork(BOOK, 2)
    assert greedy(engine, 2, "Who was late?") == first
    assert engine.length(BOOK) == N_BOOK
    assert all(span.start >= N_BOOK for span in text_spans(engine))


def test_rewind_to_a_turn(engine: Engine) -> None:
    """A second turn that is taken back and asked again gives the same rows."""
    read(engine, book(engine))
    engine.fork(BOOK, CHAT)
    greedy(engine, CHAT, "Who was late?")
    engine.mark(CHAT)
    length = engine.length(CHAT)
    second = greedy(engine, CHAT, "How many lanterns were there?")
    assert engine.rewind(CHAT, length)
    assert greedy(engine, CHAT, "How many lanterns were there?") == second


def test_boundary_opens_the_book_up_to_there(engine: Engine, other: Engine, tmp_path: Path) -> None:
    """A restored book cut at a boundary past the native context answers as when it had been read only so far."""
    text = book(engine)
    read(engine, text[:HALF])
    boundary = engine.save_boundary(BOOK, tmp_path / "boundary")
    assert boundary is not None
    until_half = ask(engine, "Who was late?")
    read(engine, text[HALF:])
    saved, _ = engine.save(BOOK, tmp_path / "state")
    other.restore(BOOK, tmp_path / "state", saved)
    other.restore_boundary(BOOK, tmp_path / "boundary", boundary)
    assert other.length(BOOK) == HALF > NATIVE
    assert ask(other, "Who was late?") == until_half


def test_yarn_is_on(engine: Engine, flagship: Flagship, model: Path) -> None:
    """Without YaRN the same model computes something else, so the other tests have it switched on."""
    text = book(engine)
    read(engine, text)
    plain = start(replace(settings(model, flagship), rope=RopeSettings()))
    try:
        read(plain, text)
        assert ask(plain, "Who was late?")[0] != ask(engine, "Who was late?")[0]
    finally:
        plain.close()

"""Damaged GGUF files by the thousand: the validator survives them all, and llama.cpp what the validator accepts."""

from __future__ import annotations

import tracemalloc
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cagchat.bench.synth import ARCHITECTURES, write_model
from cagchat.engine.process import EngineProcess, TokenizerProcess
from cagchat.engine.protocol import EngineSettings
from cagchat.engine.wire import Start
from cagchat.errors import EngineDied, EngineError, ModelError
from cagchat.models.gguf import check_loadable, parse_header
from tests.models.gguf_mutations import KINDS, Layout, Mutation, at_random, layout, mutate

PATH = Path("model.gguf")
VOCABULARY = Path(__file__).parents[3] / "shared" / "models" / "ggml-vocab-qwen35.gguf"
AT_RANDOM = 1500
LOADED = 12
LONGEST_MESSAGE = 3000
MEMORY_PER_BYTE = 40  # of header: a key of 14 bytes becomes a few objects

Seed = tuple[bytes, Layout]


@pytest.fixture(scope="module")
def seeds(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Seed]:
    """Return a tiny sound model of each kind of memory, and the real vocabulary where it is at hand."""
    folder = tmp_path_factory.mktemp("seeds")
    found: dict[str, bytes] = {}
    for architecture in ARCHITECTURES:
        layers = 6 if architecture == "gemma3" else 4
        path = folder / f"{architecture}.gguf"
        write_model(path, architecture, layers=layers, embed=64, heads=1, kv_heads=1, feed_forward=64)
        found[architecture] = path.read_bytes()
    if VOCABULARY.is_file():
        found["vocabulary"] = VOCABULARY.read_bytes()
    return {name: (content, layout(content)) for name, content in found.items()}


@pytest.fixture(scope="module")
def tally(request: pytest.FixtureRequest) -> Iterator[Counter[str]]:
    """Count what was tried, and print it at the end."""
    counted: Counter[str] = Counter()
    yield counted
    capture = request.config.pluginmanager.getplugin("capturemanager")
    with capture.global_and_fixture_disabled():
        print(f"\nGGUF fuzz: {counted['inputs']} inputs, {counted['refused']} refused, {counted['loaded']} loaded")


def accepts(content: bytes, tally: Counter[str]) -> bool:
    """Tell whether the validator accepts a file; every other error than its own fails the test."""
    tally["inputs"] += 1
    try:
        check_loadable(parse_header(content, PATH, thorough=True))
    except ModelError as error:
        refused = error.message
    else:
        return True
    assert refused.endswith(".")
    assert refused.isprintable()
    assert len(refused) < LONGEST_MESSAGE
    tally["refused"] += 1
    return False


MUTATIONS = st.lists(
    st.builds(Mutation, st.sampled_from(KINDS), st.integers(0, 2**32), st.integers(0, 2**32)), min_size=1, max_size=4
)


@given(st.sampled_from(ARCHITECTURES), MUTATIONS)
@settings(deadline=None, max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_chosen_damage_is_survived(
    seeds: dict[str, Seed], tally: Counter[str], architecture: str, mutations: list[Mutation]
) -> None:
    """Damage to counts, lengths, kinds, offsets, entries or any byte gives a header or a ModelError."""
    content, places = seeds[architecture]
    accepts(mutate(content, places, mutations), tally)


def test_random_damage_is_survived(seeds: dict[str, Seed], tally: Counter[str]) -> None:
    """A thousand files with random damage give a header or a ModelError each."""
    random = Random(0)
    for _ in range(AT_RANDOM):
        content, places = random.choice([seeds[name] for name in ARCHITECTURES])
        accepts(mutate(content, places, at_random(random)), tally)


def test_damage_to_a_real_vocabulary_is_survived(seeds: dict[str, Seed], tally: Counter[str]) -> None:
    """A large real vocabulary with random damage gives a header or a ModelError, as often as it is at hand."""
    random = Random(1)
    for content, places in [seeds[name] for name in seeds.keys() - set(ARCHITECTURES)]:
        for _ in range(20):
            accepts(mutate(content, places, at_random(random)), tally)


def test_memory_is_bounded_by_the_header(seeds: dict[str, Seed], tally: Counter[str]) -> None:
    """No damage makes the validator take more memory than a small multiple of the header."""
    random = Random(2)
    content, places = seeds["qwen3"]
    tracemalloc.start()
    try:
        for _ in range(200):
            damaged = mutate(content, places, at_random(random))
            tracemalloc.reset_peak()
            before = tracemalloc.get_traced_memory()[0]
            accepts(damaged, tally)
            assert tracemalloc.get_traced_memory()[1] - before < MEMORY_PER_BYTE * (places.end + 100_000)
    finally:
        tracemalloc.stop()


def load(path: Path) -> str:
    """Load a model as the program does, in a process of its own; say how that process ended, or ""."""
    try:
        tokenizer = TokenizerProcess(Start("tokenizer", (path,)))
        try:
            tokenizer.tokenize(["A word."], special=False)
        finally:
            tokenizer.close()
        engine = EngineProcess(
            Start("llama", (EngineSettings(path, n_context=256, n_batch=64, threads=1, fast_kernels=False),))
        )
        try:
            engine.length(0)
        finally:
            engine.close()
    except EngineDied as died:
        return f"{died.reason}: {' '.join(died.log_lines)}"
    except (EngineError, ModelError):
        return ""
    return ""


def test_what_is_accepted_does_not_crash_llama_cpp(seeds: dict[str, Seed], tally: Counter[str], tmp_path: Path) -> None:
    """A damaged model that the validator accepts is loaded or refused by llama.cpp, whose process goes on."""
    random = Random(3)
    path = tmp_path / "model.gguf"
    while tally["loaded"] < LOADED:
        content, places = random.choice([seeds[name] for name in ARCHITECTURES])
        damaged = mutate(content, places, at_random(random))
        if damaged != content and accepts(damaged, tally):
            path.write_bytes(damaged)
            assert load(path) == ""
            tally["loaded"] += 1


def number_of(content: bytes, key: str, value: int) -> bytes:
    """Return the file with another number under a key."""
    at = content.index(key.encode()) + len(key) + 4
    return content[:at] + value.to_bytes(4, "little") + content[at + 4 :]


@pytest.mark.parametrize(
    ("architecture", "key", "value", "said"),
    [
        ("qwen35moe", "qwen35moe.expert_used_count", 9, "uses 9 of 8 experts"),
        ("qwen35moe", "qwen35moe.expert_used_count", 0, "uses 0 of 8 experts"),
        ("qwen35moe", "qwen35moe.expert_count", 1025, "1025 experts"),
        ("qwen35", "qwen35.ssm.inner_size", 255, "inner size 255"),
        ("qwen35", "qwen35.full_attention_interval", 0, "every 0th layer"),
        ("qwen35", "qwen35.rope.dimension_count", 31, "turn 31 elements"),
        ("qwen35", "qwen35.rope.dimension_count", 0, "turn 0 elements"),
        ("qwen35", "qwen35.rope.dimension_count", 66, "turn 66 elements of heads that have 64"),
        ("qwen3", "qwen3.attention.head_count_kv", 2**29 + 1, "head_count_kv is 536870913"),
        ("gemma3", "gemma3.attention.sliding_window", 2**31 - 1, "sliding_window is 2147483647"),
        ("qwen3", "qwen3.block_count", 513, "513 layers"),
        ("qwen3", "qwen3.block_count", 0, "0 layers"),
        ("qwen3", "qwen3.attention.layer_norm_rms_epsilon", 0x7FC00000, "norms add nan"),
        ("gemma3", "gemma3.attention.sliding_window_pattern", 1, "no layer that uses it"),
    ],
)
def test_sizes_that_abort_llama_cpp_are_refused(
    seeds: dict[str, Seed], architecture: str, key: str, value: int, said: str
) -> None:
    """Sizes over which llama.cpp ends its process are refused with what is wrong."""
    content, _ = seeds[architecture]
    header = parse_header(number_of(content, key, value), PATH)
    with pytest.raises(ModelError, match=said):
        check_loadable(header)


def test_half_precision_where_ggml_has_none_is_refused(seeds: dict[str, Seed]) -> None:
    """A factor or bias in F16, over which llama.cpp ends its process at the first token, is refused."""
    content, _ = seeds["qwen35"]
    at = content.index(b"blk.0.ssm_a") + len(b"blk.0.ssm_a") + 4 + 8
    header = parse_header(content[:at] + (1).to_bytes(4, "little") + content[at + 4 :], PATH)
    with pytest.raises(ModelError, match=r"blk\.0\.ssm_a is of the type F16"):
        check_loadable(header)


def test_a_token_that_is_there_twice_is_refused(seeds: dict[str, Seed]) -> None:
    """A vocabulary with the same token twice, over which llama.cpp ends its process, is refused."""
    content, _ = seeds["qwen3"]
    at = content.index("\u0100".encode())
    twice = content[:at] + "\u0101".encode() + content[at + 2 :]
    with pytest.raises(ModelError, match="tokens has only"):
        parse_header(twice, PATH, thorough=True)

"""Facts about a model are read once, and again as soon as the model changes."""

from __future__ import annotations

import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import gguf
import numpy as np
import pytest
import xxhash

from cagchat.bench.synth import CHATML, write_model
from cagchat.errors import ModelError
from cagchat.models import facts as facts_module
from cagchat.models.facts import check_of, facts, read_entries, read_facts
from cagchat.models.gguf import read_header
from tests.engine_cases import smollm2


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_model(tmp_path / "m.gguf", "qwen3", layers=1, embed=64, feed_forward=64)


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "models.json"


class Reads(list[int]):
    """Counts how often a model was read, as told by the progress that ends each reading."""

    def __call__(self, done: int, total: int) -> None:
        if done == total:
            self.append(total)


@pytest.fixture
def reads() -> Reads:
    return Reads()


def test_facts_are_the_headers(model: Path, cache: Path) -> None:
    """Name, architecture, template, context and size are what the file says."""
    found = facts(model, cache)
    assert (found.path, found.name, found.architecture) == (model, "Synthetic qwen3", "qwen3")
    assert (found.chat_template, found.context_length, found.size_bytes) == (CHATML, 4096, model.stat().st_size)


def test_digest_covers_all_tensor_bytes(model: Path, cache: Path) -> None:
    """The digest is xxh3_128 over everything from the start of the tensor data."""
    data = model.read_bytes()[read_header(model).data_offset :]
    assert facts(model, cache).tensor_digest == xxhash.xxh3_128_hexdigest(data)


def test_digest_is_independent_of_pieces(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """How many bytes are read at once does not change the digest."""
    whole = read_facts(read_header(model))
    monkeypatch.setattr(facts_module, "PIECE_BYTES", 1000)
    assert read_facts(read_header(model)) == whole


def test_unchanged_model_is_not_read_again(model: Path, cache: Path, reads: Reads) -> None:
    """A second call returns equal facts without reading the model."""
    assert facts(model, cache, reads) == facts(model, cache, reads)
    assert len(reads) == 1


def test_relative_path_is_the_same_model(
    model: Path, cache: Path, reads: Reads, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model is remembered by its absolute path."""
    monkeypatch.chdir(model.parent)
    assert facts(Path(model.name), cache, reads) == facts(model, cache, reads)
    assert len(reads) == 1


def test_replaced_model_is_read_again(model: Path, cache: Path) -> None:
    """Other weights of the same size and age under the same name are another model."""
    before = facts(model, cache)
    age = model.stat()
    write_model(model, "qwen3", layers=1, embed=64, feed_forward=64, seed=1)
    os.utime(model, ns=(age.st_atime_ns, age.st_mtime_ns))
    after = facts(model, cache)
    assert after.size_bytes == before.size_bytes
    assert after.tensor_digest != before.tensor_digest


def test_touched_model_is_read_again(model: Path, cache: Path, reads: Reads) -> None:
    """A new time of change is reason enough to read the model."""
    facts(model, cache, reads)
    os.utime(model, ns=(0, 0))
    facts(model, cache, reads)
    assert len(reads) == 2


@pytest.mark.parametrize(
    "damage",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b"[" * 100_000,
        b"[]",
        b'{"format": 2, "check": "", "models": [null, {}, {"files": [], "facts": {}}]}',
        b'{"format": 99, "models": []}',
    ],
)
def test_damaged_cache_is_replaced(model: Path, cache: Path, reads: Reads, damage: bytes) -> None:
    """Whatever the cache file holds, the facts are right and the file is sound afterwards."""
    expected = facts(model, cache)
    cache.write_bytes(damage)
    assert facts(model, cache, reads) == facts(model, cache, reads) == expected
    assert len(reads) == 1


@pytest.mark.parametrize("field", ["path", "tensor_digest", "size_bytes"])
def test_damaged_entry_is_read_again(model: Path, cache: Path, field: str) -> None:
    """An entry with a field of another type counts as missing."""
    expected = facts(model, cache)
    content = json.loads(cache.read_bytes())
    content["models"][0]["facts"][field] = None
    cache.write_text(json.dumps(content | {"check": check_of(content["models"])}))
    assert facts(model, cache) == expected


def test_a_flipped_bit_is_not_believed(model: Path, cache: Path) -> None:
    """A template that changed in the cache, of the right type and length, is not taken for the model's."""
    expected = facts(model, cache)
    content = cache.read_bytes()
    place = content.index(b"im_start")
    cache.write_bytes(content[:place] + b"jm_start" + content[place + 8 :])
    assert facts(model, cache) == expected


def test_impossible_path_in_the_cache_is_ignored(model: Path, cache: Path) -> None:
    """A stamp whose path no system accepts does not match anything."""
    expected = facts(model, cache)
    content = json.loads(cache.read_bytes())
    content["models"][0]["files"][0]["path"] = "\0"
    cache.write_text(json.dumps(content | {"check": check_of(content["models"])}))
    assert facts(model, cache) == expected


def test_writers_keep_each_others_entries(tmp_path: Path, cache: Path) -> None:
    """Models that are read at the same time are all remembered."""
    models = [
        write_model(tmp_path / f"{seed}.gguf", "qwen3", layers=1, embed=64, feed_forward=64, seed=seed)
        for seed in range(6)
    ]
    with ThreadPoolExecutor(len(models)) as pool:
        found = list(pool.map(lambda path: facts(path, cache), models))
    assert {path: entry.facts for path, entry in read_entries(cache).items()} == {str(f.path): f for f in found}


def test_a_cache_that_cannot_be_written_costs_a_reading(model: Path, cache: Path, reads: Reads) -> None:
    """Where the cache's folder cannot be made, the facts are right all the same, and read again the next time."""
    cache.parent.write_text("a file in its place")
    assert facts(model, cache, reads) == facts(model, cache, reads) == read_facts(read_header(model))
    assert len(reads) == 2


def test_cache_is_private(model: Path, cache: Path) -> None:
    """The cache file and its lock are readable by their owner only."""
    facts(model, cache)
    assert {path.stat().st_mode & 0o777 for path in cache.parent.iterdir()} == {0o600}


def test_progress_ends_at_the_total(model: Path, cache: Path) -> None:
    """Progress counts the tensor bytes of a new model, and a known one has none."""
    heard: list[tuple[int, int]] = []
    for _ in range(2):
        facts(model, cache, lambda done, total: heard.append((done, total)))
    size = model.stat().st_size - read_header(model).data_offset
    assert heard == [(size, size)]


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's count of mapped pages is read from /proc")
def test_a_model_that_was_read_is_not_kept_in_memory() -> None:
    """However large a model is, this process holds a few pieces of it while its digest is computed."""
    page, header = os.sysconf("SC_PAGESIZE"), read_header(smollm2())
    held: list[int] = []

    def look(done: int, total: int) -> None:
        held.append(int(Path("/proc/self/statm").read_text().split()[2]) * page)

    read_facts(header, look)
    assert header.size_bytes > 20 * facts_module.PIECE_BYTES
    assert max(held) - held[0] < 4 * facts_module.PIECE_BYTES


def test_change_while_reading_is_noticed(model: Path, cache: Path) -> None:
    """A model that changes while its digest is computed is refused and not remembered."""
    with pytest.raises(ModelError, match="changed while it was read"):
        facts(model, cache, lambda done, total: os.utime(model, ns=(0, 0)))
    assert read_entries(cache) == {}


def split_model(folder: Path) -> list[Path]:
    """Write a model of three parts with a tensor each."""
    writer = gguf.GGUFWriter(folder / "s.gguf", "llama", split_max_tensors=1)
    for number in range(3):
        writer.add_tensor(f"t{number}", np.full(64, number, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return sorted(folder.glob("s-*.gguf"))


def test_split_model_is_all_its_parts(tmp_path: Path, cache: Path) -> None:
    """Digest and size of a split model cover every part, and a change of any is noticed."""
    parts = split_model(tmp_path)
    before = facts(parts[0], cache)
    assert before.size_bytes == sum(part.stat().st_size for part in parts)
    content = bytearray(parts[2].read_bytes())
    content[-1] ^= 1
    parts[2].write_bytes(content)
    assert facts(parts[0], cache).tensor_digest != before.tensor_digest


def test_missing_part_is_named(tmp_path: Path, cache: Path) -> None:
    """A split model without one of its parts says which one."""
    parts = split_model(tmp_path)
    parts[1].unlink()
    with pytest.raises(ModelError, match=parts[1].name):
        facts(parts[0], cache)


@pytest.mark.parametrize("name", ["none.gguf", "."])
def test_missing_model_is_an_error_with_a_hint(tmp_path: Path, cache: Path, name: str) -> None:
    """A path without a file, or of a folder, is refused with what to do."""
    with pytest.raises(ModelError) as caught:
        facts(tmp_path / name, cache)
    assert "cagchat models" in caught.value.hint

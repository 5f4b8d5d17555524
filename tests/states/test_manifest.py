"""The manifest: what was written comes back, and what was not is refused."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cagchat.engine.protocol import Blob, Part, Probe
from cagchat.errors import StateDamaged
from cagchat.prompt import Frame
from cagchat.states.manifest import BookRecord, Manifest, StateFile, _digest, read, write
from tests.states.test_key import KEY

PARTS = (Part("kv", 1000, 0, 999, ((1, 256), (1, 256))), Part("recurrent", 1, 999, 999, ((0, 4096),)))
BLOB = Blob(1000, 123_456_789_012, 1 << 24, ("0f" * 16, "1e" * 16), PARTS)
BEGUN = Manifest(
    key=KEY,
    model_name="Model “1”",
    model_path="/models/m.gguf",
    memory="hybrid",
    build="a build",
    frame=Frame("head\n", "opening", "closing", "next", None),
    n_head=7,
    book=BookRecord(
        title="Der Fährmann — 好",
        author="",
        path="/books/f.txt",
        digest="ab" * 32,
        kind="text",
        n_characters=4000,
        sections=(("One", 0, 1500, 1), ("", 1500, 4000, 0)),
        section_tokens=(400, 1000),
        truncated=False,
    ),
    created_at=1234567890.125,
)
SEALED = replace(
    BEGUN,
    read_s=12.5,
    checkpoint=StateFile("checkpoint-500.bin", replace(BLOB, n_tokens=500)),
    boundaries=(StateFile("boundary-400.bin", replace(BLOB, n_tokens=400), Probe(41, ((7, 1.5),))),),
    state=StateFile("state-1000.bin", BLOB),
    probe=Probe(42, ((7, 1.25), (9, -0.1))),
    frame=replace(BEGUN.frame, thinking_closing="<think>\n"),
)


def forged(path: Path, change: dict[str, Any]) -> None:
    """Write a manifest whose content was changed by somebody who knows the digest."""
    write(path, SEALED)
    content = json.loads(path.read_bytes())["content"] | change
    path.write_text(json.dumps({"digest": _digest(content), "content": content}))


@pytest.mark.parametrize("manifest", [BEGUN, SEALED], ids=["begun", "sealed"])
def test_a_manifest_comes_back(tmp_path: Path, manifest: Manifest) -> None:
    """What is read equals what was written, to the types of its parts."""
    write(tmp_path / "manifest.json", manifest)
    assert read(tmp_path / "manifest.json") == manifest


def test_a_path_that_is_no_text_comes_back(tmp_path: Path) -> None:
    """A book whose file name is not UTF-8 can be recorded, and its path still names the file."""
    path = os.fsdecode(b"/books/f\xe4hre.txt")
    manifest = replace(BEGUN, book=replace(BEGUN.book, path=path, title="f\udce4hre"))
    write(tmp_path / "manifest.json", manifest)
    assert os.fsencode(read(tmp_path / "manifest.json").book.path) == b"/books/f\xe4hre.txt"


def test_it_is_private(tmp_path: Path) -> None:
    """A manifest can be read by its owner only."""
    write(tmp_path / "manifest.json", BEGUN)
    assert (tmp_path / "manifest.json").stat().st_mode & 0o777 == 0o600


def test_the_position_is_what_is_on_disk() -> None:
    """A sealed state counts before a checkpoint, and nothing saved is position 0."""
    assert [m.position for m in (BEGUN, replace(SEALED, state=None), SEALED)] == [0, 500, 1000]


@pytest.fixture(scope="session")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A manifest on disk."""
    path = tmp_path_factory.mktemp("manifests") / "manifest.json"
    write(path, SEALED)
    return path


@given(data=st.data())
def test_a_changed_byte_is_found_or_harmless(written: Path, data: st.DataObject) -> None:
    """Any one byte that changes makes the manifest damaged, or changes nothing that is read from it."""
    content = bytearray(written.read_bytes())
    content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    other = written.with_name("changed.json")
    other.write_bytes(content)
    try:
        found = read(other)
    except StateDamaged:
        return
    assert found == SEALED


@given(end=st.integers(0, 4000))
def test_a_cut_manifest_is_damaged(written: Path, end: int) -> None:
    """No beginning of a manifest passes for one."""
    content = written.read_bytes()
    other = written.with_name("cut.json")
    other.write_bytes(content[: min(end, len(content) - 1)])
    with pytest.raises(StateDamaged):
        read(other)


@pytest.mark.parametrize(
    "content",
    [b"", b"\xff", b"null", b"[]", b"5", b'"text"', b"{}", b'{"digest": "x"}', b'{"digest": 1, "content": 2}']
    + [b"[" * 100_000, b'{"digest": "x", "content": "\\ud800"}'],
)
def test_what_is_no_manifest_is_damaged(tmp_path: Path, content: bytes) -> None:
    """Anything else in the file is `StateDamaged`, never another error."""
    (tmp_path / "manifest.json").write_bytes(content)
    with pytest.raises(StateDamaged, match=r"manifest\.json"):
        read(tmp_path / "manifest.json")


def test_a_missing_manifest_is_damaged(tmp_path: Path) -> None:
    """A manifest that is not there, or is a folder, is `StateDamaged` with its path."""
    (tmp_path / "folder").mkdir()
    for name in ("nothing", "folder"):
        with pytest.raises(StateDamaged, match=name):
            read(tmp_path / name)


@pytest.mark.parametrize(
    "change",
    [
        {"key": {}},
        {"key": []},
        {"book": []},
        {"book": None},
        {"frame": {"head": "x"}},
        {"probe": {"token": 1, "top": [[1e999, 1.0]]}},
        {"probe": {"token": 1, "top": [5]}},
        {"state": 5},
        {"state": {"name": "state-1.bin", "blob": {}}},
        {"boundaries": 5},
        {"more": 1},
    ],
)
def test_another_structure_is_damaged(tmp_path: Path, change: dict[str, Any]) -> None:
    """A manifest of another shape, whose digest is right, is `StateDamaged`."""
    forged(tmp_path / "manifest.json", change)
    with pytest.raises(StateDamaged, match="of this version"):
        read(tmp_path / "manifest.json")


@pytest.mark.parametrize(
    "name",
    ["../other/state-1.bin", "/etc/passwd", "..", ".", "", "a\\b.bin", ".hidden", "state-1.bin/", "state-1.bin\n"]
    + ["state\0-1.bin", "manifest.json", "book.txt", "state-١.bin", "CON"],
)
def test_names_outside_the_folder_are_refused(tmp_path: Path, name: str) -> None:
    """A manifest names state files of its own folder, and no other file there or elsewhere."""
    write(tmp_path / "manifest.json", SEALED)
    content = json.loads((tmp_path / "manifest.json").read_bytes())["content"]
    forged(tmp_path / "manifest.json", {"state": content["state"] | {"name": name}})
    with pytest.raises(StateDamaged):
        read(tmp_path / "manifest.json")


def test_pieces_of_no_size_are_refused(tmp_path: Path) -> None:
    """A piece has at least one byte, else no checksum would cover anything."""
    write(tmp_path / "manifest.json", SEALED)
    content = json.loads((tmp_path / "manifest.json").read_bytes())["content"]
    blob = content["state"]["blob"] | {"piece_bytes": 0}
    forged(tmp_path / "manifest.json", {"state": content["state"] | {"blob": blob}})
    with pytest.raises(StateDamaged):
        read(tmp_path / "manifest.json")


@pytest.mark.parametrize("top", [[], [[1, float("nan")]], [[1, 2.0], [2, float("inf")]]])
def test_a_probe_that_proves_nothing_is_refused(tmp_path: Path, top: list[list[float]]) -> None:
    """A recorded probe has logits, and they are numbers."""
    write(tmp_path / "manifest.json", SEALED)
    content = json.loads((tmp_path / "manifest.json").read_bytes())["content"]
    forged(tmp_path / "manifest.json", {"probe": content["probe"] | {"top": top}})
    with pytest.raises(StateDamaged):
        read(tmp_path / "manifest.json")


def test_a_file_named_for_another_position_is_refused(tmp_path: Path) -> None:
    """The position in a file's name is where its state ends."""
    write(tmp_path / "manifest.json", SEALED)
    content = json.loads((tmp_path / "manifest.json").read_bytes())["content"]
    blob = content["checkpoint"]["blob"] | {"n_tokens": 499}
    forged(tmp_path / "manifest.json", {"checkpoint": content["checkpoint"] | {"blob": blob}})
    with pytest.raises(StateDamaged):
        read(tmp_path / "manifest.json")

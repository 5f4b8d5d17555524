"""`cagchat library`: what has been read, whether it is sound, and what can go."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from cagchat.cli.books import standings, states_of
from cagchat.cli.completion import state_names
from cagchat.cli.options import add_json, add_yes, complete_with, confirmed, refuse_idle_json
from cagchat.cli.output import is_terminal
from cagchat.cli.tables import moment, print_json, print_lines, print_pairs, print_table
from cagchat.errors import CagchatError
from cagchat.settings import rules

if TYPE_CHECKING:
    from cagchat.cli.app import App
    from cagchat.states.manifest import Manifest
    from cagchat.states.pruning import Removal
    from cagchat.states.standing import Standing
    from cagchat.states.store import StateFolder, States

DAY_S = 86400.0
HEADERS = ("Title", "Tokens", "Model", "KV", "Size", "Status", "Last used")
NUMBERS = ("Tokens", "Size")


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    add_json(parser)
    actions = parser.add_subparsers(dest="action", metavar="ACTION", title="actions (list when none is given)")

    def action(name: str, summary: str) -> argparse.ArgumentParser:
        return actions.add_parser(name, help=summary, description=f"{summary[0].upper()}{summary[1:]}.")

    listing = action("list", "list what has been read, the last used first")
    add_json(listing, action=True)
    info = action("info", "show everything that is known about one saved state")
    add_names(info, one=True)
    add_json(info, action=True)
    verify = action("verify", "check every byte of saved states against what was written; exit code 1 for damage")
    add_names(verify, none="all when none is given")
    add_json(verify, action=True)
    rm = action("rm", "delete saved states and what was set aside of their books; chats about them stay")
    add_names(rm)
    add_yes(rm)
    prune = action("prune", "delete leftovers, what was set aside, and the states that were not used for longest")
    prune.add_argument("--days", metavar="N", type=not_negative, help="delete states not used for N days")
    prune.add_argument("--budget", metavar="GB", type=gigabytes, help="delete until the rest takes at most GB")
    prune.add_argument("--dry-run", action="store_true", help="only say what would be deleted")
    add_yes(prune)
    add_json(prune, action=True)
    prune.epilog = "Without --days and --budget, the setting disk_budget_gb is the budget."


def add_names(parser: argparse.ArgumentParser, *, one: bool = False, none: str = "") -> None:
    """Add the names of one state, of several, or of any number, where `none` says what no name means."""
    text = "a title, a folder's name, the book's file, or a unique beginning"
    if one:
        complete_with(parser.add_argument("name", metavar="NAME", help=text), state_names)
    else:
        text = f"{text}; {none}" if none else text
        names = parser.add_argument("names", metavar="NAME", nargs="*" if none else "+", help=text)
        complete_with(names, state_names)


def not_negative(text: str) -> float:
    """Return a number from 0 on, for argparse."""
    number = float(text)
    if not 0 <= number < float("inf"):
        raise ValueError(text)
    return number


def gigabytes(text: str) -> float:
    """Return what the setting disk_budget_gb may be, for argparse."""
    number, most = not_negative(text), rules()["disk_budget_gb"].high
    if number > most:
        raise argparse.ArgumentTypeError(f"{text} is no budget: at most {most:,.0f}, in gigabytes")
    return number


def run(app: App, args: argparse.Namespace) -> int:
    """Run one action."""
    refuse_idle_json(args)
    match args.action:
        case "info":
            return show_info(app, args)
        case "verify":
            return verify_states(app, args)
        case "rm":
            return remove_states(app, args)
        case "prune":
            return prune(app, args)
        case _:
            return list_states(app, args)


def list_states(app: App, args: argparse.Namespace) -> int:
    """List the states, what they take together, and what stands aside."""
    from cagchat.cli.app import say
    from cagchat.states.pruning import aside, damaged_chats
    from cagchat.units import size

    found = standings(app)
    put_aside = list(aside(states_of(app)))
    used = sum(s.size_bytes for s in found) + sum(a.size_bytes for a in put_aside)
    budget = int(app.settings.disk_budget_gb * 1e9)
    put_aside += damaged_chats(app.locations.sessions_db)  # which no budget of states counts
    if args.json:
        removed = [{"path": str(a.path), "reason": a.why, "size_bytes": a.size_bytes} for a in put_aside]
        listed = [as_object(standing) for standing in found]
        print_json({"states": listed, "aside": removed, "used_bytes": used, "budget_bytes": budget})
        return 0
    if is_terminal(sys.stdout) and found:
        print_table(HEADERS, [shown(standing) for standing in found], numbers=NUMBERS)
    else:
        print_lines([plain(standing) for standing in found])
    if not found:
        say("Nothing has been read yet: `cagchat read BOOK` begins.")
    say(f"{size(used)} used of {size(budget)}.")
    if put_aside:
        say("Set aside, because it could not be trusted (`cagchat library prune` deletes it):")
        for each in put_aside:
            say(f"  {each.path.name}, {size(each.size_bytes)}: {each.why}")
    return 0


def shown(standing: Standing) -> tuple[str, ...]:
    """Return a state's cells for a reader."""
    from cagchat.units import size

    manifest, end = standing.manifest, (size(standing.size_bytes), standing.text, moment(standing.used_at))
    if manifest is None:
        return (standing.folder.name, "", "", "", *end)
    return (manifest.book.title, f"{manifest.n_tokens:,}", manifest.model_name, manifest.key.kv_type, *end)


def plain(standing: Standing) -> tuple[str, ...]:
    """Return a state's cells for a program: numbers as they are, and the folder's name at the end."""
    manifest = standing.manifest
    about = (
        (manifest.book.title, str(manifest.n_tokens), manifest.model_name, manifest.key.kv_type)
        if manifest
        else ("", "", "", "")
    )
    end = (str(standing.size_bytes), standing.text, moment(standing.used_at), standing.folder.name)
    return (*about, *end)


def as_object(standing: Standing) -> dict[str, object]:
    """Return a state for `--json`; what only the manifest knows is null when it is damaged."""
    manifest = standing.manifest
    return {
        "name": standing.folder.name,
        "path": str(standing.folder.path),
        "title": manifest.book.title if manifest else None,
        "author": manifest.book.author if manifest else None,
        "n_tokens": manifest.n_tokens if manifest else None,
        "position": manifest.position if manifest else None,
        "model": manifest.model_name if manifest else None,
        "model_path": manifest.model_path if manifest else None,
        "kv_type": manifest.key.kv_type if manifest else None,
        "size_bytes": standing.size_bytes,
        "status": standing.status,
        "status_text": standing.text,
        "used_at": standing.used_at,
    }


def show_info(app: App, args: argparse.Namespace) -> int:
    """Show one state's manifest in words, or as it is with --json."""
    from cagchat.states.pruning import reason
    from cagchat.states.standing import Remembered, standing

    folder = folder_called(app, args.name)
    models = Remembered.read(app.locations.cache / "models.json")
    found = standing(folder, models, app.settings.instructions)
    set_aside = reason(folder) if folder in states_of(app).aside() else ""
    if args.json:
        manifest = asdict(found.manifest) if found.manifest else None
        print_json({**as_object(found), "set_aside": set_aside or None, "manifest": manifest})
        return 0
    status = f"set aside: {set_aside}" if set_aside else found.text
    lines = [("status", status), ("folder", str(folder.path)), ("last used", moment(found.used_at))]
    if found.manifest is not None:
        lines = facts(found.manifest, status, found)
    print_pairs(lines)
    return 0


def facts(manifest: Manifest, status: str, standing: Standing) -> list[tuple[str, str]]:
    """Return what a manifest says, as pairs of a name and words."""
    from cagchat.units import duration, size

    book, key, probe = manifest.book, manifest.key, manifest.probe
    speed = f", {manifest.position / manifest.read_s:,.0f} tok/s" if manifest.read_s > 0 else ""
    boundaries = ", ".join(f"{file.blob.n_tokens:,}" for file in manifest.boundaries)
    yarn = f"{key.yarn_factor:g} from {key.yarn_original_context:,}" if key.yarn_factor != 1 else "off"
    files = [file for file in (manifest.state, manifest.checkpoint, *manifest.boundaries) if file is not None]
    lines = [
        ("title", book.title),
        ("author", book.author),
        ("status", status),
        ("file", book.path),
        ("kind", book.kind),
        ("sections", f"{len(book.sections):,}"),
        ("characters", f"{book.n_characters:,}"),
        ("tokens", f"{manifest.n_tokens:,}, {manifest.n_head:,} of them before the book"),
        ("beginning only", "yes" if book.truncated else "no"),
        ("book digest", f"sha256 {book.digest}"),
        ("model", manifest.model_name),
        ("model file", manifest.model_path),
        ("weights digest", f"xxh3 {key.model_weights}"),
        ("memory", manifest.memory),
        ("KV type", f"{key.kv_type}{', rotated' if key.rotated_kv else ''}"),
        ("YaRN", yarn),
        ("build", manifest.build),
        ("begun", moment(manifest.created_at)),
        ("reading took", f"{duration(manifest.read_s)}{speed}" if manifest.position else ""),
        ("saved up to", f"token {manifest.position:,}" if manifest.position else "nothing yet"),
        ("boundaries", f"{len(manifest.boundaries)} at tokens {boundaries}" if boundaries else "none"),
        ("probe", f"logits after token {probe.token}, the largest {probe.top[0][1]:.4f}" if probe else ""),
        ("last used", moment(standing.used_at)),
        ("on disk", size(standing.size_bytes)),
        ("folder", str(standing.folder.path)),
    ]
    lines += [("", f"{file.name}, {file.blob.size_bytes:,} bytes") for file in files]
    return [(name, words) for name, words in lines if words]


def verify_states(app: App, args: argparse.Namespace) -> int:
    """Check states and say of each whether it is sound; 1 when one is not."""
    from cagchat.cli.app import say
    from cagchat.sessions.naming import one_line
    from cagchat.states.standing import reader_of
    from cagchat.states.verifying import verify

    folders = [folder_called(app, name) for name in args.names] or states_of(app).all()
    results = []
    for folder in dict.fromkeys(folders):
        if reader_of(folder) is not None:
            say(f"{folder.name} is being read; it is left out.")
            continue
        problems = verify(folder)
        results.append({"name": folder.name, "ok": not problems, "problems": list(problems)})
        if not args.json:
            print(f"{'DAMAGED' if problems else 'ok'}\t{folder.name}", flush=True)
            for problem in problems:
                print(f"\t{one_line(problem)}", flush=True)
    damaged = any(not result["ok"] for result in results)
    if args.json:
        print_json({"states": results})
    elif damaged:
        say("Open a damaged book again: its state is set aside and the book is read anew.")
    elif not results:
        say("There is nothing to check.")
    return 1 if damaged else 0


def remove_states(app: App, args: argparse.Namespace) -> int:
    """Delete states by name; those that are refused keep all that is theirs, and are told when the others are gone."""
    from cagchat.cli.app import complain, say
    from cagchat.forgetting import aside_of
    from cagchat.units import size

    states = states_of(app)
    states.finish_deleting()  # what an earlier `rm` that was killed has left, whatever is asked for now
    named = dict.fromkeys(folder_called(app, name) for name in args.names)
    aside: dict[StateFolder, StateFolder] = {}  # what was set aside, and the state that it goes with, if that goes
    for folder in named:
        aside |= dict.fromkeys((each for each in aside_of(states, [folder]) if each not in named), folder)
    folders = [*named, *aside]
    for folder in folders:
        say(f"{folder.name}, {size(folder.size_bytes())}")
    if not confirmed(f"Delete {'this' if len(folders) == 1 else f'these {len(folders)}'}?", yes=args.yes):
        say("Nothing was deleted.")
        return 1
    refusals: dict[StateFolder, CagchatError] = {}
    for folder in folders:
        if aside.get(folder) not in refusals:
            try:
                remove_state(app, states, folder)
            except CagchatError as error:
                refusals[folder] = error
    for refusal in refusals.values():
        complain(refusal.message, refusal.hint)
    return max((refusal.exit_code for refusal in refusals.values()), default=0)


def remove_state(app: App, states: States, folder: StateFolder) -> None:
    """Delete one state, and forget what is known of its book where nothing is left of it."""
    from cagchat.cli.places import forget_place
    from cagchat.forgetting import digest_of, forget_titles
    from cagchat.units import size

    digest = digest_of(folder)
    freed = states.delete(folder, leaving=lambda: forget_titles(app.locations, [folder]))
    print(f"Deleted {folder.name}: {size(freed)} freed.", flush=True)
    forget_place(app, digest)


def prune(app: App, args: argparse.Namespace) -> int:
    """Delete what is not needed, after asking where it is more than leftovers."""
    from cagchat.cli.app import say
    from cagchat.forgetting import forget_titles
    from cagchat.states.pruning import remove

    chosen, stay = to_prune(app, args)
    for folder in stay:
        say(f"{folder.name} is open in a chat and stays.")
    if args.dry_run:
        total = sum(removal.size_bytes for removal in chosen)
        report(chosen, total, args.json, dry_run=True)
        return 0
    asked = [removal for removal in chosen if removal.kind != "leftover"]
    if asked and not args.yes:
        for removal in asked:
            say(sentence(removal))
        if not confirmed(f"Delete {'this' if len(asked) == 1 else f'these {len(asked)}'}?", yes=False):
            say("Nothing was deleted.")
            return 1
    done: list[Removal] = []
    freed = remove(states_of(app), chosen, lambda removal, freed_bytes: done.append(removal))
    forget_titles(app.locations)
    report(done, freed, args.json, dry_run=False)
    if len(done) < len(chosen):
        say(f"{len(chosen) - len(done)} came into use meanwhile and stayed.")
    if not chosen:
        say("There was nothing to delete.")
    return 0


def to_prune(
    app: App, args: argparse.Namespace, now: float | None = None
) -> tuple[tuple[Removal, ...], list[StateFolder]]:
    """Return what the flags choose, and what stays because it is open; `now` is the present time when none is given."""
    from cagchat.states.pruning import removable

    budget = args.budget
    if budget is None and args.days is None:
        budget = app.settings.disk_budget_gb
    now = time.time() if now is None else now
    stay: list[StateFolder] = []
    chosen = removable(
        states_of(app),
        chats=app.locations.sessions_db,
        budget_bytes=None if budget is None else int(budget * 1e9),
        unused_since=None if args.days is None else now - args.days * DAY_S,
        stays=stay.append,
    )
    return chosen, stay


def report(removals: Sequence[Removal], freed: int, as_json: bool, *, dry_run: bool) -> None:
    """Say what was deleted, or would be, and how much room that makes."""
    from cagchat.units import size

    if as_json:
        found = [{"path": str(r.path), "kind": r.kind, "why": r.why, "size_bytes": r.size_bytes} for r in removals]
        print_json({"removed": found, "freed_bytes": freed, "dry_run": dry_run})
        return
    for removal in removals:
        print(sentence(removal))
    print(f"{'Would free' if dry_run else 'Freed'} {size(freed)}.")


def sentence(removal: Removal) -> str:
    """Return what would go and why, in one line."""
    from cagchat.units import size

    return f"{removal.path.name}, {size(removal.size_bytes)}: {removal.why}"


def folder_called(app: App, name: str) -> StateFolder:
    """Return the state that a name means, also one that was set aside. Raises `StateError`."""
    states = states_of(app)
    put_aside = next((folder for folder in states.aside() if folder.name == name), None)
    return put_aside or states.find(name)

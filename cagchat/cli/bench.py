"""`cagchat bench`: measure side by side, in a folder of its own that is deleted afterwards."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from cagchat import __version__
from cagchat.cli import bench_device, bench_peers, bench_recall, bench_scaling, bench_synth
from cagchat.cli.options import add_engine, at_least_one
from cagchat.cli.output import is_terminal
from cagchat.documents.gathering import expanded

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cagchat.bench.tables import Table
    from cagchat.bench.workbench import Workbench
    from cagchat.cli.app import App

# Each is a module of cagchat.bench; the order lets later ones use the state that the first one leaves.
MEASUREMENTS = {
    "reopen": "a process's start to the first byte of an answer, restored and cold",
    "restore": "bytes a second of a restore and of a memory copy",
    "speed": "prefill and decode, and a bare loop of llama_decode",
    "peers": "first, second and new questions, before and after a restart, and other ways to keep a state",
    "documents": "a book's file to its text: plain text, PDF and EPUB",
    "interface": "a key press to the screen that shows it, while the engine is busy",
}
# Options after the action are the action's.
ACTIONS = {
    "synth": bench_synth,
    "device": bench_device,
    "recall": bench_recall,
    "scaling": bench_scaling,
    "peers": bench_peers,
}
STORY = "demo/story.md"
LENGTHS = (256, 1024)


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    what = "; ".join(f"{name}: {summary}" for name, summary in MEASUREMENTS.items())
    add_common(parser)
    parser.add_argument(
        "--only", type=names, default=tuple(MEASUREMENTS), metavar="NAME[,NAME]", help=f"measure only this ({what})"
    )
    parser.add_argument(
        "--lengths",
        type=numbers,
        default=LENGTHS,
        metavar="N[,N]",
        help="reopen the book cut to so many tokens too. Default: " + ",".join(map(str, LENGTHS)) + ".",
    )
    add_engine(parser)
    actions = parser.add_subparsers(dest="action", metavar="ACTION", title="actions (side by side when none is given)")
    for name, module in ACTIONS.items():
        module.configure(actions.add_parser(name, help=module.SUMMARY, description=f"{module.SUMMARY.capitalize()}."))


def add_common(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of every side-by-side measurement."""
    parser.add_argument("--book", metavar="FILE", help="the book to measure with; default: the demonstration's story")
    parser.add_argument(
        "--repeat",
        type=at_least_one,
        default=3,
        metavar="N",
        help="runs of each: fewer of a long reading, more of a short restore; each table says. Default: 3.",
    )
    parser.add_argument("--json", metavar="FILE", help="write everything as JSON too, with every run")


def run(app: App, args: argparse.Namespace) -> int:
    """Measure and print, or do the action that is named."""
    if args.action is not None:
        code: int = ACTIONS[args.action].run(app, args)
        return code
    return side_by_side(app, args, args.only)


def side_by_side(app: App, args: argparse.Namespace, only: Sequence[str], **options: object) -> int:
    """Measure and print; 1 when a measurement failed, with the others still shown. The measurements get `options`."""
    from cagchat.cli.app import say
    from cagchat.errors import UsageError
    from cagchat.files import write_bytes

    report = expanded(args.json) if args.json else None
    if report is not None and not report.parent.is_dir():
        raise UsageError(f"There is no folder {report.parent} for {report.name}.", "Create it first.")
    with tempfile.TemporaryDirectory(prefix="cagchat-bench-") as folder:
        bench = set_up(app, args, Path(folder))
        machine = describe(bench)
        tables: list[Table] = []
        failed = False
        show_machine(machine)
        for name in only:
            say(f"{name}: {MEASUREMENTS[name]}")
            found, error = measured(name, bench, **options)
            tables.extend(found)
            failed = failed or error
            for table in found:
                show(table)
    if report is not None:
        write_bytes(report, f"{json.dumps(as_object(machine, tables), ensure_ascii=False, indent=2)}\n".encode())
        say(f"Written to {report}.")
    return 1 if failed else 0


def set_up(app: App, args: argparse.Namespace, home: Path) -> Workbench:
    """Return a bench with the book, the model and the settings of the command line, working in `home`."""
    from dataclasses import replace

    from cagchat import documents
    from cagchat.bench.workbench import Workbench
    from cagchat.cli.app import say
    from cagchat.engine.bindings import threads_for
    from cagchat.models.find import resolve_model

    book = expanded(args.book).absolute() if args.book else story(home)
    documents.read(book)  # a book that is not there is refused before anything is measured
    settings = replace(
        app.settings,
        # Without a name the model that comes with the program, not whatever lies in the user's folder.
        model=str(resolve_model(app.settings.model, home / "models").absolute()),
        threads=threads_for(app.settings.threads),
        # Every way that is compared gets the same; batch and attention are what the plan gives a reader.
        kv_type="f16" if app.settings.kv_type == "auto" else app.settings.kv_type,
        experts_in_ram=max(0, app.settings.experts_in_ram),
    )
    return Workbench(home, settings, book, args.repeat, args.lengths, say)


def story(home: Path) -> Path:
    """Copy the demonstration's story out of the package."""
    from importlib.resources import files

    from cagchat.files import write_bytes

    path = home / Path(STORY).name
    write_bytes(path, files("cagchat").joinpath(STORY).read_bytes())
    return path


def describe(bench: Workbench) -> dict[str, str | int]:
    """Return what the figures depend on."""
    from cagchat import documents
    from cagchat.bench.workbench import count_tokens
    from cagchat.choosing import planned
    from cagchat.engine.fastpath import processor_name

    settings, n_tokens = bench.settings, count_tokens(bench)
    option = planned(lambda _: n_tokens, settings, bench.backend).chosen
    return {
        "cagchat": __version__,
        "processor": processor_name(),
        "cores": os.cpu_count() or 1,
        "threads": settings.threads,
        "llama_cpp_python": version("llama-cpp-python"),
        "model": bench.model_name,
        "kv_type": settings.kv_type,
        "batch": option.way.batch if option else settings.batch,
        "attention": "plain" if option and not option.way.flash_attention else "flash",
        "gpu_layers": settings.gpu_layers,
        "book": documents.load(bench.book).title,
        "tokens": n_tokens,
        "repeat": bench.repeat,
        "shown": "best",
    }


def measured(name: str, bench: Workbench, **options: object) -> tuple[Sequence[Table], bool]:
    """Return a measurement's tables, or one that says why it failed and True."""
    from cagchat.bench.tables import Column, Table
    from cagchat.cli.app import complain
    from cagchat.errors import CagchatError

    try:
        tables: Table | tuple[Table, ...] = importlib.import_module(f"cagchat.bench.{name}").measure(bench, **options)
        return (tables if isinstance(tables, tuple) else (tables,)), False
    except CagchatError as error:
        complain(error.message, error.hint)
        row = {"reason": f"{error.message} {error.hint}"}
        return (Table(name, MEASUREMENTS[name].capitalize(), (Column("reason", "not measured"),), (row,)),), True


def show_machine(machine: dict[str, str | int]) -> None:
    """Print in one sentence what the figures depend on."""
    print(
        f"{machine['processor']}, {machine['cores']} cores ({machine['threads']} used), llama-cpp-python "
        f"{machine['llama_cpp_python']}, {machine['model']}, KV {machine['kv_type']}, "
        f"{machine['attention']} attention, batch {machine['batch']}; "
        f"{machine['book']}, {machine['tokens']:,} tokens.\n",
        flush=True,
    )


def show(table: Table) -> None:
    """Print a table: drawn on a terminal, as Markdown elsewhere."""
    from cagchat.bench.tables import drawn, markdown

    if is_terminal(sys.stdout):
        from rich.console import Console

        Console().print(drawn(table))
    else:
        print(markdown(table), flush=True)


def as_object(machine: dict[str, str | int], tables: Sequence[Table]) -> dict[str, object]:
    """Return the whole run for `--json`."""
    from cagchat.bench import tables as shapes

    return {"machine": machine, "measurements": [shapes.as_object(table) for table in tables]}


def names(text: str) -> tuple[str, ...]:
    """Read `--only`; each measurement once, in the order they build on each other."""
    wanted = {part.strip() for part in text.split(",")}
    if unknown := sorted(wanted - MEASUREMENTS.keys()):
        raise argparse.ArgumentTypeError(f"no measurement {unknown[0]!r}; there are {', '.join(MEASUREMENTS)}")
    return tuple(name for name in MEASUREMENTS if name in wanted)


def numbers(text: str) -> tuple[int, ...]:
    """Read `--lengths`."""
    return tuple(at_least_one(part) for part in text.split(",") if part.strip())

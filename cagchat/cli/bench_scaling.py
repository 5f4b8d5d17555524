"""`cagchat bench scaling`: how reading, keeping and asking grow with the book, as a table and one SVG."""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from cagchat.cli.options import add_engine

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from cagchat.bench.line_plot import Panel
    from cagchat.bench.scaling import Point
    from cagchat.bench.workbench import Workbench
    from cagchat.cli.app import App

SUMMARY = "measure how reading, saving, restoring, forking and answering grow with the book's length"
MINUTES = 15.0
TITLE = "cagchat: how it grows with the book (tokens)"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument(
        "--minutes", type=minutes, default=MINUTES, metavar="M", help=f"stop after so many; default: {MINUTES:.0f}"
    )
    parser.add_argument("--longest", type=length, metavar="N", help="no text of more tokens; default: 1,048,576")
    parser.add_argument("--repeat", type=length, default=3, metavar="N", help="openings of each; default: 3")
    parser.add_argument("--json", metavar="FILE", help="write everything as JSON too, with every run")
    parser.add_argument("--svg", metavar="FILE", help="draw the curves as an SVG too")
    add_engine(parser)


def run(app: App, args: argparse.Namespace) -> int:
    """Measure, print the table and draw the curves."""
    from cagchat.bench.line_plot import line_plot
    from cagchat.bench.scaling import LONGEST, measure, subjects_for
    from cagchat.bench.tables import as_object
    from cagchat.cli.bench import set_up, show
    from cagchat.cli.bench_recall import checked_folder, write

    for wanted in (args.json, args.svg):
        checked_folder(wanted)
    alone = bool(app.settings.model)
    args.book, args.lengths = None, ()
    with tempfile.TemporaryDirectory(prefix="cagchat-bench-") as folder:
        bench = set_up(app, args, Path(folder))
        machine = machine_of(bench)
        print(f"{machine}\n", flush=True)
        table, curves = measure(subjects_for(bench, alone=alone), args.minutes, args.longest or LONGEST)
    show(table)
    if args.svg:
        write(args.svg, line_plot(TITLE, panels(curves), machine))
    if args.json:
        content = {"machine": machine, "measurements": [as_object(table)]}
        write(args.json, f"{json.dumps(content, ensure_ascii=False, indent=2)}\n")
    return 0


def machine_of(bench: Workbench) -> str:
    """Return in a line what the figures depend on."""
    import os
    from importlib.metadata import version

    from cagchat.engine.fastpath import processor_name

    settings = bench.settings
    batch = f", batch {settings.batch}" if settings.batch else ""
    return (
        f"{processor_name()}, {os.cpu_count() or 1} cores ({settings.threads} used), llama-cpp-python "
        f"{version('llama-cpp-python')}, KV {settings.kv_type}{batch}"
    )


def panels(curves: Mapping[str, Sequence[Point]]) -> list[Panel]:
    """Return what is drawn: a panel for each quantity, a curve in it for each model."""
    from cagchat.bench.line_plot import Panel
    from cagchat.units import duration, size

    def panel(title: str, value: Callable[[Point], float | None], shown: Callable[[float], str]) -> Panel:
        measured = {
            name: [(point.tokens, found) for point in points if (found := value(point)) is not None]
            for name, points in curves.items()
        }
        return Panel(title, shown, measured)

    return [
        panel("read in", lambda point: point.prefill_s, duration),
        panel("saved in", lambda point: point.save_s, duration),
        panel("restored in", lambda point: point.restore_s.best, duration),
        panel("opened in, without the restore", lambda point: point.rest_s.best, duration),
        panel("fork, after the first", lambda point: point.fork_s, microseconds),
        panel("first token of a question", lambda point: point.first_s.best, duration),
        panel("state on disk", lambda point: point.size_bytes, lambda value: size(round(value))),
        panel("peak memory", lambda point: point.peak_bytes, lambda value: size(round(value))),
        panel("restore, bytes a second", lambda point: point.size_bytes / point.restore_s.best, gigabytes_a_second),
    ]


def microseconds(seconds: float) -> str:
    """Return a time that is shorter than those a reader waits for."""
    return f"{seconds * 1e6:.0f} µs" if seconds < 1e-3 else f"{seconds * 1e3:.3g} ms"


def gigabytes_a_second(speed: float) -> str:
    """Return a speed."""
    return f"{speed / 1e9:.2g} GB/s"


def minutes(text: str) -> float:
    """Read `--minutes`."""
    from cagchat.cli.bench_device import minutes as read

    return read(text)


def length(text: str) -> int:
    """Read a number of tokens."""
    from cagchat.cli.options import at_least_one

    return at_least_one(text)

"""`cagchat doctor`: what was found on this machine, what is wrong with it, and the command that mends it."""

from __future__ import annotations

import argparse
import platform
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING

from cagchat.cli.doctor.finding import Finding
from cagchat.cli.options import add_engine, add_json
from cagchat.cli.tables import print_json

if TYPE_CHECKING:
    from cagchat.cli.app import App
    from cagchat.hardware.detect import Hardware


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    add_json(parser)
    parser.add_argument("--try", dest="trial", action="store_true", help="start the engine and decode a few tokens")
    parser.add_argument(
        "--retry-kernels", action="store_true", help="forget that llama.cpp's fast kernels crashed, to try them again"
    )
    parser.add_argument("--fake", action="store_true", help="use an engine without a model, to try the program")
    add_engine(parser)


def run(app: App, args: argparse.Namespace) -> int:
    """Look at everything and report; 1 when a problem was found."""
    from cagchat.cli.app import say
    from cagchat.engine.fastpath import Verdicts
    from cagchat.hardware.detect import detect

    if args.retry_kernels:
        Verdicts(app.locations.cache / "kernels.json").forget()
        say("What was known about the fast kernels is forgotten; they are tried again with the next book.")
    hardware = detect()
    findings = []
    for finding in examine(app, hardware, trial=args.trial):
        findings.append(finding)
        if not args.json:
            show(finding)
    problems = sum(finding.mark == "problem" for finding in findings)
    if args.json:
        found = [asdict(finding) for finding in findings]
        print_json({"problems": problems, "hardware": asdict(hardware), "findings": found})
    else:
        say(f"{problems} problem{'s were' if problems > 1 else ' was'} found." if problems else "No problem was found.")
    return 1 if problems else 0


def check_configuration(app: App) -> Iterator[Finding]:
    """Say what is wrong with the settings, if anything is; the rest is then examined with the defaults."""
    from cagchat.errors import ConfigError, StorageError

    try:
        assert app.settings
    except (ConfigError, StorageError) as error:
        yield Finding("problem", "settings", error.message, error.hint)
        app.take_defaults()


def show(finding: Finding) -> None:
    """Print one line, and below it what to do."""
    from cagchat.sessions.naming import one_line

    print(f"{finding.mark:<8} {finding.about:<12} {one_line(finding.text)}", flush=True)
    if finding.mend:
        print(f"{'':<22}{one_line(finding.mend)}", flush=True)


def examine(app: App, hardware: Hardware, *, trial: bool) -> Iterator[Finding]:
    """Return every finding, in the order in which things depend on each other."""
    from cagchat import __version__
    from cagchat.cli.books import standings
    from cagchat.cli.doctor import kept, machine, model
    from cagchat.engine.fastpath import Verdicts, machine_name

    yield Finding("ok", "cagchat", f"{__version__}, Python {platform.python_version()} on {platform.platform()}")
    yield from check_configuration(app)
    yield from machine.check_processor(app.settings, hardware)
    yield from machine.check_memory(hardware)
    yield from machine.check_gpus(hardware)
    yield from machine.check_library(hardware)
    verdicts = Verdicts(app.locations.cache / "kernels.json").all()
    yield from machine.check_kernels(app.settings.fast_kernels, verdicts, machine_name())
    yield from model.check_model(app, hardware)
    yield from kept.check_folders(app.locations)
    yield from kept.check_states(standings(app), app)
    yield from kept.check_chats(app.locations.sessions_db)
    yield from kept.check_environment(app)
    if trial:
        yield from model.check_engine(app.backend, app.settings, app.locations, fake=app.fake)

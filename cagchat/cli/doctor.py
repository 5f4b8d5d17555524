"""`cagchat doctor`: what was found on this machine, what is wrong with it, and the command that mends it."""

from __future__ import annotations

import argparse
import os
import platform
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from cagchat.cli.books import standings, states_of
from cagchat.cli.options import add_engine, add_json
from cagchat.cli.tables import print_json

if TYPE_CHECKING:
    from cagchat.cli.app import App
    from cagchat.engine.backend import Backend
    from cagchat.engine.fastpath import Verdict
    from cagchat.engine.llama import System
    from cagchat.engine.protocol import Engine, Finish
    from cagchat.locations import Locations
    from cagchat.settings import Settings
    from cagchat.states.upkeep import Standing

Mark = Literal["ok", "note", "problem"]

LOW_DISK_BYTES = 2e9  # less holds hardly one book's state
TRIAL_PROMPT = "Once upon a time, in a house by the sea, there lived"
TRIAL_TOKENS = 16
TRIAL_CONTEXT = 512
MEMINFO = Path("/proc/meminfo")


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report; `mend` is the command, or the sentence, that makes a problem go away."""

    mark: Mark
    about: str
    text: str
    mend: str = ""


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

    if args.retry_kernels:
        Verdicts(app.locations.cache / "kernels.json").forget()
        say("What was known about the fast kernels is forgotten; they are tried again with the next book.")
    findings = []
    for finding in examine(app, trial=args.trial):
        findings.append(finding)
        if not args.json:
            show(finding)
    problems = sum(finding.mark == "problem" for finding in findings)
    if args.json:
        print_json({"problems": problems, "findings": [asdict(finding) for finding in findings]})
    else:
        say(f"{problems} problem{'s were' if problems > 1 else ' was'} found." if problems else "No problem was found.")
    return 1 if problems else 0


def show(finding: Finding) -> None:
    """Print one line, and below it what to do."""
    from cagchat.sessions.naming import one_line

    print(f"{finding.mark:<8} {finding.about:<12} {one_line(finding.text)}", flush=True)
    if finding.mend:
        print(f"{'':<22}{one_line(finding.mend)}", flush=True)


def examine(app: App, *, trial: bool) -> Iterator[Finding]:
    """Return every finding, in the order in which things depend on each other."""
    from cagchat.engine.fastpath import Verdicts, machine_name

    yield Finding("ok", "cagchat", f"{version()}, Python {platform.python_version()} on {platform.platform()}")
    yield from check_library()
    yield from check_processor(app.settings)
    memory = memory_bytes()
    yield from check_memory(memory)
    verdicts = Verdicts(app.locations.cache / "kernels.json").all()
    yield from check_kernels(app.settings.fast_kernels, verdicts, machine_name())
    yield from check_model(app, memory)
    yield from check_folders(app.locations)
    yield from check_states(standings(app), app)
    yield from check_chats(app.locations.sessions_db)
    yield from check_environment(app)
    if trial:
        yield from check_engine(app.backend, app.settings, app.locations, fake=app.fake)


# -- program and machine -----------------------------------------------------------------------------------------------


def version() -> str:
    """Return cagchat's version."""
    from cagchat import __version__

    return __version__


def required_library() -> str:
    """Return the version of llama-cpp-python that cagchat asks for; empty when cagchat is not an installed package."""
    import re
    from importlib.metadata import PackageNotFoundError, requires

    try:
        wanted = requires("cagchat") or []
    except PackageNotFoundError:
        return ""
    found = (re.match(r"llama[-_]cpp[-_]python\s*==\s*([\w.]+)", requirement) for requirement in wanted)
    return next((match[1] for match in found if match), "")


def load_library() -> System:
    """Load llama.cpp in a process of its own. Raises `EngineError`, or `EngineDied` with the last lines it wrote."""
    from cagchat.engine.child import Child
    from cagchat.engine.wire import Start

    child = Child(Start("system", ()))
    try:
        system: System = child.greeting()
        return system
    finally:
        child.close()


def check_library(load: Callable[[], System] = load_library, wanted: str | None = None) -> Iterator[Finding]:
    """Say whether llama.cpp can be loaded, and what it was built for; `wanted` is the version asked for."""
    from cagchat.errors import EngineDied, EngineError

    wanted = required_library() if wanted is None else wanted
    install = f"pip install --force-reinstall llama-cpp-python{f'=={wanted}' if wanted else ''}"
    try:
        system = load()
    except EngineDied as died:
        last = f" {died.log_lines[-1]}" if died.log_lines else ""
        yield Finding("problem", "llama.cpp", f"llama-cpp-python cannot be loaded ({died.reason}).{last}", install)
        return
    except EngineError as error:
        yield Finding("problem", "llama.cpp", error.message, install)
        return
    yield Finding("ok", "llama.cpp", f"llama-cpp-python {system.version}; {system.features}")
    if wanted and system.version != wanted:
        yield Finding(
            "note", "llama.cpp", f"This cagchat was checked with {wanted}: saved states are proved anew.", install
        )
    if system.gpu_offload:
        yield Finding("ok", "GPU", "this build of llama.cpp can put layers on a GPU")
    else:
        yield Finding("note", "GPU", "this build of llama.cpp computes on the processor only")


def check_processor(settings: Settings) -> Iterator[Finding]:
    """Say what computes, and with how many threads."""
    from cagchat.engine.fastpath import processor_name
    from cagchat.engine.llama import default_threads

    cores, usable = os.cpu_count() or 1, default_threads() + 1
    threads = settings.threads or default_threads()
    yield Finding("ok", "processor", f"{processor_name()}, {cores} cores, {threads} threads used")
    if threads > max(usable, cores):
        yield Finding("note", "processor", "More threads than cores make it slower.", "cagchat config unset threads")


def memory_bytes(meminfo: Path = MEMINFO) -> tuple[int, int] | None:
    """Return how much memory there is and how much of it is free for programs; None where the system does not say."""
    try:
        lines = dict(line.split(":", 1) for line in meminfo.read_text().splitlines() if ":" in line)
        total, free = (1024 * int(lines[name].split()[0]) for name in ("MemTotal", "MemAvailable"))
        return total, free
    except (OSError, KeyError, ValueError, IndexError):
        pass
    try:
        page = os.sysconf("SC_PAGE_SIZE")
        return page * os.sysconf("SC_PHYS_PAGES"), page * os.sysconf("SC_AVPHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return None


def check_memory(memory: tuple[int, int] | None) -> Iterator[Finding]:
    """Say how much memory there is."""
    from cagchat.proof import size

    if memory is None:
        yield Finding("note", "memory", "this system does not say how much there is")
    else:
        yield Finding("ok", "memory", f"{size(memory[0])}, {size(memory[1])} of it free")


def check_kernels(policy: str, verdicts: list[Verdict], machine: str) -> Iterator[Finding]:
    """Say what is remembered about llama.cpp's fast kernels here."""
    if policy != "auto":
        yield Finding("note", "kernels", f"the fast ones are switched {policy} by the setting fast_kernels")
        return
    here = [verdict for verdict in verdicts if verdict.machine == machine]
    if not here:
        yield Finding("ok", "kernels", "the fast ones were not tried here yet")
    for verdict in here:
        if verdict.works:
            yield Finding("ok", "kernels", f"the fast ones work with {verdict.model} bytes")
        else:
            text = f"the fast ones crashed ({verdict.reason}) with {verdict.model} bytes; the safe ones are used"
            yield Finding("note", "kernels", text, "cagchat doctor --retry-kernels")


# -- model -------------------------------------------------------------------------------------------------------------


def check_model(app: App, memory: tuple[int, int] | None) -> Iterator[Finding]:
    """Say which model is used, from the header of its file; its weights are not read."""
    from cagchat.errors import ModelError
    from cagchat.models.find import resolve_model
    from cagchat.models.gguf import read_header
    from cagchat.proof import size

    if app.fake:
        yield Finding("note", "model", "the engine without a model was asked for")
        return
    try:
        header = read_header(resolve_model(app.settings.model, app.locations.models))
        size_bytes = sum(path.stat().st_size for path in header.part_paths)
    except ModelError as error:
        yield Finding("problem", "model", error.message, error.hint)
        return
    except OSError as error:
        yield Finding("problem", "model", f"{error.filename}: {error.strerror}.", "Fetch the missing part again.")
        return
    template = "has a chat template" if header.chat_template else "has no chat template"
    context = f"context {header.context_length:,}" if header.context_length else "context unknown"
    yield Finding("ok", "model", f"{header.name}, {header.architecture}, {size(size_bytes)}, {context}, {template}")
    yield Finding("ok", "model file", str(header.path))
    if not header.chat_template:
        yield Finding("note", "model", "Without a chat template it may not be made for conversations.")
    if memory and size_bytes > memory[0]:
        yield Finding("note", "model", f"It takes {size(size_bytes)}; there is {size(memory[0])} of memory.")


def check_engine(
    backend: Backend, settings: Settings, locations: Locations, *, fake: bool = False
) -> Iterator[Finding]:
    """Start the engine and let it continue a sentence."""
    from cagchat.engine.protocol import EngineSettings
    from cagchat.errors import CagchatError, EngineDied
    from cagchat.models.find import resolve_model

    notices: list[str] = []
    try:
        model = Path("fake.gguf") if fake else resolve_model(settings.model, locations.models)
        wanted = EngineSettings(
            model=model,
            n_context=TRIAL_CONTEXT,
            n_batch=min(settings.batch, TRIAL_CONTEXT),
            kv_type=settings.kv_type,
            threads=settings.threads,
            gpu_layers=settings.gpu_layers,
        )
        engine = backend.open_engine(wanted, notices.append)
    except CagchatError as error:
        yield Finding("problem", "trial", error.message, error.hint)
        return
    try:
        n_prompt, n_decoded, finish = decode(engine)
    except EngineDied as died:
        known = backend.crashed(engine, died)
        last = f" {died.log_lines[-1]}" if died.log_lines else ""
        mend = "cagchat doctor --try" if known else "Choose another model with --model PATH."
        yield Finding("problem", "trial", f"{died.message}{last} {known}".strip(), mend)
        return
    except CagchatError as error:
        yield Finding("problem", "trial", error.message, error.hint)
        return
    finally:
        engine.close()
    for notice in notices:
        yield Finding("note", "trial", notice)
    speeds = f"{per_second(n_prompt, finish.first_token_s)} reading, {per_second(n_decoded, finish.decode_s)} answering"
    yield Finding("ok", "trial", f"the engine answers: {n_prompt} tokens read, {n_decoded} decoded; {speeds}")


def decode(engine: Engine) -> tuple[int, int, Finish]:
    """Let an engine continue a sentence; return the tokens read, those decoded, and how it ended."""
    from cagchat.engine.protocol import CHAT, Finish, Sampling
    from cagchat.errors import EngineError

    prompt = engine.tokenize([TRIAL_PROMPT], special=False)[0]
    for decoded, item in enumerate(engine.generate(CHAT, prompt, Sampling(), max_tokens=TRIAL_TOKENS)):
        if isinstance(item, Finish):
            return len(prompt), decoded, item
    raise EngineError("The engine's answer had no end.", "Try again.")


def per_second(count: int, seconds: float) -> str:
    """Return a speed in tokens, in words."""
    return f"{count / seconds:,.0f} tok/s" if seconds > 0 else "no speed"


# -- what is kept ------------------------------------------------------------------------------------------------------


def check_folders(locations: Locations) -> Iterator[Finding]:
    """Look at the folders that cagchat writes to; those that hold books are nobody else's business."""
    yield from check_folder("config", locations.config, private=False)
    yield from check_folder("data", locations.data)
    yield from check_folder("states", locations.states)
    yield from check_folder("cache", locations.cache)


def check_folder(about: str, folder: Path, *, private: bool = True) -> Iterator[Finding]:
    """Say whether a folder can be written (or made), whether others can look into it, and how much room it has."""
    from cagchat.proof import size

    there = next((path for path in (folder, *folder.parents) if path.exists()), folder)
    if not there.is_dir():
        yield Finding("problem", about, f"{there} is not a folder.", "Move that file away, or set CAGCHAT_HOME.")
        return
    if not os.access(there, os.W_OK | os.X_OK):
        yield Finding("problem", about, f"{there} cannot be written.", f"chmod u+rwx {there}")
        return
    try:
        free = shutil.disk_usage(there).free
    except OSError as error:
        yield Finding("problem", about, f"{there}: {error.strerror}.", "Set CAGCHAT_HOME to another folder.")
        return
    made = "" if there == folder else ", made when it is needed"
    if private and not made and os.name != "nt" and folder.stat().st_mode & 0o077:
        yield Finding("problem", about, f"Other users of this machine can look into {folder}.", f"chmod 700 {folder}")
    elif free < LOW_DISK_BYTES:
        yield Finding("note", about, f"{folder} has only {size(free)} free.", "cagchat library prune")
    else:
        yield Finding("ok", about, f"{folder}{made}, {size(free)} free")


def check_states(standings: list[Standing], app: App) -> Iterator[Finding]:
    """Say how many states there are, what they take, and which of them are no longer good."""
    from cagchat.proof import size
    from cagchat.states.upkeep import aside

    put_aside = list(aside(states_of(app)))
    used = sum(s.size_bytes for s in standings) + sum(a.size_bytes for a in put_aside)
    budget = int(app.settings.disk_budget_gb * 1e9)
    text = f"{len(standings)} saved, {size(used)} of {size(budget)}"
    if used > budget:
        yield Finding("note", "library", f"{text}: more than the budget", "cagchat library prune")
    else:
        yield Finding("ok", "library", text)
    for standing in standings:
        if standing.status == "outdated":
            yield Finding("note", "library", f"{standing.folder.name} {standing.text}")
    if put_aside:
        room = size(sum(a.size_bytes for a in put_aside))
        yield Finding("note", "library", f"{len(put_aside)} set aside, {room}", "cagchat library prune")


def check_chats(path: Path) -> Iterator[Finding]:
    """Look at the chats' database without changing it."""
    import sqlite3
    from contextlib import closing

    from cagchat.sessions.schema import MIGRATIONS, damage, user_version

    if not path.exists():
        yield Finding("ok", "chats", "none yet")
        return
    if os.name != "nt" and path.stat().st_mode & 0o077:
        yield Finding("problem", "chats", f"Other users of this machine can read {path}.", f"chmod 600 {path}")
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as db:
            if reason := damage(db):
                mend = "cagchat sessions sets the file aside and begins a new one; nothing is deleted."
                yield Finding("problem", "chats", f"{path} is damaged: {reason}.", mend)
                return
            number = user_version(db)
            if number > len(MIGRATIONS):
                text = f"{path} was written by a newer cagchat (format {number}, this one knows {len(MIGRATIONS)})."
                yield Finding("problem", "chats", text, "pip install --upgrade cagchat")
                return
            count = db.execute("SELECT count(*) FROM sessions").fetchone()[0] if number else 0
    except sqlite3.Error as error:
        yield Finding("problem", "chats", f"{path} cannot be read: {error}.", f"chmod u+rw {path}")
        return
    yield Finding("ok", "chats", f"{count} in {path}, format {number}, sound")


def check_environment(app: App, environ: Mapping[str, str] = os.environ) -> Iterator[Finding]:
    """Say which variables and which file change what cagchat does."""
    from cagchat.engine.rotation import VARIABLE, rotated

    file = app.locations.config_file
    yield Finding("ok", "settings", f"{file}" if file.exists() else f"no file at {file}")
    if home := environ.get("CAGCHAT_HOME"):
        yield Finding("ok", "variable", f"CAGCHAT_HOME is {home}")
    for name, origin in app.resolved.origins.items():
        if origin in environ:
            yield Finding("ok", "variable", f"{origin} decides {name}: {getattr(app.settings, name)}")
    if not rotated("q8_0", environ):
        text = f"{VARIABLE} is set: states with a quantised KV cache that were made without it do not fit."
        yield Finding("note", "variable", text, f"unset {VARIABLE}")

"""The engine asked for too much, or ended while it works: the program goes on, and says what to lower.

Faults are made inside the engine's process: memory runs out by a real limit, allocations fail, loading aborts, the
process is killed. Each is met by the commands and by the terminal app; the same book is then opened with less, or
without the fault.
"""

from __future__ import annotations

import contextlib
import os
import pty
import re
import resource
import select
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any
from unittest import mock

from textual.pilot import Pilot

from cagchat.bench.synth import Architecture, write_model
from cagchat.cli.main import main
from cagchat.conversation import AskOptions
from cagchat.engine import serve
from cagchat.engine.backend import LlamaBackend
from cagchat.engine.protocol import Sampling
from cagchat.engine.wire import Start
from cagchat.settings import Settings
from cagchat.tui.error_card import ErrorCard
from tests.reading_cases import SETTINGS, chapters, locations
from tests.torture.sharing import command
from tests.torture.trial import Part, Report, Terms
from tests.tui.pilot import Desktop, ask, text_of, wait_until
from tests.tui.pilot import run as run_app

ROOT = Path(__file__).parents[2]
COMMAND = "--command"  # this module as a program: a command of cagchat whose engine has a fault, else the engine
QUESTION = "Who keeps the ledger?"
PATIENCE_S = 120.0
MiB = 1 << 20
BUILD, LOAD, ALLOCATE, DECODE = "build", "llama_model_load_from_file", "llama_init_from_model", "llama_decode"
MEMORY_HINT = r"--kv|chat_tokens|batch|smaller"
MODEL_HINT = r"--model"


@dataclass(frozen=True, slots=True)
class Fault:
    """What goes wrong in the engine's process: `what` at the function `where`, from its call number `call` on.

    `what` is "memory" (no more than `size` bytes beyond what is in use there), "nothing" (it prints and returns NULL,
    or a negative status), or what ends the process: "abort", "kill", "segv", "bad_alloc", "MemoryError".
    """

    what: str
    where: str = BUILD
    size: int = 0
    call: int = 1

    def words(self) -> list[str]:
        """Return the fault as words of a command line."""
        return [self.what, self.where, str(self.size), str(self.call)]


@dataclass(frozen=True, slots=True)
class Trial:
    """A fault, the flags it is met with, what must be said, and the flags with which the book opens all the same.

    `mended` None means: with the same flags, once the fault is gone.
    """

    name: str
    fault: Fault
    message: str
    hint: str
    flags: tuple[str, ...] = ()
    mended: tuple[str, ...] | None = None


# The tiny model takes 4 KiB of f16 cache a token; 40,000 tokens are 160 MiB, 45 MiB as q4_0.
TRIALS = (
    Trial(
        "a cache that does not fit",
        Fault("memory", size=150 * MiB),
        r"4\d,\d\d\d tokens with f16 KV.*alloc",
        MEMORY_HINT,
        ("--chat-tokens", "40000", "--batch", "64", "--kv", "f16"),
        ("--chat-tokens", "40000", "--batch", "64", "--kv", "q4_0"),
    ),
    Trial(
        "a compute buffer that does not fit",
        Fault("memory", size=150 * MiB),
        r"3\d,\d\d\d tokens.*alloc",
        MEMORY_HINT,
        ("--chat-tokens", "30000", "--batch", "8192", "--kv", "q8_0"),  # f16 would be read in batches of 64 anyway
        ("--chat-tokens", "30000", "--batch", "64", "--kv", "q8_0"),
    ),
    Trial(
        "a model that cannot be mapped",
        Fault("memory", size=4 * MiB),
        r"cannot load .*(memory|alloc)",
        r"smaller model",
    ),
    Trial("a process without memory", Fault("MemoryError"), r"[Mm]emory", r"chat_tokens|--model"),
    Trial("a loader that aborts", Fault("abort", LOAD), r"SIGABRT.*GGML_ASSERT", MODEL_HINT),
    Trial("a loader that throws", Fault("bad_alloc", LOAD), r"SIGABRT.*bad_alloc.*smaller", MODEL_HINT),
    Trial("a loader that faults", Fault("segv", LOAD), r"SIGSEGV", MODEL_HINT),
    Trial("a loader that returns nothing", Fault("nothing", LOAD), r"cannot load", MODEL_HINT),
    Trial("a process killed while it loads", Fault("kill", LOAD), r"SIGKILL.*memory.*smaller", MODEL_HINT),
    Trial("a process killed while it allocates", Fault("kill", ALLOCATE), r"SIGKILL.*memory.*--kv", MODEL_HINT),
    Trial("a context that comes back empty", Fault("nothing", ALLOCATE), r"context of [\d,]+ tokens", MEMORY_HINT),
    Trial("a batch that finds no memory", Fault("nothing", DECODE), r"status -2", MEMORY_HINT),
    Trial("a batch that aborts", Fault("abort", DECODE, call=2), r"SIGABRT.*GGML_ASSERT", r"same command"),
    Trial("a process killed while it reads", Fault("kill", DECODE, call=2), r"SIGKILL.*--kv", r"same command"),
)
# Numbers in a header over which llama.cpp ends its process; our own reading refuses them, which is switched off here.
CONTRADICTIONS: tuple[tuple[Architecture, str, int], ...] = (
    ("qwen35moe", "expert_used_count", 9),
    ("qwen35", "ssm.inner_size", 255),
    ("qwen35", "full_attention_interval", 0),
    ("qwen35", "rope.dimension_count", 31),
    ("qwen3", "block_count", 513),
    ("qwen3", "attention.head_count_kv", (1 << 29) + 1),
    ("gemma3", "attention.sliding_window", (1 << 31) - 1),
)


# -- inside the engine's process ---------------------------------------------------------------------------------------


def be_faulty(fault: Fault) -> None:
    """Make the fault in this process, which is the engine's."""
    if fault.where == BUILD:
        sound = serve.build

        def build(start: Start) -> tuple[Any, Any]:
            if start.kind == "llama":
                strike(fault)
            return sound(start)

        serve.build = build
        return
    from cagchat.engine.bindings import bindings

    ll = bindings()
    called, calls = getattr(ll, fault.where), 0

    def call(*arguments: Any) -> Any:
        nonlocal calls
        calls += 1
        loads_words = fault.where == LOAD and arguments[1].vocab_only
        if calls < fault.call or loads_words:
            calls -= loads_words
            return called(*arguments)
        strike(fault)
        return -2 if fault.where == DECODE else None

    setattr(ll, fault.where, call)


def strike(fault: Fault) -> None:
    """Do what is wrong, now."""
    match fault.what:
        case "memory":
            words = Path("/proc/self/statm").read_text().split()
            limit = int(words[0]) * resource.getpagesize() + fault.size
            resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        case "nothing":
            print("llama: something was printed and nothing done", file=sys.stderr, flush=True)
        case "MemoryError":
            raise MemoryError
        case "abort":
            print("ggml.c:1: GGML_ASSERT(n_dims > 0 && n_dims <= 4) failed", file=sys.stderr, flush=True)
            os.abort()
        case "bad_alloc":
            print("terminate called after throwing\n  what():  std::bad_alloc", file=sys.stderr, flush=True)
            os.abort()
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "segv":
            os.kill(os.getpid(), signal.SIGSEGV)


# -- outside of it -----------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def faulty(fault: Fault | None) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Start every engine of a block with the fault; yields the list of their processes. None starts sound ones."""
    started: list[subprocess.Popen[bytes]] = []

    def spawn(kind: str) -> tuple[subprocess.Popen[bytes], IO[bytes]]:
        log = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the process, as in engine.child
        words = fault.words() if fault else []
        started.append(
            subprocess.Popen(
                [sys.executable, "-X", "faulthandler", "-m", "tests.torture.engine", kind, *words],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,
                cwd=ROOT,
            )
        )
        return started[-1], log

    with mock.patch("cagchat.engine.child._spawn", spawn):
        yield started


def flags_for(model: Path) -> tuple[str, ...]:
    """Return the flags of every command here."""
    return ("--model", str(model), "--fast-kernels", "off", "--threads", "1", "--temperature", "0", "--max-tokens", "4")


def asked(book: Path, model: Path, flags: tuple[str, ...], fault: Fault | None) -> tuple[int, str, str, list[int]]:
    """Ask a question in this process; return code, both outputs, and the engines that still run after it."""
    with faulty(fault) as started:
        code, out, err = command("ask", str(book), QUESTION, *flags_for(model), *flags)
    alive = [child.pid for child in started if child.poll() is None]
    for child in started:
        if child.poll() is None:
            child.kill()
            child.wait()
    return code, out, err, alive


def check_failure(name: str, met: tuple[int, str, str, list[int]], message: str, hint: str, report: Report) -> None:
    """The command ended with 1, one sentence that says what failed, and a hint that says what to do."""
    code, out, err, alive = met
    said = [line for line in err.splitlines() if line.startswith("cagchat: ")]
    hints = [line for line in err.splitlines() if line.startswith("  hint: ")]
    if code != 1 or out or len(said) != 1 or len(hints) != 1 or "Traceback" in err or "error of its own" in err:
        report.broken.append(f"{name}: code {code}, {out!r}, {err[-900:]!r}")
    elif not re.search(message, said[0]) or not re.search(hint, hints[0]):
        report.broken.append(f"{name} was told as {said[0]!r} with {hints[0]!r}.")
    elif not said[0].endswith("."):
        report.broken.append(f"{name} was told in no sentence: {said[0]!r}.")
    if alive:
        report.broken.append(f"{name} left engines running: {alive}.")


def by_command(terms: Terms, report: Report, model: Path) -> None:
    """Meet each fault by `cagchat ask`, then ask again with less or without it."""
    chosen = terms.chance("engine").sample(TRIALS, terms.rounds(len(TRIALS), least=2))
    for number, trial in enumerate(chosen):
        folder = terms.folder / f"ask-{number}"
        folder.mkdir()
        book = folder / "harbour.txt"
        book.write_text(chapters(3), encoding="utf-8")
        flags = trial.flags or ("--chat-tokens", "512", "--batch", "64")
        with mock.patch.dict(os.environ, {"CAGCHAT_HOME": str(folder / "home")}):
            check_failure(trial.name, asked(book, model, flags, trial.fault), trial.message, trial.hint, report)
            report.counts["faults met by `ask`"] += 1
            fault = None if trial.mended is None else trial.fault
            code, out, err, _ = asked(book, model, trial.mended or flags, fault)
            if code or not out:
                report.broken.append(f"After {trial.name} nothing works: {err[-900:]!r}")
            report.counts["questions answered after it"] += 1
        left = [path.name for path in (folder / "home").rglob("*.partial")]
        report.broken += [f"{trial.name} left {name} behind." for name in left]


def by_damaged_model(terms: Terms, report: Report) -> None:
    """Load models over which llama.cpp ends its process, past our own check of their headers."""
    book = terms.folder / "damaged.txt"
    book.write_text(chapters(2), encoding="utf-8")
    for architecture, key, value in CONTRADICTIONS[: terms.rounds(len(CONTRADICTIONS))]:
        name = f"{architecture}.{key}"
        path = terms.folder / f"{name}.gguf"
        write_model(path, architecture, layers=6 if architecture == "gemma3" else 4, embed=64, heads=1, kv_heads=1)
        content = bytearray(path.read_bytes())
        at = content.index(name.encode()) + len(name) + 4
        content[at : at + 4] = struct.pack("<I", value)
        path.write_bytes(content)
        with (
            mock.patch.dict(os.environ, {"CAGCHAT_HOME": str(terms.folder / f"{name}-home")}),
            mock.patch("cagchat.models.gguf.contradictions", return_value=()),
        ):
            met = asked(book, path, ("--chat-tokens", "512", "--batch", "64"), None)
        report.counts["damaged models past the check"] += 1
        if "SIG" in met[2]:
            report.counts["of them that ended the engine's process"] += 1
        check_failure(f"A model with {key} {value}", met, r"", r"", report)


def in_the_app(terms: Terms, report: Report, model: Path) -> None:
    """Meet faults in the terminal app."""
    names = ("a cache that does not fit", "a loader that aborts", "a process killed while it reads")
    for trial in [trial for trial in TRIALS if trial.name in names][: terms.rounds(3)]:
        home = terms.folder / f"app-{trial.name.replace(' ', '-')}"
        home.mkdir()
        settings = replace(SETTINGS, model=str(model), **settings_of(trial.flags), max_tokens=4)
        show_failure(trial, home, settings, report)
        show_mended(trial, home, replace(settings, **settings_of(trial.mended or ())), report)


def show_failure(trial: Trial, home: Path, settings: Settings, report: Report) -> None:
    """A card in the app says what failed, and no engine is left after it."""

    async def drive(pilot: Pilot[None]) -> None:
        def carded() -> bool:
            return any(re.search(trial.message, str(card.content)) for card in pilot.app.screen.query(ErrorCard))

        await wait_until(pilot, carded, f"a card with {trial.message}")
        assert "Traceback" not in text_of(pilot)

    desktop = desktop_of(home, settings)
    with faulty(trial.fault) as started:
        attempt(report, f"{trial.name} in the app", lambda: run_app(desktop, drive))
    report.counts["faults met in the app"] += 1
    for child in started:
        if child.poll() is None:
            report.broken.append(f"{trial.name} left an engine running after the app.")
            child.kill()
            child.wait()


def show_mended(trial: Trial, home: Path, settings: Settings, report: Report) -> None:
    """With less, or once the fault is gone, the app opens the same book and answers."""

    async def drive(pilot: Pilot[None]) -> None:
        chat = await ask(pilot, QUESTION)
        await wait_until(pilot, lambda: bool(chat.transcript.turns), "an answer")

    desktop = desktop_of(home, settings)
    with faulty(trial.fault if trial.mended else None):
        attempt(report, f"After {trial.name} the app", lambda: run_app(desktop, drive))


def desktop_of(home: Path, settings: Settings) -> Desktop:
    """Return the parts of an app with llama.cpp's engine, which answers briefly."""
    backend = LlamaBackend(locations(home), fast_kernels="off")
    return Desktop(home, backend, settings, text=chapters(3), answering=AskOptions(Sampling(), max_tokens=4))


def in_a_terminal(terms: Terms, report: Report, model: Path) -> None:
    """Meet faults by `cagchat open --plain` in a terminal of its own, which is left as it was found."""
    for trial in [trial for trial in TRIALS if trial.fault.where == LOAD][: terms.rounds(3)]:
        folder = terms.folder / f"terminal-{trial.name.replace(' ', '-')}"
        folder.mkdir()
        book = folder / "harbour.txt"
        book.write_text(chapters(3), encoding="utf-8")
        master, slave = pty.openpty()
        before = termios.tcgetattr(slave)
        with subprocess.Popen(
            [sys.executable, "-m", "tests.torture.engine", COMMAND, *trial.fault.words(), "open", str(book), "--plain"]
            + [*flags_for(model), "--chat-tokens", "512", "--batch", "64"],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            cwd=ROOT,
            env=os.environ | {"CAGCHAT_HOME": str(folder / "home")},
        ) as process:
            watchdog = threading.Timer(PATIENCE_S, process.kill)
            watchdog.start()
            shown = b""
            while process.poll() is None or select.select([master], [], [], 0)[0]:
                if select.select([master], [], [], 0.1)[0]:
                    shown += os.read(master, 1 << 16)
            watchdog.cancel()
        after = termios.tcgetattr(slave)
        os.close(slave)
        os.close(master)
        report.counts["faults met in a terminal"] += 1
        text = shown.decode(errors="replace").replace("\r\n", "\n")
        check_failure(
            f"{trial.name} in a terminal", (process.returncode, "", text, []), trial.message, trial.hint, report
        )
        if after != before:
            report.broken.append(f"{trial.name} left the terminal changed.")


def settings_of(flags: tuple[str, ...]) -> dict[str, Any]:
    """Return the settings that flags of the command line stand for."""
    names = {"--chat-tokens": ("chat_tokens", int), "--batch": ("batch", int), "--kv": ("kv_type", str)}
    pairs = zip(flags[::2], flags[1::2], strict=True)
    return {names[flag][0]: names[flag][1](value) for flag, value in pairs}


def attempt(report: Report, what: str, do: Callable[[], object]) -> None:
    """Do something that may fail as a test fails, and report that."""
    try:
        with mock.patch("tests.tui.pilot.DEADLINE_S", PATIENCE_S):
            do()
    except AssertionError as failure:
        report.broken.append(f"{what}: {failure}")


def run(terms: Terms) -> Report:
    """Do all of it."""
    report = Report()
    model = write_model(terms.folder / "tiny.gguf", "qwen3", context=1 << 17)
    by_command(terms, report, model)
    by_damaged_model(terms, report)
    in_a_terminal(terms, report, model)
    in_the_app(terms, report, model)
    return report


PART = Part(
    "engine", "too much asked of the engine, failed allocations, aborts and kills while it loads and reads", run
)


if __name__ == "__main__":
    if sys.argv[1] == COMMAND:
        with faulty(Fault(sys.argv[2], sys.argv[3], int(sys.argv[4]), int(sys.argv[5]))):
            sys.exit(main(sys.argv[6:]))
    if sys.argv[2:]:
        be_faulty(Fault(sys.argv[2], sys.argv[3], int(sys.argv[4]), int(sys.argv[5])))
    sys.argv[1:] = sys.argv[1:2]
    serve.main()

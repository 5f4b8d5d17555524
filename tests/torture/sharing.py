"""Two and ten processes on one library at once: what each is told is true, and what is left behind is sound.

Each process is a visitor: it runs commands one after another, as somebody in a terminal would, and writes down what
came of each. Engines are the one without a model, which is quick and says what it read, and for some visitors a tiny
one of llama.cpp.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import faulthandler
import fcntl
import io
import json
import os
import random
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import cagchat.engine.backend
from cagchat.bench.synth import write_model
from cagchat.cli.main import main
from cagchat.engine.backend import FakeBackend, Notify
from cagchat.engine.fake import FakeEngine, FakeScript
from cagchat.engine.protocol import BOOK, Engine, EngineSettings, Progress, Tokens
from cagchat.locations import Locations, locate
from cagchat.sessions.store import Sessions
from cagchat.states.lock import held
from cagchat.states.pruning import reason
from cagchat.states.store import States
from cagchat.states.verifying import verify
from tests.reading_cases import chapters
from tests.torture.trial import Part, Report, Terms

ROOT = Path(__file__).parents[2]
PATIENCE_S = 300.0  # without an end, a visitor says where it hangs
BATCH_S, TOKEN_S = 0.004, 0.0005
QUESTIONS = ("Who was not on the ferry?", "How many lanterns along the quay?", "What did the baker not know?")
READING = ("--chat-tokens", "2048")
ANSWERING = ("--temperature", "0", "--seed", "7", "--evidence", "off")
# What one process may be told because another was there: the state it names has just gone, is being read, or is open.
EXPECTED = re.compile(
    r"No saved book is called|There are no saved|is being read by another process|There is no chat about"
    r"|is open in a chat"
    r"|was deleted by another process|cannot be (read|opened): No such file|book\.txt cannot be read"
    r"|tokens\.bin cannot be read|has no saved state"
)
STATE_NAME = re.compile(r"harbour-\d-[0-9a-f]{12}(?=[:\"])")
LOCKLESS = {"ENOLCK": errno.ENOLCK, "EOPNOTSUPP": errno.EOPNOTSUPP, "ENOSYS": errno.ENOSYS, "granted to all": 0}


@dataclass(frozen=True, slots=True)
class Deed:
    """One command of a visitor and what came of it."""

    visitor: int
    kind: str
    book: str
    code: int
    out: str
    err: str


# -- a visitor, in a process of its own --------------------------------------------------------------------------------


class WatchedBackend(FakeBackend):
    """Makes engines that stand guard over the book they read."""

    guard: Path  # set for the process: a file that stands there while a book is being read

    def __init__(self, script: FakeScript | None = None) -> None:
        super().__init__(FakeScript(batch_s=BATCH_S, token_s=TOKEN_S))

    def open_engine(self, settings: EngineSettings, notify: Notify) -> Engine:
        return WatchedEngine(settings, self.script)


class WatchedEngine(FakeEngine):
    """An engine that writes down when another process reads the same book at the same time."""

    def evaluate(self, sequence: int, tokens: Tokens) -> Iterator[Progress]:
        for progress in super().evaluate(sequence, tokens):
            if sequence == BOOK:
                with guarded(WatchedBackend.guard):
                    time.sleep(BATCH_S)
            yield progress


@contextlib.contextmanager
def guarded(path: Path) -> Iterator[None]:
    """Put a file there for the length of a block; say so in another when one stands there already."""
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError:
        path.with_suffix(".twice").touch()
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def command(*arguments: str) -> tuple[int, str, str]:
    """Run a command in this process; return its code and what it printed."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = main(list(arguments))
        except SystemExit as exit_:
            code = int(exit_.code or 0)
    return code, out.getvalue(), err.getvalue()


def flags_of(model: str) -> tuple[str, ...]:
    """Return the flags of every command that starts an engine."""
    return (*READING, "--model", model, "--fast-kernels", "off", "--threads", "1") if model else (*READING, "--fake")


def choose(chance: random.Random, book: Path, model: str, chat: str) -> tuple[str, tuple[str, ...]]:
    """Draw what a visitor does next with a book: its kind, and the command."""
    question = chance.choice(QUESTIONS)
    flags = flags_of(model)
    ask = ("ask", str(book), question, "--json", *flags, *ANSWERING, "--max-tokens", "8" if model else "200")
    deeds: list[tuple[int, str, tuple[str, ...]]] = [
        (40, f"ask {question}", ask),
        (10 if chat else 0, f"go on {question}", (*ask, "--session", chat)),
        (6 if chat else 0, "rename", ("sessions", "rename", chat, f"Chat of {chance.randrange(1000)}")),
        (6, "read", ("read", str(book), *flags)),
        (8, "list", ("library", "list", "--json")),
        (6, "verify", ("library", "verify", "--json")),
        (10, "rm", ("library", "rm", "-y", chance.choice(saved_of(book)))),
        (3, "prune", ("library", "prune", "-y", "--json")),
        (1, "prune all", ("library", "prune", "-y", "--budget", "0", "--json")),
        (5, "sessions", ("sessions", "list", "--json")),
        (5, "search", ("sessions", "search", "lanterns", "--json")),
    ]
    return chance.choices([deed[1:] for deed in deeds], [deed[0] for deed in deeds])[0]


def saved_of(book: Path) -> list[str]:
    """Return the names of a book's states, its file's when it has none."""
    names = sorted(state.name for state in States(locate().states).all())
    return [name for name in names if name.startswith(book.stem)] or [str(book)]


def visit(folder: Path, number: int, seed: str, count: int, model: str) -> None:
    """Run `count` commands and write each down."""
    chance = random.Random(f"{seed} {number}")
    books = sorted((folder / "books").glob("*.txt"))[: 1 if model else None]  # llama.cpp takes its time
    chats: dict[Path, str] = {}
    with (folder / f"visitor-{number}.jsonl").open("w") as log:
        for _ in range(count):
            book = chance.choice(books)
            WatchedBackend.guard = folder / f"{book.stem}.guard"
            kind, arguments = choose(chance, book, model, chats.get(book, ""))
            code, out, err = command(*arguments)
            if kind.startswith("ask") and not code:
                chats[book] = str(json.loads(out)["session"])
            deed = Deed(number, f"llama {kind}" if model else kind, book.stem, code, out, err)
            log.write(json.dumps(asdict(deed)) + "\n")
            log.flush()


def start(folder: Path, number: int, seed: str, count: int, model: str = "") -> subprocess.Popen[str]:
    """Start a visitor."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("CAGCHAT_")}
    return subprocess.Popen(
        [sys.executable, "-m", "tests.torture.sharing", str(folder), str(number), seed, str(count), model],
        env=environ | {"CAGCHAT_HOME": str(folder / "home"), "OMP_NUM_THREADS": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )


# -- what they were told, and what they left ---------------------------------------------------------------------------


def visits(folder: Path, terms: Terms, report: Report, visitors: int, count: int, with_model: int) -> None:
    """Let visitors loose on one library, the last `with_model` of them with llama.cpp, and check everything."""
    books = folder / "books"
    books.mkdir(parents=True)
    for number in range(4):
        text = f"The harbour, part {number}. {number} boats lay in it.\n\n{chapters(4 + 2 * number, 4)}"
        (books / f"harbour-{number}.txt").write_text(text, encoding="utf-8")
    model = str(write_model(folder / "tiny.gguf", "qwen35", layers=4, embed=64, heads=1, kv_heads=1, feed_forward=64))
    known = {(deed.kind, deed.book): told(deed)["answer"] for deed in alone(folder, model if with_model else "")}
    seed = f"{terms.seed} {visitors}"
    running = []
    for number in range(visitors):
        real = number >= visitors - with_model
        running.append(start(folder, number, seed, max(2, count // 8) if real else count, model if real else ""))
    for number, process in enumerate(running):
        try:
            _, err = process.communicate(timeout=2 * PATIENCE_S)
        finally:
            process.kill()
            process.wait()
        if process.returncode:
            report.broken.append(f"Visitor {number} of {visitors} ended with {process.returncode}: {err[-2000:]}")
    deeds = [deed for number in range(visitors) for deed in written(folder, number)]
    check_deeds(deeds, known, report)
    check_reads(folder, deeds, report)
    check_left(folder, deeds, report)


def alone(folder: Path, model: str) -> list[Deed]:
    """Ask every question with nobody beside, in a home of its own: these are the right answers."""
    deeds = []
    with mock.patch.dict(os.environ, {"CAGCHAT_HOME": str(folder / "alone")}):
        for book in sorted((folder / "books").glob("*.txt")):
            for name in ("", *([model] if model and book.stem == "harbour-0" else [])):
                for question in QUESTIONS:
                    mark, length = ("llama ", "8") if name else ("", "200")
                    asked = ("ask", str(book), question, "--json", *flags_of(name), *ANSWERING, "--max-tokens", length)
                    code, out, err = command(*asked)
                    assert not code, err
                    deeds.append(Deed(-1, f"{mark}ask {question}", book.stem, code, out, err))
    return deeds


def written(folder: Path, number: int) -> list[Deed]:
    """Return what a visitor wrote down."""
    lines = (folder / f"visitor-{number}.jsonl").read_text().splitlines()
    return [Deed(**json.loads(line)) for line in lines]


def verb_of(deed: Deed) -> str:
    """Return what was done, without the question."""
    verb = deed.kind
    for question in QUESTIONS:
        verb = verb.removesuffix(question)
    return verb.strip()


def told(deed: Deed) -> dict[str, Any]:
    """Return the JSON that a command printed."""
    content: dict[str, Any] = json.loads(deed.out)
    return content


def check_deeds(deeds: list[Deed], known: dict[tuple[str, str], str], report: Report) -> None:
    """Every command ends well or with a sentence that fits, and every answer is the one given to a reader alone."""
    for deed in deeds:
        report.counts[f"commands: {verb_of(deed)}"] += 1
        who = f"Visitor {deed.visitor} ({deed.kind}, {deed.book})"
        if "Traceback" in deed.err or "error of its own" in deed.err:
            report.broken.append(f"{who} met a defect: {deed.err[-1500:]}")
        elif "were damaged" in deed.err or "is set aside" in deed.err:
            report.broken.append(f"{who} found damage where there was none: {deed.err[-600:]}")
        elif deed.code:
            report.counts["of them told that another was there"] += 1
            if not EXPECTED.search(deed.err):
                report.broken.append(f"{who} was told: {deed.err[-600:]}{deed.out[-600:]}")
        elif "ask " in deed.kind or "go on " in deed.kind:
            report.counts["answers compared"] += 1
            right = known[deed.kind.replace("go on", "ask"), deed.book]
            if deed.kind.startswith("llama go on"):
                continue  # the tiny model's noise depends on all that was said
            if told(deed)["answer"] != right:
                report.broken.append(f"{who} was answered {told(deed)['answer']!r} instead of {right!r}.")


def check_reads(folder: Path, deeds: list[Deed], report: Report) -> None:
    """A book is read once, and again only after it was deleted; never by two at a time."""
    for path in folder.glob("*.twice"):
        report.broken.append(f"{path.stem} was read by two processes at a time.")
    reads: Counter[str] = Counter()
    deleted: Counter[str] = Counter()
    sizes: dict[str, int] = {}
    for deed in deeds:
        if deed.code == 0 and ("ask " in deed.kind or "go on " in deed.kind):
            proof = told(deed)["proof"]
            read, size = proof["book_evaluated"], proof["book_tokens"]
            state = told(deed)["book"]["state"]
            sizes[state] = size
            reads[state] += read
            report.counts["book tokens read, by those who asked"] += read
            if read and not (read == size and proof["reading"]):
                report.broken.append(f"An answer about {state} evaluated {read} of its {size} tokens.")
        elif deed.kind.endswith(("rm", "prune", "prune all")):
            for state in set(STATE_NAME.findall(deed.out)):
                deleted[state] += 1
                report.counts["deletions"] += 1
    for state, tokens in reads.items():
        if tokens > sizes[state] * (1 + deleted[state]):
            times = tokens // sizes[state]
            report.broken.append(f"{state} was read {times} times and deleted {deleted[state]} times.")


def check_left(folder: Path, deeds: list[Deed], report: Report) -> None:
    """Every state verifies, every turn is in the record as it was told, and no temporary file is left."""
    home = locate({"CAGCHAT_HOME": str(folder / "home")})
    states = States(home.states)
    for state in states.all():
        report.counts["states verified afterwards"] += 1
        report.broken += [f"{state.name} afterwards: {sentence}" for sentence in verify(state)]
        if held(state.lock_path) or state.holder_path.exists():
            report.broken.append(f"{state.name} is still said to be read.")
    for state in states.aside():
        report.broken.append(f"{state.name} was set aside though nothing was damaged: {reason(state)}.")
    left = [path for path in home.data.parent.rglob("*") if path.name.endswith(".partial") or ".deleting-" in path.name]
    report.broken += [f"{path} was left behind." for path in left]
    with Sessions(home.sessions_db) as sessions:
        if sessions.notice:
            report.broken.append(f"The chats were found damaged: {sessions.notice}")
        known = {session.id for session in sessions.list()}
        for deed in deeds:
            if deed.code == 0 and ("ask " in deed.kind or "go on " in deed.kind):
                report.counts["turns found in the record"] += 1
                content = told(deed)
                chat = content["session"]
                turns = sessions.turns(chat) if chat in known else []
                if [turn.answer for turn in turns if turn.number == content["turn"]] != [content["answer"]]:
                    report.broken.append(f"Turn {content['turn']} of {chat} is lost or differs.")
    aside = [path for path in home.data.iterdir() if "damaged" in path.name or "aside" in path.name]
    report.broken += [f"{path} was set aside." for path in aside]


# -- no locks ----------------------------------------------------------------------------------------------------------


def without_locks(terms: Terms, report: Report) -> None:
    """On a file system that keeps no locks nothing is read into the library, and one sentence says why."""
    for name, number in LOCKLESS.items():
        folder = terms.folder / name.replace(" ", "-")
        folder.mkdir()
        book = folder / "harbour.txt"
        book.write_text(chapters(2), encoding="utf-8")
        environ = {"CAGCHAT_HOME": str(folder / "home")}
        with mock.patch.dict(os.environ, environ), mock.patch.object(fcntl, "flock", lockless(number)):
            (folder / "home" / "data" / "states").mkdir(mode=0o700, parents=True)
            code, out, err = command("ask", str(book), QUESTIONS[0], "--fake")
            lines = [line for line in err.splitlines() if line.startswith("cagchat: ")]
            report.counts["commands on disks without locks"] += 1
            if code != 1 or out or len(lines) != 1 or "lock" not in err.lower() or "  hint: " not in err:
                report.broken.append(f"With locks {name}: code {code}, {out!r}, {err!r}.")
            found = [finding for finding in findings() if finding["about"] == "locks"]
            if [finding["mark"] for finding in found] != ["problem"]:
                report.broken.append(f"With locks {name} doctor found {found}.")
        left = list(locations_of(folder).states.iterdir())
        report.broken += [f"With locks {name}, {path.name} was written all the same." for path in left]


def findings() -> list[dict[str, str]]:
    """Return what doctor finds."""
    _, out, _ = command("doctor", "--fake", "--json")
    content: list[dict[str, str]] = json.loads(out)["findings"]
    return content


def lockless(number: int) -> Callable[[int, int], None]:
    """Return a `flock` that refuses with this number, or with 0 grants whatever is asked for."""

    def flock(fd: int, operation: int) -> None:
        if number:
            raise OSError(number, os.strerror(number))

    return flock


def locations_of(folder: Path) -> Locations:
    """Return the folders of a home below `folder`."""
    return locate({"CAGCHAT_HOME": str(folder / "home")})


def run(terms: Terms) -> Report:
    """Do all of it."""
    report = Report()
    without_locks(terms, report)
    visits(terms.folder / "two", terms, report, 2, terms.rounds(200, least=6), 0)
    visits(terms.folder / "ten", terms, report, 10, terms.rounds(200, least=4), 2)
    return report


PART = Part("sharing", "two and ten processes on one library; disks that keep no locks", run)


def as_visitor() -> None:
    """Be the visitor that the command line describes."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("number", type=int)
    parser.add_argument("seed")
    parser.add_argument("count", type=int)
    parser.add_argument("model")
    given = parser.parse_args()
    faulthandler.dump_traceback_later(PATIENCE_S, exit=True)
    cagchat.engine.backend.FakeBackend = WatchedBackend  # type: ignore[misc,assignment]  # where the command looks it up
    visit(given.folder, given.number, given.seed, given.count, given.model)


if __name__ == "__main__":
    as_visitor()

"""Privacy, tried from outside: modes, process titles, logs, and whether what is deleted is gone to the last byte."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from cagchat.bench.synth import Architecture, write_model
from cagchat.locations import Locations, locate
from cagchat.sessions.store import Sessions, tokens_of_blob
from cagchat.states.store import StateFolder
from tests.torture.person import PROC, Ended, Person
from tests.torture.traces import Traces, files_under, spelled, token_runs, too_open, windows
from tests.torture.trial import Part, Report, Terms

MARK = "zorvaqim"  # in every paragraph of the book, and in nothing else
ASKED = "plimquorth"  # in every question
UNSENT = "brindlewock"  # in a question that is typed and not sent
WORDS = ("the", "keeper", "of", "a", "lamp", "saw", "two", "ships", "before", "dawn", "and", "wrote", "it", "in", "his")
UMASKS = (0o022, 0o000)
ARCHITECTURES: tuple[Architecture, ...] = ("qwen35", "qwen3")
KILLS = 24
MOST_LOOKS = 250  # before a kill: some seconds

LINES = f"What did the {ASKED} say?\n/again\n/edit 1 Where was {ASKED}?\n/until 50%\nAnd before, {ASKED}?\n/quit\n"
CRASHING = (
    "import sys, cagchat.cli.plan\n"
    "def run(app, args): raise RuntimeError('a defect')\n"
    "cagchat.cli.plan.run = run\n"
    "from cagchat.cli.main import main\n"
    "sys.exit(main(sys.argv[1:]))"
)


@dataclass(slots=True)
class Trial:
    """One home, one book, one model, from the first command to the last deletion.

    `places` are the folders that are scanned: the home, and the one for temporary files.
    """

    folder: Path
    model: Path
    name: str
    umask: int
    report: Report
    chance: random.Random
    own_home: bool = False
    traces: Traces = field(default_factory=lambda: Traces(spelled(MARK)))
    names: set[bytes] = field(default_factory=set)

    @property
    def places(self) -> tuple[Path, Path]:
        """The folders that are scanned: the home, and the one for temporary files."""
        return self.folder / "home", self.folder / "tmp"

    @property
    def book(self) -> Path:
        """The book's file, which is the reader's own."""
        return self.folder / "penumbra.txt"

    @property
    def locations(self) -> Locations:
        """Where the program keeps its files, by CAGCHAT_HOME or as it chooses under HOME."""
        home = self.places[0]
        if self.own_home:
            return locate({"CAGCHAT_HOME": str(home)})
        return Locations(home / ".config/cagchat", home / ".local/share/cagchat", home / ".cache/cagchat")

    @property
    def person(self) -> Person:
        """Who runs the commands, with nothing of the real user's home."""
        home, temporary = map(str, self.places)
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("CAGCHAT_", "XDG_"))}
        own = {"CAGCHAT_HOME": home} if self.own_home else {}
        environ = {**kept, **own, "HOME": home, "TMPDIR": temporary, "TERM": "xterm-256color"}
        return Person(environ, self.umask, self.look)

    def prepare(self, chapters: int) -> None:
        """Make the folders and the book."""
        for place in self.places:
            place.mkdir(parents=True, mode=0o700)
        self.book.write_text(marked_book(chapters, self.chance), encoding="utf-8")

    def engine(self) -> tuple[str | Path, ...]:
        """Return the flags of a small engine."""
        return (
            *("--model", self.model, "--threads", "1", "--fast-kernels", "off"),
            *("--kv-type", "f16", "--chat-tokens", "1024", "--batch", "64"),
        )

    def answering(self, tokens: int = 24) -> tuple[str, ...]:
        """Return the flags of answers with passages of the book beside the question."""
        return ("--max-tokens", str(tokens), "--temperature", "0", "--evidence", "always", "--evidence-tokens", "400")

    # -- looking -------------------------------------------------------------------------------------------------------

    def look(self, pids: list[int]) -> None:
        """Look at processes while they run: what any user may read of them, what they log, what they have written."""
        self.report.counts["looks at processes"] += len(pids)
        for number, pid in enumerate(pids):
            for what in ("cmdline", "environ", "comm", "fd/2"):
                with suppress(OSError):
                    # The question stands in the first one's command line because the person wrote it there, and its
                    # stderr is the person's screen. A child has both for the moment before it becomes itself.
                    if number and self.readable(pid, "cmdline") != self.readable(pids[0], "cmdline"):
                        self.expect_none(self.readable(pid, what), f"{what} of a child", spelled(ASKED) + spelled(MARK))
                    elif what != "fd/2":
                        self.expect_none(self.readable(pid, what), f"{what} of a process", spelled(MARK))
        self.modes()

    def readable(self, pid: int, what: str) -> bytes:
        """Return what can be read of a process; of a terminal, nothing: it would wait for somebody to type."""
        path = PROC / str(pid) / what
        return path.read_bytes() if path.is_file() else b""

    def expect_none(self, content: bytes, where: str, needles: tuple[bytes, ...]) -> None:
        """Report words that should not be in some bytes."""
        if any(needle in content.lower() for needle in needles):
            self.broke(f"{where} holds words that are the reader's")

    def modes(self) -> None:
        """Report what others could read."""
        for path, mode in too_open(self.places):
            self.broke(f"{self.shown(path)} has mode {mode:o}")
        self.report.counts["looks at modes"] += 1

    def beside_the_state(self) -> None:
        """Report traces of the book in the cache, in logs, or among temporary files."""
        for path, content in files_under((self.locations.cache, self.places[1])):
            for kind in self.traces.kinds_in(content):
                self.broke(f"{self.shown(path)} holds {kind} of the book")

    def learn(self) -> None:
        """Learn the tokens and the KV cache of the book from what is saved of it, and what it is called there."""
        for path, content in files_under((self.locations.states,)):
            if path.name == "manifest.json":
                book = StateFolder(path.parent).manifest().book
                self.names |= {book.title.encode(), book.digest.encode()}
            elif path.name == "tokens.bin":
                self.traces = replace(self.traces, tokens=token_runs(tokens_of_blob(content)))
            elif ".bin" in path.name:
                self.traces = replace(self.traces, cache=(*self.traces.cache, *windows(content, self.chance)))
        self.report.counts["runs of tokens looked for"] += len(self.traces.tokens)
        self.report.counts["pieces of KV cache looked for"] += len(self.traces.cache)

    def found(self) -> dict[str, set[str]]:
        """Return the files that hold traces of the book, and of which kinds."""
        self.report.counts["scans"] += 1
        held = {}
        for path, content in files_under(self.places):
            self.report.counts["files scanned"] += 1
            if kinds := self.traces.kinds_in(content):
                held[self.shown(path)] = kinds
        return held

    def shown(self, path: Path) -> str:
        """Return a path without the folder of the trial."""
        return str(path.relative_to(self.folder))

    def broke(self, what: str) -> None:
        """Report a broken promise, once."""
        sentence = f"{self.name}: {what}"
        if sentence not in self.report.broken:
            self.report.broken.append(sentence)

    # -- commands ------------------------------------------------------------------------------------------------------

    def do(self, *words: str | Path, expected: int = 0) -> Ended:
        """Run a command that must succeed."""
        return self.ended(words, self.person.run(*words), expected)

    def ended(self, words: tuple[str | Path, ...], ended: Ended, expected: int = 0) -> Ended:
        """Count a command; report another exit code than was expected, and a traceback."""
        self.report.counts["commands"] += 1
        if ended.code != expected:
            self.broke(f"`{words[0]} {words[1]}` ended with {ended.code}: {ended.err[-400:]!r}")
        if b"Traceback" in ended.err + ended.out:
            self.broke(f"`{words[0]} {words[1]}` showed a traceback: {ended.err[-400:]!r}")
        return ended

    def kill(self, *words: str | Path, most_looks: int = MOST_LOOKS) -> None:
        """Run a command and kill it after a number of looks, unless it ends before."""
        ended = self.person.run(*words, kill_after=self.chance.randrange(1, most_looks))
        self.report.counts[f"`{words[0]}` killed" if ended.code < 0 else f"`{words[0]}` ended before the kill"] += 1

    def converse(self, steps: Sequence[tuple[str, str]], *words: str | Path) -> None:
        """Run a command on a terminal, which must end well."""
        words = (*words, *self.engine(), *self.answering())
        self.ended(words, self.person.type(steps, *words))

    def listed(self, *words: str) -> list[dict[str, str]]:
        """Return what a listing command prints as JSON."""
        content = json.loads(self.do(*words, "--json").out)
        entries: list[dict[str, str]] = content["states"] if isinstance(content, dict) else content
        return entries

    def remove_states(self) -> None:
        """Delete every state, by its title, or by its folder's name where nothing else is known of it."""
        for state in self.listed("library", "list"):
            self.do("library", "rm", state["title"] or state["name"], "--yes")
            self.report.counts["states removed"] += 1

    def remove_chats(self) -> None:
        """Delete every chat."""
        for chat in self.listed("sessions", "list"):
            self.do("sessions", "rm", chat["id"], "--yes")
            self.report.counts["chats removed"] += 1


def whole_life(trial: Trial) -> None:
    """Read, ask, chat, then delete the book's state and after it the chats; or the other way about."""
    trial.prepare(4)
    trial.do("read", trial.book, *trial.engine())
    trial.do("ask", trial.book, f"Who is the {ASKED} here?", *trial.engine(), *trial.answering())
    trial.do("ask", trial.book, "-c", f"And then, {ASKED}?", *trial.engine(), *trial.answering())
    trial.converse((("/help shows", LINES),), "open", trial.book, "--plain")
    asked = (("bout the book", f"What of the {ASKED}?"), (ASKED, "\r"), ("tok/s", UNSENT), (UNSENT, "\x11"))
    trial.converse(asked, "open", trial.book)
    trial.do("sessions", "search", ASKED)
    trial.beside_the_state()
    trial.learn()
    # A scan that finds nothing proves something only if the same scan found it all before.
    kinds = set().union(*trial.found().values())
    if kinds != {"words", "tokens", "KV cache"}:
        trial.broke(f"before anything was deleted, the scan found only {sorted(kinds)}")
    beside = b"".join(content for path, content in files_under(trial.places) if "states" not in path.parts)
    for name in (*trial.names, UNSENT.encode()):
        if name not in beside:
            trial.broke(f"before anything was deleted, {name!r} was nowhere beside the state")
    database = trial.shown(trial.locations.sessions_db)
    with ExitStack() as stack:
        if trial.chance.random() < 0.5:  # another window has the chats open meanwhile
            other = stack.enter_context(Sessions(trial.locations.sessions_db))
            other.list()
            trial.report.counts["deletions beside another window"] += 1
        if trial.chance.random() < 0.5:
            trial.remove_states()
            expect(trial, lambda name: name.startswith(database), "after `library rm`")
            trial.remove_chats()
        else:
            trial.remove_chats()
            expect(trial, lambda name: not name.startswith(database), "after `sessions rm`")
            trial.remove_states()
        nothing_left(trial)
    nothing_left(trial)


def killed(trial: Trial) -> None:
    """Kill readings, answers and deletions at moments of chance, then delete what there is."""
    trial.prepare(12)
    read = ("read", trial.book, *trial.engine())
    ask = ("ask", trial.book, f"Who is the {ASKED} here?", *trial.engine(), *trial.answering(400))
    trial.kill(*read)
    if trial.chance.random() < 0.5:
        trial.do(*read)  # goes on where it was killed, so that the answer is killed and not a reading again
    trial.kill(*ask)
    trial.learn()
    trial.beside_the_state()
    doomed = [("library", state["name"]) for state in trial.listed("library", "list")]
    doomed += [("sessions", chat["id"]) for chat in trial.listed("sessions", "list")]
    for command, name in doomed:
        trial.kill(command, "rm", name, "--yes", most_looks=MOST_LOOKS // 8)
    trial.remove_states()
    trial.remove_chats()
    trial.do("library", "prune", "--yes")
    nothing_left(trial)


def crashed(trial: Trial) -> None:
    """Let a defect of ours be written down."""
    trial.prepare(1)
    words = ("plan", trial.book)
    ended = trial.person.run(*words, python=("-c", CRASHING))
    trial.ended(words, ended, expected=1)
    trial.modes()
    if not (trial.locations.logs / "crash.txt").is_file():
        trial.broke("a defect was not written down")
    trial.beside_the_state()


def expect(trial: Trial, allowed: Callable[[str], bool], when: str) -> None:
    """Report files that hold traces of the book, other than those allowed to."""
    for name, kinds in trial.found().items():
        if not allowed(name):
            trial.broke(f"{when} {name} still holds {' and '.join(sorted(kinds))}")


def nothing_left(trial: Trial) -> None:
    """Report every trace of the book, its name or a question, when all was deleted."""
    everything = replace(trial.traces, words=(*trial.traces.words, *spelled(ASKED), *spelled(UNSENT)))
    for path, content in files_under(trial.places):
        for kind in everything.kinds_in(content):
            trial.broke(f"when all was deleted {trial.shown(path)} still holds {kind}")
        if any(name in content for name in trial.names):
            trial.broke(f"when all was deleted {trial.shown(path)} still holds the book's name or digest")
    for path in (*trial.locations.states.glob("*"), *trial.places[1].rglob("*")):
        trial.broke(f"when all was deleted {trial.shown(path)} is still there")
    trial.modes()


def marked_book(chapters: int, chance: random.Random) -> str:
    """Return a book with a mark of its own in every paragraph, and one in its title."""
    parts = []
    for chapter in range(1, chapters + 1):
        paragraphs = [
            " ".join([*chance.sample(WORDS, 12), f"{MARK}{chapter}x{number}", *chance.sample(WORDS, 8)]) + "."
            for number in range(3)
        ]
        parts.append(f"CHAPTER {chapter}\n\n" + "\n\n".join(paragraphs))
    return "\n\n\n".join(parts) + "\n"


def run(terms: Terms) -> Report:
    """Live through it with every umask, home and model, and through kills; the short form with one of each."""
    report, chance = Report(), terms.chance("privacy")
    models = [write_model(terms.folder / f"{name}.gguf", name, context=16384) for name in ARCHITECTURES]
    lives = [(model, umask, own) for umask in reversed(UMASKS) for own in (False, True) for model in models]
    for number, (model, umask, own) in enumerate(lives[: terms.rounds(len(lives))]):
        name = f"life {number} ({model.stem}, umask {umask:03o}, {'CAGCHAT_HOME' if own else 'HOME'})"
        trial = Trial(terms.folder / f"life {number}", model, name, umask, report, chance, own_home=own)
        whole_life(trial)
        report.counts["lives"] += 1
        terms.say(f"  {name}: {len(report.broken)} promises broken so far")
    for number in range(terms.rounds(KILLS)):
        name = f"kill {number}"
        killed(Trial(terms.folder / name, chance.choice(models), name, 0, report, chance, own_home=bool(number % 2)))
    crashed(Trial(terms.folder / "crash", models[0], "crash", 0, report, chance))
    return report


PART = Part("privacy", "modes, process titles and logs; after `rm` no byte of book or chats is left", run)

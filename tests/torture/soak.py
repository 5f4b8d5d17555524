"""A soak: hours of chats with books that are opened and closed, beside windows left open, and nothing may drift.

`python -m tests.torture.soak --minutes 120` is the long form; the part of `make torture` takes some minutes.
"""

from __future__ import annotations

import argparse
import gc
import os
import random
import sys
import tempfile
import time
from array import array
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path

from cagchat.bench.made_books import made_text
from cagchat.bench.synth import write_model
from cagchat.engine.backend import LlamaBackend
from cagchat.engine.process import EngineProcess
from cagchat.events import Ready, Restored
from cagchat.files import PARTIAL
from cagchat.library import Library
from cagchat.opened import OpenBook
from cagchat.sessions.store import Sessions
from cagchat.settings import Settings
from tests.engine_cases import smollm2
from tests.reading_cases import SETTINGS, locations
from tests.torture.footprint import drift, footprint
from tests.torture.soak_scenes import KEPT, SCENES, Scene, Stay, crowded
from tests.torture.trial import Part, Report, Terms

MINUTES = 4.0  # what `make torture` gives it
FLAT = 0.02
FLAT_FROM_MINUTES = 10.0  # before that, what is allocated once outweighs what 2 % could tell
SAY_EVERY_S = 60.0
SYNTHETIC_CONTEXT = 16384
SETTLING_NAMES = 300_000  # the last rebuild that took more memory came at 218,500, and none until 1,500,000
KEPT_NAMES = 4096  # so that every rebuild, from now on, gives a table of the same size
KEPT_ROUNDS = 20  # after so many, chats that go on from round to round make way too: the record must not outgrow memory


@dataclass(frozen=True, slots=True)
class Size:
    """How much is done: the characters of three books and of the one left open, and for how long at least.

    `scenes` are played in a visit: all of them, so that engines opened anew have done the same when they are compared;
    in the window left open one more. `attention` is the model beside the hybrid: a trained one, or none.
    """

    minutes: float
    rounds: int
    characters: tuple[int, int, int] = (2_400, 5_000, 9_500)
    left_open: int = 3_600
    scenes: int = len(SCENES)
    scenes_left_open: int = len(SCENES) + 1
    attention: bool = True


SHORT = Size(0, 2, (600, 800, 1_000), 700, scenes=1, scenes_left_open=5, attention=False)


@dataclass(frozen=True, slots=True)
class Model:
    """A model and what chats with it need: a byte is a token of the synthetic ones, so that they need more."""

    name: str
    settings: Settings
    evidence_tokens: int


@dataclass(slots=True)
class Soak:
    """What goes on through all rounds. `sizes` are series of kilobytes by what was measured."""

    home: Path
    size: Size
    models: tuple[Model, ...]
    books: tuple[Path, ...]
    sessions: Sessions
    report: Report
    chance: random.Random
    left_open: dict[str, OpenBook] = field(default_factory=dict)
    answers: dict[str, array[int]] = field(default_factory=dict)
    sizes: defaultdict[str, array[int]] = field(default_factory=lambda: defaultdict(lambda: array("q")))
    settled: tuple[int, int, tuple[str, ...]] | None = None

    def open(self, model: Model, book: Path) -> OpenBook:
        """Open a book as the program does."""
        library = Library(locations(self.home), model.settings, LlamaBackend(locations(self.home), fast_kernels="off"))
        for event in library.prepare(book):
            if isinstance(event, Restored):
                self.report.counts["restores"] += 1
                if not event.exact:
                    self.report.broken.append(f"{model.name}, {book.name}: restored, but the probe is not the same")
            if isinstance(event, Ready):
                return event.book
        raise AssertionError("prepare ends with Ready")

    def stay(self, model: Model, path: Path, book: OpenBook) -> Stay:
        """Return how an open book is talked about."""
        name = f"{model.name}, {path.stem}"
        return Stay(name, book, self.sessions, self.report, self.answers, model.evidence_tokens)

    def visit(self, model: Model, path: Path, book: OpenBook) -> None:
        """Play scenes and note what the engine's process has grown to."""
        self.play(self.stay(model, path, book), SCENES, self.size.scenes)
        self.measure_engine(model, path, book)

    def stay_longer(self, model: Model, book: OpenBook) -> None:
        """Play the scenes of the book that is left open."""
        self.play(self.stay(model, self.books[-1], book), (*SCENES, crowded), self.size.scenes_left_open)

    def play(self, stay: Stay, scenes: tuple[Scene, ...], count: int) -> None:
        """Play so many of the scenes in an order of chance."""
        for scene in self.chance.sample(scenes, count):
            scene(stay)

    def measure_engine(self, model: Model, path: Path, book: OpenBook) -> None:
        """Note what the engine's process takes now."""
        assert isinstance(book.engine, EngineProcess), "the engine is a child"
        self.measure(f"engine of {model.name}, {path.stem}", book.engine.pid)

    def measure(self, what: str, pid: int) -> None:
        """Note what a process takes now."""
        found = footprint(pid)
        self.sizes[what].append(found.own_kb)
        self.sizes[f"{what} (resident)"].append(found.rss_kb)

    def round(self, model: Model) -> None:
        """Go through all books with one model, then to the window left open, and see what is left over."""
        for path in self.chance.sample(self.books[:-1], len(self.books) - 1):
            with closing(self.open(model, path)) as book:
                self.report.counts["switches"] += 1
                self.visit(model, path, book)
        self.stay_longer(model, self.left_open[model.name])
        self.measure_engine(model, self.books[-1], self.left_open[model.name])
        for session in self.sessions.list():
            if not session.title.endswith(KEPT) or not self.report.counts["rounds"] % KEPT_ROUNDS:
                self.sessions.delete(session.id)
                self.report.counts["chats deleted"] += 1
        self.report.counts["rounds"] += 1
        self.look_back()

    def look_back(self) -> None:
        """Measure this process, and compare files and threads with what they were when every model had its round."""
        gc.collect()
        self.measure("this process", os.getpid())
        found = footprint(os.getpid())
        kept = (path for path in self.home.rglob("*") if path.suffix != PARTIAL)  # limits of windows that are open
        names = tuple(sorted(str(path.relative_to(self.home)) for path in kept))
        now = (found.files, found.threads, names)
        if self.settled is None:
            if self.report.counts["rounds"] >= len(self.models):
                self.settled = now
                self.report.counts["open files"], self.report.counts["threads"] = found.files, found.threads
                self.report.counts["files in the library"] = len(names)
            return
        for what, before, after in zip(("open files", "threads", "files"), self.settled, now, strict=True):
            if before != after:
                self.report.broken.append(f"round {self.report.counts['rounds']}: {what} were {before} and are {after}")


def soak(terms: Terms, size: Size, timer: Callable[[], float] = time.monotonic) -> Report:
    """Open, ask, stop, edit, switch until the time is over, and report what drifted."""
    report = Report()
    began = said = timer()
    with ExitStack() as stack:
        stack.enter_context(temporary_files(terms.folder / "tmp"))
        home = terms.folder / "home"
        sessions = stack.enter_context(Sessions(locations(home).sessions_db))
        run = Soak(
            home, size, models(terms.folder, size), books(terms.folder, size), sessions, report, terms.chance("soak")
        )
        names = settle(SETTLING_NAMES if size.minutes else 0)
        read(run, stack)
        while timer() - began < 60 * size.minutes or report.counts["rounds"] < size.rounds:
            known = len(report.broken)
            run.round(run.models[report.counts["rounds"] % len(run.models)])
            for sentence in report.broken[known:]:
                terms.say(f"  BROKEN: {sentence}")
            if timer() - said >= SAY_EVERY_S:
                said = timer()
                terms.say(progress(run, said - began))
        reopen(run)
        check_leftovers([*(terms.folder / "tmp").rglob("*"), *home.rglob(f"*{PARTIAL}")], report)
        del names
    weigh(run, terms.say, flat=timer() - began >= 60 * FLAT_FROM_MINUTES)
    return report


def settle(names: int) -> list[str]:
    """Let this process's table of interned strings reach the memory that it keeps; return names to hold until the end.

    `pathlib` interns every part of every path. Python 3.11 takes the places of names that are gone out of the table
    only by rebuilding it when it is full; malloc maps each new one, and after some rebuilds keeps two in its heap. For
    that a process of 33 MB takes up to 3.5 MB more, in steps of 0.4 to 1.9 MB, the last of them hours later, and then
    no more: it would be taken for growth of what is done here.
    """
    made = (sys.intern(f"name {number}") for number in range(names))
    kept = list(islice(made, KEPT_NAMES))
    deque(made, maxlen=0)
    return kept


def models(folder: Path, size: Size) -> tuple[Model, ...]:
    """Return a hybrid of noise, and before it a trained model with attention only where the size wants one."""
    path = write_model(folder / "qwen35.gguf", "qwen35", context=SYNTHETIC_CONTEXT)
    hybrid = Model("qwen35", replace(SETTINGS, model=str(path), chat_tokens=1536), evidence_tokens=700)
    if not size.attention:
        return (hybrid,)
    return Model("smollm2", replace(SETTINGS, model=str(smollm2())), evidence_tokens=200), hybrid


def books(folder: Path, size: Size) -> tuple[Path, ...]:
    """Write the three books that are switched between, and the one that is left open."""
    paths = []
    for number, characters in enumerate((*size.characters, size.left_open), start=1):
        path = folder / f"book {number}.txt"
        path.write_bytes(made_text(characters, chapters=2 + number, seed=number))
        paths.append(path)
    return tuple(paths)


def read(run: Soak, stack: ExitStack) -> None:
    """Let every model read every book and index it, so that nothing new is made later; open the ones that stay open."""
    for model in run.models:
        for path in run.books:
            with closing(run.open(model, path)) as book:
                book.passages.close()
            run.report.counts["books read"] += 1
        run.left_open[model.name] = stack.enter_context(closing(run.open(model, run.books[-1])))


def reopen(run: Soak) -> None:
    """Close what was left open all the time: restored anew, it must answer as it did."""
    for model in run.models:
        run.left_open[model.name].close()
        with closing(run.open(model, run.books[-1])) as book:
            run.stay_longer(model, book)


@contextmanager
def temporary_files(folder: Path) -> Iterator[None]:
    """Let this process and its children make temporary files in a folder of their own."""
    folder.mkdir()
    before, known = tempfile.tempdir, os.environ.get("TMPDIR")
    tempfile.tempdir = os.environ["TMPDIR"] = str(folder)
    try:
        yield
    finally:
        tempfile.tempdir = before
        if known is None:
            del os.environ["TMPDIR"]
        else:
            os.environ["TMPDIR"] = known


def check_leftovers(paths: Sequence[Path], report: Report) -> None:
    """Report temporary and partial files that are there with every book closed."""
    if paths:
        report.broken.append(f"files were left over: {', '.join(path.name for path in paths)}")


def progress(run: Soak, elapsed_s: float) -> str:
    """Return a line about how far it is."""
    counts, own = run.report.counts, run.sizes["this process"][-1]
    series = [run.sizes[f"engine of {name}, {run.books[-1].stem}"] for name in run.left_open]
    left_open = ", ".join(f"{sizes[-1]:,} kB" for sizes in series if sizes)
    return (
        f"  {elapsed_s / 60:.0f} min: {counts['rounds']:,} rounds, {counts['answers checked']:,} answers, "
        f"{counts['stops']:,} stops, {counts['switches']:,} switches; this process {own:,} kB, engines left open "
        f"{left_open}; {len(run.report.broken)} promises broken"
    )


def weigh(run: Soak, say: Callable[[str], None], *, flat: bool) -> None:
    """Say how every process's memory went; when `flat`, growth of what is its own is a broken promise."""
    for what, sizes in run.sizes.items():
        went = drift(sizes)
        say(f"  {what}: {went.before_kb:,.0f} kB, at the end {went.after_kb:,.0f} kB ({went.growth:+.2%})")
        if flat and went.growth > FLAT and not what.endswith("(resident)"):
            run.report.broken.append(f"memory of {what} grew by {went.growth:.1%}")


def run(terms: Terms) -> Report:
    """Soak for a share of the minutes; the shortest form has the rounds it takes to compare anything."""
    return soak(terms, Size(MINUTES * terms.share, 4) if terms.share >= 0.5 else SHORT)


PART = Part("soak", "chats for minutes or hours: memory, positions, answers, files and threads stay as they are", run)


def main(arguments: list[str] | None = None) -> int:
    """Soak for as long as asked; return 1 when a promise broke."""
    parser = argparse.ArgumentParser(prog="python -m tests.torture.soak", description=PART.what)
    parser.add_argument("--minutes", type=float, default=120.0, help="how long (default 120)")
    parser.add_argument("--seed", type=int, default=0, help="another one plays the scenes in other orders (default 0)")
    chosen = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="cagchat-soak-") as folder:
        terms = Terms(Path(folder), chosen.seed, say=lambda line: print(line, flush=True))
        report = soak(terms, Size(chosen.minutes, 4))
    print("\n".join(report.lines()), flush=True)
    return 1 if report.broken else 0


if __name__ == "__main__":
    sys.exit(main())

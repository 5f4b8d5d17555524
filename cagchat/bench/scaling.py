"""How reading, saving, restoring, forking and answering grow with a book's length: each length twice the one before.

Everything goes through the program's own library: a text is read, kept, opened again from disk and asked. The lengths
double until the model, the memory or the time given holds no more.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

from cagchat.bench.device import Clock
from cagchat.bench.made_books import made_text
from cagchat.bench.memory import peak_bytes
from cagchat.bench.tables import Cell, Column, Figure, Table, least
from cagchat.bench.workbench import QUESTIONS, Workbench, cut_book, forget_books
from cagchat.conversation import AskOptions, Conversation
from cagchat.engine.process import EngineProcess
from cagchat.engine.protocol import BOOK, CHAT, Sampling
from cagchat.errors import BookTooLong, EngineError, ModelError, StateDamaged
from cagchat.events import Answered, Notice, PrepareEvent, Reading, Ready, Restored, Sealed
from cagchat.files import private_folder, write_bytes
from cagchat.library import Library
from cagchat.opened import OpenBook
from cagchat.sessions.store import Sessions
from cagchat.units import duration
from cagchat.wording import Extras

SHORTEST, LONGEST = 512, 1 << 20
CHARACTERS_A_TOKEN = 6  # at most, in the made text: enough of it for any tokenizer
FORKS = 20
ANSWER_TOKENS = 1
GROWTH = 4.0  # how much longer twice the text may take to read: attention over everything before it

COLUMNS = (
    Column("model", "model"),
    Column("tokens", "tokens", "count"),
    Column("prefill_s", "read in", "seconds"),
    Column("size", "state", "bytes"),
    Column("save_s", "saved in", "seconds"),
    Column("restore_s", "restored in", "seconds"),
    Column("open_s", "opened in", "seconds"),
    Column("rest_s", "without the restore", "seconds"),
    Column("first_fork_us", "first fork, µs", "count"),
    Column("fork_us", "next forks, µs", "count"),
    Column("first_s", "first token", "seconds"),
    Column("book", "book tokens evaluated", "count"),
    Column("peak", "peak memory", "bytes"),
)
NOTE = (
    "Opened is from asking the library for the book to a state that is restored and proved, the engine's process and "
    "the model's load included. The first fork of a book that was opened notes its owner in every cell; of the next "
    "ones the median of {forks} is shown. The first token is that of a question in a new chat without passages, whose "
    "tokens attend to the whole book; book tokens evaluated are counted for that answer. Peak memory is the engine's "
    "process, its model's file included. Of {repeat} openings the best is shown; a text is read "
    "once. {text}"
)
MADE = "The text is made up. The synthetic models have random weights and bytes for tokens: their caches are real ones."


@dataclass(frozen=True, slots=True)
class Subject:
    """A model under measurement: a bench whose settings name it, and what to call it."""

    name: str
    bench: Workbench


@dataclass(frozen=True, slots=True)
class Point:
    """What was measured at one length: seconds, bytes, and the book tokens that a question evaluated again."""

    tokens: int
    prefill_s: float
    size_bytes: int
    save_s: float
    restore_s: Figure
    open_s: Figure
    rest_s: Figure
    first_fork_s: float
    fork_s: float
    first_s: Figure
    book_evaluated: int
    peak_bytes: int | None

    def row(self, name: str) -> dict[str, Cell]:
        """Return the point as a row of the table."""
        return {
            "model": name,
            "tokens": self.tokens,
            "prefill_s": least([self.prefill_s]),
            "size": self.size_bytes,
            "save_s": least([self.save_s]),
            "restore_s": self.restore_s,
            "open_s": self.open_s,
            "rest_s": self.rest_s,
            "first_fork_us": Figure(self.first_fork_s * 1e6, self.first_fork_s * 1e6),
            "fork_us": Figure(self.fork_s * 1e6, self.fork_s * 1e6),
            "first_s": self.first_s,
            "book": self.book_evaluated,
            "peak": self.peak_bytes,
        }


@dataclass(frozen=True, slots=True)
class Reopened:
    """One opening from disk and one question."""

    open_s: float
    restore_s: float
    first_fork_s: float
    fork_s: float
    first_s: float
    book_evaluated: int
    peak_bytes: int | None


def measure(
    subjects: list[Subject], minutes: float, longest: int = LONGEST, timer: Callable[[], float] = time.perf_counter
) -> tuple[Table, dict[str, list[Point]]]:
    """Measure each model at doubling lengths, each with its share of the time; return the table and the points."""
    curves: dict[str, list[Point]] = {}
    rows: list[dict[str, Cell]] = []
    clock = Clock(timer, minutes * 60)
    notes = []
    for number, subject in enumerate(subjects):
        share = Clock(timer, clock.left / (len(subjects) - number))
        points = curves[subject.name] = []
        reason = f"{subject.name} was measured to {longest:,} tokens, as asked for."
        try:
            for point in growing(subject.bench, share, longest, timer):
                points.append(point)
                rows.append(point.row(subject.name))
        except OutOfRoom as end:
            reason = f"{subject.name} ends there because {end.message}"
        notes.append(reason)
        subject.bench.say(f"scaling: {reason}")
    note = NOTE.format(forks=FORKS, repeat=max(subject.bench.repeat for subject in subjects), text=MADE)
    return Table("scaling", "How it grows with the book", COLUMNS, tuple(rows), (note, *notes)), curves


class OutOfRoom(EngineError):
    """No longer text can be measured; the message is a clause that says why."""


def growing(bench: Workbench, clock: Clock, longest: int, timer: Callable[[], float]) -> Iterator[Point]:
    """Yield a point at each length. Raises `OutOfRoom` when the next would not fit in the model or the time left."""
    n_tokens, before = SHORTEST, 0.0
    while n_tokens <= longest:
        began = timer()
        if clock.left < GROWTH * before:
            raise OutOfRoom(f"{n_tokens:,} tokens would not be done in the time given.", "Give more --minutes.")
        bench.say(f"scaling: {n_tokens:,} tokens with {bench.model_name}")
        try:
            point = measure_at(bench, n_tokens, timer)
        except BookTooLong as error:
            raise OutOfRoom(error.message, error.hint) from error
        yield point
        before = timer() - began
        bench.say(f"  read in {duration(point.prefill_s)}, opened in {duration(point.open_s.best)}")
        n_tokens *= 2


def measure_at(bench: Workbench, n_tokens: int, timer: Callable[[], float]) -> Point:
    """Read a text of `n_tokens`, open it again `bench.repeat` times, and forget it."""
    text = write_text(bench, n_tokens)
    try:
        reading = Reader(bench, text, timer)
        with closing(reading.open()) as book:
            tokens, state = book.n_tokens, book.manifest.state
            if state is None or reading.sealed is None:
                raise StateDamaged("The book's state could not be saved.", "Set TMPDIR to a larger disk.")
        runs = [reopen(bench, text, timer) for _ in range(bench.repeat)]
    finally:
        forget_books(bench)
        text.unlink(missing_ok=True)
    return Point(
        tokens=tokens,
        prefill_s=reading.read_s,
        size_bytes=state.blob.size_bytes,
        save_s=reading.sealed.elapsed_s,
        restore_s=least([run.restore_s for run in runs]),
        open_s=least([run.open_s for run in runs]),
        rest_s=least([run.open_s - run.restore_s for run in runs]),
        first_fork_s=median(run.first_fork_s for run in runs),
        fork_s=median(run.fork_s for run in runs),
        first_s=least([run.first_s for run in runs]),
        book_evaluated=max(run.book_evaluated for run in runs),
        peak_bytes=max((run.peak_bytes for run in runs if run.peak_bytes is not None), default=None),
    )


def write_text(bench: Workbench, n_tokens: int) -> Path:
    """Write a made text of `n_tokens` of the bench's model."""
    folder = private_folder(bench.home / "scaling")
    whole = folder / "tale.txt"
    write_bytes(whole, made_text(n_tokens * CHARACTERS_A_TOKEN, chapters=max(1, n_tokens // 2048)))
    try:
        return cut_book(replace(bench, book=whole), n_tokens)
    finally:
        whole.unlink()


class Reader:
    """Opens a text through the library and notes what its events say."""

    def __init__(self, bench: Workbench, text: Path, timer: Callable[[], float]) -> None:
        self._bench = bench
        self._text = text
        self._timer = timer
        self.read_s = 0.0
        self.open_s = 0.0
        self.sealed: Sealed | None = None
        self.restored: Restored | None = None

    def open(self) -> OpenBook:
        """Open the text: read when there is no state of it, restored otherwise."""
        began = self._timer()
        for event in Library(self._bench.locations, self._bench.settings, self._bench.backend).prepare(self._text):
            self._note(event)
            if isinstance(event, Ready):
                self.open_s = self._timer() - began
                return event.book
        raise AssertionError("prepare ends with Ready")

    def _note(self, event: PrepareEvent) -> None:
        match event:
            case Reading(elapsed_s=elapsed):
                self.read_s = elapsed
            case Sealed():
                self.sealed = event
            case Restored():
                self.restored = event
            case Notice(text):
                self._bench.say(f"  {text}")
            case _:
                pass


def reopen(bench: Workbench, text: Path, timer: Callable[[], float]) -> Reopened:
    """Open a text from its state, fork it, and ask one question in a new chat."""
    opening = Reader(bench, text, timer)
    with closing(opening.open()) as book, Sessions(bench.locations.sessions_db) as sessions:
        if opening.restored is None:
            raise StateDamaged("The book's state was not restored.", "Run the bench again.")
        first_fork_s, fork_s = forking(book, timer)
        asked = Conversation(book, sessions).ask(
            QUESTIONS[0],
            AskOptions(Sampling(), max_tokens=ANSWER_TOKENS, extras=Extras(evidence="off", quoting="off")),
        )
        answered = next(event for event in asked if isinstance(event, Answered))
        pid = book.engine.pid if isinstance(book.engine, EngineProcess) else None
        peak = peak_bytes(pid) if pid is not None else None
    proof = answered.proof
    return Reopened(
        open_s=opening.open_s,
        restore_s=opening.restored.elapsed_s,
        first_fork_s=first_fork_s,
        fork_s=fork_s,
        first_s=proof.first_token_s,
        book_evaluated=proof.book_evaluated,
        peak_bytes=peak,
    )


def forking(book: OpenBook, timer: Callable[[], float]) -> tuple[float, float]:
    """Return the seconds of the first fork of the book and the median of others, the message to the engine included."""
    runs = []
    for _ in range(1 + FORKS):
        began = timer()
        book.engine.fork(BOOK, CHAT)
        runs.append(timer() - began)
    book.engine.clear(CHAT)
    return runs[0], median(runs[1:])


def subjects_for(bench: Workbench, *, alone: bool) -> list[Subject]:
    """Return the bench's model and, unless it is to be measured alone, a synthetic attention model and a hybrid.

    The synthetic ones hold books that the small model that comes with the program does not. Raises `ModelError` when
    the `bench` extra is missing.
    """
    # The room for the chat is the least there is, so that memory follows the book; the plan decides nothing else.
    bench = replace(bench, settings=replace(bench.settings, chat_tokens=512))
    found = [Subject(bench.model_name, bench)]
    return found if alone else [*found, synthetic(bench, "qwen3"), synthetic(bench, "qwen35")]


def synthetic(bench: Workbench, architecture: str) -> Subject:
    """Return a subject with a random-weight model that claims a context of `LONGEST`, written now."""
    try:
        from cagchat.bench.synth import ARCHITECTURES, write_model
    except ImportError as error:
        raise ModelError(
            f"The synthetic models cannot be written without the package {error.name}.", "pip install 'cagchat[bench]'"
        ) from error
    known = next(name for name in ARCHITECTURES if name == architecture)
    path = private_folder(bench.home / "scaling") / f"{known}.gguf"
    write_model(path, known, layers=4, context=2 * LONGEST)
    kind = "hybrid" if known == "qwen35" else "attention"
    return Subject(f"Synthetic {known} ({kind})", replace(bench, settings=replace(bench.settings, model=str(path))))

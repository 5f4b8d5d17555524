"""What the tests of the main path share: invented books, small libraries, and a backend that remembers its engines."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, TypeVar

from cagchat.conversation import Conversation
from cagchat.documents import Source
from cagchat.engine.backend import Backend, FakeBackend, LlamaBackend, Notify
from cagchat.engine.fake import FakeScript
from cagchat.engine.process import EngineProcess
from cagchat.engine.protocol import BOOK, Engine, EngineSettings, Memory, VocabularyReader
from cagchat.errors import EngineDied
from cagchat.events import PrepareEvent, Ready
from cagchat.library import Library, Options
from cagchat.locations import Locations
from cagchat.models.facts import ModelFacts
from cagchat.opened import OpenBook
from cagchat.plan.card import Card
from cagchat.plan.choose import Machine, Plan
from cagchat.plan.rates import Estimate, Rate
from cagchat.plan.run import Run
from cagchat.proof import count_evaluated
from cagchat.recorded import Recorded
from cagchat.settings import Settings
from tests.engine_cases import model_path

PATIENCE_S = 60.0
SETTINGS = Settings(chat_tokens=512, batch=64, threads=1, fast_kernels="off", temperature=0.0, seed=7, max_tokens=12)

_SENTENCES = (
    "The ferry to Aldermouth left at nine, and Ines Varga was not on it.",
    "She had counted forty-one lanterns along the quay and written the number on her cuff.",
    "Old Perrin kept the ledger of the harbour under a loose board in his kitchen.",
    "Nobody had told the baker that the bridge would be closed until the thaw.",
    "At the third knock the lamp went out, and the dog did not bark.",
)

Event = TypeVar("Event")


def chapters(count: int, sentences: int = 5) -> str:
    """Return a book of `count` chapters, every sentence of it numbered, so that no two places are the same."""
    parts = []
    for number in range(1, count + 1):
        lines = [f"{number}.{i + 1}: {_SENTENCES[(number + i) % len(_SENTENCES)]}" for i in range(sentences)]
        parts.append(f"CHAPTER {number}\n\n" + "\n".join(lines) + "\n\n")
    return "".join(parts)


def write_book(folder: Path, text: str = "", name: str = "lanterns.txt") -> Path:
    """Write a book (two short chapters when no text is given) and return its path."""
    path = folder / name
    path.write_text(text or chapters(2), encoding="utf-8")
    return path


@dataclass(frozen=True, slots=True)
class Kind:
    """A model to open books with: a name of `engine_cases.MEMORY`, or "fake" with the memory it plays."""

    model: str
    memory: Memory

    def __str__(self) -> str:
        return f"{self.model}-{self.memory}"


FAKES = (Kind("fake", "attention"), Kind("fake", "hybrid"))
KINDS = (*FAKES, Kind("qwen35", "hybrid"), Kind("smollm2", "attention"))


class Watched:
    """Passes everything on to another backend and remembers the engines that were opened, the last one last."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self.engines: list[Engine] = []

    def named_model(self, settings: Settings) -> Path | None:
        return self._backend.named_model(settings)

    def cards(self, settings: Settings, model: Path | None = None) -> tuple[Card, ...]:
        return self._backend.cards(settings, model)

    def offloads(self, settings: Settings) -> bool:
        return self._backend.offloads(settings)

    def machine(self, settings: Settings) -> Machine:
        return self._backend.machine(settings)

    def facts(self, model: Path) -> ModelFacts:
        return self._backend.facts(model)

    def better(self, plan: Plan, settings: Settings) -> str:
        return self._backend.better(plan, settings)

    def estimate(self, run: Run, start: int, end: int) -> Estimate | None:
        return self._backend.estimate(run, start, end)

    def observe(self, run: Run, rates: Iterable[Rate]) -> None:
        self._backend.observe(run, rates)

    def open_tokenizer(self, model: Path) -> VocabularyReader:
        return self._backend.open_tokenizer(model)

    def open_engine(self, settings: EngineSettings, notify: Notify) -> Engine:
        self.engines.append(self._backend.open_engine(settings, notify))
        return self.engines[-1]

    def crashed(self, engine: Engine, died: EngineDied) -> str:
        return self._backend.crashed(engine, died)

    def pid(self) -> int:
        """Return the process number of the last engine."""
        engine = self.engines[-1]
        assert isinstance(engine, EngineProcess)
        return engine.pid


def locations(home: Path) -> Locations:
    """Return the folders under a home of the test's own."""
    return Locations(home / "config", home / "data", home / "cache")


def fake(script: FakeScript | None = None, *, own_process: bool = False) -> FakeBackend:
    """Return a fake backend."""
    return FakeBackend(script, own_process=own_process)


def library_of(
    home: Path,
    backend: Backend | None = None,
    settings: Settings = SETTINGS,
    timer: Callable[[], float] = time.perf_counter,
) -> Library:
    """Return a library under `home`, with a fake backend when none is given."""
    return Library(locations(home), settings, backend or fake(), timer=timer)


def library_for(kind: Kind, home: Path, models: Path, settings: Settings = SETTINGS) -> tuple[Library, Watched]:
    """Return a library that reads with this kind of model, and its backend."""
    if kind.model == "fake":
        watched = Watched(fake(FakeScript(memory=kind.memory)))
    else:
        settings = replace(settings, model=str(model_path(kind.model, models)))
        watched = Watched(LlamaBackend(locations(home), fast_kernels="off"))
    return library_of(home, watched, settings), watched


def opened(
    library: Library, path: Path | Source | Recorded, options: Options | None = None
) -> tuple[OpenBook, list[PrepareEvent]]:
    """Prepare a book to the end; return it and everything that happened."""
    events = list(library.prepare(path, options))
    assert isinstance(events[-1], Ready)
    return events[-1].book, events


@contextmanager
def opening(library: Library, path: Path | Source | Recorded, options: Options | None = None) -> Iterator[OpenBook]:
    """Open a book for the length of a block."""
    book, _ = opened(library, path, options)
    try:
        yield book
    finally:
        book.close()


def of_type(events: Sequence[object], kind: type[Event]) -> list[Event]:
    """Return the events of one type."""
    return [event for event in events if isinstance(event, kind)]


def book_tokens_evaluated(book: OpenBook) -> int:
    """Return how many of the book's positions went through the model since the last look."""
    spans, _, _ = book.take_evidence()
    return count_evaluated(spans, book.n_tokens)[0]


def recorded_length(conversation: Conversation) -> int:
    """Return how long the context must be when it holds the book and every recorded turn."""
    bodies = [turn.tokens for turn in conversation.turns() if turn.tokens]
    between = max(0, len(bodies) - 1) * len(conversation.book.pieces.next_opening)
    return conversation.book.n_tokens + between + sum(map(len, bodies))


def greedy_rows(engine: Engine, prompt: array[int], steps: int = 8) -> list[array[float]]:
    """Return the logits of a greedy continuation of the book's sequence by `prompt`, on a fork."""
    engine.fork(BOOK, 1)
    rows = [engine.logits(1, prompt)]
    for _ in range(steps - 1):
        rows.append(engine.logits(1, [max(range(len(rows[-1])), key=rows[-1].__getitem__)]))
    engine.clear(1)
    return rows


def partials(home: Path) -> list[Path]:
    """Return every partial file under a home."""
    return sorted(home.rglob("*.partial"))


class Program:
    """A Python program of its own whose output is read line by line; it never outlives its block or its time."""

    def __init__(self, *arguments: str, environ: dict[str, str] | None = None, stdout: int = subprocess.PIPE) -> None:
        self.process = subprocess.Popen(
            [sys.executable, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=subprocess.PIPE,
            text=True,
            env=environ,
            cwd=Path(__file__).resolve().parents[1],
        )
        self._watchdog = threading.Timer(PATIENCE_S, self.process.kill)
        self._watchdog.start()

    @property
    def pid(self) -> int:
        """The program's process number."""
        return self.process.pid

    def __enter__(self) -> Program:
        return self

    def __exit__(self, *_: object) -> None:
        self._watchdog.cancel()
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdout, self.process.stderr):
            if stream is not None:
                stream.close()

    def line_with(self, word: str, stream: IO[str] | None = None) -> str:
        """Read lines (of stdout unless told) until one holds `word`, and return it."""
        source = stream or self.process.stdout
        assert source is not None
        seen = []
        for line in source:
            seen.append(line)
            if word in line:
                return line
        raise AssertionError(f"no line with {word!r} in {''.join(seen)!r}, {self.rest()}")

    def rest(self) -> tuple[str, str]:
        """Read what is left of both streams and wait for the end."""
        out, error = self.process.communicate()
        return out or "", error or ""

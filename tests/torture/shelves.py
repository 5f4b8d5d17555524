"""Books that were read for the damage: opened and asked, a home shows what came of a file of it."""

from __future__ import annotations

import shutil
import time
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path

from cagchat.bench.synth import Architecture, write_model
from cagchat.conversation import AskOptions, Conversation
from cagchat.engine.protocol import Sampling
from cagchat.errors import CagchatError, Stopped
from cagchat.events import Answered, Checkpointed, Notice, Ready
from cagchat.library import Library, Options
from cagchat.limits.limit import Limit
from cagchat.opened import OpenBook
from cagchat.sessions.session import Session, Turn
from cagchat.sessions.store import Sessions
from cagchat.settings import Settings
from cagchat.wording import Extras
from tests.reading_cases import chapters, locations
from tests.torture.lent import Lender

SETTINGS = Settings(chat_tokens=512, batch=64, threads=1, fast_kernels="off", gpu_layers=0, checkpoint_share=1.0)
OPTIONS = AskOptions(Sampling(), max_tokens=8, extras=Extras(evidence="always", evidence_tokens=128))
QUESTIONS = ("Who kept the ledger of the harbour?", "How many lanterns were on the quay?")
THIRD = "And what did the dog do?"

KINDS = ("state", "boundary", "checkpoint", "manifest", "tokens", "book", "passages", "sheet", "sessions")


@dataclass(frozen=True, slots=True)
class Answer:
    """What was answered, in words and in tokens."""

    text: str
    tokens: tuple[int, ...]


@dataclass(slots=True)
class Seen:
    """What an opening and its questions showed; `evaluated` counts the book's tokens, with `reading` on purpose."""

    error: CagchatError | None = None
    notices: list[str] = field(default_factory=list)
    answers: dict[str, Answer] = field(default_factory=dict)
    evaluated: int = 0
    reading: bool = False
    sessions: list[Session] = field(default_factory=list)
    turns: list[Turn] = field(default_factory=list)

    @property
    def words(self) -> str:
        """Everything that was said."""
        return " ".join([*self.notices, *([self.error.message, self.error.hint] if self.error else [])])


@dataclass(frozen=True, slots=True)
class Shelf:
    """A home with a read book, of which `good` is a copy, and what its answers are; `other` is that of another book."""

    name: str
    backend: Lender
    settings: Settings
    home: Path
    good: Path
    other: Path
    book: Path
    known: Seen

    def files(self) -> dict[str, list[Path]]:
        """Return the files that can be damaged, by kind, as paths under the home."""
        found: dict[str, list[Path]] = {}
        for path in sorted(self.good.rglob("*")):
            kind = kind_of(path)
            if path.is_file() and kind:
                found.setdefault(kind, []).append(path.relative_to(self.good))
        return found

    def renew(self) -> None:
        """Put everything back as it was."""
        shutil.rmtree(self.home)
        shutil.copytree(self.good, self.home)

    def look(self, kind: str = "", *, reread: bool = True) -> Seen:
        """Open the book and ask what a damaged file of this kind, any kind when none is given, could make different."""
        seen = Seen()
        try:
            self._look(seen, kind, reread)
        except CagchatError as error:
            seen.error = error
        return seen

    def _look(self, seen: Seen, kind: str, reread: bool) -> None:
        library = Library(locations(self.home), self.settings, self.backend)
        book = None
        for event in library.prepare(self.book, Options(reread=reread)):
            if isinstance(event, Notice):
                seen.notices.append(event.text)
            if isinstance(event, Ready):
                book = event.book
        assert book is not None
        with closing(book), Sessions(locations(self.home).sessions_db) as sessions:
            seen.notices += [sessions.notice] if sessions.notice else []
            seen.sessions = sessions.list()
            first = seen.sessions[-1] if seen.sessions else None
            seen.turns = sessions.turns(first.id) if first else []
            sessions.search("ledger")
            seen.answers["a new chat"] = answer(Conversation(book, sessions), QUESTIONS[0], seen)
            if kind in ("", "sessions"):
                seen.answers["the old chat"] = answer(Conversation(book, sessions, first), THIRD, seen)
            if kind in ("", "boundary", "tokens", "book"):
                limit = Limit(book.manifest.book.sections[-2][2], "the last chapter but one")
                seen.answers["a limited chat"] = answer(Conversation(book, sessions, limit=limit), QUESTIONS[1], seen)


def answer(conversation: Conversation, question: str, seen: Seen) -> Answer:
    """Ask; note what was said and evaluated, and return the answer."""
    for event in conversation.ask(question, OPTIONS):
        if isinstance(event, Notice):
            seen.notices.append(event.text)
        if isinstance(event, Answered):
            seen.evaluated += event.proof.book_evaluated if conversation.limit is None else 0
            seen.reading = seen.reading or event.proof.reading
            text = event.answer
    return Answer(text, tuple(conversation.turns()[-1].tokens))


def kind_of(path: Path) -> str:
    """Return what kind of file it is, "" for one that holds nothing of a book or a chat."""
    if path.parent.name == "documents":
        return "sheet"
    if path.name == "sessions.sqlite":
        return "sessions"
    kind = path.name.partition("-")[0].partition(".")[0]
    return kind if kind in KINDS and path.parent.parent.name == "states" else ""


# -- the shelves -------------------------------------------------------------------------------------------------------


def shelves(folder: Path) -> list[Shelf]:
    """Let a model of each kind of memory read a book, to its end and to a checkpoint."""
    found = []
    architectures: tuple[Architecture, ...] = ("qwen3", "qwen35")
    for architecture in architectures:
        model = write_model(
            folder / f"{architecture}.gguf", architecture, layers=4, embed=128, heads=2, kv_heads=1, feed_forward=256
        )
        settings = replace(SETTINGS, model=str(model))
        backend = Lender(locations(folder / "shared"))
        other = home_of(folder / f"{architecture} other", 3, backend, settings)
        for name, partly in (("sealed", False), ("begun", True)):
            home = home_of(folder / f"{architecture} {name}", 4, backend, settings, partly=partly)
            shelf = Shelf(
                f"{architecture} {name}",
                backend,
                settings,
                home,
                home.with_name(f"{home.name} good"),
                other,
                book_at(home),
                Seen(),
            )
            shutil.copytree(home, shelf.good)
            found.append(replace(shelf, known=shelf.look()))
    return found


def book_at(home: Path) -> Path:
    """Return where the book of a home is."""
    return home.with_name(f"{home.name}.txt")


def home_of(home: Path, n_chapters: int, backend: Lender, settings: Settings, *, partly: bool = False) -> Path:
    """Make a home with a book that was read, all of it or to a checkpoint, and a chat of two turns about it."""
    book = book_at(home)
    book.write_text(chapters(n_chapters, 3), encoding="utf-8")
    library = Library(locations(home), settings, backend)
    with closing(read(library, book)) as ready, Sessions(locations(home).sessions_db) as sessions:
        conversation = Conversation(ready, sessions)
        for question in QUESTIONS:
            answer(conversation, question, Seen())
    if partly:
        (folder,) = library.states.all()
        library.states.delete(folder)
        stop_at_checkpoint(Library(locations(home), settings, backend, timer=fast_timer), book)
    return home


def read(library: Library, book: Path) -> OpenBook:
    """Read a book and return it."""
    ready = list(library.prepare(book))[-1]
    assert isinstance(ready, Ready)
    return ready.book


def fast_timer() -> float:
    """Return a time that runs fifty times as fast as clocks do, so that a checkpoint is due after a few batches."""
    return 50 * time.perf_counter()


def stop_at_checkpoint(library: Library, book: Path) -> None:
    """Read a book until something of it is on the disk."""
    try:
        for event in library.prepare(book):
            if isinstance(event, Checkpointed):
                library.stop()
    except Stopped:
        return
    raise AssertionError("the book was read to its end")

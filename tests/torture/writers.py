"""What writes to a home: the operations that storage fails under, and the homes that they find."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import Literal

from cagchat.conversation import AskOptions, Conversation
from cagchat.engine.backend import Backend
from cagchat.engine.protocol import Memory, Sampling
from cagchat.errors import CagchatError, Stopped
from cagchat.events import Answered, AskEvent, Checkpointed, PrepareEvent, Ready
from cagchat.library import Library
from cagchat.limits.limit import Limit
from cagchat.models.facts import facts
from cagchat.opened import OpenBook
from cagchat.remembered import Place as Mark
from cagchat.remembered import Remembered
from cagchat.sessions.session import Turn
from cagchat.sessions.store import Sessions
from cagchat.settings import Settings, write_value
from cagchat.states.pruning import removable, remove
from cagchat.states.store import States
from cagchat.wording import Extras
from tests.reading_cases import chapters, locations
from tests.torture.faults import NOBODY

SETTINGS = Settings(chat_tokens=1024, batch=256, threads=1, fast_kernels="off", gpu_layers=0, checkpoint_share=1.0)
OPTIONS = AskOptions(Sampling(), max_tokens=4, extras=Extras(evidence="always", evidence_tokens=128))
QUESTIONS = ("Who kept the ledger of the harbour?", "How many lanterns were on the quay?")
MEMORIES: tuple[Memory, ...] = ("attention", "hybrid")

Before = Literal["empty", "begun", "sealed"]
Event = PrepareEvent | AskEvent


@dataclass(frozen=True, slots=True)
class Place:
    """A home and the book that is read there; `watch` hears of everything that happens."""

    home: Path
    book: Path
    backend: Backend
    settings: Settings = SETTINGS
    watch: Callable[[Event], None] = field(default=lambda event: None)

    @property
    def states(self) -> States:
        """The saved states."""
        return States(locations(self.home).states)

    def library(self) -> Library:
        """Return the library."""
        return Library(locations(self.home), self.settings, self.backend, timer=ticking())

    def sessions(self, pid: int = NOBODY) -> Sessions:
        """Return the chats, as a program that has ended since would have opened them."""
        sessions = Sessions(locations(self.home).sessions_db, pid=lambda: pid, launch="torture")
        try:
            sessions.recover()
        except CagchatError:
            sessions.close()
            raise
        return sessions


@dataclass(frozen=True, slots=True)
class Base:
    """Homes before an operation: nothing read, read to a checkpoint, read to the end; and what is known of them."""

    place: Place
    good: dict[Before, Path]
    turns: list[Turn]
    answers: list[str]
    state: bytes
    position: int

    def laid_out(self, before: Before) -> Place:
        """Put the home back as it was before an operation."""
        shutil.rmtree(self.place.home, ignore_errors=True)
        shutil.copytree(self.good[before], self.place.home)
        return self.place


@dataclass(frozen=True, slots=True)
class Operation:
    """Something that writes, what it finds before, and whether it deletes states or chats."""

    name: str
    before: Before
    work: Callable[[Place], object]
    deletes: Literal["", "states", "chats"] = ""


def ticking() -> Callable[[], float]:
    """Return a timer that is a second later at each look, so that there is a checkpoint or a write at each chance."""
    return count(0.0, 1.0).__next__


# -- what writes -------------------------------------------------------------------------------------------------------


def opened(place: Place) -> OpenBook:
    """Open the book."""
    book = None
    for event in place.library().prepare(place.book):
        place.watch(event)
        if isinstance(event, Ready):
            book = event.book
    assert book is not None
    return book


def read(place: Place) -> None:
    """Read the book, or restore it."""
    opened(place).close()


def ask(place: Place) -> list[str]:
    """Open the book and ask twice, in a new chat and in one with a limit; return the answers."""
    with closing(opened(place)) as book, place.sessions() as sessions:
        limit = Limit(book.manifest.book.sections[0][2] + 40, "the second chapter's beginning")
        whole = Conversation(book, sessions, timer=ticking())
        limited = Conversation(book, sessions, limit=limit, timer=ticking())
        return [answer(place, whole, QUESTIONS[0]), answer(place, limited, QUESTIONS[1])]


def answer(place: Place, conversation: Conversation, question: str) -> str:
    """Ask and return the answer."""
    text = ""
    for event in conversation.ask(question, OPTIONS):
        place.watch(event)
        if isinstance(event, Answered):
            text = event.answer
    return text


def go_on(place: Place) -> None:
    """Ask one question more in the first chat, then ask it again."""
    with closing(opened(place)) as book, place.sessions() as sessions:
        conversation = Conversation(book, sessions, sessions.list()[-1])
        answer(place, conversation, QUESTIONS[1])
        for event in conversation.regenerate(OPTIONS):
            place.watch(event)


def rename(place: Place) -> None:
    """Give the first chat another name."""
    with place.sessions() as sessions:
        sessions.rename(sessions.list()[-1].id, "Under the board")


def delete_chat(place: Place) -> None:
    """Delete the first chat."""
    with place.sessions() as sessions:
        for session in sessions.list()[-1:]:
            sessions.delete(session.id)


def delete_state(place: Place) -> None:
    """Delete the book's state."""
    for folder in place.states.all():
        place.states.delete(folder)


def prune(place: Place) -> None:
    """Delete everything that can go."""
    remove(place.states, removable(place.states, budget_bytes=0), lambda removal, size: None)


def remember(place: Place) -> None:
    """Keep a choice and where the reader is."""
    remembered = Remembered.under(locations(place.home))
    remembered.theme = "nord"
    remembered.remember("digest", Mark(12, (3, 4)))
    remembered.save()


def configure(place: Place) -> None:
    """Write a setting into the user's file."""
    write_value(locations(place.home).config_file, "threads", "2")


def identify(place: Place) -> None:
    """Remember what identifies a model."""
    facts(place.home.parent / "model.gguf", locations(place.home).cache / "models.json")


EVERYWHERE = (
    Operation("read", "empty", read),
    Operation("resume", "begun", read),
    Operation("restore", "sealed", read),
    Operation("ask", "sealed", ask),
    Operation("go on with a chat", "sealed", go_on),
)
ONCE = (
    Operation("rename a chat", "sealed", rename),
    Operation("delete a chat", "sealed", delete_chat, "chats"),
    Operation("delete a state", "sealed", delete_state, "states"),
    Operation("prune", "sealed", prune, "states"),
    Operation("remember", "sealed", remember),
    Operation("configure", "sealed", configure),
    Operation("identify a model", "sealed", identify),
)


# -- homes -------------------------------------------------------------------------------------------------------------


def base_of(folder: Path, backend: Backend, settings: Settings = SETTINGS) -> Base:
    """Make the homes: with a chat of one turn in those where something was read."""
    folder.mkdir()
    book = folder / "lanterns.txt"
    book.write_text(chapters(3, 3), encoding="utf-8")
    place = Place(folder / "home", book, backend, settings)
    good: dict[Before, Path] = {"empty": folder / "empty", "begun": folder / "begun", "sealed": folder / "sealed"}
    place.home.mkdir()
    shutil.copytree(place.home, good["empty"])
    with closing(opened(place)) as ready, place.sessions() as sessions:
        conversation = Conversation(ready, sessions)
        for _ in conversation.ask(QUESTIONS[0], replace(OPTIONS, extras=Extras())):
            pass
        turns = conversation.turns()
        assert ready.manifest.state is not None
        state = (ready.folder.path / ready.manifest.state.name).read_bytes()
    shutil.copytree(place.home, good["sealed"])
    place.states.delete(place.states.all()[0])
    position = stop_early(place)
    shutil.copytree(place.home, good["begun"])
    base = Base(place, good, turns, [], state, position)
    return replace(base, answers=ask(base.laid_out("sealed")))


def stop_early(place: Place) -> int:
    """Read to a checkpoint and return where it is."""
    library = place.library()
    position = 0
    try:
        for event in library.prepare(place.book):
            if isinstance(event, Checkpointed):
                position = event.position
                library.stop()
    except Stopped:
        return position
    raise AssertionError("the book was read to its end")

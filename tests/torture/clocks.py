"""Clocks that stand still, go back a day or forward ten years between two uses: orders hold, nothing is negative."""

from __future__ import annotations

import random
import time
from contextlib import closing
from dataclasses import fields, is_dataclass
from functools import partial
from pathlib import Path

import pytest

from cagchat.conversation import AskOptions, Conversation
from cagchat.engine.backend import FakeBackend
from cagchat.engine.protocol import Sampling
from cagchat.events import Answered, Ready
from cagchat.library import Library
from cagchat.sessions.session import Session
from cagchat.sessions.store import Sessions
from cagchat.settings import Settings
from cagchat.states.pruning import removable
from tests.reading_cases import chapters, locations
from tests.torture.lent import watched
from tests.torture.trial import Report

SETTINGS = Settings(chat_tokens=512, batch=64, threads=1, checkpoint_share=1.0)
OPTIONS = AskOptions(Sampling(), max_tokens=8)
BEGAN_S = 1_700_000_000.0
DAY_S = 86_400.0
JUMPS_S = {"stands still": 0.0, "goes on": 5.0, "goes back a day": -DAY_S, "goes forward ten years": 3652 * DAY_S}
N_BOOKS, N_CHATS = 3, 3


class Clock:
    """A clock that is set."""

    def __init__(self) -> None:
        self.now = BEGAN_S

    def __call__(self) -> float:
        return self.now

    def jump(self, chance: random.Random) -> str:
        """Jump, or be set right again; return how."""
        how = chance.choice([*JUMPS_S, "is set right"])
        self.now = self.now + JUMPS_S[how] if how in JUMPS_S else BEGAN_S
        return how


class Uses:
    """Books and chats in the order of their use, the last one first."""

    def __init__(self, home: Path) -> None:
        self.books: list[Path] = []
        self.names: dict[Path, str] = {}
        self.chats: list[str] = []
        self.of_book: dict[Path, list[str]] = {}
        self.home = home

    def used(self, book: Path, name: str, chat: str) -> None:
        """Note a use."""
        self.names[book] = name
        self.books = [book, *(other for other in self.books if other != book)]
        self.chats = [chat, *(other for other in self.chats if other != chat)]
        of_book = self.of_book.get(book, [])
        self.of_book[book] = [chat, *(other for other in of_book if other != chat)]


def jump(folder: Path, rounds: int, chance: random.Random, report: Report) -> None:
    """Use books and chats while the clock jumps."""
    folder.mkdir()
    clock, uses = Clock(), Uses(folder / "home")
    books = [folder / f"book {number}.txt" for number in range(N_BOOKS)]
    for number, book in enumerate(books):
        book.write_text(chapters(number + 1, 2), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time, "time", clock)
        for _ in range(rounds):
            how = clock.jump(chance)
            report.counts[f"the clock {how}"] += 1
            book, again = chance.choice(books), chance.random() < 0.7
            # A timer that stands still is what a machine shows that slept meanwhile.
            still = chance.random() < 0.3
            future = watched(partial(use, uses, clock, book, again, still, chance))
            if not future.done():
                report.broken.append(f"the clock {how}: it hangs")
            elif error := future.exception():
                report.broken.append(f"the clock {how}: {type(error).__name__}: {error}")
            else:
                report.broken += [f"the clock {how}: {sentence}" for sentence in future.result()]


def use(uses: Uses, clock: Clock, path: Path, again: bool, still: bool, chance: random.Random) -> list[str]:
    """Open a book and ask, in a chat about it or a new one; return what does not hold afterwards."""
    timer = (lambda: 0.0) if still else time.perf_counter
    library = Library(locations(uses.home), SETTINGS, FakeBackend(), clock=clock, timer=timer)
    wrong: list[str] = []
    book = None
    for event in library.prepare(path):
        wrong += [f"{type(event).__name__} has {name} {value}" for name, value in negatives(event)]
        if isinstance(event, Ready):
            book = event.book
    assert book is not None
    with closing(book), Sessions(locations(uses.home).sessions_db, clock=clock) as sessions:
        earlier = uses.of_book.get(path, [])
        again = again or len(earlier) == N_CHATS
        session = sessions.find(chance.choice(earlier)) if earlier and again else None
        conversation = Conversation(book, sessions, session, timer=timer)
        for told in conversation.ask("Who was late?", OPTIONS):
            if isinstance(told, Answered):
                wrong += [f"the proof has {name} {value}" for name, value in negatives(told.proof)]
        assert conversation.session is not None
        uses.used(path, book.folder.name, conversation.session.id)
        numbers = [turn.number for turn in conversation.turns()]
        latest = sessions.latest(book.manifest.book.digest)
        wrong += [] if numbers == list(range(1, len(numbers) + 1)) else [f"the turns are {numbers}"]
        wrong += [] if latest and latest.id == conversation.session.id else ["another chat is the latest"]
        wrong += [] if order(sessions.list()) == uses.chats else ["the chats are in another order"]
    wanted = [uses.names[book] for book in uses.books]
    going = [removal.path.name for removal in removable(library.states, budget_bytes=0) if removal.kind == "state"]
    wrong += [] if [folder.name for folder in library.states.all()] == wanted else ["the states are in another order"]
    wrong += [] if going == wanted[::-1] else ["what was used lately would be deleted first"]
    return wrong


def order(sessions: list[Session]) -> list[str]:
    """Return the ids of chats in their order."""
    return [session.id for session in sessions]


def negatives(event: object) -> list[tuple[str, float]]:
    """Return the fields of an event that are below zero."""
    if not is_dataclass(event):
        return []
    values = [(each.name, getattr(event, each.name)) for each in fields(event)]
    return [(name, value) for name, value in values if isinstance(value, int | float) and value < 0]

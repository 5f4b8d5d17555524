"""A stop that comes with any of the calls to the engine's process, before it has begun there: nothing breaks."""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path
from types import SimpleNamespace

import pytest

from cagchat.conversation import AskOptions, Conversation
from cagchat.engine import child
from cagchat.engine.fake import FakeScript
from cagchat.engine.protocol import CHAT, Sampling
from cagchat.engine.wire import Request
from cagchat.errors import Stopped
from cagchat.events import Answered, AskEvent
from cagchat.library import Library
from cagchat.limits.until import parse_until
from cagchat.opened import OpenBook
from cagchat.sessions.store import Sessions
from cagchat.wording import Extras
from tests.reading_cases import (
    FAKES,
    Kind,
    book_tokens_evaluated,
    chapters,
    fake,
    library_of,
    of_type,
    opening,
    recorded_length,
    write_book,
)

OPTIONS = AskOptions(Sampling(temperature=0.0), max_tokens=10)
QUESTIONS = ("Who kept the ledger of the harbour?", "What did the dog do?", "Which number was on the cuff?")


class Calls:
    """Counts the requests to engine processes; at one of them it does what Ctrl-C does, before the request is sent."""

    def __init__(self) -> None:
        self.methods: list[str] = []
        self._at = 0
        self._stop: Callable[[], None] = lambda: None

    def stop_at(self, number: int, stop: Callable[[], None] = lambda: None) -> None:
        """Start counting anew, and call `stop` with the request of this number; the first one is 1."""
        self.methods, self._at, self._stop = [], number, stop

    def noted(self, request: Request) -> None:
        """Count a request."""
        self.methods.append(request.method)
        if len(self.methods) == self._at:
            self._stop()


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Calls:
    calls = Calls()

    class Outbox(queue.SimpleQueue[object]):
        def put(self, item: object, block: bool = True, timeout: float | None = None) -> None:
            if isinstance(item, Request):
                calls.noted(item)
            super().put(item, block, timeout)

    monkeypatch.setattr(child, "queue", SimpleNamespace(SimpleQueue=Outbox))
    return calls


@pytest.mark.parametrize("kind", FAKES, ids=str)
def test_while_reading(kind: Kind, calls: Calls, tmp_path: Path) -> None:
    """A reading ends as stopped with what it read kept, or is ready; the next opening goes on from there."""
    book = write_book(tmp_path, chapters(2))
    backend = fake(FakeScript(memory=kind.memory), own_process=True)

    def library_at(home: Path) -> Library:
        """Return a library whose time passes with looks at the clock: how a reading is cut depends on it."""
        looks = count()
        return library_of(home, backend, timer=lambda: 0.01 * next(looks))

    with opening(library_at(tmp_path / "whole"), book) as whole:
        methods = list(calls.methods)
        assert {"evaluate", "length", "mark", "probe", "save", "state_size"} <= set(methods)
    for number in range(1, len(methods) + 1):
        library = library_at(tmp_path / f"home {number}")
        calls.stop_at(number, library.stop)
        with pytest.raises(Stopped) as stopped:
            list(library.prepare(book))
        assert stopped.value.hint
        calls.stop_at(0)
        folders = library.states.all()
        kept = folders[0].manifest().position if folders else 0
        with opening(library, book) as ready:
            assert book_tokens_evaluated(ready) == whole.n_tokens - kept, f"stopped with call {number}"
            assert ready.manifest.probe == whole.manifest.probe
            assert ready.manifest.boundaries == whole.manifest.boundaries


def settled(events: Iterator[AskEvent]) -> str:
    """Run a question to its end; return its status, or that it was stopped before the answer began."""
    try:
        seen = list(events)
    except Stopped:
        return "none"
    (answered,) = of_type(seen, Answered)
    return answered.status


@pytest.fixture
def book(tmp_path: Path) -> Iterator[OpenBook]:
    with opening(library_of(tmp_path / "home", fake(own_process=True)), write_book(tmp_path, chapters(1))) as book:
        yield book


Talk = Callable[[OpenBook, Sessions], tuple[Conversation, AskOptions, bool]]


def plain(book: OpenBook, sessions: Sessions) -> tuple[Conversation, AskOptions, bool]:
    """A second question."""
    return asked_once(Conversation(book, sessions)), OPTIONS, False


def regenerated(book: OpenBook, sessions: Sessions) -> tuple[Conversation, AskOptions, bool]:
    """The same question again."""
    return asked_once(Conversation(book, sessions)), OPTIONS, True


def guided(book: OpenBook, sessions: Sessions) -> tuple[Conversation, AskOptions, bool]:
    """A question whose answer is drafted first."""
    return asked_once(Conversation(book, sessions)), replace(OPTIONS, extras=Extras(quoting="guided")), False


def read_back(book: OpenBook, sessions: Sessions) -> tuple[Conversation, AskOptions, bool]:
    """A question in a chat that was left: its history is evaluated first."""
    session = asked_once(Conversation(book, sessions)).session
    return Conversation(book, sessions, session), OPTIONS, False


def limited(book: OpenBook, sessions: Sessions) -> tuple[Conversation, AskOptions, bool]:
    """A question in a chat that knows half of the book."""
    limit = parse_until(book.document, "50%")
    return Conversation(book, sessions, limit=limit), OPTIONS, False


def asked_once(conversation: Conversation) -> Conversation:
    """Ask the first question."""
    assert settled(conversation.ask(QUESTIONS[0], OPTIONS)) == "done"
    return conversation


@pytest.mark.parametrize("talk", [plain, regenerated, guided, read_back, limited])
def test_while_asking(talk: Talk, calls: Calls, book: OpenBook, tmp_path: Path) -> None:
    """The turn is stopped before anything more is read, and the next one finds book and context as the record says."""
    with Sessions(tmp_path / "sessions.sqlite") as sessions:
        for number in count(1):
            conversation, options, again = talk(book, sessions)
            book_tokens_evaluated(book)
            calls.stop_at(number, conversation.stop)
            events = conversation.regenerate(options) if again else conversation.ask(QUESTIONS[1], options)
            status = settled(events)
            if len(calls.methods) < number:
                break
            met, later = calls.methods[number - 1], calls.methods[number:]
            # What is called after the answer cannot be stopped any more; whatever comes before it can.
            assert status == ("done" if met == "take_spans" else "none"), f"stopped with call {number}, {met}"
            assert {"evaluate", "generate"}.isdisjoint(later), f"stopped with call {number}, {met}, and then {later}"
            assert conversation.turns()[-1].status == ("stopped" if status == "none" else "done")
            calls.stop_at(0)
            assert settled(conversation.ask(QUESTIONS[2], OPTIONS)) == "done"
            if conversation.limit is None:
                assert book.engine.length(CHAT) == recorded_length(conversation)
                assert book_tokens_evaluated(book) == 0
        assert number > 3

"""A stop that comes with any of the calls to the engine's process, before it has begun there: nothing breaks."""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterator
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
from cagchat.opened import OpenBook
from cagchat.sessions.store import Sessions
from tests.reading_cases import (
    FAKES,
    Kind,
    book_tokens_evaluated,
    chapters,
    fake,
    library_of,
    of_type,
    opening,
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
    with opening(library_of(tmp_path / "whole", backend), book) as whole:
        methods = list(calls.methods)
        assert {"evaluate", "length", "mark", "probe", "save", "state_size"} <= set(methods)
    for number in range(1, len(methods) + 1):
        library = library_of(tmp_path / f"home {number}", backend)
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


def recorded_length(conversation: Conversation) -> int:
    """Return how long the context must be when it holds the book and every recorded turn."""
    bodies = [turn.tokens for turn in conversation.turns() if turn.tokens]
    between = max(0, len(bodies) - 1) * len(conversation.book.pieces.next_opening)
    return conversation.book.n_tokens + between + sum(map(len, bodies))


@pytest.fixture
def book(tmp_path: Path) -> Iterator[OpenBook]:
    with opening(library_of(tmp_path / "home", fake(own_process=True)), write_book(tmp_path, chapters(1))) as book:
        yield book


@pytest.mark.parametrize("again", [False, True], ids=["asked", "regenerated"])
def test_while_asking(again: bool, calls: Calls, book: OpenBook, tmp_path: Path) -> None:
    """The turn is stopped, and the next one finds the book where it was and the context where the record says."""
    with Sessions(tmp_path / "sessions.sqlite") as sessions:
        number = 0
        while True:
            number += 1
            conversation = Conversation(book, sessions)
            assert settled(conversation.ask(QUESTIONS[0], OPTIONS)) == "done"
            calls.stop_at(number, conversation.stop)
            events = conversation.regenerate(OPTIONS) if again else conversation.ask(QUESTIONS[1], OPTIONS)
            status = settled(events)
            if len(calls.methods) < number:
                break
            met = calls.methods[number - 1]
            calls.stop_at(0)
            # What is called after the answer cannot be stopped any more; whatever comes before it can.
            assert status == ("done" if met in ("take_spans",) else "none"), f"stopped with call {number}, {met}"
            assert conversation.turns()[-1].status == ("stopped" if status == "none" else "done")
            assert settled(conversation.ask(QUESTIONS[2], OPTIONS)) == "done"
            assert book.engine.length(CHAT) == recorded_length(conversation)
            assert book_tokens_evaluated(book) == 0
        assert number > 3

"""One chat in two windows: each has an engine and a context of its own, and the record is what both go by."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from cagchat.conversation import AskOptions, Conversation
from cagchat.engine.fake import FakeScript
from cagchat.engine.protocol import CHAT, Sampling
from cagchat.errors import SessionError
from cagchat.events import Answer, Answered, AskEvent, HistoryRead, Notice
from cagchat.opened import OpenBook
from cagchat.sessions.store import Sessions
from tests.reading_cases import chapters, fake, library_of, of_type, opened, write_book

OPTIONS = AskOptions(Sampling(temperature=0.0), max_tokens=60)
ANSWERS = {"ledger": "Old Perrin kept it.", "lanterns": "There were forty-one."}


@dataclass
class Window:
    """A program of its own with the book and the chats open."""

    book: OpenBook
    sessions: Sessions

    def chat(self) -> Conversation:
        """Go on with the only chat, or begin one."""
        return Conversation(self.book, self.sessions, next(iter(self.sessions.list()), None))

    def context(self) -> str:
        """Return what stands in the chat's sequence of the engine without a model."""
        engine = self.book.engine
        return engine.text_of(engine._sequences[CHAT]).decode(errors="replace")  # type: ignore[attr-defined]  # the fake's


@pytest.fixture
def windows(tmp_path: Path) -> Iterator[tuple[Window, Window]]:
    """Open a book that was read before in two windows."""
    path = write_book(tmp_path, chapters(3, 2))
    backend = fake(FakeScript(answers=ANSWERS))
    opened(library_of(tmp_path / "home", backend), path)[0].close()
    both = [
        Window(
            opened(library_of(tmp_path / "home", backend), path)[0],
            Sessions(tmp_path / "sessions.sqlite", launch=launch),
        )
        for launch in ("one", "other")
    ]
    yield both[0], both[1]
    for window in both:
        window.book.close()
        window.sessions.close()


def asked(conversation: Conversation, question: str) -> list[AskEvent]:
    return list(conversation.ask(question, OPTIONS))


def test_an_answer_does_not_run_into_the_turn_that_took_its_place(windows: tuple[Window, Window]) -> None:
    """A question that is asked again in another window while it is answered: each answer stays with its question."""
    first, second = windows
    events = first.chat().ask("Who kept the ledger?", OPTIONS)
    said = next(event.text for event in events if isinstance(event, Answer))
    in_place = list(second.chat().edit(1, "How many lanterns were there?", OPTIONS))
    with pytest.raises(SessionError, match=r"Turn 1 of chat .* is no longer part of it"):
        list(events)
    assert isinstance(in_place[-1], Answered)
    (turn,) = second.chat().turns()
    assert (turn.question, turn.answer) == ("How many lanterns were there?", ANSWERS["lanterns"])
    with second.sessions._reading() as db:
        ((kept,),) = db.execute("SELECT answer FROM turns WHERE current = 0").fetchall()
    assert kept.startswith(said)


def test_what_another_window_asked_is_read_before_the_next_question(windows: tuple[Window, Window]) -> None:
    """The context is what the record is, also when another window has added to it; that is said."""
    first, second = windows
    here = first.chat()
    asked(here, "Who kept the ledger?")
    asked(second.chat(), "How many lanterns were there?")
    here.session = first.sessions.list()[0]
    events = asked(here, "And then?")
    assert any("Another window has changed this chat" in notice.text for notice in of_type(events, Notice))
    assert [read.n_turns for read in of_type(events, HistoryRead)] == [2]
    assert "How many lanterns were there?" in first.context()
    again = asked(here, "And after that?")
    assert not of_type(again, HistoryRead)
    assert not any("Another window" in notice.text for notice in of_type(again, Notice))


def test_what_another_window_asked_anew_is_in_no_context(windows: tuple[Window, Window]) -> None:
    """A turn that is history stands before no answer any more."""
    first, second = windows
    here = first.chat()
    asked(here, "Who kept the ledger?")
    list(second.chat().edit(1, "How many lanterns were there?", OPTIONS))
    asked(here, "And then?")
    assert "Who kept the ledger?" not in first.context()
    assert [turn.question for turn in here.turns()] == ["How many lanterns were there?", "And then?"]


def test_a_turn_of_one_window_is_not_lost_by_asking_an_earlier_one_again(windows: tuple[Window, Window]) -> None:
    """Asking again what stands before another window's turns makes these history too, and the context follows."""
    first, second = windows
    here = first.chat()
    asked(here, "Who kept the ledger?")
    asked(second.chat(), "How many lanterns were there?")
    events = list(here.regenerate(OPTIONS, 1))
    assert not of_type(events, HistoryRead)
    assert [turn.question for turn in here.turns()] == ["Who kept the ledger?"]
    there = second.chat()
    asked(there, "And then?")
    assert "How many lanterns were there?" not in second.context()

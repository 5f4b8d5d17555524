"""Passages beside a question, and the quotes of an answer: counted, recorded, and gone with the book."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from cagchat.conversation import AskOptions, Conversation
from cagchat.engine.fake import FakeScript
from cagchat.engine.protocol import CHAT, Sampling
from cagchat.events import Answered, AskEvent, HistoryRead, Notice, Reread
from cagchat.opened import OpenBook
from cagchat.sessions.store import Sessions
from cagchat.wording import QUOTE_REQUEST, Extras
from tests.reading_cases import (
    SETTINGS,
    Kind,
    chapters,
    fake,
    library_for,
    library_of,
    of_type,
    opened,
    opening,
    write_book,
)

OPTIONS = AskOptions(Sampling(temperature=0.0), max_tokens=10)
ALWAYS = replace(OPTIONS, extras=Extras(evidence="always", evidence_tokens=300))
QUESTION = "Where did Old Perrin keep the ledger of the harbour?"
SENTENCE = "Old Perrin kept the ledger of the harbour under a loose board in his kitchen."
QUOTING = FakeScript(answers={"ledger": f"The book says: “{SENTENCE}” And also “a thing that nobody ever wrote down”."})
KINDS = (Kind("fake", "attention"), Kind("fake", "hybrid"), Kind("qwen35", "hybrid"), Kind("smollm2", "attention"))


@pytest.fixture
def sessions(tmp_path: Path) -> Iterator[Sessions]:
    with Sessions(tmp_path / "sessions.sqlite") as sessions:
        yield sessions


@pytest.fixture(params=KINDS, ids=str)
def book(request: pytest.FixtureRequest, tmp_path: Path, models: Path) -> Iterator[OpenBook]:
    roomy = replace(SETTINGS, chat_tokens=2048)
    library, _ = library_for(request.param, tmp_path / "home", models, roomy)
    with opening(library, write_book(tmp_path, chapters(1))) as book:
        yield book


@pytest.fixture
def quoting_book(tmp_path: Path) -> Iterator[OpenBook]:
    """Open a book with an engine that quotes it when asked about the ledger."""
    with opening(library_of(tmp_path / "home", fake(QUOTING)), write_book(tmp_path, chapters(1))) as book:
        yield book


def told(events: Iterator[AskEvent]) -> tuple[list[AskEvent], Answered]:
    """Run a question to its end."""
    seen = list(events)
    (answered,) = of_type(seen, Answered)
    return seen, answered


def test_passages_are_counted_with_the_question(book: OpenBook, sessions: Sessions) -> None:
    """What is put beside a question is evaluated, counted as such, and none of it is taken for the book."""
    events, answered = told(Conversation(book, sessions).ask(QUESTION, ALWAYS))
    (reread,) = of_type(events, Reread)
    assert reread.places
    assert 0 < answered.proof.reread == reread.n_tokens < answered.proof.evaluated
    assert answered.proof.reread <= 300
    assert answered.proof.book_reused == book.n_tokens or answered.proof.reading


def test_without_evidence_nothing_is_added(book: OpenBook, sessions: Sessions) -> None:
    """Switched off, answers come from the cache alone."""
    off = replace(ALWAYS, extras=Extras(evidence="off"))
    events, answered = told(Conversation(book, sessions).ask(QUESTION, off))
    assert of_type(events, Reread) == []
    assert answered.proof.reread == 0


def test_the_record_has_the_plain_question_and_the_exact_tokens(book: OpenBook, sessions: Sessions) -> None:
    """What was put beside a question is not part of its words, but of the tokens that are read back."""
    conversation = Conversation(book, sessions)
    told(conversation.ask(QUESTION, ALWAYS))
    (turn,) = conversation.turns()
    assert turn.question == QUESTION
    length = book.engine.length(CHAT)
    again = Conversation(book, sessions, conversation.session)
    events, _ = told(again.ask("And then?", OPTIONS))
    (history,) = of_type(events, HistoryRead)
    assert book.n_tokens + history.n_tokens == length


def test_quotes_of_an_answer_are_looked_up(quoting_book: OpenBook, sessions: Sessions) -> None:
    """A quote that stands in the book is found at its place, and one that does not is told."""
    options = replace(OPTIONS, max_tokens=400)
    _, answered = told(Conversation(quoting_book, sessions).ask("What of the ledger?", options))
    assert answered.quotes is not None
    first, second = answered.quotes.items
    assert (first.located.mark, second.located.mark) == ("verified", "absent")
    text = quoting_book.document.text
    assert text[first.located.start : first.located.end] == SENTENCE.removesuffix(".") or SENTENCE in text
    assert str(answered.quotes) == "2 quotes: 1 found in the book, 1 not"


def test_the_request_to_quote_is_part_of_the_prompt(quoting_book: OpenBook, sessions: Sessions) -> None:
    """A model that is asked to quote evaluates exactly the request more."""
    plain = told(Conversation(quoting_book, sessions).ask("Who?", OPTIONS))[1].proof.evaluated
    options = replace(OPTIONS, extras=Extras(quoting="always"))
    asked = told(Conversation(quoting_book, sessions).ask("Who?", options))[1].proof.evaluated
    assert asked - plain == len(f" {QUOTE_REQUEST}")  # the fake's tokens are bytes


def test_an_index_that_is_not_kept_is_said_once(tmp_path: Path, sessions: Sessions) -> None:
    """Passages are found all the same; why each opening takes longer is said with the first of them."""
    with opening(library_of(tmp_path / "home", fake()), write_book(tmp_path, chapters(1))) as book:
        (book.folder.path / "passages").mkdir()
        conversation = Conversation(book, sessions)
        first, second = (told(conversation.ask(QUESTION, ALWAYS))[0] for _ in range(2))
    assert [sum("not kept" in notice.text for notice in of_type(seen, Notice)) for seen in (first, second)] == [1, 0]
    assert of_type(second, Reread)


def test_the_index_goes_with_the_state(tmp_path: Path, sessions: Sessions) -> None:
    """The search index lies in the state's folder, readable by nobody else, and is deleted with it."""
    library = library_of(tmp_path / "home", fake())
    book, _ = opened(library, write_book(tmp_path, chapters(1)))
    told(Conversation(book, sessions).ask(QUESTION, ALWAYS))
    index = book.folder.path / "passages"
    assert index.stat().st_mode & 0o077 == 0
    book.close()
    library.states.delete(book.folder)
    assert not index.exists()

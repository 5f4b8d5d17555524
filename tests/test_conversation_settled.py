"""What becomes of a turn, its proof and the next one's when something fails or changes around it."""

from __future__ import annotations

import errno
import gc
import os
import weakref
from array import array
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from cagchat.conversation import AskOptions, Conversation, Prompted
from cagchat.engine import child
from cagchat.engine.fake import FakeScript
from cagchat.engine.protocol import CHAT, Sampling
from cagchat.engine.wire import Start
from cagchat.errors import EngineDied, EngineError, SessionError, StateDamaged, StorageError, UsageError
from cagchat.events import Answer, Answered, AskEvent, HistoryRead, Notice
from cagchat.library import Library
from cagchat.limits.limit import Limit
from cagchat.opened import OpenBook
from cagchat.sessions.store import Sessions
from tests.reading_cases import chapters, fake, library_of, of_type, opened, write_book

OPTIONS = AskOptions(Sampling(temperature=0.0), max_tokens=10)
QUESTION, LONG_QUESTION = "Where?", "Who kept the ledger of the harbour in those years, and for whom?"


@pytest.fixture
def sessions(tmp_path: Path) -> Iterator[Sessions]:
    with Sessions(tmp_path / "sessions.sqlite") as sessions:
        yield sessions


def library(home: Path, memory: str = "attention") -> Library:
    return library_of(home, fake(FakeScript(memory=memory)))  # type: ignore[arg-type]  # one of the protocol's words


@pytest.fixture
def book(tmp_path: Path) -> Iterator[OpenBook]:
    """Open a book that was read before, so that no proof is about reading it."""
    path = write_book(tmp_path, chapters(3, 2))
    opened(library(tmp_path / "home"), path)[0].close()
    book = opened(library(tmp_path / "home"), path)[0]
    yield book
    book.close()


def asked(conversation: Conversation, question: str = QUESTION) -> Answered:
    *_, last = conversation.ask(question, OPTIONS)
    assert isinstance(last, Answered)
    return last


def test_a_chat_that_is_deleted_while_it_answers_counts_for_no_other(book: OpenBook, sessions: Sessions) -> None:
    """What the lost answer evaluated is not in the next proof."""
    clean = asked(Conversation(book, sessions)).proof.evaluated
    lost = Conversation(book, sessions)
    events = lost.ask(LONG_QUESTION, OPTIONS)
    assert isinstance(next(event for event in events if isinstance(event, Answer)), Answer)
    assert lost.session is not None
    sessions.delete(lost.session.id)
    with pytest.raises(SessionError):
        list(events)
    assert asked(Conversation(book, sessions)).proof.evaluated == clean


@pytest.mark.parametrize("memory", ["attention", "hybrid"])
def test_an_abandoned_answer_below_a_limit_counts_for_no_other(
    memory: str, tmp_path: Path, sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of what was evaluated in one go up to the limit and on into the question, the next proof has the book's part."""
    path = write_book(tmp_path, chapters(3, 2))
    opened(library(tmp_path / "home", memory), path)[0].close()
    book = opened(library(tmp_path / "home", memory), path)[0]
    limit = Limit(len(book.document.text) // 2, "the middle")
    abandoned = Conversation(book, sessions, limit=limit)
    with monkeypatch.context() as patch:
        patch.setattr(sessions, "update_answer", raising)
        with pytest.raises(StorageError):
            list(abandoned.ask(LONG_QUESTION, OPTIONS))
    before = asked(Conversation(book, sessions, limit=limit)).proof
    after = asked(Conversation(book, sessions, limit=limit)).proof
    assert before.evaluated == after.evaluated
    assert (before.book_evaluated > 0) == (memory == "hybrid")
    assert after.book_evaluated == 0


@pytest.mark.parametrize("memory", ["attention", "hybrid"])
def test_an_abandoned_answer_below_a_far_limit_counts_for_no_nearer_one(
    memory: str, tmp_path: Path, sessions: Sessions
) -> None:
    """What was read on the way to the far limit, and beyond the near one, is no part of the next proof."""
    path = write_book(tmp_path, chapters(6, 4))
    opened(library(tmp_path / "home", memory), path)[0].close()
    book = opened(library(tmp_path / "home", memory), path)[0]
    length = len(book.document.text)
    near, far = Limit(length // 3, "a third"), Limit(length * 4 // 5, "four fifths")
    asked(Conversation(book, sessions, limit=near))
    clean = asked(Conversation(book, sessions, limit=near)).proof
    events = Conversation(book, sessions, limit=far).ask(LONG_QUESTION, OPTIONS)
    assert any(isinstance(event, Answer) for event in events)
    events.close()
    after = asked(Conversation(book, sessions, limit=near)).proof
    assert (after.evaluated, after.book_evaluated) == (clean.evaluated, 0)
    book.close()


def test_a_turn_is_settled_although_the_books_tokens_cannot_be_read(book: OpenBook, sessions: Sessions) -> None:
    """A chat with a limit needs the file of the tokens; without it the question has failed, and does not run on."""
    conversation = Conversation(book, sessions, limit=Limit(len(book.document.text) // 2, "the middle"))
    book.folder.tokens_path.unlink()
    with pytest.raises(StateDamaged):
        list(conversation.ask(QUESTION, OPTIONS))
    (turn,) = conversation.turns()
    assert turn.status == "failed"
    assert "tokens.bin" in turn.error


def test_a_system_without_room_for_an_engine_fails_the_question(
    book: OpenBook, sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The engine died and no other can be started: that is said and recorded, and the next question tries again."""
    conversation = Conversation(book, sessions)
    asked(conversation)
    conversation._lost_engine(EngineDied("It died."))

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    with monkeypatch.context() as patch:
        patch.setattr("subprocess.Popen", refuse)
        patch.setattr(book._backend, "open_engine", lambda settings, notify: child.Child(Start("fake", ())))
        with pytest.raises(EngineError, match="cannot be started: Too many open files"):
            asked(conversation)
    assert [turn.status for turn in conversation.turns()] == ["done", "failed"]
    assert asked(conversation).proof.book_evaluated == 0


def test_only_the_last_prompt_is_kept(book: OpenBook, sessions: Sessions) -> None:
    """However long the chat, what its earlier questions were asked with is not held in memory."""
    conversation = Conversation(book, sessions)
    for number in range(6):
        asked(conversation, f"Where was the lamp in year {number}?")
    gc.collect()
    assert sum(isinstance(kept, Prompted) for kept in gc.get_objects()) == 1


def raising(*_: object) -> None:
    raise StorageError("The disk is full.")


def test_a_proved_answer_stays_one_when_the_books_text_is_gone(book: OpenBook, sessions: Sessions) -> None:
    """A book that is deleted in another window cannot be looked up in; the answer and its proof are kept."""
    conversation = Conversation(book, sessions)
    book.folder.book_path.unlink()
    events: list[AskEvent] = list(conversation.ask(QUESTION, OPTIONS))
    answered = events[-1]
    assert isinstance(answered, Answered)
    assert answered.quotes is None
    assert any("Quotes cannot be looked up" in notice.text for notice in of_type(events, Notice))
    (turn,) = conversation.turns()
    assert (turn.status, turn.answer) == ("done", answered.answer)
    assert turn.proof == answered.proof.as_dict()


def test_another_model_reads_what_was_said_and_not_the_token_ids(book: OpenBook, sessions: Sessions) -> None:
    """Token ids of a model with another tokenizer mean something else; the text does not."""
    first = Conversation(book, sessions)
    asked(first)
    assert first.session is not None
    (turn,) = first.turns()
    foreign = array("i", [7] * 400)
    sessions.finish_turn(
        first.session.id,
        1,
        answer=turn.answer,
        thinking="",
        tokens=foreign,
        status="done",
        proof=turn.proof,
        tokenizer="another",
    )
    events = list(Conversation(book, sessions, first.session).ask(QUESTION, OPTIONS))
    question, answer = book.engine.tokenize([turn.question, turn.answer], special=False)
    said = book.pieces.before(is_first=True) + book.pieces.body(question, thinking=False) + answer
    assert [read.n_tokens for read in of_type(events, HistoryRead)] == [len(said)]
    assert any("made with another model" in notice.text for notice in of_type(events, Notice))
    assert book.engine.length(CHAT) < book.n_tokens + len(foreign)


@pytest.mark.parametrize("tokenizer", ["", "own"])
def test_the_same_model_reads_the_tokens_that_were_sampled(tokenizer: str, book: OpenBook, sessions: Sessions) -> None:
    """Turns of this model's tokenizer are read back as they are, those of older records by the chat's model name."""
    first = Conversation(book, sessions)
    asked(first)
    assert first.session is not None
    (turn,) = first.turns()
    assert turn.tokenizer == book.manifest.key.wording
    tokens = turn.tokens + array("i", [7] * 5)
    sessions.finish_turn(
        first.session.id,
        1,
        answer=turn.answer,
        thinking="",
        tokens=tokens,
        status="done",
        proof=turn.proof,
        tokenizer=turn.tokenizer if tokenizer else "",
    )
    events = list(Conversation(book, sessions, first.session).ask(QUESTION, OPTIONS))
    expected = len(book.pieces.before(is_first=True)) + len(tokens)
    assert [read.n_tokens for read in of_type(events, HistoryRead)] == [expected]
    assert not any("another model" in notice.text for notice in of_type(events, Notice))


def test_older_records_of_another_model_are_read_as_text(book: OpenBook, sessions: Sessions) -> None:
    """A turn that does not say whose tokens it has is this model's only if the chat is."""
    first = Conversation(book, sessions)
    asked(first)
    assert first.session is not None
    (turn,) = first.turns()
    sessions.finish_turn(
        first.session.id, 1, answer="Here.", thinking="", tokens=array("i", [7] * 400), status="done", proof=turn.proof
    )
    other = replace(first.session, model="another")
    events = list(Conversation(book, sessions, other).ask(QUESTION, OPTIONS))
    (read,) = of_type(events, HistoryRead)
    assert read.n_tokens < 400


def test_a_chat_that_is_left_is_freed_at_once(book: OpenBook, sessions: Sessions) -> None:
    """Nothing holds it in a ring: its tokens must not wait for the garbage collector."""
    gc.disable()
    try:
        conversation = Conversation(book, sessions)
        asked(conversation)
        left = weakref.ref(conversation)
        del conversation
        assert left() is None
    finally:
        gc.enable()


def test_there_is_no_question_zero(book: OpenBook, sessions: Sessions) -> None:
    """A number that no question has is refused and changes nothing."""
    conversation = Conversation(book, sessions)
    asked(conversation)
    with pytest.raises(UsageError, match="no question 0"):
        conversation.edit(0, "What else?", OPTIONS)
    with pytest.raises(UsageError, match="no question 0"):
        conversation.regenerate(OPTIONS, 0)
    assert [turn.question for turn in conversation.turns()] == [QUESTION]

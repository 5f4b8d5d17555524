"""Chats about an open book: tokens are only ever appended, every answer has its proof, and nothing loses the record."""

from __future__ import annotations

import os
import signal
from array import array
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from cagchat.bench.synth import THINKING
from cagchat.conversation import AskOptions, Conversation
from cagchat.engine.fake import FakeScript
from cagchat.engine.protocol import BOOK, CHAT, Sampling, Span
from cagchat.errors import ContextFull, EngineDied, Stopped, UsageError
from cagchat.events import Answer, Answered, AskEvent, HistoryRead, Notice, Restored, Thinking
from cagchat.files import process_runs
from cagchat.opened import OpenBook
from cagchat.sessions.store import Sessions
from tests.reading_cases import (
    FAKES,
    KINDS,
    Kind,
    Watched,
    chapters,
    fake,
    library_for,
    library_of,
    of_type,
    opened,
    opening,
    recorded_length,
    write_book,
)

OPTIONS = AskOptions(Sampling(temperature=0.0), max_tokens=10)
LONG = replace(OPTIONS, max_tokens=200)
QUESTIONS = ("Who kept the ledger of the harbour?", "What did the dog do?", "Which number was on the cuff?")
ENDLESS = FakeScript(answers={"everything": "And so it went on. " * 40})
REAL = KINDS[2:]


@dataclass(frozen=True, slots=True)
class Shelf:
    """A book that this kind of model has read: every test opens it anew, with chats of its own."""

    kind: Kind
    home: Path
    book: Path


@pytest.fixture(scope="module")
def shelves(models: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[Kind, Shelf]:
    """Let every kind of model read the book once."""
    found = {}
    for kind in KINDS:
        home = tmp_path_factory.mktemp(str(kind))
        library, _ = library_for(kind, home, models)
        book = write_book(home, chapters(1))
        opened(library, book)[0].close()
        found[kind] = Shelf(kind, home, book)
    return found


@pytest.fixture(params=KINDS, ids=str)
def shelf(request: pytest.FixtureRequest, shelves: dict[Kind, Shelf]) -> Shelf:
    return shelves[request.param]


@pytest.fixture
def book(shelf: Shelf, models: Path) -> Iterator[OpenBook]:
    library, _ = library_for(shelf.kind, shelf.home, models)
    with opening(library, shelf.book) as book:
        yield book


@pytest.fixture
def sessions(tmp_path: Path) -> Iterator[Sessions]:
    with Sessions(tmp_path / "sessions.sqlite") as sessions:
        yield sessions


@pytest.fixture
def fake_book(tmp_path: Path) -> OpenBook:
    """Open a book that the fake in this process has read, with room for a few hundred tokens of chat."""
    return fake_book_of(tmp_path, FakeScript())


def fake_book_of(tmp_path: Path, script: FakeScript) -> OpenBook:
    return opened(library_of(tmp_path / "home", fake(script)), write_book(tmp_path, chapters(1)))[0]


def finished(events: Iterator[AskEvent]) -> Answered:
    """Run a question to its end."""
    return told(list(events))


def told(events: Sequence[AskEvent]) -> Answered:
    """Return the last event, which must be the only `Answered`."""
    (answered,) = of_type(events, Answered)
    assert events[-1] is answered
    return answered


def question_tokens(book: OpenBook, question: str, *, is_first: bool) -> int:
    """Return how many tokens a question and the frame around it take."""
    (ids,) = book.engine.tokenize([question], special=False)
    return len(book.pieces.before(is_first=is_first) + book.pieces.body(ids, thinking=False))


def stop_at(conversation: Conversation, events: Iterator[AskEvent], kind: type[AskEvent]) -> list[AskEvent]:
    """Run a question and stop it at its first event of a kind."""
    seen: list[AskEvent] = []
    for event in events:
        if isinstance(event, kind) and not of_type(seen, kind):
            conversation.stop()
        seen.append(event)
    return seen


# -- asking ------------------------------------------------------------------------------------------------------------


def test_record_is_what_the_context_holds(book: OpenBook, sessions: Sessions) -> None:
    """A turn's recorded tokens spell its question, what ends it and its answer, and the context holds exactly them."""
    conversation = Conversation(book, sessions)
    for question in QUESTIONS[:2]:
        finished(conversation.ask(question, OPTIONS))
        assert book.engine.length(CHAT) == recorded_length(conversation)
    for turn in conversation.turns():
        asked = f"{turn.question}{book.manifest.frame.closing}"
        spelled = book.engine.text_of(turn.tokens)
        assert spelled.startswith(asked.encode())
        assert spelled[len(asked.encode()) :].decode(errors="replace").strip() == turn.answer


def test_only_the_question_is_tokenised(
    fake_book: OpenBook, sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Earlier turns are never tokenised again: not for the next question, nor when the chat is continued."""
    first = Conversation(fake_book, sessions)
    finished(first.ask(QUESTIONS[0], OPTIONS))
    seen: list[str] = []
    real = fake_book.engine.tokenize

    def tokenize(texts: Sequence[str], *, special: bool) -> list[array[int]]:
        seen.extend(texts)
        return real(texts, special=special)

    monkeypatch.setattr(fake_book.engine, "tokenize", tokenize)
    finished(first.ask(QUESTIONS[1], OPTIONS))
    finished(Conversation(fake_book, sessions, first.session).ask(QUESTIONS[2], OPTIONS))
    assert seen == list(QUESTIONS[1:])


def test_no_question_reads_the_book(book: OpenBook, sessions: Sessions) -> None:
    """Neither the first question nor the second evaluates any text but itself and its answer."""
    conversation = Conversation(book, sessions)
    for index, question in enumerate(QUESTIONS[:2]):
        proof = finished(conversation.ask(question, OPTIONS)).proof
        assert proof.book_evaluated == 0
        assert proof.book_reused == book.n_tokens
        assert proof.evaluated == question_tokens(book, question, is_first=not index)
        assert proof.history_evaluated == 0


def test_proof_counts_add_up(book: OpenBook, sessions: Sessions, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a proof counts is all that the engine evaluated: book, history, question, answer, and what is no text."""
    taken: list[list[Span]] = []
    take = book.engine.take_spans

    def watched() -> list[Span]:
        taken.append(take())
        return taken[-1]

    monkeypatch.setattr(book.engine, "take_spans", watched)
    first = Conversation(book, sessions)
    finished(first.ask(QUESTIONS[0], OPTIONS))
    continued = Conversation(book, sessions, first.session)
    for conversation, question in ((first, QUESTIONS[1]), (continued, QUESTIONS[2])):
        proof = finished(conversation.ask(question, OPTIONS)).proof
        counted = proof.book_evaluated + proof.history_evaluated + proof.evaluated + proof.generated + proof.other
        assert counted == sum(span.count for span in taken[-1])
        assert proof.chat_tokens == recorded_length(conversation) - book.n_tokens


def test_reading_is_told_from_reading_again(tmp_path: Path, sessions: Sessions) -> None:
    """The first proof after a reading says that the book was read; later ones that it was reused."""
    book = fake_book_of(tmp_path, FakeScript())
    conversation = Conversation(book, sessions)
    proofs = [finished(conversation.ask(question, OPTIONS)).proof for question in QUESTIONS]
    assert [proof.book_evaluated for proof in proofs] == [book.n_tokens, 0, 0]
    assert [proof.reading for proof in proofs] == [True, False, False]
    assert all("AGAIN" not in proof.line() for proof in proofs)


def test_book_read_again_is_shouted(fake_book: OpenBook, sessions: Sessions) -> None:
    """Book tokens that were evaluated although the book was open already are shown loudly."""
    conversation = Conversation(fake_book, sessions)
    finished(conversation.ask(QUESTIONS[0], OPTIONS))
    fake_book.engine.clear(BOOK)
    for _ in fake_book.engine.evaluate(BOOK, fake_book.folder.tokens()):
        pass
    proof = finished(conversation.ask(QUESTIONS[1], OPTIONS)).proof
    assert f"{fake_book.n_tokens:,} BOOK TOKENS READ AGAIN" in proof.line()


def test_seed_is_drawn_and_recorded(fake_book: OpenBook, sessions: Sessions) -> None:
    """A negative seed draws a new one, which the proof names and which repeats the answer."""
    seeds = iter([11, 12])
    conversation = Conversation(fake_book, sessions, new_seed=lambda: next(seeds))
    free = AskOptions(Sampling(temperature=1.0, seed=-1), max_tokens=200)
    first = finished(conversation.ask(QUESTIONS[0], free))
    second = finished(conversation.regenerate(free))
    assert (first.proof.seed, second.proof.seed) == (11, 12)
    assert first.answer != second.answer
    repeated = AskOptions(Sampling(temperature=1.0, seed=11), max_tokens=200)
    assert finished(conversation.regenerate(repeated)).answer == first.answer


def test_empty_question(fake_book: OpenBook, sessions: Sessions) -> None:
    """A question of blanks is refused and begins no chat."""
    with pytest.raises(UsageError, match="empty"):
        finished(Conversation(fake_book, sessions).ask(" \n", OPTIONS))
    assert sessions.list() == []


def test_answer_at_its_limit(fake_book: OpenBook, sessions: Sessions) -> None:
    """An answer that reaches max_tokens says so and is recorded as done."""
    events = list(Conversation(fake_book, sessions).ask(QUESTIONS[0], OPTIONS))
    assert any("limit of 10 tokens" in notice.text for notice in of_type(events, Notice))
    assert told(events).status == "done"
    assert told(events).proof.generated == 10


# -- asking again ------------------------------------------------------------------------------------------------------


def test_regenerating_any_turn(book: OpenBook, sessions: Sessions) -> None:
    """Any turn asked again at temperature 0 gives the same answer; the last costs nothing, others their question."""
    conversation = Conversation(book, sessions)
    answers = [finished(conversation.ask(question, OPTIONS)).answer for question in QUESTIONS]
    for number in (3, 2, 1):
        again = finished(conversation.regenerate(OPTIONS, number))
        assert again.answer == answers[number - 1]
        assert again.number == number
        assert again.proof.book_evaluated == again.proof.history_evaluated == 0
        of_question = question_tokens(book, QUESTIONS[number - 1], is_first=number == 1)
        assert again.proof.evaluated == (0 if number == 3 else of_question)
        assert len(conversation.turns()) == number
        assert book.engine.length(CHAT) == recorded_length(conversation)


@pytest.mark.parametrize("number", [1, 2])
def test_editing_any_turn(number: int, book: OpenBook, sessions: Sessions) -> None:
    """Another question in place of any turn is answered as if it had been asked there at first."""
    questions = [*QUESTIONS[: number - 1], "At which knock did the lamp go out?"]
    straight = Conversation(book, sessions)
    wanted = [finished(straight.ask(question, OPTIONS)).answer for question in questions][-1]
    conversation = Conversation(book, sessions)
    for question in QUESTIONS[:2]:
        finished(conversation.ask(question, OPTIONS))
    edited = finished(conversation.edit(number, questions[-1], OPTIONS))
    assert edited.answer == wanted
    assert edited.proof.book_evaluated == edited.proof.history_evaluated == 0
    assert edited.proof.evaluated == question_tokens(book, questions[-1], is_first=number == 1)
    assert [turn.question for turn in conversation.turns()] == questions


def test_empty_edit_changes_nothing(fake_book: OpenBook, sessions: Sessions) -> None:
    """An empty question in place of another is refused before anything is superseded."""
    conversation = Conversation(fake_book, sessions)
    finished(conversation.ask(QUESTIONS[0], OPTIONS))
    before = conversation.turns()
    with pytest.raises(UsageError):
        finished(conversation.edit(1, "  ", OPTIONS))
    assert conversation.turns() == before


def test_asking_again_what_is_not_there(fake_book: OpenBook, sessions: Sessions) -> None:
    """Regenerating without a question, or a question that does not exist, is a usage error."""
    conversation = Conversation(fake_book, sessions)
    with pytest.raises(UsageError, match="no question"):
        conversation.regenerate(OPTIONS)
    finished(conversation.ask(QUESTIONS[0], OPTIONS))
    with pytest.raises(UsageError, match="no question 4"):
        conversation.edit(4, "Who?", OPTIONS)


def test_rewind_without_a_mark_reads_history_only(tmp_path: Path, sessions: Sessions) -> None:
    """Where memory allows no snapshots, asking again reads earlier turns back, and nothing of the book."""
    book = fake_book_of(tmp_path, FakeScript(memory="hybrid"))
    conversation = Conversation(book, sessions)
    answers = [finished(conversation.ask(question, OPTIONS)).answer for question in QUESTIONS]
    for name in ("rewind", "rewind_to_prompt"):  # as of an engine without its mark
        setattr(book.engine, name, lambda sequence, length: False)
    again = finished(conversation.regenerate(OPTIONS, 3))
    assert again.answer == answers[2]
    assert again.proof.book_evaluated == 0
    assert again.proof.history_evaluated > 0


# -- continuing --------------------------------------------------------------------------------------------------------


def test_continued_chat_reads_history_and_not_the_book(shelf: Shelf, sessions: Sessions, models: Path) -> None:
    """After closing and reopening, earlier turns are read back token by token, and nothing of the book."""
    library, _ = library_for(shelf.kind, shelf.home, models)
    with opening(library, shelf.book) as book:
        first = Conversation(book, sessions)
        for question in QUESTIONS[:2]:
            finished(first.ask(question, OPTIONS))
        length = book.engine.length(CHAT)
    with opening(library, shelf.book) as book:
        events = list(Conversation(book, sessions, first.session).ask(QUESTIONS[2], OPTIONS))
        proof = told(events).proof
        assert of_type(events, HistoryRead) == [HistoryRead(2, length - book.n_tokens)]
        assert proof.history_evaluated == length - book.n_tokens
        assert proof.book_evaluated == 0
        assert proof.evaluated == question_tokens(book, QUESTIONS[2], is_first=False)
        assert told(events).number == 3


def test_continued_chat_goes_on_as_it_would_have(tmp_path: Path, sessions: Sessions) -> None:
    """A chat that was continued has the same tokens in its context as one that was never interrupted."""
    book = fake_book_of(tmp_path, FakeScript())
    straight, broken = Conversation(book, sessions), Conversation(book, sessions)
    for question in QUESTIONS:
        finished(straight.ask(question, OPTIONS))
    for question in QUESTIONS:
        broken = Conversation(book, sessions, broken.session)
        finished(broken.ask(question, OPTIONS))
    assert [turn.tokens for turn in broken.turns()] == [turn.tokens for turn in straight.turns()]
    assert book.engine.length(CHAT) == recorded_length(straight)


# -- a full context ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", FAKES, ids=str)
def test_oldest_turns_leave_a_full_context(kind: Kind, tmp_path: Path, sessions: Sessions) -> None:
    """When a question does not fit, the oldest turns leave with a notice; the record keeps them, the chat goes on."""
    book = fake_book_of(tmp_path, FakeScript(memory=kind.memory))
    conversation = Conversation(book, sessions)
    notices = []
    for index in range(12):
        events = list(conversation.ask(f"{QUESTIONS[index % 3]} ({index})", LONG))
        notices += of_type(events, Notice)
        assert told(events).proof.book_evaluated == (book.n_tokens if index == 0 else 0)
        assert book.engine.length(CHAT) <= book.settings.n_context
    assert any("left the context" in notice.text for notice in notices)
    assert [turn.number for turn in conversation.turns()] == list(range(1, 13))
    assert all(turn.status == "done" for turn in conversation.turns())


def test_turn_that_left_can_be_asked_again(tmp_path: Path, sessions: Sessions) -> None:
    """A turn that has left the context can still be edited; what stood before it is read back."""
    book = fake_book_of(tmp_path, FakeScript())
    conversation = Conversation(book, sessions)
    for index in range(12):
        finished(conversation.ask(f"{QUESTIONS[index % 3]} ({index})", LONG))
    answered = finished(conversation.edit(2, QUESTIONS[0], OPTIONS))
    assert answered.proof.book_evaluated == 0
    assert len(conversation.turns()) == 2
    assert book.engine.length(CHAT) == recorded_length(conversation)


def test_answer_that_fills_the_context(tmp_path: Path, sessions: Sessions) -> None:
    """An answer that meets the end of the context ends there with a notice, and the next question works."""
    book = fake_book_of(tmp_path, FakeScript(answers={"everything": "On and on. " * 200}))
    conversation = Conversation(book, sessions)
    events = list(conversation.ask("Tell me everything.", replace(OPTIONS, max_tokens=5000)))
    assert any("context is full" in notice.text for notice in of_type(events, Notice))
    assert book.engine.length(CHAT) == recorded_length(conversation) == book.settings.n_context
    after = finished(conversation.ask(QUESTIONS[0], OPTIONS))
    assert after.status == "done"
    assert after.proof.book_evaluated == 0


def test_question_longer_than_the_room(fake_book: OpenBook, sessions: Sessions) -> None:
    """A question that cannot fit beside the book is refused with both numbers, and the next one works."""
    conversation = Conversation(fake_book, sessions)
    room = fake_book.settings.n_context - fake_book.n_tokens
    with pytest.raises(ContextFull, match=r"takes \d.* room for"):
        finished(conversation.ask("Why? " * room, OPTIONS))
    answered = finished(conversation.ask(QUESTIONS[0], OPTIONS))
    assert [turn.status for turn in conversation.turns()] == ["failed", "done"]
    assert answered.proof.book_reused == fake_book.n_tokens or answered.proof.reading


# -- stopping ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_stopped_answer_is_kept(
    kind: Kind, shelves: dict[Kind, Shelf], tmp_path: Path, sessions: Sessions, models: Path
) -> None:
    """A stopped answer keeps its text, the context is what the record says, and the next question works."""
    book = fake_book_of(tmp_path, replace(ENDLESS, memory=kind.memory))
    if kind in REAL:
        library, _ = library_for(kind, shelves[kind].home, models)
        book, _ = opened(library, shelves[kind].book)
    conversation = Conversation(book, sessions)
    answered = told(stop_at(conversation, conversation.ask("Tell me everything.", LONG), Answer))
    (turn,) = conversation.turns()
    assert (answered.status, turn.status, turn.answer) == ("stopped", "stopped", answered.answer)
    assert book.engine.length(CHAT) == recorded_length(conversation)
    after = finished(conversation.ask(QUESTIONS[1], OPTIONS))
    assert after.proof.evaluated == question_tokens(book, QUESTIONS[1], is_first=False)
    assert book.engine.length(CHAT) == recorded_length(conversation)
    book.close()


@pytest.mark.parametrize("thinking", [False, True])
def test_what_is_shown_is_recorded(thinking: bool, tmp_path: Path, sessions: Sessions) -> None:
    """Every fragment is in the record before it is shown, so that a program that is killed loses none of it."""
    script = FakeScript(chat_template=THINKING, answers={"everything": "So it seems.</think>It went on."})
    with closing(fake_book_of(tmp_path, script)) as book:
        conversation = Conversation(book, sessions)
        shown = ""
        for event in conversation.ask("Tell me everything.", replace(LONG, thinking=thinking)):
            if isinstance(event, Answer | Thinking):
                shown += event.text
                (turn,) = conversation.turns()
                assert turn.status == "running"
                assert turn.thinking + turn.answer == shown
        assert shown


def test_stop_before_the_answer(fake_book: OpenBook, sessions: Sessions) -> None:
    """A stop while history is read back ends the question without an answer, and the next one works."""
    first = Conversation(fake_book, sessions)
    finished(first.ask(QUESTIONS[0], OPTIONS))
    conversation = Conversation(fake_book, sessions, first.session)
    with pytest.raises(Stopped):
        stop_at(conversation, conversation.ask(QUESTIONS[1], OPTIONS), HistoryRead)
    assert [turn.status for turn in conversation.turns()] == ["done", "stopped"]
    answered = finished(conversation.ask(QUESTIONS[2], OPTIONS))
    assert answered.status == "done"
    assert fake_book.engine.length(CHAT) == recorded_length(conversation)


def test_stop_while_a_long_question_is_read(
    fake_book: OpenBook, sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stop between a question's batches ends it without an answer; neither book nor history is read again after."""
    conversation = Conversation(fake_book, sessions)
    finished(conversation.ask(QUESTIONS[0], OPTIONS))
    batch = fake_book.settings.n_batch
    with monkeypatch.context() as patched:
        patched.setattr(fake_book.engine, "_sleep", lambda seconds: conversation.stop())
        with pytest.raises(Stopped):
            finished(conversation.ask("Why?" * batch, OPTIONS))
    assert [turn.status for turn in conversation.turns()] == ["done", "stopped"]
    answered = finished(conversation.ask(QUESTIONS[1], OPTIONS))
    assert answered.proof.evaluated == question_tokens(fake_book, QUESTIONS[1], is_first=False)
    assert (answered.proof.book_evaluated, answered.proof.history_evaluated) == (0, 0)
    assert fake_book.engine.length(CHAT) == recorded_length(conversation)


def test_stop_does_not_outlive_its_question(fake_book: OpenBook, sessions: Sessions) -> None:
    """A stop that comes when nothing runs does not end the next answer."""
    conversation = Conversation(fake_book, sessions)
    conversation.stop()
    assert finished(conversation.ask(QUESTIONS[0], OPTIONS)).status == "done"


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_abandoned_answer_is_recorded(kind: Kind, shelves: dict[Kind, Shelf], sessions: Sessions, models: Path) -> None:
    """Who stops listening in the middle leaves a stopped turn with its tokens, which the next question builds on."""
    library, _ = library_for(kind, shelves[kind].home, models)
    with opening(library, shelves[kind].book) as book:
        conversation = Conversation(book, sessions)
        events = conversation.ask(QUESTIONS[0], LONG)
        assert any(isinstance(event, Answer) for event in events)
        events.close()
        (turn,) = conversation.turns()
        assert turn.status == "stopped"
        assert book.engine.text_of(turn.tokens).decode(errors="replace").strip().endswith(turn.answer)
        after = finished(conversation.ask(QUESTIONS[1], OPTIONS))
        assert after.proof.book_evaluated == 0
        assert after.proof.history_evaluated == len(turn.tokens)
        (question,) = book.engine.tokenize([QUESTIONS[1]], special=False)
        asked = book.pieces.next_opening + book.pieces.body(question, thinking=False)
        assert after.proof.evaluated == len(asked)
        assert book.engine.length(CHAT) == recorded_length(conversation)


def test_leaving_after_the_answer(fake_book: OpenBook, sessions: Sessions) -> None:
    """Who stops listening at the last event leaves a turn that is done."""
    conversation = Conversation(fake_book, sessions)
    events = conversation.ask(QUESTIONS[0], OPTIONS)
    assert any(isinstance(event, Answered) for event in events)
    events.close()
    assert [turn.status for turn in conversation.turns()] == ["done"]


# -- an engine that dies -----------------------------------------------------------------------------------------------


def kill_at_first_word(conversation: Conversation, pid: int) -> None:
    """Ask a long question and kill the engine when its answer begins."""
    for event in conversation.ask("Tell me everything.", LONG):
        if isinstance(event, Answer) and event.text and process_runs(pid):
            os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("kind", [Kind("fake", "attention"), *REAL], ids=str)
def test_killed_engine_is_revived(kind: Kind, shelves: dict[Kind, Shelf], sessions: Sessions, models: Path) -> None:
    """Killed in an answer, the turn fails with its text kept; the next question restores and reads nothing again."""
    shelf = shelves[kind]
    library, watched = library_for(kind, shelf.home, models)
    if kind not in REAL:
        watched = Watched(fake(replace(ENDLESS, token_s=0.02), own_process=True))
        library = library_of(shelf.home, watched)
    with opening(library, shelf.book) as book:
        conversation = Conversation(book, sessions)
        with pytest.raises(EngineDied) as caught:
            kill_at_first_word(conversation, watched.pid())
        assert caught.value.reason == "SIGKILL"
        (turn,) = conversation.turns()
        assert turn.status == "failed"
        assert turn.answer
        events = list(conversation.ask(QUESTIONS[0], OPTIONS))
        assert of_type(events, Restored)[0].exact
        assert told(events).proof.book_evaluated == 0
        assert told(events).proof.restored_bytes > 0
        assert len(watched.engines) == 2


def test_engine_killed_between_questions(shelves: dict[Kind, Shelf], sessions: Sessions) -> None:
    """Killed while nothing ran, the next question fails and the one after it is answered from the restored book."""
    shelf = shelves[FAKES[0]]
    watched = Watched(fake(own_process=True))
    with opening(library_of(shelf.home, watched), shelf.book) as book:
        conversation = Conversation(book, sessions)
        finished(conversation.ask(QUESTIONS[0], OPTIONS))
        os.kill(watched.pid(), signal.SIGKILL)
        with pytest.raises(EngineDied):
            finished(conversation.ask(QUESTIONS[2], OPTIONS))
        answered = finished(conversation.ask(QUESTIONS[1], OPTIONS))
        assert answered.proof.book_evaluated == 0
        assert watched.engines[-1].length(CHAT) == recorded_length(conversation)


def test_engine_killed_before_asking_again(shelves: dict[Kind, Shelf], sessions: Sessions) -> None:
    """Killed while nothing ran, a question asked again is answered by a new engine, with history read back."""
    shelf = shelves[FAKES[0]]
    watched = Watched(fake(own_process=True))
    with opening(library_of(shelf.home, watched), shelf.book) as book:
        conversation = Conversation(book, sessions)
        answers = [finished(conversation.ask(question, OPTIONS)).answer for question in QUESTIONS[:2]]
        os.kill(watched.pid(), signal.SIGKILL)
        again = finished(conversation.regenerate(OPTIONS))
        assert again.answer == answers[1]
        assert again.proof.history_evaluated > 0
        assert again.proof.book_evaluated == 0


# -- thinking ----------------------------------------------------------------------------------------------------------

PONDERED = "She wrote it down, so look at the cuff.\n</think>\n\nForty-one."


@pytest.fixture
def thinker(tmp_path: Path) -> OpenBook:
    """Open a book with a model whose template lets it think."""
    return fake_book_of(tmp_path, FakeScript(chat_template=THINKING, answers={"number": PONDERED}))


def test_thinking_is_kept_apart(thinker: OpenBook, sessions: Sessions) -> None:
    """With thinking on, thoughts and answer come as different events and are recorded apart."""
    conversation = Conversation(thinker, sessions)
    events = list(conversation.ask(QUESTIONS[2], replace(LONG, thinking=True)))
    assert "".join(event.text for event in of_type(events, Thinking)).strip().endswith("look at the cuff.")
    (turn,) = conversation.turns()
    assert (turn.answer, turn.thinking) == ("Forty-one.", "She wrote it down, so look at the cuff.")
    assert thinker.engine.length(CHAT) == recorded_length(conversation)


def test_thinking_is_off_by_default(thinker: OpenBook, sessions: Sessions) -> None:
    """Without asking for it, the prompt closes the thought itself, and nothing is taken for one."""
    conversation = Conversation(thinker, sessions)
    events = list(conversation.ask(QUESTIONS[2], LONG))
    assert not of_type(events, Thinking)
    assert "</think>" in thinker.manifest.frame.closing
    (turn,) = conversation.turns()
    assert turn.thinking == ""

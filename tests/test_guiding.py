"""Answers that are begun with a sentence of the book: verified, counted, recorded, and plain where none fits."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from cagchat.bench.synth import THINKING
from cagchat.conversation import AskOptions, Conversation
from cagchat.engine.fake import FakeScript
from cagchat.engine.protocol import CHAT, Piece, Sampling
from cagchat.errors import Stopped
from cagchat.events import Answer, Answered, AskEvent, HistoryRead
from cagchat.guiding import begin
from cagchat.limits.limit import Limit
from cagchat.opened import OpenBook
from cagchat.sessions.store import Sessions
from cagchat.wording import DRAFT_TOKENS, Extras
from tests.reading_cases import (
    KINDS,
    SETTINGS,
    chapters,
    fake,
    library_for,
    library_of,
    of_type,
    opening,
    write_book,
)

PLAIN = AskOptions(Sampling(temperature=0.0), max_tokens=300)
GUIDED = replace(PLAIN, extras=Extras(quoting="guided"))
QUESTION = "Where did Old Perrin keep the ledger of the harbour?"
SENTENCE = "Old Perrin kept the ledger of the harbour under a loose board in his kitchen."
ELSEWHERE = "What is the capital of Mongolia?"
*MADE, TRAINED = KINDS
ROOMY = replace(SETTINGS, chat_tokens=2048)


@pytest.fixture
def sessions(tmp_path: Path) -> Iterator[Sessions]:
    with Sessions(tmp_path / "sessions.sqlite") as sessions:
        yield sessions


@pytest.fixture(params=MADE, ids=str)
def book(request: pytest.FixtureRequest, tmp_path: Path, models: Path) -> Iterator[OpenBook]:
    library, _ = library_for(request.param, tmp_path / "home", models, ROOMY)
    with opening(library, write_book(tmp_path, chapters(1))) as book:
        yield book


@pytest.fixture
def trained_book(tmp_path: Path, models: Path) -> Iterator[OpenBook]:
    library, _ = library_for(TRAINED, tmp_path / "home", models, ROOMY)
    with opening(library, write_book(tmp_path, chapters(1))) as book:
        yield book


@pytest.fixture
def fake_book(tmp_path: Path) -> Iterator[OpenBook]:
    with opening(library_of(tmp_path / "home", fake(), ROOMY), write_book(tmp_path, chapters(1))) as book:
        yield book


def told(events: Iterator[AskEvent]) -> Answered:
    """Run a question to its end."""
    (answered,) = of_type(list(events), Answered)
    return answered


def short(options: AskOptions, book: OpenBook) -> AskOptions:
    """Return options with room for the quote and few tokens more: a made model's tokens are bytes or little more."""
    is_made = book.engine.info.size_bytes < 50_000_000
    return replace(options, max_tokens=170 if is_made else 70)


def test_an_answer_begins_with_words_of_the_book(book: OpenBook, sessions: Sessions) -> None:
    """Whatever the model, it first says a quote that is found in the book, and none of the book is read again."""
    answered = told(Conversation(book, sessions).ask(QUESTION, short(GUIDED, book)))
    assert answered.quotes is not None
    assert answered.quotes.items[0].located.mark == "verified"
    assert SENTENCE.removesuffix(".") in answered.answer
    assert answered.answer.startswith("The book says: “")
    assert answered.proof.book_reused == book.n_tokens or answered.proof.reading


def test_a_trained_model_goes_on_after_the_quote(trained_book: OpenBook, sessions: Sessions) -> None:
    """A small real model says something after the quote, and its context holds what is recorded."""
    conversation = Conversation(trained_book, sessions)
    answered = told(conversation.ask(QUESTION, short(GUIDED, trained_book)))
    quote, _, rest = answered.answer.partition("” So the answer is")
    assert SENTENCE in quote
    assert rest.strip()
    assert trained_book.engine.length(CHAT) == trained_book.n_tokens + len(conversation.turns()[0].tokens)


def test_the_context_holds_what_the_record_says(book: OpenBook, sessions: Sessions) -> None:
    """The draft is gone from the context, the quote is part of the answer's tokens, and both are read back as one."""
    conversation = Conversation(book, sessions)
    assert told(conversation.ask(QUESTION, short(GUIDED, book))).answer.startswith("The book says: “")
    length = book.engine.length(CHAT)
    (turn,) = conversation.turns()
    assert length == book.n_tokens + len(turn.tokens)
    assert turn.answer in book.engine.text_of(turn.tokens).decode(errors="replace")
    again = Conversation(book, sessions, conversation.session)
    (history,) = of_type(list(again.ask("And then?", short(PLAIN, book))), HistoryRead)
    assert book.n_tokens + history.n_tokens == length


def test_what_the_answer_goes_on_with_depends_on_nothing_forgotten(book: OpenBook, sessions: Sessions) -> None:
    """Answered anew, a guided question gets the same quote and the same words after it."""
    conversation = Conversation(book, sessions)
    first = told(conversation.ask(QUESTION, short(GUIDED, book)))
    again = told(conversation.regenerate(short(GUIDED, book)))
    assert again.answer == first.answer
    assert book.engine.length(CHAT) == book.n_tokens + len(conversation.turns()[-1].tokens)


def test_a_question_that_no_sentence_fits_is_answered_plainly(book: OpenBook, sessions: Sessions) -> None:
    """Where nothing can be quoted the answer is the plain one."""
    plain = told(Conversation(book, sessions).ask(ELSEWHERE, short(PLAIN, book)))
    guided = told(Conversation(book, sessions).ask(ELSEWHERE, short(GUIDED, book)))
    assert guided.answer == plain.answer


def test_the_quote_counts_among_the_answers_tokens(book: OpenBook, sessions: Sessions) -> None:
    """An answer is never longer than its limit, quote and all; what is sampled is what counts as generated."""
    conversation = Conversation(book, sessions)
    options = short(GUIDED, book)
    answered = told(conversation.ask(QUESTION, options))
    (question,) = book.engine.tokenize([QUESTION], special=False)
    n_answer = len(conversation.turns()[0].tokens) - len(book.pieces.body(question, thinking=False))
    assert answered.answer.startswith("The book says: “")
    assert n_answer <= options.max_tokens
    assert 0 <= answered.proof.generated < n_answer


def test_a_quote_too_long_for_the_answer_is_left_out(book: OpenBook, sessions: Sessions) -> None:
    """A limit that the quote would take most of leaves the answer as it is without."""
    plain = told(Conversation(book, sessions).ask(QUESTION, replace(PLAIN, max_tokens=20)))
    guided = told(Conversation(book, sessions).ask(QUESTION, replace(GUIDED, max_tokens=20)))
    assert guided.answer == plain.answer


def test_the_draft_is_counted(fake_book: OpenBook, sessions: Sessions) -> None:
    """The draft is evaluated besides what a plain answer takes, the question no second time, and the proof says so."""
    plain = told(Conversation(fake_book, sessions).ask(ELSEWHERE, PLAIN)).proof
    guided = told(Conversation(fake_book, sessions).ask(ELSEWHERE, GUIDED)).proof
    assert guided.evaluated == plain.evaluated + DRAFT_TOKENS
    assert guided.generated == plain.generated


def test_the_quote_comes_first_and_at_once(fake_book: OpenBook, sessions: Sessions) -> None:
    """The first text of the answer is the whole quote."""
    events = list(Conversation(fake_book, sessions).ask(QUESTION, GUIDED))
    assert of_type(events, Answer)[0].text.endswith(SENTENCE + "” So the answer is")


def test_nothing_beyond_the_limit_is_quoted(fake_book: OpenBook, sessions: Sessions) -> None:
    """A chat that knows the book up to a sentence does not begin an answer with it."""
    offset = fake_book.document.text.index(SENTENCE)
    limit = Limit(offset, "before the ledger")
    answered = told(Conversation(fake_book, sessions, limit=limit).ask(QUESTION, GUIDED))
    assert SENTENCE not in answered.answer


def test_a_stop_during_the_draft_leaves_no_answer(fake_book: OpenBook, sessions: Sessions) -> None:
    """Stopped before the quote is found, the turn has no answer, and the next question is answered as if alone."""
    conversation = Conversation(fake_book, sessions)
    generate = fake_book.engine.generate

    def stopped_early(*arguments: object, **options: object) -> Iterator[object]:
        for item in generate(*arguments, **options):  # type: ignore[arg-type]  # passed on as they came
            conversation.stop()
            yield item

    fake_book.engine.generate = stopped_early  # type: ignore[assignment, method-assign]  # this engine is the test's
    with pytest.raises(Stopped):
        list(conversation.ask(QUESTION, GUIDED))
    fake_book.engine.generate = generate  # type: ignore[method-assign]  # as it was
    (turn,) = conversation.turns()
    assert (turn.answer, turn.status, turn.tokens) == ("", "stopped", array("i"))
    alone = told(Conversation(fake_book, sessions).ask(QUESTION, GUIDED))
    assert told(conversation.ask(QUESTION, GUIDED)).answer == alone.answer


def test_a_model_that_thinks_first_is_not_guided(tmp_path: Path, sessions: Sessions) -> None:
    """Where an answer begins with a thought, no quote is put into it."""
    library = library_of(tmp_path / "home", fake(FakeScript(chat_template=THINKING)), ROOMY)
    with opening(library, write_book(tmp_path, chapters(1))) as book:
        answered = told(Conversation(book, sessions).ask(QUESTION, replace(GUIDED, thinking=True)))
        assert "So the answer is" not in answered.answer + answered.thinking


def test_the_draft_is_forgotten(book: OpenBook) -> None:
    """What was drafted is no part of the chat's sequence, which ends with the prompt, whatever its memory."""
    engine = book.engine
    engine.fork(0, CHAT)
    engine.mark(CHAT)
    (question,) = engine.tokenize([QUESTION], special=False)
    prompt = book.pieces.body(question, thinking=False)

    def first_piece(tokens: array[int]) -> Piece:
        piece = next(item for item in engine.generate(CHAT, tokens, PLAIN.sampling, max_tokens=1))
        assert isinstance(piece, Piece)
        engine.rewind(CHAT, book.n_tokens)
        return piece

    before = first_piece(prompt)
    begun = begin(book, QUESTION, prompt, PLAIN.sampling, most_tokens=300)
    assert begun.tokens
    assert begun.is_prompted
    assert engine.length(CHAT) == book.n_tokens + len(prompt)
    assert first_piece(array("i")) == before


def test_without_a_kept_prompt_it_is_evaluated_again(
    fake_book: OpenBook, sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An engine that cannot go back to a prompt's end gives the same answer, and the question is evaluated twice."""
    kept = told(Conversation(fake_book, sessions).ask(QUESTION, GUIDED))
    monkeypatch.setattr(fake_book.engine, "rewind_to_prompt", lambda sequence, length: False)
    again = told(Conversation(fake_book, sessions).ask(QUESTION, GUIDED))
    assert again.answer == kept.answer
    plain = told(Conversation(fake_book, sessions).ask(QUESTION, PLAIN))
    assert again.proof.evaluated == kept.proof.evaluated + plain.proof.evaluated


def test_answering_again_keeps_the_quote(fake_book: OpenBook, sessions: Sessions) -> None:
    """The same question answered again begins with the same quote, for which nothing is evaluated."""
    conversation = Conversation(fake_book, sessions)
    first = told(conversation.ask(QUESTION, GUIDED))
    again = told(conversation.regenerate(GUIDED))
    assert again.answer == first.answer
    assert again.proof.evaluated == 0
    assert conversation.turns()[-1].answer == first.answer

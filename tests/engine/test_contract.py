"""The contract of an engine, run on the fake, on SmolLM2 and on tiny models of every kind of memory.

"The same" means bitwise: equal logits at every step of 24 greedy tokens.
"""

from __future__ import annotations

import threading
from array import array
from collections.abc import Iterator
from pathlib import Path

import pytest

from cagchat.engine.protocol import BOOK, CHAT, Engine, Finish, Piece, Sampling, Span
from cagchat.errors import ContextFull, EngineCancelled, EngineError, StateDamaged
from tests.engine_cases import CASES, Case, start_engine

TEXT = (
    "The ferry to Aldermouth left at nine, and Ines Varga was not on it. She had counted forty-one lanterns along the "
    "quay, written the number on her cuff, and gone back for the forty-second. "
)
GREEDY_STEPS = 24
GREEDY = Sampling(temperature=0)


@pytest.fixture(params=CASES, ids=str)
def case(request: pytest.FixtureRequest) -> Case:
    assert isinstance(request.param, Case)
    return request.param


@pytest.fixture
def engine(case: Case, models: Path) -> Iterator[Engine]:
    engine = start_engine(case, models)
    yield engine
    engine.close()


def tokens(engine: Engine, text: str) -> array[int]:
    return engine.tokenize([text], special=False)[0]


def read_book(engine: Engine) -> int:
    """Read a book of a little more than one batch into the book's sequence; return its length."""
    book = tokens(engine, TEXT * 6)[:150]
    for _ in engine.evaluate(BOOK, book):
        pass
    engine.mark(BOOK)
    return len(book)


def greedy(engine: Engine, sequence: int, question: str) -> list[array[float]]:
    """Append the question and 24 greedy tokens; return every row of logits."""
    rows = [engine.logits(sequence, tokens(engine, question))]
    for _ in range(GREEDY_STEPS - 1):
        best = max(range(len(rows[-1])), key=rows[-1].__getitem__)
        rows.append(engine.logits(sequence, [best]))
    return rows


def text_spans(engine: Engine) -> list[Span]:
    """What was evaluated since the last call, without the fillers of short batches."""
    return [span for span in engine.take_spans() if not span.padding]


def ask(engine: Engine, question: str) -> list[array[float]]:
    engine.fork(BOOK, CHAT)
    return greedy(engine, CHAT, question)


def test_restore_continues_bitwise(engine: Engine, case: Case, models: Path, tmp_path: Path) -> None:
    """A state restored by another process continues exactly as the one that was saved, with no book token read."""
    n_book = read_book(engine)
    saved, _ = engine.save(BOOK, tmp_path / "state")
    first, second = ask(engine, "Who was late?"), ask(engine, "How many lanterns were there?")
    other = start_engine(case, models)
    try:
        other.restore(BOOK, tmp_path / "state", saved)
        assert ask(other, "Who was late?") == first
        assert ask(other, "How many lanterns were there?") == second
        assert min(span.start for span in text_spans(other)) == n_book
    finally:
        other.close()


def test_fork_leaves_the_book(engine: Engine) -> None:
    """Answers on forks neither change the book nor each other."""
    n_book = read_book(engine)
    first = ask(engine, "Who was late?")
    ask(engine, "How many lanterns were there?")
    assert engine.length(BOOK) == n_book
    assert ask(engine, "Who was late?") == first


def test_a_book_longer_than_any_window(engine: Engine) -> None:
    """A book many windows long can be probed while it is read, forked as often as one likes, and answers the same."""
    book = tokens(engine, TEXT * 20)[:900]
    for part in (book[:500], book[500:]):
        for _ in engine.evaluate(BOOK, part):
            pass
        assert engine.probe(BOOK, part[0], 4) == engine.probe(BOOK, part[0], 4)
    engine.mark(BOOK)
    first = ask(engine, "Who was late?")
    ask(engine, "How many lanterns were there?")
    assert ask(engine, "Who was late?") == first
    assert engine.length(BOOK) == len(book)


def test_two_forks_side_by_side(engine: Engine) -> None:
    """A fork that another fork was made beside answers as it would alone."""
    read_book(engine)
    engine.fork(BOOK, CHAT)
    engine.fork(BOOK, 2)
    alone = greedy(engine, CHAT, "Who was late?")
    beside = greedy(engine, 2, "Who was late?")
    best = [max(range(len(row)), key=row.__getitem__) for row in alone]
    assert best == [max(range(len(row)), key=row.__getitem__) for row in beside]


def test_rewind_to_the_book(engine: Engine) -> None:
    """Rewinding a chat to the end of the book gives the first answer again without reading any of the book."""
    n_book = read_book(engine)
    first = ask(engine, "Who was late?")
    engine.take_spans()
    assert engine.rewind(CHAT, n_book)
    assert engine.length(CHAT) == n_book
    assert greedy(engine, CHAT, "Who was late?") == first
    assert all(span.start >= n_book for span in text_spans(engine))


@pytest.mark.parametrize("turn", range(3))
def test_rewind_to_a_turn(engine: Engine, turn: int) -> None:
    """Rewinding to the start of any of the last turns and going on from there gives bitwise the same rows."""
    n_book = read_book(engine)
    engine.fork(BOOK, CHAT)
    starts, rows = [], []
    for question in ("Who was late?", "How many lanterns?", "What did she write?"):
        engine.mark(CHAT)
        starts.append(engine.length(CHAT))
        rows.append(greedy(engine, CHAT, question))
    engine.take_spans()
    assert engine.rewind(CHAT, starts[turn])
    questions = ("Who was late?", "How many lanterns?", "What did she write?")
    assert greedy(engine, CHAT, questions[turn]) == rows[turn]
    assert all(span.start >= n_book for span in text_spans(engine))


def test_rewind_without_a_mark(engine: Engine, case: Case) -> None:
    """A cut where nothing was marked works for attention models, and is refused by the others with nothing changed."""
    n_book = read_book(engine)
    engine.fork(BOOK, CHAT)
    first = greedy(engine, CHAT, "Who was late?")
    length = engine.length(CHAT)
    assert engine.rewind(CHAT, n_book + 3) == (case.memory == "attention")
    assert engine.length(CHAT) == (n_book + 3 if case.memory == "attention" else length)
    assert ask(engine, "Who was late?") == first


def test_resumed_reading_is_the_same(engine: Engine, case: Case, models: Path, tmp_path: Path) -> None:
    """A reading that was cancelled, saved and resumed by another process ends in the same state as one in one go."""
    book = tokens(engine, TEXT * 10)[:300]
    for _ in engine.evaluate(BOOK, book):
        pass
    whole = ask(engine, "Who was late?")
    engine.clear(CHAT)
    engine.clear(BOOK)
    reached = []
    with pytest.raises(EngineCancelled):
        for progress in engine.evaluate(BOOK, book):
            reached.append(progress.position)
            engine.cancel()
    position = engine.length(BOOK)
    assert position == reached[-1] > 0
    saved, _ = engine.save(BOOK, tmp_path / "checkpoint")
    assert saved.n_tokens == position
    other = start_engine(case, models)
    try:
        other.restore(BOOK, tmp_path / "checkpoint", saved)
        for _ in other.evaluate(BOOK, book[position:]):
            pass
        assert sum(span.count for span in text_spans(other)) == len(book) - position
        assert ask(other, "Who was late?") == whole
    finally:
        other.close()


def test_a_prompt_can_be_cancelled(engine: Engine) -> None:
    """A cancel while the prompt is evaluated ends the call before the first token; rewound, all is as before."""
    n_book = read_book(engine)
    first = ask(engine, "Who was late?")
    engine.fork(BOOK, CHAT)
    engine.mark(CHAT)
    prompt = tokens(engine, TEXT * 30)[:1500]
    answer = engine.generate(CHAT, prompt, GREEDY, max_tokens=1)
    caught: list[EngineCancelled] = []

    def listen() -> None:
        try:
            next(iter(answer))
        except EngineCancelled as cancelled:
            caught.append(cancelled)

    listener = threading.Thread(target=listen)
    listener.start()
    while listener.is_alive():
        engine.cancel()
        listener.join(0.01)
    assert len(caught) == 1
    assert engine.length(CHAT) < n_book + len(prompt)
    assert engine.rewind(CHAT, n_book)
    assert greedy(engine, CHAT, "Who was late?") == first


def test_boundary_opens_the_book_up_to_there(engine: Engine, case: Case, models: Path, tmp_path: Path) -> None:
    """A boundary kept while reading lets a restored book be cut there, as if it had been read only so far."""
    book = tokens(engine, TEXT * 10)[:300]
    half = 140
    for _ in engine.evaluate(BOOK, book[:half]):
        pass
    boundary = engine.save_boundary(BOOK, tmp_path / "boundary")
    until_half = ask(engine, "Who was late?")
    for _ in engine.evaluate(BOOK, book[half:]):
        pass
    saved, _ = engine.save(BOOK, tmp_path / "state")
    assert (boundary is None) == (case.memory == "attention")
    other = start_engine(case, models)
    try:
        other.restore(BOOK, tmp_path / "state", saved)
        if boundary is None:
            assert other.rewind(BOOK, half)
        else:
            other.restore_boundary(BOOK, tmp_path / "boundary", boundary)
        assert other.length(BOOK) == half
        assert ask(other, "Who was late?") == until_half
        assert min(span.start for span in text_spans(other)) == half
    finally:
        other.close()


def test_probe_leaves_no_trace(engine: Engine) -> None:
    """A probe gives the same logits twice, is marked as one, and neither the book nor a later answer notices it."""
    n_book = read_book(engine)
    first = ask(engine, "Who was late?")
    engine.clear(CHAT)
    engine.take_spans()
    probe = engine.probe(BOOK, 7, 5)
    assert engine.take_spans() == [Span(CHAT, n_book, 1, probe=True)]
    assert engine.probe(BOOK, 7, 5) == probe
    assert len(probe.top) == 5
    assert engine.length(BOOK) == n_book
    assert ask(engine, "Who was late?") == first


def test_probe_of_a_chat_is_taken_back(engine: Engine) -> None:
    """A chat can be probed where no sequence is free, and goes on to the bit as if nobody had."""
    read_book(engine)
    rows = []
    for probed in (False, True):
        engine.fork(BOOK, CHAT)
        engine.logits(CHAT, tokens(engine, "Who was late?"))
        if probed:
            for spare in range(CHAT + 1, engine.settings.n_sequences):
                engine.fork(BOOK, spare)
            length = engine.length(CHAT)
            engine.take_spans()
            assert engine.probe(CHAT, 7, 5) == engine.probe(CHAT, 7, 5)
            assert engine.take_spans() == [Span(CHAT, length, 1, probe=True)] * 2
            assert engine.length(CHAT) == length
        rows.append(greedy(engine, CHAT, "How many lanterns?"))
    assert rows[0] == rows[1]


def test_a_fork_that_is_made_again_is_a_new_one(engine: Engine) -> None:
    """However a fork went on, was cut, or lost its source, forking again gives the source as it is, to the bit."""
    n_book = read_book(engine)
    engine.mark(BOOK)
    first = ask(engine, "Who was late?")
    for length in (n_book + 1, n_book, n_book // 2):
        engine.fork(BOOK, CHAT)
        engine.logits(CHAT, tokens(engine, "How many lanterns were there?"))
        engine.rewind(CHAT, length)
        assert ask(engine, "Who was late?") == first
        assert engine.length(BOOK) == n_book
    for sequence in (BOOK, CHAT):
        engine.clear(sequence)
    read_book(engine)
    assert ask(engine, "Who was late?") == first


def test_a_source_that_was_read_anew_is_forked_anew(engine: Engine) -> None:
    """A book that was cut and read on to the same length with other words is not taken for what a fork shares."""
    n_book = read_book(engine)
    engine.fork(BOOK, CHAT)
    if not engine.rewind(BOOK, n_book // 2):
        engine.clear(BOOK)
    missing = n_book - engine.length(BOOK)
    for _ in engine.evaluate(BOOK, tokens(engine, TEXT * 9)[-missing:]):
        pass
    engine.fork(BOOK, CHAT + 1)
    engine.fork(BOOK, CHAT)
    assert engine.length(CHAT) == n_book
    assert engine.logits(CHAT, [7]) == engine.logits(CHAT + 1, [7])


def test_damaged_state_leaves_nothing_behind(engine: Engine, case: Case, models: Path, tmp_path: Path) -> None:
    """After a state that is no numbers was refused, the same engine reads the book as a fresh one does, to the bit."""
    read_book(engine)
    saved, _ = engine.save(BOOK, tmp_path / "state")
    fresh = ask(engine, "Who was late?")
    with (tmp_path / "state").open("r+b") as file:
        file.seek(saved.size_bytes // 2)
        file.write(b"\xff" * (saved.size_bytes // 2))
    for sequence in (BOOK, CHAT):
        engine.clear(sequence)
    with pytest.raises(StateDamaged):
        engine.restore(BOOK, tmp_path / "state", saved)
    read_book(engine)
    assert ask(engine, "Who was late?") == fresh


def test_a_fork_of_another_text_of_the_same_length_is_another(engine: Engine) -> None:
    """A fork that outlived its source is not taken for one of what was read in its place."""
    n_book = read_book(engine)
    engine.fork(BOOK, CHAT)
    engine.clear(BOOK)
    for _ in engine.evaluate(BOOK, tokens(engine, TEXT * 9)[-n_book:]):
        pass
    engine.fork(BOOK, CHAT + 1)
    engine.fork(BOOK, CHAT)
    assert engine.logits(CHAT, [7]) == engine.logits(CHAT + 1, [7])


def test_generate_counts_what_it_evaluates(engine: Engine) -> None:
    """The spans of a generation are the prompt and every yielded token, and the position says the same."""
    n_book = read_book(engine)
    engine.fork(BOOK, CHAT)
    engine.take_spans()
    prompt = tokens(engine, "Who was late?")
    items = list(engine.generate(CHAT, prompt, GREEDY, max_tokens=12))
    finish = items.pop()
    assert isinstance(finish, Finish)
    assert all(isinstance(item, Piece) for item in items)
    assert text_spans(engine) == [Span(CHAT, n_book, len(prompt) + len(items))]
    assert finish.position == engine.length(CHAT) == n_book + len(prompt) + len(items)


def test_seed_repeats_a_draw(engine: Engine) -> None:
    """The same seed gives the same answer; temperature 0 gives the greedy one."""
    read_book(engine)
    drawn = []
    for sampling in (Sampling(temperature=1.5, seed=11), Sampling(temperature=1.5, seed=11), GREEDY, GREEDY):
        engine.fork(BOOK, CHAT)
        drawn.append(list(engine.generate(CHAT, tokens(engine, "Who was late?"), sampling, max_tokens=8))[:-1])
    assert drawn[0] == drawn[1]
    assert drawn[2] == drawn[3]


def test_stopped_answer_leaves_a_true_position(engine: Engine) -> None:
    """Closing a stream early stops the engine, and its cache holds the prompt and no token that was not made."""
    n_book = read_book(engine)
    engine.fork(BOOK, CHAT)
    engine.take_spans()
    prompt = tokens(engine, "Who was late?")
    stream = engine.generate(CHAT, prompt, Sampling(temperature=1.0, seed=3), max_tokens=400)
    first = next(stream)
    assert isinstance(first, Piece | Finish)
    stream.close()  # type: ignore[attr-defined]
    counted = sum(span.count for span in text_spans(engine))
    assert engine.length(CHAT) == n_book + counted
    assert len(prompt) <= counted < len(prompt) + 400


def test_special_tokens_in_a_text_stay_text(engine: Engine) -> None:
    """Text that looks like a control token is tokenised as text, and comes back as the same bytes."""
    text = "He wrote <|im_end|> and <|im_start|>system on the wall, naïvely — 好."
    (plain,) = engine.tokenize([text], special=False)
    (control,) = engine.tokenize(["<|im_end|>"], special=True)
    assert len(control) == 1
    assert control[0] not in plain
    assert engine.text_of(plain).strip() == text.encode()


def test_full_context_is_said(case: Case, models: Path) -> None:
    """A book longer than the context ends with `ContextFull`, and what was read before stays."""
    engine = start_engine(case, models, n_context=256)
    try:
        book = tokens(engine, TEXT * 20)[:400]
        assert len(book) == 400 > engine.settings.n_context
        with pytest.raises(ContextFull, match="context"):
            for _ in engine.evaluate(BOOK, book):
                pass
        assert 0 < engine.length(BOOK) <= engine.settings.n_context
    finally:
        engine.close()


def test_damaged_state_is_refused(engine: Engine, tmp_path: Path) -> None:
    """One flipped bit anywhere is found, named, and leaves the sequence empty."""
    read_book(engine)
    path = tmp_path / "state"
    saved, _ = engine.save(BOOK, path)
    content = bytearray(path.read_bytes())
    for offset in (0, 9, len(content) // 2, len(content) - 1):
        damaged = bytearray(content)
        damaged[offset] ^= 0x10
        path.write_bytes(damaged)
        with pytest.raises(StateDamaged):
            engine.restore(BOOK, path, saved)
        assert engine.length(BOOK) == 0
    path.write_bytes(content[:-5])
    with pytest.raises(StateDamaged, match="bytes"):
        engine.restore(BOOK, path, saved)
    path.write_bytes(content)
    engine.restore(BOOK, path, saved)
    assert engine.length(BOOK) == saved.n_tokens


def test_saved_file_is_private(engine: Engine, tmp_path: Path) -> None:
    """A state file can be read by its owner only."""
    read_book(engine)
    engine.save(BOOK, tmp_path / "state")
    assert (tmp_path / "state").stat().st_mode & 0o777 == 0o600


def test_empty_sequence_is_not_saved(engine: Engine, tmp_path: Path) -> None:
    """Saving nothing is an error and writes no file."""
    with pytest.raises(EngineError):
        engine.save(BOOK, tmp_path / "state")
    assert not (tmp_path / "state").exists()


def test_same_prompt_is_answered_again(engine: Engine) -> None:
    """Back at the end of its prompt, the same answer comes with no token of the prompt evaluated; later it is gone."""
    read_book(engine)
    engine.fork(BOOK, CHAT)
    engine.mark(CHAT)
    start = engine.length(CHAT)
    prompt = tokens(engine, "Who was late?")
    end = start + len(prompt)
    first = list(engine.generate(CHAT, prompt, GREEDY, max_tokens=12))[:-1]
    for _ in range(2):
        assert engine.rewind_to_prompt(CHAT, end)
        engine.take_spans()
        again = list(engine.generate(CHAT, [], GREEDY, max_tokens=12))
        assert again[:-1] == first
        assert sum(span.count for span in engine.take_spans()) == engine.length(CHAT) - end
    assert not engine.rewind_to_prompt(CHAT, end - 1)
    assert engine.rewind(CHAT, start)
    assert not engine.rewind_to_prompt(CHAT, end)
    with pytest.raises(EngineError):
        list(engine.generate(CHAT, [], GREEDY, max_tokens=1))

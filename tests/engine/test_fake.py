"""What the fake engine adds to the contract: scripted answers, paces and crashes."""

from __future__ import annotations

from pathlib import Path

import pytest

from cagchat.engine.fake import CONTROLS, FakeEngine, FakeScript
from cagchat.engine.process import EngineProcess
from cagchat.engine.protocol import BOOK, CHAT, EngineSettings, Finish, Piece, Sampling
from cagchat.engine.wire import Start
from cagchat.errors import EngineDied

SETTINGS = EngineSettings(model=Path("fake"), n_context=2048, n_batch=16)
BOOK_TEXT = "The ferry left at nine. Ines counted forty-one lanterns along the quay. Nobody waved."


def fake(script: FakeScript | None = None, sleeps: list[float] | None = None) -> FakeEngine:
    slept: list[float] = [] if sleeps is None else sleeps
    return FakeEngine(SETTINGS, script, slept.append)


def read(engine: FakeEngine, text: str = BOOK_TEXT) -> None:
    for _ in engine.evaluate(BOOK, engine.tokenize([text], special=False)[0]):
        pass


def answer(engine: FakeEngine, question: str, sampling: Sampling | None = None, max_tokens: int = 500) -> str:
    engine.fork(BOOK, CHAT)
    prompt = engine.tokenize([question], special=False)[0]
    items = engine.generate(CHAT, prompt, sampling or Sampling(), max_tokens=max_tokens)
    return b"".join(item.text for item in items if isinstance(item, Piece)).decode()


def test_script_answers_by_phrase() -> None:
    """A question that holds a scripted phrase, in any case, gets its answer; the longest phrase counts."""
    engine = fake(FakeScript(answers={"lanterns": "Many.", "how many lanterns": "Forty-one."}))
    read(engine)
    assert answer(engine, "How many LANTERNS are there?") == "Forty-one."
    assert answer(engine, "Which lanterns?") == "Many."


def test_other_questions_are_answered_with_a_quote() -> None:
    """Without a scripted phrase the answer quotes the sentence that shares most words with the question."""
    engine = fake()
    read(engine)
    assert answer(engine, "How many lanterns along the quay?") == (
        "The book says: “Ines counted forty-one lanterns along the quay.”"
    )


def test_a_draw_shows_its_seed() -> None:
    """Two seeds give two answers unless the temperature is 0."""
    engine = fake()
    read(engine)
    drawn = {answer(engine, "Who?", Sampling(temperature=1.0, seed=seed)) for seed in (1, 2)}
    greedy = {answer(engine, "Who?", Sampling(temperature=0.0, seed=seed)) for seed in (1, 2)}
    assert (len(drawn), len(greedy)) == (2, 1)


def test_an_answer_ends_at_its_limit() -> None:
    """An answer longer than `max_tokens` is cut there, and its end says so."""
    engine = fake(FakeScript(answers={"?": "0123456789"}))
    read(engine)
    assert answer(engine, "?", max_tokens=4) == "0123"
    engine.fork(BOOK, CHAT)
    *_, last = engine.generate(CHAT, [63], Sampling(), max_tokens=4)
    assert isinstance(last, Finish)
    assert last.reason == "length"


def test_paces_are_slept() -> None:
    """Every batch and every token takes the seconds that the script says, through the sleep that was given."""
    sleeps: list[float] = []
    engine = fake(FakeScript(answers={"?": "abc"}, batch_s=2.0, token_s=3.0), sleeps)
    read(engine, "x" * 33)
    answer(engine, "?")
    assert sleeps == [2.0] * 3 + [3.0] * 3


def test_control_tokens_are_one_token_each() -> None:
    """A control token is read as one token where that is asked for, and its text comes back."""
    engine = fake()
    (special,) = engine.tokenize(["".join(CONTROLS)], special=True)
    (plain,) = engine.tokenize(["".join(CONTROLS)], special=False)
    assert len(special) == len(CONTROLS)
    assert engine.text_of(special) == engine.text_of(plain) == "".join(CONTROLS).encode()


def test_info_says_what_the_script_says() -> None:
    """Memory and trained context are those of the script."""
    info = fake(FakeScript(memory="sliding", context_trained=777)).info
    assert (info.memory, info.n_context_trained) == ("sliding", 777)


def test_states_go_from_one_fake_to_another(tmp_path: Path) -> None:
    """A state that one fake saved gives another the same logits."""
    one, other = fake(), fake()
    read(one)
    blob, _ = one.save(BOOK, tmp_path / "state")
    other.restore(BOOK, tmp_path / "state", blob)
    assert other.logits(BOOK, [5]) == one.logits(BOOK, [5])


def test_a_scripted_crash_ends_the_process(tmp_path: Path) -> None:
    """At `crash_at` tokens the process ends in SIGSEGV, and what came before was evaluated."""
    engine = EngineProcess(Start("fake", (SETTINGS, FakeScript(crash_at=40))))
    try:
        positions = []
        with pytest.raises(EngineDied) as caught:
            for progress in engine.evaluate(BOOK, [1] * 100):
                positions.append(progress.position)
        assert caught.value.reason == "SIGSEGV"
        assert positions == [16, 32]
    finally:
        engine.close()


def test_restoring_does_not_crash(tmp_path: Path) -> None:
    """A scripted crash waits for evaluation: a state past `crash_at` can be restored."""
    whole = fake()
    read(whole)
    blob, _ = whole.save(BOOK, tmp_path / "state")
    engine = fake(FakeScript(crash_at=10))
    engine.restore(BOOK, tmp_path / "state", blob)
    assert engine.length(BOOK) == len(BOOK_TEXT)

"""A recall run: every cell is asked once, an interrupted run goes on, and texts without facts show guessing."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from cagchat.bench.facts import words_of
from cagchat.bench.journal import Asked, Journal, Reply
from cagchat.bench.planting import depths, paragraphs
from cagchat.bench.recall import Evidence, Grid, Recall, Text, count_questions, measure, planned_texts
from cagchat.engine.protocol import KvType
from cagchat.errors import BookTooLong, Stopped, UsageError
from tests.reading_cases import chapters

GRID = Grid((1500, 2500), depths(3), 4, ("f16", "q8_0"), (1, 2), ("off", "on"))
BOOK = chapters(12).replace("\n", "\n\n")


class Letters:
    """A tokenizer of bytes."""

    def tokenize(self, texts: Sequence[str], *, special: bool) -> list[array[int]]:
        """Return the bytes of each text."""
        return [array("i", list(text.encode())) for text in texts]

    def text_of(self, tokens: Sequence[int]) -> bytes:
        """Return the bytes."""
        return bytes(list(tokens))


class Parrot:
    """A shelf whose texts answer with the sentence that has the question's invented word; remembers what it was asked.

    A `limit` stops it after so many questions; texts longer than `longest` do not fit.
    """

    def __init__(self, limit: int = 10**9, longest: int = 10**9) -> None:
        self.asked: list[tuple[str, KvType, Evidence, str]] = []
        self.opened: list[tuple[str, KvType]] = []
        self._limit = limit
        self._longest = longest
        self._open = ("", "", "f16")

    @contextmanager
    def open(self, name: str, text: str, kv_type: KvType) -> Iterator[Parrot]:
        """Open a text."""
        if len(text) > self._longest:
            raise BookTooLong(f"It has {len(text)} tokens.", "Take less.")
        self.opened.append((name, kv_type))
        self._name, self._text, self._kv_type = name, text, kv_type
        yield self

    def ask(self, question: str, evidence: Evidence) -> Reply:
        """Answer."""
        if len(self.asked) >= self._limit:
            raise Stopped("Enough.")
        self.asked.append((self._name, self._kv_type, evidence, question))
        subject = max(question.rstrip("?").split(), key=lambda word: word[0].isupper() and len(word))
        found = [part for part in paragraphs(self._text) if subject in part]
        return Reply(found[0] if found else "It is not in the book.", 20)


def texts(grid: Grid = GRID) -> tuple[Text, ...]:
    return planned_texts(grid, BOOK, Letters())


def run(shelf: Parrot, folder: Path, grid: Grid = GRID, wanted: Callable[[], bool] = lambda: True) -> Recall:
    return measure(grid, texts(grid), shelf, Journal(folder / "answers.jsonl"), "run", wanted=wanted)


def test_every_cell_is_asked_once(tmp_path: Path) -> None:
    """Each text is opened once for each KV type, and every question about it is asked once for each evidence."""
    shelf = Parrot()
    recall = run(shelf, tmp_path)
    assert len(shelf.opened) == len(set(shelf.opened)) == 2 * 2 * 3
    assert len(shelf.asked) == len(set(shelf.asked)) == len(recall.outcomes) == count_questions(GRID, texts())
    assert all(outcome.correct for outcome in recall.outcomes if outcome.planted)


def test_without_facts_nothing_is_right(tmp_path: Path) -> None:
    """Every planted question is asked about the text without facts too, from the cache alone, and none is right."""
    bare = [outcome for outcome in run(Parrot(), tmp_path).outcomes if not outcome.planted]
    assert len(bare) == 2 * 2 * 2 * 4
    assert {outcome.evidence for outcome in bare} == {"off"}
    assert not any(outcome.correct for outcome in bare)


def test_texts_without_facts_have_no_word_of_them() -> None:
    """No answer stands in a text that it was not planted in."""
    for text in texts():
        planted = {question.fact.answer.casefold() for question in text.questions if text.seed is not None}
        every = {question.fact.answer.casefold() for other in texts() for question in other.questions}
        assert words_of(text.content) & every == planted


def test_texts_of_a_length_are_one_book() -> None:
    """Apart from the facts, all texts of a length are the same, and none is longer than it should be."""
    for length in GRID.lengths:
        mine = [text for text in texts() if text.length == length]
        facts = {question.fact.sentence for text in mine for question in text.questions}
        books = {tuple(part for part in paragraphs(text.content) if part not in facts) for text in mine}
        assert len(books) == 1
        assert all(length - 400 < text.n_tokens <= length for text in mine if text.seed is not None)


def test_lengths_ask_the_same() -> None:
    """A seed's questions and their depths are the same in texts of every length."""
    asked = [{(question.fact, question.wanted) for question in text.questions} for text in texts() if text.seed == 1]
    assert asked[0] == asked[1]


def test_depths_take_turns() -> None:
    """With fewer facts than depths, the next text goes on where the one before ended."""
    few = replace(GRID, depths=depths(6), facts=3, lengths=(1500,))
    wanted = [[question.wanted for question in text.questions] for text in texts(few) if text.seed is not None]
    assert wanted == [list(few.depths[:3]), list(few.depths[3:])]


@pytest.mark.parametrize("limit", [0, 1, 7, 8, 40])
def test_interrupted_run_asks_nothing_twice(tmp_path: Path, limit: int) -> None:
    """A run that stops anywhere and is started again asks the rest only, and finds what one run would have."""
    (tmp_path / "whole").mkdir()
    first, second = Parrot(limit), Parrot()
    begun = run(first, tmp_path)
    assert begun.stopped
    assert len(begun.outcomes) == limit
    recall = run(second, tmp_path)
    assert not recall.stopped
    assert not set(first.asked) & set(second.asked)
    assert len(first.asked) + len(second.asked) == count_questions(GRID, texts())
    assert recall == run(Parrot(), tmp_path / "whole")


def test_stop_comes_between_questions(tmp_path: Path) -> None:
    """When no more is wanted, nothing more is opened or asked, and what is known is returned."""
    shelf = Parrot()
    recall = run(shelf, tmp_path, wanted=lambda: len(shelf.asked) < 5)
    assert len(shelf.asked) == len(recall.outcomes) == 5
    assert len(shelf.opened) == 1


def test_finished_run_opens_nothing(tmp_path: Path) -> None:
    """When all is known, no text is opened again."""
    run(Parrot(), tmp_path)
    shelf = Parrot()
    assert len(run(shelf, tmp_path).outcomes) == count_questions(GRID, texts())
    assert shelf.opened == []


def test_wider_grid_asks_what_is_new(tmp_path: Path) -> None:
    """Another KV type asks about itself only."""
    run(Parrot(), tmp_path, replace(GRID, kv_types=("f16",)))
    shelf = Parrot()
    run(shelf, tmp_path)
    assert {kv_type for _, kv_type in shelf.opened} == {"q8_0"}


def test_other_model_asks_anew(tmp_path: Path) -> None:
    """Answers of another run's model or prompt do not count."""
    run(Parrot(), tmp_path)
    shelf = Parrot()
    measure(GRID, texts(), shelf, Journal(tmp_path / "answers.jsonl"), "another")
    assert len(shelf.asked) == count_questions(GRID, texts())


def test_too_long_is_left_out(tmp_path: Path) -> None:
    """A length that the model does not hold is said once for each KV type, and the others are measured."""
    recall = run(Parrot(longest=2000), tmp_path)
    assert {outcome.text.length for outcome in recall.outcomes if outcome.planted} == {1500}
    assert len(recall.left_out) > 0
    assert all("2,500 tokens" in sentence for sentence in recall.left_out)
    assert not recall.stopped


def test_facts_leave_room_for_the_book() -> None:
    """Facts that would take more than half of a text are refused with their size."""
    with pytest.raises(UsageError, match="20 facts take"):
        texts(replace(GRID, facts=20))


# -- the journal -------------------------------------------------------------------------------------------------------

ASKED = Asked("run", "text", "f16", "off", "Who—“or what”—was it?")


def test_journal_is_private_and_read_back(tmp_path: Path) -> None:
    """An answer is there for the next run, line ends and all, in a file for its owner only."""
    path = tmp_path / "answers.jsonl"
    Journal(path).add(ASKED, Reply("Osk,\nsaid “she”.\u2028", 7))
    assert Journal(path).get(ASKED) == Reply("Osk,\nsaid “she”.\u2028", 7)
    assert path.stat().st_mode & 0o777 == 0o600


def test_torn_line_is_asked_again(tmp_path: Path) -> None:
    """A line that a crash cut off is dropped, wherever it was cut, and what follows is whole."""
    path = tmp_path / "answers.jsonl"
    Journal(path).add(ASKED, Reply("first", 1))
    whole = path.read_bytes()
    second = replace(ASKED, question="Which?")
    for cut in range(1, len(whole)):
        path.write_bytes(whole + whole.replace(b"first", b"other")[:cut])
        journal = Journal(path)
        journal.add(second, Reply("second", 2))
        assert len(Journal(path)) == 2
        assert Journal(path).get(second) == Reply("second", 2)

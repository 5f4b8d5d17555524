"""How much of a book a model can find again: invented facts at given depths, read once, asked for, scored exactly.

A text is read once for each KV type, and every question is asked in a chat of its own, with the passages of the book
found for it (evidence on) or from the cache alone. The same questions about the text without its facts show what
guessing is worth: nothing, or the measurement is.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from hashlib import sha256
from typing import Literal, Protocol

from cagchat.bench.facts import Fact, facts_of_seeds, holds
from cagchat.bench.journal import Asked, Journal, Reply
from cagchat.bench.planting import Planted, Tokenize, cut, plant
from cagchat.engine.protocol import KvType
from cagchat.errors import BookTooLong, Stopped, UsageError

Evidence = Literal["on", "off"]
DIGEST_LENGTH = 16


class Asker(Protocol):
    """An open text that answers questions, each as if it were the first."""

    def ask(self, question: str, evidence: Evidence) -> Reply:
        """Answer. Raises `Stopped` when the run is to end."""
        ...


class Shelf(Protocol):
    """Opens texts: restored when they were read before, read now otherwise."""

    def open(self, name: str, text: str, kv_type: KvType) -> AbstractContextManager[Asker]:
        """Open a text under a name of its own. Raises `Stopped` when the run is to end."""
        ...


class Words(Protocol):
    """The part of a tokenizer that texts are measured with."""

    def tokenize(self, texts: Sequence[str], *, special: bool) -> list[array[int]]:
        """Return the token ids of each text."""
        ...

    def text_of(self, tokens: Sequence[int]) -> bytes:
        """Return the bytes of the tokens."""
        ...


@dataclass(frozen=True, slots=True)
class Grid:
    """What is measured: every combination of these, `facts` planted in each text."""

    lengths: tuple[int, ...]
    depths: tuple[float, ...]
    facts: int
    kv_types: tuple[KvType, ...]
    seeds: tuple[int, ...]
    evidence: tuple[Evidence, ...]

    @property
    def unplanted_evidence(self) -> Evidence:
        """How the questions about the text without facts are asked: from the cache alone where that is measured."""
        return "off" if "off" in self.evidence else "on"


@dataclass(frozen=True, slots=True)
class Text:
    """A book cut to `length` tokens with the facts of a seed in it, or (`seed` None) the same one without any.

    `questions` are what is asked about it: the planted facts with where they are, or those of all seeds.
    """

    name: str
    length: int
    seed: int | None
    content: str
    n_tokens: int
    questions: tuple[Question, ...]

    @property
    def digest(self) -> str:
        """The first digits of the content's SHA-256."""
        return sha256(self.content.encode("utf-8", "surrogatepass")).hexdigest()[:DIGEST_LENGTH]


@dataclass(frozen=True, slots=True)
class Question:
    """A fact that is asked for: the depth that its cell of the grid has, and the depth at which it really is."""

    fact: Fact
    seed: int
    wanted: float
    depth: float | None


@dataclass(frozen=True, slots=True)
class Outcome:
    """One question that was asked: about which text, how, and what came of it."""

    text: Text
    kv_type: KvType
    evidence: Evidence
    question: Question
    reply: Reply

    @property
    def planted(self) -> bool:
        """Whether the text had the fact in it."""
        return self.text.seed is not None

    @property
    def correct(self) -> bool:
        """Whether the answer has the fact's word or number."""
        return holds(self.reply.answer, self.question.fact)


@dataclass(frozen=True, slots=True)
class Recall:
    """What a run found; `stopped` when it ended early, `left_out` are sentences about what could not be measured."""

    outcomes: tuple[Outcome, ...]
    stopped: bool = False
    left_out: tuple[str, ...] = ()


def planned_texts(grid: Grid, book: str, words: Words) -> tuple[Text, ...]:
    """Return the texts of every length, seed by seed, those without facts last.

    With its facts a text has at most `length` tokens, give or take those that join at borders, and apart from them all
    texts of a length are the same. Raises `UsageError` when the facts leave less than half of a text to the book.
    """

    def tokenize(texts: Sequence[str]) -> list[array[int]]:
        return words.tokenize(texts, special=False)

    facts = facts_of_seeds(grid.seeds, grid.facts, book)
    sizes = [sum(map(len, tokenize([f"{fact.sentence}\n\n" for fact in found]))) for found in facts.values()]
    bases: dict[int, str] = {}
    for length in sorted(set(grid.lengths)):
        room = length - max(sizes)
        if room < length / 2:
            raise UsageError(
                f"{grid.facts} facts take {max(sizes):,} tokens, more than half of a text of {length:,}.",
                "Plant fewer (--facts) or measure longer texts (--lengths).",
            )
        bases[length] = cut(book, room, tokenize, words.text_of)
    texts = [
        _planted(length, seed, plant(base, spread(facts[seed], grid.depths, number), tokenize))
        for number, seed in enumerate(grid.seeds)
        for length, base in bases.items()
    ]
    return (*texts, *(_unplanted(length, base, texts, tokenize) for length, base in bases.items()))


def spread(facts: Sequence[Fact], depths: Sequence[float], number: int) -> list[tuple[Fact, float]]:
    """Give each fact of the text with this number a depth, going on where the text before it ended."""
    first = number * len(facts)
    return [(fact, depths[(first + index) % len(depths)]) for index, fact in enumerate(facts)]


def _planted(length: int, seed: int, planted: Planted) -> Text:
    questions = tuple(Question(item.fact, seed, item.wanted, item.depth) for item in planted.plantings)
    return Text(f"{length}-seed-{seed}", length, seed, planted.text, planted.n_tokens, questions)


def _unplanted(length: int, base: str, texts: Iterable[Text], tokenize: Tokenize) -> Text:
    bare = plant(base, (), tokenize)
    questions = tuple(
        Question(asked.fact, asked.seed, asked.wanted, None)
        for text in texts
        if text.length == length
        for asked in text.questions
    )
    return Text(f"{length}-without-facts", length, None, bare.text, bare.n_tokens, questions)


def count_questions(grid: Grid, texts: Sequence[Text]) -> int:
    """Return how many questions a whole run asks."""
    return sum(len(text.questions) * len(_modes(grid, text)) * len(grid.kv_types) for text in texts)


def measure(
    grid: Grid,
    texts: Sequence[Text],
    shelf: Shelf,
    journal: Journal,
    run: str,
    *,
    wanted: Callable[[], bool] = lambda: True,
    say: Callable[[str], None] = lambda text: None,
) -> Recall:
    """Ask every question that the journal has no answer to, and return all answers.

    `run` names the model and how it answers. When `wanted` says no, or the shelf stops, the answers so far are
    returned. A text that the model cannot hold is left out.
    """
    left_out: list[str] = []
    stopped = False
    try:
        for text in texts:
            for kv_type in grid.kv_types:
                try:
                    _ask_missing(_keys(grid, text, kv_type, run), text, kv_type, shelf, journal, wanted, say)
                except BookTooLong as error:
                    left_out.append(f"Texts of {text.length:,} tokens with KV {kv_type} are left out: {error.message}")
    except Stopped:
        stopped = True
    return Recall(answered(grid, texts, journal, run), stopped, tuple(dict.fromkeys(left_out)))


def _ask_missing(
    keys: Iterable[tuple[Asked, Evidence, Question]],
    text: Text,
    kv_type: KvType,
    shelf: Shelf,
    journal: Journal,
    wanted: Callable[[], bool],
    say: Callable[[str], None],
) -> None:
    """Ask what has no answer yet; the text is opened only when there is something to ask. Raises `Stopped`."""
    missing = [(key, evidence) for key, evidence, _ in keys if journal.get(key) is None]
    if not missing:
        return
    if not wanted():
        raise Stopped("Stopped before the next text.", "The same command goes on here.")
    say(f"{text.name}, KV {kv_type}: {text.n_tokens:,} tokens, {len(missing)} questions")
    with shelf.open(text.name, text.content, kv_type) as asker:
        for key, evidence in missing:
            if not wanted():
                raise Stopped("Stopped before the next question.", "The same command goes on here.")
            journal.add(key, asker.ask(key.question, evidence))


def _keys(grid: Grid, text: Text, kv_type: KvType, run: str) -> Iterator[tuple[Asked, Evidence, Question]]:
    """Yield everything that is asked about a text with one KV type, as the journal knows it."""
    for evidence in _modes(grid, text):
        for question in text.questions:
            yield Asked(run, text.digest, kv_type, evidence, question.fact.question), evidence, question


def answered(grid: Grid, texts: Sequence[Text], journal: Journal, run: str) -> tuple[Outcome, ...]:
    """Return what the journal knows of a grid, whichever run asked it."""
    return tuple(
        Outcome(text, kv_type, evidence, question, reply)
        for text in texts
        for kv_type in grid.kv_types
        for key, evidence, question in _keys(grid, text, kv_type, run)
        if (reply := journal.get(key)) is not None
    )


def _modes(grid: Grid, text: Text) -> tuple[Evidence, ...]:
    return grid.evidence if text.seed is not None else (grid.unplanted_evidence,)

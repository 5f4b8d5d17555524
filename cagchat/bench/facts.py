"""Invent facts that no model can know: a sentence to plant in a book, a question, and the one word that answers it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Literal

Kind = Literal["name", "number", "place"]

# Where {subject} and {answer} stand: the sentence, then the question, which holds the subject and not the answer.
TEMPLATES: tuple[tuple[Kind, str, str], ...] = (
    ("name", "The clockmaker of {subject} was called {answer}.", "What was the clockmaker of {subject} called?"),
    ("name", "The cat of {subject} was named {answer}.", "What was the name of the cat of {subject}?"),
    ("name", "The captain of the ferry {subject} was {answer}.", "Who was the captain of the ferry {subject}?"),
    ("number", "The barge {subject} carried the number {answer}.", "Which number did the barge {subject} carry?"),
    ("number", "The safe of {subject} was opened by the code {answer}.", "Which code opened the safe of {subject}?"),
    ("number", "The bell of {subject} was cast from {answer} nails.", "How many nails became the bell of {subject}?"),
    ("place", "The surveyor {subject} was buried in {answer}.", "Where was the surveyor {subject} buried?"),
    ("place", "The painter {subject} was born in {answer}.", "Where was the painter {subject} born?"),
    ("place", "The letters of {subject} were kept in {answer}.", "In which town were the letters of {subject} kept?"),
)

ONSETS = ("b", "br", "d", "dr", "f", "g", "gl", "h", "k", "kl", "l", "m", "n", "p", "qu", "r", "s", "t", "th", "v", "z")
VOWELS = ("a", "e", "i", "o", "u", "ae", "ei", "ou")
CODAS = ("", "", "l", "n", "r", "s", "x", "th", "mb", "nd", "sk")
SYLLABLES = 3
NUMBERS = range(10_000, 100_000)

_WORD = re.compile(r"\w+")
# A comma, point, apostrophe, underscore or space between digits, before exactly three of them: 48,213.
_SEPARATOR = re.compile(r"(?<=\d)[,.'’_\s](?=\d{3}(?!\d))")


@dataclass(frozen=True, slots=True)
class Fact:
    """A sentence nobody wrote, a question about it, and the word or number that answers it."""

    kind: Kind
    sentence: str
    question: str
    answer: str


def words_of(text: str) -> frozenset[str]:
    """Return the words and numbers of a text, case-folded, numbers also without their separators."""
    folded = text.casefold()
    return frozenset(_WORD.findall(folded)) | frozenset(_WORD.findall(_SEPARATOR.sub("", folded)))


def made_facts(count: int, random: Random, taken: set[str]) -> tuple[Fact, ...]:
    """Return facts whose subjects and answers are all different and not in `taken`, which grows by them.

    Kinds and templates take turns in an order drawn from `random`, so that no depth gets one kind only.
    """
    found: list[Fact] = []
    while len(found) < count:
        for kind, sentence, question in random.sample(TEMPLATES, min(len(TEMPLATES), count - len(found))):
            subject = made_word(random, taken)
            answer = made_number(random, taken) if kind == "number" else made_word(random, taken)
            words = {"subject": subject, "answer": answer}
            found.append(Fact(kind, sentence.format(**words), question.format(**words), answer))
    return tuple(found)


def made_word(random: Random, taken: set[str]) -> str:
    """Return a capitalised word of three syllables that is not in `taken`, and add it there."""
    while True:
        syllables = [random.choice(ONSETS) + random.choice(VOWELS) for _ in range(SYLLABLES)]
        word = "".join(syllables) + random.choice(CODAS)
        if word not in taken:
            taken.add(word)
            return word.capitalize()


def made_number(random: Random, taken: set[str]) -> str:
    """Return a number of five digits that is not in `taken`, and add it there."""
    while True:
        number = str(random.choice(NUMBERS))
        if number not in taken:
            taken.add(number)
            return number


def holds(answer: str, fact: Fact) -> bool:
    """Tell whether an answer has the fact's word or number as a whole word, whatever its case or separators."""
    return fact.answer.casefold() in words_of(answer)


def facts_of_seeds(seeds: Sequence[int], count: int, book: str) -> dict[int, tuple[Fact, ...]]:
    """Return as many facts for each seed; no two share a word, and none of their words is in the book."""
    taken = set(words_of(book))
    return {seed: made_facts(count, Random(seed), taken) for seed in seeds}

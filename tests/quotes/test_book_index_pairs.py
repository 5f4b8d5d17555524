"""Common words are looked up two by two, wherever they stand: at a line's end, before the limit, in a made-up quote."""

from __future__ import annotations

import random

import pytest

from cagchat.documents.document import Document, Section
from cagchat.quotes.book_index import COMMON, BookIndex, Stretch

WORDS = ["the", "and", "of", "to", "in"]


def document(text: str) -> Document:
    return Document("Book", text, (Section("", 0, len(text), 1),), "txt", "0" * 16)


@pytest.fixture(scope="module")
def book() -> BookIndex:
    """A book of five words, each of them common, some of them cut at a line's end."""
    drawn = random.Random(4)
    text = " ".join(drawn.choices(WORDS, k=4 * COMMON * len(WORDS)))
    return BookIndex(document(text.replace(" and of ", " a-\nnd of ", 50).replace("to the in", "to t-\nhe i-\nn", 50)))


def slow(book: BookIndex, words: list[int]) -> list[Stretch]:
    """Return every occurrence, by trying each place."""
    found = []
    for start in range(len(book.words)):
        place = start
        for word in words:
            if place < len(book.words) and book.words[place] == word:
                place += 1
            elif book.joined.get(place) == word:
                place += 2
            else:
                break
        else:
            found.append(Stretch(start, place))
    return found


@pytest.mark.parametrize(
    "said", ["and of to", "to the in of", "the the", "in in in in", "of and the and of", "the", "to the in"]
)
def test_every_occurrence_is_found(book: BookIndex, said: str) -> None:
    """A passage of common words is found wherever it stands, words cut by a line's end included."""
    words = [book.number(word) for word in said.split()]
    assert sorted(book.occurrences(words, len(book.words)), key=lambda found: found.start) == slow(book, words)


def test_a_passage_nearly_there_is_among_the_likely() -> None:
    """A passage of twelve common words with one of them changed is among the stretches that are looked at."""
    drawn = random.Random(5)
    common, rare = [f"common{n}" for n in range(20)], [f"rare{n}" for n in range(500)]
    said = drawn.choices(common, k=12)
    around = [" ".join(drawn.choices([*common, *rare], [50.0] * 20 + [1.0] * 500, k=35_000)) for _ in range(2)]
    book = BookIndex(document(f"{around[0]} {' '.join(said)} {around[1]}"))
    said[6] = "common7" if said[6] != "common7" else "common8"
    words = [book.number(word) for word in said]
    assert book.words.count(words[0]) >= COMMON
    assert any(found.start <= 35_000 < 35_012 <= found.end for found in book.likely(words, 3, len(book.words)))


def test_words_that_stand_together_nowhere(book: BookIndex) -> None:
    """Common words of which no two are neighbours in the book still have stretches to be compared with."""
    index = BookIndex(document("the lamp of a harbour " * COMMON))
    words = [index.number(word) for word in ("lamp", "the", "harbour", "of")]
    assert index.likely(words, 3, len(index.words))

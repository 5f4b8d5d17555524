"""The alignment of a quote with a stretch of a book, against the plain table of distances."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from cagchat.quotes.align import align

WORDS = st.lists(st.integers(0, 4), max_size=12)


def least(quote: list[int], book: list[int]) -> tuple[int, int]:
    """Return the least distance to any part of the book, and where the first such part ends."""
    row = [0] * (len(book) + 1)
    for i, word in enumerate(quote, 1):
        longer = [i]
        for j, other in enumerate(book, 1):
            same = word == other and word != 0
            longer.append(min(row[j] + 1, longer[j - 1] + 1, row[j - 1] + (not same)))
        row = longer
    return min(row), row.index(min(row))


@given(WORDS.filter(bool), WORDS)
def test_the_distance_is_the_least(quote: list[int], book: list[int]) -> None:
    """Distance and end are those of the whole table."""
    found = align(quote, book)
    assert (found.distance, found.end) == least(quote, book)


@given(WORDS.filter(bool), WORDS)
def test_the_pairs_are_the_distance(quote: list[int], book: list[int]) -> None:
    """Every word of the quote and of the passage stands in one pair, in order; as many differ as the distance says."""
    found = align(quote, book)
    assert [pair.quote for pair in found.pairs if pair.quote is not None] == list(range(len(quote)))
    assert [pair.book for pair in found.pairs if pair.book is not None] == list(range(found.start, found.end))
    assert sum(not pair.same for pair in found.pairs) == found.distance
    for pair in found.pairs:
        if pair.same:
            assert pair.quote is not None
            assert pair.book is not None
            assert quote[pair.quote] == book[pair.book] != 0


def test_a_long_quote_is_aligned() -> None:
    """More words than a machine's integer has bits."""
    book = list(range(1, 1001))
    quote = [*book[300:400], 0, *book[401:700]]
    found = align(quote, book)
    assert (found.distance, found.start, found.end) == (1, 300, 700)

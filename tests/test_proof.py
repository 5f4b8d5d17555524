"""What an answer cost, counted and said."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cagchat.engine.protocol import Span, Transfer
from cagchat.proof import Proof, count_evaluated, prove

N_BOOK = 1000


def proof(*spans: Span, reading: bool = False, restored: Transfer | None = None, decode_s: float = 2.0) -> Proof:
    """Prove an answer of 10 tokens after 20 tokens of earlier turns."""
    return prove(
        spans,
        n_book=N_BOOK,
        generated=10,
        history=20,
        restored=restored,
        first_token_s=0.025,
        decode_s=decode_s,
        position=1050,
        n_context=2048,
        reading=reading,
    )


REUSED = Span(1, N_BOOK, 50)


@pytest.mark.parametrize(
    ("spans", "counts"),
    [
        ([], (0, 0, 0)),
        ([Span(1, 1000, 50)], (0, 50, 0)),
        ([Span(0, 0, 1000)], (1000, 0, 0)),
        ([Span(1, 990, 20)], (10, 10, 0)),
        ([Span(1, 999, 1)], (1, 0, 0)),
        ([Span(0, 0, 2000)], (1000, 1000, 0)),
        ([Span(1, 1000, 1, probe=True), Span(1, 1000, 5)], (0, 5, 1)),
        ([Span(1, 0, 7, probe=True)], (0, 0, 7)),
        ([Span(1, 990, 20, padding=True)], (0, 0, 20)),
        ([Span(0, 0, 1000), Span(1, 1000, 5), Span(1, 1000, 5)], (1000, 10, 0)),
    ],
)
def test_spans_are_counted_by_where_they_lie(spans: list[Span], counts: tuple[int, int, int]) -> None:
    """Positions before the book's end are the book's, from it on the chat's; probes and padding are nobody's."""
    assert count_evaluated(spans, N_BOOK) == counts


@given(
    st.lists(st.builds(Span, st.integers(0, 2), st.integers(0, 50), st.integers(1, 50), st.booleans(), st.booleans())),
    st.integers(0, 100),
)
def test_every_position_is_counted_once(spans: list[Span], n_book: int) -> None:
    """Book, chat and nobody's text together are all that was evaluated."""
    book, after, other = count_evaluated(spans, n_book)
    assert book + after + other == sum(span.count for span in spans)
    texts = [span for span in spans if not (span.probe or span.padding)]
    assert book == sum(1 for span in texts for i in range(span.count) if span.start + i < n_book)


def test_a_reused_book_is_said_with_its_length() -> None:
    """An answer that read nothing of the book says how many tokens were reused and how many were the question's."""
    found = proof(REUSED)
    assert (found.book_reused, found.book_evaluated, found.evaluated) == (N_BOOK, 0, 20)
    assert found.line() == "book 1,000 tokens reused, 20 evaluated, 20 of earlier turns, first token 25 ms, 5 tok/s"


def test_reading_the_book_is_said_quietly() -> None:
    """In the run that reads the book, its tokens are counted as read, which was the purpose."""
    line = proof(Span(0, 0, N_BOOK), REUSED, reading=True).line()
    assert line.startswith("1,000 book tokens read, ")
    assert "AGAIN" not in line


def test_reading_again_is_said_loudly() -> None:
    """Book tokens that went through the model although they were saved are shouted."""
    line = proof(Span(1, 900, 150)).line()
    assert line.startswith("book 900 tokens reused, 100 BOOK TOKENS READ AGAIN, ")


def test_one_token_read_again_is_said_loudly() -> None:
    """Not even a single token of the book is evaluated silently."""
    assert "1 BOOK TOKENS READ AGAIN" in proof(Span(1, N_BOOK - 1, 51)).line()


def test_a_book_read_twice_is_not_counted_beyond_its_length() -> None:
    """More evaluations than the book has tokens leave nothing reused, and no negative number."""
    found = proof(Span(0, 0, N_BOOK), Span(0, 0, N_BOOK), REUSED)
    assert (found.book_evaluated, found.book_reused) == (N_BOOK, 0)


def test_a_restore_is_said_with_its_bytes() -> None:
    """An answer after a restore names the bytes and the time."""
    line = proof(REUSED, restored=Transfer(78_000_000, 0.021)).line()
    assert "restored 78 MB in 21 ms" in line


def test_nobodys_text_is_not_the_questions() -> None:
    """Probes and padding are counted, but neither as the book's nor as the question's."""
    found = proof(Span(1, N_BOOK, 1, probe=True), Span(1, 0, 7, padding=True), REUSED)
    assert (found.other, found.book_evaluated, found.evaluated) == (8, 0, 20)


def test_no_decoding_has_no_speed() -> None:
    """An answer whose decoding took no time has speed 0 instead of a division by it."""
    assert proof(REUSED, decode_s=0.0).tokens_per_s == 0


def test_a_proof_is_json() -> None:
    """Every figure, the derived ones too, survives JSON."""
    found = proof(REUSED)
    known = json.loads(json.dumps(found.as_dict()))
    assert known["book_reused"] == N_BOOK
    assert known["tokens_per_s"] == 5.0
    assert (known["chat_tokens"], known["context_tokens"]) == (50, 2048)

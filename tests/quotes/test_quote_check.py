"""All quotes of an answer: their counts, the sentence about them, and what JSON says."""

from __future__ import annotations

import json
import threading

import pytest

from cagchat.documents.document import Document
from cagchat.quotes import BookIndex, Checks, QuoteChecker, locating
from cagchat.quotes.align import Alignment, align
from cagchat.quotes.book_index import MOST_STRETCHES
from tests.quotes.invented_words import document, invented

BOOK = "Nobody had seen a ship since the first week of autumn. The keeper climbed the tower before the lamps were lit."
FOUND, NEAR, ABSENT = (
    "“had seen a ship since”",
    "“the keeper climbed the tower after the lamps”",
    "“it is not in there”",
)


def checked(answer: str) -> Checks:
    return QuoteChecker(document(BOOK)).check(answer)


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        ("", "no quote to check"),
        ("Nothing is quoted.", "no quote to check"),
        (FOUND, "1 quote: found in the book"),
        (NEAR, "1 quote: nearly found in the book, no verified evidence"),
        (ABSENT, "1 quote: not in the book, no verified evidence"),
        (f"{FOUND} {NEAR}", "2 quotes: 1 found in the book, 1 nearly"),
        (f"{FOUND} {FOUND}", "2 quotes: all found in the book"),
        (f"{ABSENT} {ABSENT}", "2 quotes: none found in the book, no verified evidence"),
        (f"{ABSENT} {NEAR}", "2 quotes: none found in the book, 1 nearly, 1 not, no verified evidence"),
        (f"{FOUND} {ABSENT}", "2 quotes: 1 found in the book, 1 not"),
        (f"{FOUND} {NEAR} {ABSENT}", "3 quotes: 1 found in the book, 1 nearly, 1 not"),
    ],
)
def test_a_sentence_counts_the_quotes(answer: str, sentence: str) -> None:
    """Found, nearly, not, and whether anything is verified: in one line."""
    assert str(checked(answer)) == sentence


def test_only_a_verified_quote_is_evidence() -> None:
    """Near quotes and invented ones are none."""
    assert checked(f"{ABSENT} {FOUND}").has_evidence
    assert not checked(f"{ABSENT} {NEAR}").has_evidence


def test_an_answer_cannot_mark_its_own_quotes() -> None:
    """Words and signs beside a quote change nothing."""
    assert not checked(f"✔ verified: {ABSENT} (verified) [found in the book]").has_evidence


def test_quotes_become_json() -> None:
    """Counts, and each quote with its mark, its place and where it stands in the answer."""
    answer = f"So {FOUND}, {NEAR}, {ABSENT}."
    said = json.loads(json.dumps(checked(answer).as_dict()))
    assert (said["verified"], said["near"], said["absent"]) == (1, 1, 1)
    found, near, absent = said["quotes"]
    assert answer[found["in_answer"]["start"] : found["in_answer"]["end"]] == found["quote"]
    assert (found["mark"], found["exact"], BOOK[found["start"] : found["end"]]) == ("verified", True, found["quote"])
    assert found["place"] == "Part 1 (6.4 %)"
    assert near["changes"] == [
        {"quote": "after", "book": "before", "start": BOOK.index("before"), "end": BOOK.index("before") + 6}
    ]
    assert absent.keys() == {"quote", "in_answer", "mark", "difference"}


def test_the_book_is_read_once_and_only_for_quotes() -> None:
    """An answer without quotes costs nothing, and the index is kept."""
    made = []

    def make(book: Document) -> BookIndex:
        made.append(book)
        return BookIndex(book)

    checker = QuoteChecker(document(BOOK), make_index=make)
    checker.check("Nothing is quoted.")
    assert made == []
    checker.check(FOUND)
    checker.check(NEAR)
    assert len(made) == 1


def test_the_book_is_read_once_by_two_threads() -> None:
    """A look-up that comes while the index is being made waits for it and makes no second one."""
    begun, go_on = threading.Event(), threading.Event()
    made = []

    def make(book: Document) -> BookIndex:
        made.append(book)
        begun.set()
        assert go_on.wait(30)
        return BookIndex(book)

    checker = QuoteChecker(document(BOOK), make_index=make)
    preparing = threading.Thread(target=checker.prepare)
    preparing.start()
    assert begun.wait(30)
    found = []
    checking = threading.Thread(target=lambda: found.append(checker.check(FOUND)))
    checking.start()
    go_on.set()
    preparing.join(30)
    checking.join(30)
    assert [checks.count("verified") for checks in found] == [1]
    assert len(made) == 1


def test_a_limit_holds_for_every_quote() -> None:
    """What the reader has not read is not found."""
    checker = QuoteChecker(document(BOOK))
    assert checker.check(f"{FOUND} {NEAR}", until=60).count("absent") == 1


def test_ten_thousand_quotes_take_bounded_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is compared with a few stretches of the book at most, and one that is repeated is looked up once."""
    compared = 0

    def counted(quote: tuple[int, ...], book: list[int]) -> Alignment:
        nonlocal compared
        compared += 1
        return align(quote, book)

    monkeypatch.setattr(locating, "align", counted)
    words = invented(101)
    quotes = [
        f"“{words[i % 100]} {words[i // 100]} {words[i % 89]} {words[i % 83]} {words[100]}”" for i in range(10_000)
    ]
    checks = QuoteChecker(document(" ".join(words))).check("\n\n".join([*quotes, quotes[0]]))
    assert len(checks.items) == 10_001
    assert 0 < compared <= len(quotes) * MOST_STRETCHES

"""What a reader may say for "up to here", and what is said back when the book has no such place."""

from __future__ import annotations

import re

import pytest

from cagchat.documents.document import Document, Page, Section
from cagchat.errors import UsageError
from cagchat.limits.limit import Limit
from cagchat.limits.until import chapter_limits, limit_at, parse_until

PIECE = 100
TITLES = (
    ("Before the first chapter", 0),
    ("BOOK ONE: 1805", 1),
    ("CHAPTER I. The Storm", 2),
    ("CHAPTER II. Les Élèves", 2),
    ("BOOK TWO", 1),
    ("CHAPTER I. A Harbour", 2),
    ("CHAPTER TWENTY-ONE. The Thaw", 2),
    ("Epilogue", 1),
)


def document(*titles: tuple[str, int], pages: tuple[Page, ...] = ()) -> Document:
    """Return a book whose sections are `PIECE` characters long."""
    sections = tuple(Section(title, i * PIECE, (i + 1) * PIECE, level) for i, (title, level) in enumerate(titles))
    return Document("The Quay", "x" * PIECE * len(titles), sections, "text", pages=pages)


NOVEL = document(*TITLES)
FLAT = document(*((f"CHAPTER {number}", 1) for number in ("I", "II", "III", "IV", "XII")))


@pytest.mark.parametrize(
    ("words", "end", "name"),
    [
        ("Epilogue", 8, "Epilogue"),
        ("epilog", 8, "Epilogue"),
        ("chapter i. the storm", 3, "BOOK ONE: 1805, CHAPTER I. The Storm"),
        ("Chapter 1 the storm", 3, "BOOK ONE: 1805, CHAPTER I. The Storm"),
        ("chapter II", 4, "BOOK ONE: 1805, CHAPTER II. Les Élèves"),
        ("CHAPTER TWO", 4, "BOOK ONE: 1805, CHAPTER II. Les Élèves"),
        ("chapter ii. les eleves", 4, "BOOK ONE: 1805, CHAPTER II. Les Élèves"),
        ("21", 7, "BOOK TWO, CHAPTER TWENTY-ONE. The Thaw"),
        ("chapter 21", 7, "BOOK TWO, CHAPTER TWENTY-ONE. The Thaw"),
        ("Book One, chapter 1", 3, "BOOK ONE: 1805, CHAPTER I. The Storm"),
        ("book 2 chapter 1", 6, "BOOK TWO, CHAPTER I. A Harbour"),
        ("BOOK TWO, CHAPTER I. A Harbour", 6, "BOOK TWO, CHAPTER I. A Harbour"),
        ("before the first", 1, "Before the first chapter"),
        ("the thaw", 7, "BOOK TWO, CHAPTER TWENTY-ONE. The Thaw"),
    ],
)
def test_chapter(words: str, end: int, name: str) -> None:
    """A chapter is found by title, number, part and number, or beginning, and the limit is its end."""
    limit = parse_until(NOVEL, words)
    assert (limit.offset, limit.words) == (end * PIECE, name)


@pytest.mark.parametrize(("words", "end"), [("Book One", 4), ("book 2", 7)])
def test_part_ends_with_its_last_chapter(words: str, end: int) -> None:
    """A part has been read when all that is inside it has."""
    assert parse_until(NOVEL, words).offset == end * PIECE


@pytest.mark.parametrize("words", ["12", "XII", "Chapter 12", "chapter twelve", "  CHAPTER  xii "])
def test_number_however_written(words: str) -> None:
    """A number is the same in digits, Roman letters and words."""
    assert parse_until(FLAT, words).offset == 5 * PIECE


@pytest.mark.parametrize(
    ("words", "offset"), [("0%", 0), ("40%", 200), ("40 %", 200), ("12,5 %", 62), ("12.5%", 62), ("100%", 500)]
)
def test_share(words: str, offset: int) -> None:
    """A share of the book is counted in characters and rounded down."""
    assert parse_until(FLAT, words).offset == offset


@pytest.mark.parametrize("words", ["end", "ALL", "the end"])
def test_whole_book(words: str) -> None:
    """The words "end" and "all" name the end of the text."""
    assert parse_until(FLAT, words).offset == len(FLAT.text)


def test_chapters_that_are_only_numbered() -> None:
    """A chapter is found by its number where the book itself does not call it a chapter."""
    assert parse_until(document(("[ 1 ]", 1), ("[ 2 ]", 1), ("[ 3 ]", 1)), "chapter two").offset == 2 * PIECE


def test_chapter_called_the_end() -> None:
    """A chapter with the name of a limit's word is meant by it."""
    assert parse_until(document(("One", 1), ("The End", 1), ("Notes", 1)), "the end").offset == 2 * PIECE


@pytest.mark.parametrize(("words", "offset"), [("p. 1", 90), ("page 1", 90), ("p1", 90), ("P. XII", 30), ("p. 2", 500)])
def test_page(words: str, offset: int) -> None:
    """A page is found by its label, and the limit is its end."""
    book = document(*((f"CHAPTER {number}", 1) for number in "12345"), pages=PAGES)
    assert parse_until(book, words).offset == offset


PAGES = (Page("xii", 0), Page("1", 30), Page("2", 90))


def test_bookmark_comes_first() -> None:
    """A bookmark is found by its name, even where a chapter is called the same, and stays inside the book."""
    marks = [("Epilogue", 123), ("Far away", 10_000)]
    assert parse_until(NOVEL, "epilogue", marks).offset == 123
    assert parse_until(NOVEL, "far away", marks).offset == len(NOVEL.text)


@pytest.mark.parametrize(
    ("words", "message", "hint"),
    [
        ("Chapter 1", r"could be 2 chapters: BOOK ONE: 1805, CHAPTER I\. The Storm; BOOK TWO", "Name the part too"),
        ("1", "could be 2 chapters", "BOOK ONE: 1805, CHAPTER I. The Storm"),
        ("Epilouge", "has no place called Epilouge", "Near it: Epilogue"),
        ("zzz", "has no place called zzz", "40%"),
        ("140%", "140 % is more", "0% to 100%"),
        ("p. 3", "has no page numbers", "40%"),
        ("book 3 chapter 1", "has no place", ""),
        ("  ", "The limit is empty", "40%"),
        ("\x00[(", "has no place", "40%"),
    ],
)
def test_errors(words: str, message: str, hint: str) -> None:
    """What is not there, or there twice, is told in one line with what could be meant."""
    with pytest.raises(UsageError, match=message) as caught:
        parse_until(NOVEL, words)
    assert hint in caught.value.hint
    assert not re.search(r"\n", caught.value.message + caught.value.hint)


def test_page_that_is_not_there() -> None:
    """A page the book does not have is answered with those that it has."""
    with pytest.raises(UsageError, match="no page 7") as caught:
        parse_until(document(("One", 1), pages=PAGES), "p. 7")
    assert caught.value.hint == "Its pages are xii to 2."


def test_book_without_chapters() -> None:
    """A book without chapters takes shares, and its errors speak of no chapter."""
    plain = document(("", 0))
    assert parse_until(plain, "50%").offset == PIECE // 2
    with pytest.raises(UsageError) as caught:
        parse_until(plain, "Chapter 1")
    assert caught.value.hint == "Give a share of the book (40%), or end."


QUAY = "PART ONE\n\nCHAPTER 1\n\nThe ferry left.\n\nCHAPTER 2\n\nThe lamp went out.\n\nThe dog slept.\n"
ONE, TWO = QUAY.index("CHAPTER 1"), QUAY.index("CHAPTER 2")
PARTS = (
    Section("PART ONE", 0, ONE, 1),
    Section("CHAPTER 1", ONE, TWO, 2),
    Section("CHAPTER 2", TWO, len(QUAY), 2),
)
SMALL = Document("The Quay", QUAY, PARTS, "text")


@pytest.mark.parametrize(
    ("after", "end", "words"),
    [
        ("left.", TWO, "PART ONE, CHAPTER 1"),
        ("left.\n", TWO, "PART ONE, CHAPTER 1"),
        ("The ferry", QUAY.index(" left"), "CHAPTER 1 (34.5 %)"),
        ("PART ONE", 8, "PART ONE (8.3 %)"),
        ("out.", QUAY.index("out.") + 4, "CHAPTER 2 (78.6 %)"),
        ("slept.", len(QUAY), "the end"),
        ("slept.\n", len(QUAY), "the end"),
        ("", 0, "PART ONE (0.0 %)"),
    ],
)
def test_any_character(after: str, end: int, words: str) -> None:
    """A place is named by the chapter that has ended there, where only white space follows, else by its share."""
    assert limit_at(SMALL, QUAY.index(after) + len(after)) == Limit(end, words)


def test_all_chapters() -> None:
    """Every section with a title is offered with the end of what is inside it, under the name that finds it."""
    found = chapter_limits(SMALL)
    assert [limit.offset for limit in found] == [len(QUAY), TWO, len(QUAY)]
    assert all(parse_until(SMALL, limit.words) == limit for limit in found)
    assert all(parse_until(NOVEL, limit.words) == limit for limit in chapter_limits(NOVEL))

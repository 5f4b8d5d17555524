"""One line as a heading."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cagchat.documents.headings import is_title, label_of


@pytest.mark.parametrize(
    ("line", "kind", "number", "title"),
    [
        ("CHAPTER IV", "chapter", 4, ""),
        ("Chapter 12. The Storm", "chapter", 12, "The Storm"),
        ("   CHAPTER XII.—The Storm", "chapter", 12, "The Storm"),
        ("_Chapter Twenty-One_", "chapter", 21, ""),
        ("CHAPTER THE FIRST", "chapter", 1, ""),
        ("Chapter the Last", "chapter", 0, ""),
        ("Chap. 3", "chapter", 3, ""),
        ("BOOK ONE: 1805", "book", 1, "1805"),
        ("THE SECOND BOOK", "book", 2, ""),
        ("FIRST EPILOGUE: 1813 - 20", "epilogue", 1, "1813 - 20"),
        ("PART TWO", "part", 2, ""),
        ("VOLUME I", "volume", 1, ""),
        ("Letter 3", "letter", 3, ""),
        ("ACT I", "act", 1, ""),
        ("SCENE II. A hall in the castle.", "scene", 2, "A hall in the castle."),
        ("Kapitel 7", "chapter", 7, ""),
        ("Глава XI", "chapter", 11, ""),
        ("Erstes Kapitel", "chapter", 1, ""),
        ("EINUNDZWANZIGSTES KAPITEL", "chapter", 21, ""),
        ("Dritter Teil. Das Licht", "part", 3, "Das Licht"),
        ("Chapitre premier", "chapter", 1, ""),
        ("Première partie", "part", 1, ""),
        ("Capítulo segundo", "chapter", 2, ""),
        ("CAPITOLO DECIMO", "chapter", 10, ""),
        ("Часть третья", "part", 3, ""),
        ("Глава двадцатая", "chapter", 20, ""),
        ("§ 3. Of Lamps", "section", 3, "Of Lamps"),
        ("Epilogue", "other", 0, ""),
        ("PROLOGUE.", "front", 0, ""),
        ("EXTRACTS. (Supplied by a friend)", "front", 0, ""),
        ("PREFACE TO THE SECOND EDITION", "front", 0, ""),
        ("APPENDIX B", "other", 0, ""),
        ("[ 3 ]", "bracketed", 3, ""),
        ("— II —", "dashed", 2, ""),
        ("XIV.", "roman", 14, ""),
        ("7", "digits", 7, ""),
        ("IV. THE STORM", "roman titled", 4, "THE STORM"),
        ("Seventeen", "spelt", 17, ""),
    ],
)
def test_headings_are_read(line: str, kind: str, number: int, title: str) -> None:
    """The usual forms give what is counted, the number and the title on the line."""
    label = label_of(line)
    assert label is not None
    assert (label.kind, label.number, label.title) == (kind, number, title)


@pytest.mark.parametrize(
    "line",
    [
        "",
        "Part of the fleet had sailed.",
        "Act I was over before she came.",
        "Chapter 3, verse 4, says the same.",
        "Book II of the catalogue is lost.",
        "Letters were rare.",
        "Three parts of it were water.",
        "Introduction was not needed between them.",
        "I",
        "chapter 4",
        "1. open the door",
        "MIX",
    ],
)
def test_sentences_are_no_numbered_headings(line: str) -> None:
    """A sentence that begins with a heading's word, or a lower-case line, is text; a bare letter is only a number."""
    label = label_of(line)
    assert label is None or label.form == "bare"


@pytest.mark.parametrize("text", ["THE STORM", "The Storm at Sea", "In which nothing happens"])
def test_titles_read_like_titles(text: str) -> None:
    """Capitals, title case and lines that do not end like a sentence are titles."""
    assert is_title(text)


@pytest.mark.parametrize("text", ["", "“Who is there?”", "-Come up!", "He went out into the rain.", "and then"])
def test_sentences_are_no_titles(text: str) -> None:
    """Speech and sentences are text."""
    assert not is_title(text)


@given(st.text())
def test_any_line_can_be_asked(line: str) -> None:
    """Reading a line never raises, and a heading prints something."""
    label = label_of(line)
    assert label is None or label.printed

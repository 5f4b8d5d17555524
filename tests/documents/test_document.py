"""Sections, pages and places of a document."""

from __future__ import annotations

import pytest

from cagchat.documents.document import Document, Page, Section

BOOK = Document(
    "Lanterns",
    "x" * 100,
    (Section("", 0, 10, 0), Section("One", 10, 60), Section("Two", 60, 100)),
    "text",
    pages=(Page("xii", 5), Page("1", 20), Page("2", 20), Page("", 80)),
)


@pytest.mark.parametrize(
    ("offset", "title"), [(0, ""), (9, ""), (10, "One"), (59, "One"), (60, "Two"), (99, "Two"), (500, "Two")]
)
def test_an_offset_lies_in_one_section(offset: int, title: str) -> None:
    """A section holds its first character and not its end; past the text it is the last one."""
    assert BOOK.section_at(offset).title == title


@pytest.mark.parametrize(("offset", "label"), [(5, "xii"), (19, "xii"), (20, "2"), (79, "2"), (99, "")])
def test_an_offset_lies_on_one_page(offset: int, label: str) -> None:
    """A page goes on to the next; of two that begin together the last one counts."""
    page = BOOK.page_at(offset)
    assert page is not None
    assert page.label == label


def test_before_the_first_page_is_none() -> None:
    """What stands before the first page is on no page."""
    assert BOOK.page_at(4) is None


@pytest.mark.parametrize(
    ("offset", "place"),
    [
        (0, "0.0 %"),
        (6, "p. xii (6.0 %)"),
        (12, "One, p. xii (12.0 %)"),
        (60, "Two, p. 2 (60.0 %)"),
        (90, "Two (90.0 %)"),
    ],
)
def test_a_place_names_chapter_page_and_share(offset: int, place: str) -> None:
    """What the book has at that place is named, and nothing else."""
    assert BOOK.place(offset) == place

"""Titles from names and from first lines."""

from __future__ import annotations

import pytest

from cagchat.documents.titles import TitlePage, title_from_name, title_page
from tests.documents.invented_text import prose


@pytest.mark.parametrize(
    ("name", "title"),
    [
        ("war_and_peace.txt", "War and Peace"),
        ("/books/the-keeper-of-the-tower.txt", "The Keeper of the Tower"),
        ("The Keeper (1902).txt", "The Keeper (1902)"),
        ("NASA_Report-7.txt", "NASA Report-7"),
        ("notes", "Notes"),
        ("a\x1b[31mred\x07.txt", "A [31mred"),
        ("caf\udce9 noir.txt", "Caf Noir"),
        ("-", "Untitled"),
        ("", "Untitled"),
    ],
)
def test_a_files_name_is_made_readable(name: str, title: str) -> None:
    """Underscores and hyphens become spaces; names in lower case get capitals; nothing is obeyed by a terminal."""
    assert title_from_name(name) == title


@pytest.mark.parametrize(
    ("opening", "page"),
    [
        ("The Keeper of the Tower\n\nby Ada Example\n\n", TitlePage("The Keeper of the Tower", "Ada Example")),
        ("THE KEEPER\nOF THE TOWER\n\n\nBY\n\nADA EXAMPLE\n\n", TitlePage("THE KEEPER OF THE TOWER", "ADA EXAMPLE")),
        ("The Keeper\nby Ada Example\n\n", TitlePage("The Keeper", "Ada Example")),
        ("The Keeper\n\n", TitlePage("The Keeper")),
    ],
)
def test_a_title_page_is_read(opening: str, page: TitlePage) -> None:
    """A short first paragraph is the title, and a "by" line the author."""
    assert title_page(opening + prose()) == page


@pytest.mark.parametrize("text", ["", "The Keeper\n", prose(), "It rained.\n\n" + prose(), "* * *\n\n" + prose()])
def test_a_text_that_begins_at_once_has_no_title_page(text: str) -> None:
    """A sentence, a rule or a text of one paragraph is no title."""
    assert title_page(text) == TitlePage()

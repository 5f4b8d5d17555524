"""The questions that are filled in for a reader."""

from __future__ import annotations

import pytest

from cagchat.documents import Document, Section
from cagchat.errors import UsageError
from cagchat.questions import filled

BOOK = Document(
    "Lanterns",
    "a" * 30,
    (Section("Chapter 1: The Quay", 0, 10), Section("Chapter 2: The Thaw", 10, 20), Section("Coda", 20, 30)),
    "text",
)


@pytest.mark.parametrize(
    ("command", "rest", "held"),
    [
        ("/summary", "2", "Chapter 2: The Thaw"),
        ("/summary", "chapter 1", "Chapter 1: The Quay"),
        ("/since", "coda", "Coda"),
        ("/who", "Ines  Varga", "Ines Varga"),
    ],
)
def test_questions_name_what_was_meant(command: str, rest: str, held: str) -> None:
    """A chapter may be named by number or beginning, and stands in the question with its whole title."""
    assert held in (filled(BOOK, command, rest) or "")


def test_other_commands_are_nobodys() -> None:
    """A command that asks nothing is not taken."""
    assert filled(BOOK, "/turns", "") is None


@pytest.mark.parametrize(("command", "rest"), [("/summary", " "), ("/who", ""), ("/summary", "Chapter 9")])
def test_what_cannot_be_asked_is_refused(command: str, rest: str) -> None:
    """Missing words, and a chapter that there is not, are one line with a hint."""
    with pytest.raises(UsageError) as caught:
        filled(BOOK, command, rest)
    assert caught.value.hint

"""How a command line names a book: what commands make of an empty name, a long one, and one title of two states."""

from __future__ import annotations

from pathlib import Path

import pytest

from cagchat.locations import locate
from cagchat.states.store import States
from tests.cli.commands import Terminal, error_of, terminal_at
from tests.reading_cases import write_book

COMMANDS = (
    ("ask", "--fake", "BOOK", "Who?"),
    ("read", "--fake", "BOOK"),
    ("text", "BOOK"),
    ("plan", "BOOK"),
    ("library", "info", "BOOK"),
    ("library", "verify", "BOOK"),
    ("library", "rm", "-y", "BOOK"),
    ("sessions", "list", "BOOK"),
)


@pytest.fixture
def cagchat(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Terminal:
    return terminal_at(tmp_path / "home", capsys, monkeypatch)


@pytest.fixture
def book(tmp_path: Path) -> Path:
    return write_book(tmp_path)


@pytest.mark.parametrize("name", ["", " "], ids=["empty", "blank"])
@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_an_empty_name_names_nothing(
    command: tuple[str, ...], name: str, cagchat: Terminal, book: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the only saved book nor the present folder is meant by it, and nothing is deleted."""
    monkeypatch.chdir(book.parent)
    assert cagchat("ask", "--fake", book, "Who?").code == 0
    outcome = cagchat(*(name if word == "BOOK" else word for word in command))
    assert "empty name" in error_of(outcome)
    assert "hint:" in outcome.err
    assert len(States(locate().states).all()) == 1


def test_no_file_of_several_may_be_empty(cagchat: Terminal, book: Path) -> None:
    """A book of several files is not one file and the present folder."""
    assert "empty name" in error_of(cagchat("read", "--fake", book, ""))
    assert "empty name" in error_of(cagchat("ask", "--fake", book, "--with", "", "Who?"))


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_name_longer_than_files_have(command: tuple[str, ...], cagchat: Terminal, book: Path) -> None:
    """A name that no file can have is a title like any other, and one of no book here."""
    assert cagchat("ask", "--fake", book, "Who?").code == 0
    outcome = cagchat(*("x" * 300 if word == "BOOK" else word for word in command))
    assert "xxx" in error_of(outcome)
    assert "hint:" in outcome.err


@pytest.mark.parametrize("gone", [False, True], ids=["file", "state"])
def test_a_book_read_in_two_ways_is_opened_by_its_title(gone: bool, cagchat: Terminal, book: Path) -> None:
    """Two states of one text are one book to whoever opens, prints or plans it; whoever deletes one must say which."""
    for kv_type in ("f16", "q8_0"):
        assert cagchat("read", "--fake", "--kv", kv_type, book).code == 0
    text = cagchat("text", book).out
    if gone:
        book.unlink()
    assert " reused" in cagchat("ask", "--fake", "--kv", "f16", "Lanterns", "Who?").err
    assert cagchat("text", "Lanterns").out == text
    assert "There is no file" not in cagchat("plan", "Lanterns").err
    assert "could be several" in error_of(cagchat("library", "rm", "-y", "Lanterns"))


@pytest.mark.parametrize("command", COMMANDS[:4], ids=" ".join)
def test_a_title_of_two_books_is_not_missing(
    command: tuple[str, ...], cagchat: Terminal, book: Path, tmp_path: Path
) -> None:
    """A title that two texts have is refused with the names that tell them apart."""
    assert cagchat("read", "--fake", book).code == 0
    book.write_text("Another text.", encoding="utf-8")
    assert cagchat("read", "--fake", book).code == 0
    error = error_of(cagchat(*("Lanterns" if word == "BOOK" else word for word in command)))
    assert all(folder.name in error for folder in States(locate().states).all())


def test_a_damaged_text_is_not_missing(cagchat: Terminal, book: Path) -> None:
    """A saved text that changed is said to be damaged."""
    assert cagchat("read", "--fake", book).code == 0
    (folder,) = States(locate().states).all()
    folder.book_path.write_text("Something else.", encoding="utf-8")
    assert "is damaged" in error_of(cagchat("text", "Lanterns"))

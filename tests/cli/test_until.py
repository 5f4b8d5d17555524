"""`--until`: the model knows the book only so far, the narration says so and what it costs, and a chat keeps it."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pytest

from cagchat.locations import Locations
from cagchat.remembered import Place, Remembered
from tests.cli.commands import Terminal, error_of, terminal_at
from tests.reading_cases import chapters, write_book

QUESTION = "Who kept the ledger of the harbour?"


@pytest.fixture
def cagchat(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Terminal:
    return terminal_at(tmp_path / "home", capsys, monkeypatch)


@pytest.fixture
def book(tmp_path: Path) -> Path:
    return write_book(tmp_path, chapters(3))


def test_narration(cagchat: Terminal, book: Path) -> None:
    """How far the model knows the book is said on stderr, before the answer on stdout."""
    cagchat("ask", "--fake", book, QUESTION)
    outcome = cagchat("ask", "--fake", "--until", "chapter two", book, QUESTION)
    assert outcome.code == 0
    assert "The model knows the book up to CHAPTER 2 only: " in outcome.err
    assert outcome.out.startswith("The book says: ")


def test_json(cagchat: Terminal, book: Path) -> None:
    """With --json the limit is an offset and its name, null without one, and the proof counts the tokens up to it."""
    whole = json.loads(cagchat("ask", "--fake", "--json", book, QUESTION).out)
    half = json.loads(cagchat("ask", "--fake", "--json", "--until", "50 %", book, QUESTION).out)
    assert whole["until"] is None
    assert half["until"]["words"] == "50 %"
    assert 0 < half["until"]["offset"] < len(book.read_text(encoding="utf-8"))
    assert half["proof"]["book_tokens"] < whole["proof"]["book_tokens"]
    assert half["proof"]["book_evaluated"] == 0


def test_continued_chat_keeps_its_limit(cagchat: Terminal, book: Path) -> None:
    """Continued without --until, a chat knows no more than before; with a later one it does, with less it refuses."""
    first = json.loads(cagchat("ask", "--fake", "--json", "--until", "chapter 2", book, QUESTION).out)
    kept = json.loads(cagchat("ask", "--fake", "--json", "-c", book, QUESTION).out)
    assert (kept["session"], kept["until"]) == (first["session"], first["until"])
    further = json.loads(cagchat("ask", "--fake", "--json", "-c", "--until", "end", book, QUESTION).out)
    assert (further["session"], further["until"]) == (first["session"], None)
    outcome = cagchat("ask", "--fake", "-c", "--until", "chapter 1", book, QUESTION)
    assert "already knows" in error_of(outcome, 2)


def test_place_that_is_not_there(cagchat: Terminal, book: Path) -> None:
    """A place that the book does not have is one line with the nearest names, and nothing is asked."""
    outcome = cagchat("ask", "--fake", "--until", "chaptre 9", book, QUESTION)
    assert "has no place called chaptre 9" in error_of(outcome, 2)
    assert json.loads(cagchat("sessions", "--json").out) == []


def test_bookmarks_and_the_readers_place(cagchat: Terminal, book: Path) -> None:
    """The app's bookmarks, numbered in order, and the place its reader was at are limits."""
    found = json.loads(cagchat("ask", "--fake", "--json", book, QUESTION).out)
    home = cagchat.home
    remembered = Remembered.under(Locations(home / "config", home / "data", home / "cache"))
    remembered.remember(found["book"]["digest"], Place(position=77, bookmarks=(120, 300)))
    assert remembered.save()
    for words, offset in (("bookmark 2", 300), ("here", 77)):
        limited = json.loads(cagchat("ask", "--fake", "--json", "--until", words, book, QUESTION).out)
        assert limited["until"] == {"offset": offset, "words": words}


def test_plain_chat(cagchat: Terminal, book: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A plain chat begins with its limit, moves it forward with /until, and refuses to know less."""
    monkeypatch.setattr("cagchat.cli.output.is_terminal", lambda stream: True)
    lines = iter([QUESTION, "/until 90%", QUESTION, "/until 10%", "/new", QUESTION, "/quit"])
    monkeypatch.setattr("builtins.input", lambda prompt="": next(lines))
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    outcome = cagchat("open", "--fake", "--plain", "--until", "chapter 1", book)
    assert outcome.code == 0
    assert "known up to CHAPTER 1" in outcome.out
    said = [line for line in outcome.err.splitlines() if line.startswith("The model knows the book up to")]
    assert [line.split(" up to ")[1].split(" only")[0] for line in said] == ["CHAPTER 1", "90 %", "10 %"]
    assert "already knows the book up to 90 %" in outcome.err

"""`cagchat text`: what the model will read, on stdout."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path

import pytest

from cagchat import documents
from tests.cli.commands import Terminal, error_of, terminal_at
from tests.documents.invented_text import prose

CHAPTERS = "".join(f"CHAPTER {number}\n\n{prose()}" for number in range(1, 4))


@pytest.fixture
def cagchat(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Terminal:
    return terminal_at(tmp_path / "home", capsys, monkeypatch)


@pytest.fixture
def book(tmp_path: Path) -> Path:
    path = tmp_path / "light.txt"
    path.write_text(CHAPTERS)
    return path


def send(monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    """Put bytes into stdin."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))


def test_stdout_is_the_text(cagchat: Terminal, book: Path) -> None:
    """What is printed is what would be read, to the character, and nothing else."""
    outcome = cagchat("text", book)
    assert (outcome.code, outcome.out, outcome.err) == (0, documents.load(book).text, "")


def test_notes_are_on_stderr(cagchat: Terminal, book: Path) -> None:
    """What the loader did to the file is said beside the text."""
    wrong = book.rename(book.with_suffix(".pdf"))
    outcome = cagchat("text", wrong)
    assert outcome.out.startswith("CHAPTER 1\n")
    assert outcome.err == "The file is called .pdf, but it is plain text.\n"


def test_one_section(cagchat: Terminal, book: Path) -> None:
    """A number from the table of contents prints that section."""
    document = documents.load(book)
    second = document.sections[1]
    assert cagchat("text", book, "--section", "2").out == document.text[second.start : second.end]


def test_sections_make_the_text(cagchat: Terminal, book: Path) -> None:
    """All sections one after the other are the whole text."""
    parts = [cagchat("text", book, "--section", str(number)).out for number in (1, 2, 3)]
    assert "".join(parts) == cagchat("text", book).out


@pytest.mark.parametrize("number", ["0", "4", "-1"])
def test_a_section_that_is_not_there(number: str, cagchat: Terminal, book: Path) -> None:
    """The error says how many there are."""
    outcome = cagchat("text", book, f"--section={number}")
    assert error_of(outcome, 2) == f"cagchat: Light has 3 sections, and no number {number}."


def test_the_table_of_contents(cagchat: Terminal, book: Path) -> None:
    """A program gets number, level, title, size and place, with tabs between them."""
    rows = [line.split("\t") for line in cagchat("text", book, "--toc").out.splitlines()]
    assert [row[:3] for row in rows] == [[str(n), "1", f"CHAPTER {n}"] for n in (1, 2, 3)]
    assert rows[0][4] == "CHAPTER 1 (0.0 %)"
    assert sum(int(row[3].replace(",", "")) for row in rows) == len(documents.load(book).text)


def test_the_table_of_contents_on_a_terminal(cagchat: Terminal, book: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader gets a table with a head."""
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    assert "Characters" in cagchat("text", book, "--toc").out


def test_json_holds_everything(cagchat: Terminal, book: Path) -> None:
    """The object has the text, and sections whose offsets cut it."""
    found = json.loads(cagchat("text", book, "--json").out)
    document = documents.load(book)
    assert (found["title"], found["digest"], found["text"]) == ("Light", document.digest, document.text)
    assert [(part["start"], part["end"]) for part in found["sections"]] == [(s.start, s.end) for s in document.sections]


def test_json_of_the_contents_has_no_text(cagchat: Terminal, book: Path) -> None:
    """With --toc the object stays small."""
    found = json.loads(cagchat("text", book, "--toc", "--json").out)
    assert "text" not in found
    assert len(found["sections"]) == 3


def test_json_of_one_section(cagchat: Terminal, book: Path) -> None:
    """One section is one object with its text."""
    found = json.loads(cagchat("text", book, "--section", "3", "--json").out)
    assert (found["number"], found["title"], found["text"][:9]) == (3, "CHAPTER 3", "CHAPTER 3")


def test_a_book_through_stdin(cagchat: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    """The name - is what is sent."""
    send(monkeypatch, CHAPTERS.encode())
    assert cagchat("text", "-").out == CHAPTERS.rstrip("\n") + "\n"


def test_nothing_through_stdin(cagchat: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty pipe is one line with a hint."""
    send(monkeypatch, b"")
    assert "Nothing came through stdin" in error_of(cagchat("text", "-"))


def test_a_folder_is_one_book(cagchat: Terminal, tmp_path: Path) -> None:
    """The files of a folder are its parts, in natural order."""
    folder = tmp_path / "tower"
    folder.mkdir()
    for number in (1, 2, 10):
        (folder / f"part {number}.txt").write_text(prose(300))
    (folder / "cover.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    outcome = cagchat("text", folder, "--toc")
    assert [line.split("\t")[2] for line in outcome.out.splitlines()] == ["Part 1", "Part 2", "Part 10"]
    assert outcome.err == "1 file was left out, because no book can be read from it: cover.png.\n"


def test_several_files_are_one_book(cagchat: Terminal, book: Path, tmp_path: Path) -> None:
    """Files are parts in the order in which they are named."""
    other = tmp_path / "also.txt"
    other.write_text(prose(300))
    found = json.loads(cagchat("text", book, other, "--json").out)
    assert (found["title"], found["kind"]) == ("Light and 1 more", "parts")
    assert [part["title"] for part in found["sections"] if part["level"] == 1] == ["Light", "Also"]


def test_a_book_that_was_read_is_printed_by_its_title(cagchat: Terminal, book: Path) -> None:
    """The text in the state is printed when its file is gone."""
    text = cagchat("text", book).out
    cagchat("read", "--fake", book)
    book.unlink()
    assert cagchat("text", "Light").out == text
    assert len(cagchat("text", "Light", "--toc").out.splitlines()) == 3


def test_a_missing_book(cagchat: Terminal, tmp_path: Path) -> None:
    """What is neither a file nor a title is one line."""
    assert "There is no file" in error_of(cagchat("text", tmp_path / "nothing.txt"))


def test_a_closed_pipe_is_no_error(book: Path) -> None:
    """A reader who has seen enough, such as `head`, ends the command without a word."""
    book.write_text(CHAPTERS * 50)
    command = [sys.executable, "-m", "cagchat", "text", str(book)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.read(10)
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait() == 1

"""What is printed: nothing that a terminal would obey, every character somehow, and a full disk is no defect."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from cagchat.bench.tables import Column, Table
from cagchat.cli.bench import show
from cagchat.cli.output import take_any_character
from cagchat.engine.fake import FakeScript
from cagchat.printable import printable
from tests.cli.commands import Outcome, Terminal, error_of, terminal_at
from tests.reading_cases import chapters, write_book

ROOT = Path(__file__).resolve().parents[2]
QUESTION = "Who kept the ledger?"
RED, TITLE, CLEAR = "\x1b[31m", "\x1b]0;owned\x07", "\x9b2J"
ANSWER = f"Old {RED}Perrin{CLEAR},\r\n\tthe{TITLE} harbour-master."
SEEN = "Old [31mPerrin2J,\n\tthe]0;owned harbour-master."
FULL = Path("/dev/full")
needs_full_device = pytest.mark.skipif(not FULL.exists(), reason="this system has no device that is always full")


@pytest.fixture
def cagchat(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """A terminal whose --fake model answers with what a terminal would obey."""
    monkeypatch.setattr("cagchat.demo.fake_script", lambda: FakeScript(answers={"ledger": ANSWER}))
    return terminal_at(tmp_path / "home", capsys, monkeypatch)


@pytest.fixture
def book(tmp_path: Path) -> Path:
    return write_book(tmp_path, chapters(1))


@pytest.fixture
def on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cagchat.cli.output.is_terminal", lambda stream: True)


def apart(home: Path, *arguments: str | Path, encoding: str = "utf-8", full: str = "") -> Outcome:
    """Run a command in a process of its own, buffered as usual; the stream that is named goes to a full disk."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("CAGCHAT_")}
    environ |= {"CAGCHAT_HOME": str(home), "PYTHONIOENCODING": encoding, "PYTHONUNBUFFERED": ""}
    command = [sys.executable, "-m", "cagchat", *map(str, arguments)]
    with (FULL if full else Path(os.devnull)).open("wb") as file:
        done = subprocess.run(
            command,
            check=False,
            stdin=subprocess.DEVNULL,
            stdout=file if full == "stdout" else subprocess.PIPE,
            stderr=file if full == "stderr" else subprocess.PIPE,
            env=environ,
            cwd=ROOT,
        )
    return Outcome(done.returncode, (done.stdout or b"").decode(encoding), (done.stderr or b"").decode(encoding))


def test_what_a_terminal_obeys() -> None:
    """All control characters but tab and line feed go, wherever a sequence is cut, and all else stays."""
    assert printable("".join(map(chr, range(256)))) == "\t\n" + "".join(map(chr, (*range(32, 127), *range(160, 256))))
    assert "".join(map(printable, ANSWER)) == printable(ANSWER) == SEEN


@pytest.mark.usefixtures("on_a_terminal")
def test_an_answer_moves_no_cursor(cagchat: Terminal, book: Path) -> None:
    """On a terminal an answer is shown without what the terminal would obey; it is recorded as it was."""
    outcome = cagchat("ask", "--fake", book, QUESTION)
    assert outcome.out == f"{SEEN}\n"
    found = json.loads(cagchat("sessions", "show", "last", "--json").out)
    assert found["turns"][0]["answer"] == ANSWER


def test_a_program_gets_the_answer_as_it_is(cagchat: Terminal, book: Path) -> None:
    """Where stdout is no terminal the answer is data; in JSON every control character is escaped."""
    outcome = cagchat("ask", "--fake", book, QUESTION)
    assert outcome.out == f"{ANSWER}\n"
    as_json = cagchat("ask", "--fake", "--json", book, QUESTION).out
    assert json.loads(as_json)["answer"] == ANSWER
    assert printable(as_json) == as_json


def test_a_file_s_name_moves_no_cursor(cagchat: Terminal, tmp_path: Path) -> None:
    """The name of a book's file is said without what a terminal would obey, in progress and in errors, on one line."""
    book = write_book(tmp_path, chapters(1), name=f"lan{RED}terns{CLEAR}\n.txt")
    first, second = cagchat("read", "--fake", book), cagchat("ask", "--fake", book, "What of it?")
    assert "is ready" in first.out
    for text in (first.out, first.err, second.err):
        assert printable(text) == text
    assert [line for line in first.err.splitlines() if line.startswith("Reading ")] != []
    outcome = cagchat("ask", "--fake", tmp_path / f"no{RED}thing\nhere.txt", QUESTION)
    assert printable(error_of(outcome)) in outcome.err


def plain_chat(cagchat: Terminal, monkeypatch: pytest.MonkeyPatch, book: Path, *lines: str) -> Outcome:
    typed = iter([*lines, "/quit"])
    monkeypatch.setattr("builtins.input", lambda prompt="": next(typed))
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    return cagchat("open", "--fake", "--plain", "-c", book)


@pytest.mark.usefixtures("on_a_terminal")
def test_a_plain_chat_moves_no_cursor(cagchat: Terminal, book: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Earlier turns, their list, a new answer and the ready-made questions are shown without it."""
    cagchat("ask", "--fake", book, f"The {RED}ledger?")
    outcome = plain_chat(cagchat, monkeypatch, book, "/turns", QUESTION, f"/who {RED}Perrin")
    assert outcome.code == 0
    assert printable(outcome.out + outcome.err) == outcome.out + outcome.err
    assert outcome.out.count(SEEN) == 2


@pytest.mark.usefixtures("on_a_terminal")
@pytest.mark.parametrize("number", ["²", "x", "-1", "①", ""])
def test_a_number_that_is_none_does_not_end_the_chat(
    cagchat: Terminal, book: Path, monkeypatch: pytest.MonkeyPatch, number: str
) -> None:
    """/edit with something other than a number is one line and a hint, and the next question is answered."""
    cagchat("ask", "--fake", book, "Nothing.")
    outcome = plain_chat(cagchat, monkeypatch, book, f"/edit {number} x", QUESTION)
    assert outcome.code == 0
    assert outcome.err.count("/edit needs a number and a question.") == 1
    assert SEEN in outcome.out


@pytest.mark.parametrize("encoding", ["latin-1", "ascii"])
def test_a_character_that_the_terminal_lacks_ends_nothing(tmp_path: Path, encoding: str) -> None:
    """In another encoding a missing character is shown by its number: in answers, footnotes, chats and JSON."""
    book, home = write_book(tmp_path, chapters(1)), tmp_path / "home"
    asked = apart(home, "ask", "--fake", book, "Who kept the ledger of the harbour?", encoding=encoding)
    assert (asked.code, "\\u201c" in asked.out) == (0, True), asked
    shown = apart(home, "sessions", "show", "last", encoding=encoding)
    assert (shown.code, "\\u201c" in shown.out) == (0, True), shown
    found = apart(home, "sessions", "show", "last", "--json", encoding=encoding)
    assert "“" in json.loads(found.out)["turns"][0]["answer"]


def test_bytes_of_a_path_stay() -> None:
    """In UTF-8 a path is given back byte by byte where it was read so; elsewhere nothing is refused."""
    for encoding, errors, kept in (
        ("utf-8", "surrogateescape", "surrogateescape"),
        ("ascii", "surrogateescape", "backslashreplace"),
        ("utf-8", "strict", "backslashreplace"),
        ("latin-1", "replace", "replace"),
    ):
        stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors=errors)
        take_any_character(stream)
        assert stream.errors == kept
    take_any_character(None)


@needs_full_device
@pytest.mark.parametrize(
    "arguments", [["--help"], ["config"], ["sessions", "show", "last"], ["ask", "--fake", "BOOK", QUESTION]]
)
def test_a_full_disk_behind_stdout(tmp_path: Path, arguments: list[str]) -> None:
    """Where stdout takes no more, that is said in one line with a hint, exit code 1, and the turn is recorded."""
    book, home = write_book(tmp_path, chapters(1)), tmp_path / "home"
    apart(home, "ask", "--fake", book, QUESTION)
    outcome = apart(home, *(str(book) if word == "BOOK" else word for word in arguments), full="stdout")
    assert "No space left" in error_of(outcome)
    assert "Exception" not in outcome.err
    if arguments[0] == "ask":
        assert apart(home, "sessions", "show", "last").out.count(QUESTION) >= 1


@needs_full_device
def test_a_full_disk_behind_stderr_costs_no_answer(tmp_path: Path) -> None:
    """Where the narration cannot be written, the answer still is."""
    outcome = apart(tmp_path / "home", "ask", "--fake", write_book(tmp_path, chapters(1)), QUESTION, full="stderr")
    assert outcome.code == 0
    assert outcome.out.startswith("The book says: “")


@pytest.mark.skipif(os.name == "nt", reason="a folder that is in use cannot be deleted there")
@pytest.mark.parametrize("command", ["ask", "read", "text"])
def test_a_current_folder_that_is_gone_is_said(
    command: str, cagchat: Terminal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Deleted in another window, it is no defect of ours."""
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    question = [QUESTION] if command == "ask" else []
    assert "started in is gone" in error_of(cagchat(command, "eel.txt", *question))


@pytest.fixture(scope="module")
def home_with_a_chat(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home in which BOOK was read and asked once."""
    folder = tmp_path_factory.mktemp("chat")
    assert apart(folder, "ask", "--fake", write_book(folder, chapters(1)), QUESTION).code == 0
    return folder


@pytest.mark.parametrize(
    "command",
    [
        "library",
        "library info Lanterns",
        "library verify",
        "sessions",
        "sessions show last",
        "sessions export last",
        "models",
        "models list --available",
        "config",
        "text BOOK",
        "text BOOK --section 1",
        "text BOOK --toc",
        "text BOOK --json",
        "read --fake BOOK",
        "ask --fake BOOK Who?",
    ],
)
def test_a_stream_that_was_closed_is_no_defect(
    command: str, home_with_a_chat: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A command that was started without stdout or stderr (`>&-`) does its work; neither stands in for the other."""
    cagchat = terminal_at(home_with_a_chat, capsys, monkeypatch)
    complete = cagchat(*words(command, home_with_a_chat))
    for missing in ("stdout",), ("stderr",), ("stdout", "stderr"):
        with monkeypatch.context() as closed:
            for stream in missing:
                closed.setattr(sys, stream, None)
            outcome = cagchat(*words(command, home_with_a_chat))
        assert outcome.code == 0
        assert bool(outcome.out) == (bool(complete.out) and "stdout" not in missing)
        assert bool(outcome.err) == (bool(complete.err) and "stderr" not in missing)


@pytest.mark.parametrize("line", ["ask", "nothing", "ask lamp.txt Who? --kv q3", "ask lamp.txt Who? --nothing"])
def test_without_stderr_wrong_usage_is_an_exit_code(
    line: str, cagchat: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wrong command line prints nothing among the data, even where there is no stderr to say it on."""
    with monkeypatch.context() as closed:
        closed.setattr(sys, "stderr", None)
        assert cagchat(*line.split()) == Outcome(2, "", "")


def words(command: str, folder: Path) -> list[str | Path]:
    return [folder / "lanterns.txt" if word == "BOOK" else word for word in command.split()]


def test_a_table_of_measurements_without_stdout(monkeypatch: pytest.MonkeyPatch) -> None:
    """A measurement whose report goes into a file may be started without stdout."""
    monkeypatch.setattr(sys, "stdout", None)
    show(Table("speed", "Speed", (Column("reason", "not measured"),), ({"reason": "No model."},)))

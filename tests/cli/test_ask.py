"""`cagchat ask`: the answer on stdout, all else on stderr, one line for every mistake, and Ctrl-C keeps the answer."""

from __future__ import annotations

import io
import json
import re
import signal
import sys
from pathlib import Path

import pytest

from tests.cli.commands import Terminal, error_of, terminal_at
from tests.reading_cases import chapters, write_book

QUESTION = "Who kept the ledger of the harbour under a loose board in his kitchen?"
QUOTES = r"(, [\w ]*quotes?.*)?$"
FIRST_PROOF = re.compile(
    r"^[\d,]+ book tokens read, [\d,]+ evaluated, first token [\d.]+ m?s, \d+ tok/s" + QUOTES, re.M
)
LATER_PROOF = re.compile(
    r"^book [\d,]+ tokens reused, [\d,]+ evaluated, restored [\d.]+ [kMG]B in [\d.]+ m?s, first token [\d.]+ m?s, "
    r"\d+ tok/s" + QUOTES,
    re.M,
)


@pytest.fixture
def cagchat(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Terminal:
    return terminal_at(tmp_path / "home", capsys, monkeypatch)


@pytest.fixture
def book(tmp_path: Path) -> Path:
    return write_book(tmp_path, chapters(1))


def test_stdout_is_the_answer(cagchat: Terminal, book: Path) -> None:
    """Only the answer is on stdout; the proof is on stderr and says that the book was read."""
    outcome = cagchat("ask", "--fake", book, QUESTION)
    assert outcome.code == 0
    assert outcome.out.startswith("The book says: “")
    assert outcome.out.count("\n") == 1
    assert "Old Perrin kept the ledger" in outcome.out
    assert FIRST_PROOF.search(outcome.err)


def test_second_question_reuses_the_book(cagchat: Terminal, book: Path) -> None:
    """Asked again, the proof says that the whole book was reused and what was restored."""
    cagchat("ask", "--fake", book, QUESTION)
    outcome = cagchat("ask", "--fake", book, QUESTION)
    assert LATER_PROOF.search(outcome.err)
    assert "Reading" not in outcome.err


def test_json(cagchat: Terminal, book: Path) -> None:
    """With --json stdout is one object with answer, book, model, chat and proof."""
    outcome = cagchat("ask", "--fake", "--json", book, QUESTION)
    found = json.loads(outcome.out)
    assert found["question"] == QUESTION
    assert "Perrin" in found["answer"]
    assert (found["turn"], found["status"]) == (1, "done")
    assert found["book"]["title"] == "Lanterns"
    assert found["proof"]["book_evaluated"] == found["proof"]["book_tokens"]
    assert FIRST_PROOF.match(found["proof_line"])


@pytest.mark.parametrize("arguments", [[], ["-"]])
def test_question_from_stdin(
    arguments: list[str], cagchat: Terminal, book: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a question, or with -, it is read from stdin."""
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"{QUESTION}\n"))
    outcome = cagchat("ask", "--fake", book, *arguments)
    assert outcome.code == 0
    assert "Perrin" in outcome.out


@pytest.mark.parametrize("errors", ["strict", "surrogateescape"])
def test_question_that_is_not_utf_8(
    errors: str, cagchat: Terminal, book: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bytes on stdin that are no character have a mark in their place, and the rest of the question is asked."""
    stdin = io.TextIOWrapper(io.BytesIO(b"caf\xe9? " + QUESTION.encode()), encoding="utf-8", errors=errors)
    monkeypatch.setattr(sys, "stdin", stdin)
    outcome = cagchat("ask", "--fake", "--json", book, "-")
    assert outcome.code == 0
    assert json.loads(outcome.out)["question"] == f"caf\ufffd? {QUESTION}"


def test_flags_may_stand_anywhere(cagchat: Terminal, book: Path) -> None:
    """A flag between the book and the question changes nothing; a second question is one too many."""
    assert cagchat("ask", "--fake", book, QUESTION).code == 0
    outcome = cagchat("ask", book, "-c", "--fake", "--json", QUESTION)
    assert json.loads(outcome.out)["question"] == QUESTION
    assert cagchat("ask", "--fake", book, "-c", QUESTION, "More?").code == 2


def test_no_question_on_a_terminal(cagchat: Terminal, book: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a question on a terminal nothing is waited for: a usage error says what is missing."""
    stdin = io.StringIO()
    monkeypatch.setattr(stdin, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stdin", stdin)
    assert "no question" in error_of(cagchat("ask", "--fake", book), code=2)


@pytest.mark.parametrize("question", ["", "  ", "\n"])
def test_empty_question(question: str, cagchat: Terminal, book: Path) -> None:
    """An empty question is a usage error before anything is read."""
    assert "empty" in error_of(cagchat("ask", "--fake", book, question), code=2)
    assert not cagchat.home.exists()


def test_chat_is_continued(cagchat: Terminal, book: Path) -> None:
    """-c goes on with the last chat: the turn counts on, and history is read back, not the book."""
    cagchat("ask", "--fake", book, QUESTION)
    found = json.loads(cagchat("ask", "--fake", "--json", "-c", book, "And what did the dog do?").out)
    assert found["turn"] == 2
    assert found["proof"]["history_evaluated"] > 0
    assert found["proof"]["book_evaluated"] == 0


def test_named_chat_is_continued(cagchat: Terminal, book: Path) -> None:
    """--session goes on with the chat of that id."""
    first = json.loads(cagchat("ask", "--fake", "--json", book, QUESTION).out)
    cagchat("ask", "--fake", book, "Another chat?")
    found = json.loads(cagchat("ask", "--fake", "--json", "--session", first["session"], book, "And then?").out)
    assert (found["session"], found["turn"]) == (first["session"], 2)


@pytest.mark.parametrize("name", ["", " "], ids=["empty", "blank"])
def test_an_empty_name_is_no_new_chat(name: str, cagchat: Terminal, book: Path) -> None:
    """Where a script's variable is not set, `--session ""` is refused, and no chat is begun."""
    cagchat("ask", "--fake", book, QUESTION)
    chats = cagchat("sessions").out
    assert "empty name" in error_of(cagchat("ask", "--fake", "--session", name, book, "And then?"))
    assert cagchat("sessions").out == chats


def test_a_notice_stands_on_a_line_of_its_own(cagchat: Terminal, book: Path) -> None:
    """What is said when the answer reaches its limit is no part of it, and no blank line follows."""
    outcome = cagchat("ask", "--fake", "--max-tokens", "9", book, QUESTION)
    assert outcome.out == "The book \n"
    assert outcome.err.splitlines()[-2].startswith("The answer reached its limit of 9 tokens")


def test_no_chat_to_continue(cagchat: Terminal, book: Path) -> None:
    """-c without any chat about the book is an error."""
    assert "no chat about Lanterns" in error_of(cagchat("ask", "--fake", "-c", book, QUESTION))


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("-c",), "no chat about Lanterns"),
        (("--session", "nosuch"), "There are no chats yet"),
        (("--until", "Chapter 99"), "has no place called Chapter 99"),
    ],
)
def test_what_cannot_be_done_is_said_before_the_book_is_read(
    flags: tuple[str, ...], said: str, cagchat: Terminal, book: Path
) -> None:
    """An hour of reading must not end in a mistyped name: no state is there afterwards."""
    outcome = cagchat("ask", "--fake", *flags, book, QUESTION)
    assert outcome.code in (1, 2)
    assert said in outcome.err
    assert "Reading" not in outcome.err
    assert cagchat("library").out == ""


def test_chat_about_another_book(cagchat: Terminal, book: Path, tmp_path: Path) -> None:
    """A chat about another book is not continued with this one."""
    first = json.loads(cagchat("ask", "--fake", "--json", book, QUESTION).out)
    other = write_book(tmp_path, chapters(2), "other.txt")
    error = error_of(cagchat("ask", "--fake", "--session", first["session"], other, QUESTION))
    assert "is about Lanterns" in error


def test_book_by_its_title(cagchat: Terminal, book: Path) -> None:
    """A book that has been read can be named by its title."""
    cagchat("read", "--fake", book)
    outcome = cagchat("ask", "--fake", "lanterns", QUESTION)
    assert outcome.code == 0
    assert LATER_PROOF.search(outcome.err)


def test_missing_book_names_the_nearest(cagchat: Terminal, book: Path) -> None:
    """A book that is not there is one line, with the nearest name as hint."""
    outcome = cagchat("ask", "--fake", book.with_name("lantern.txt"), QUESTION)
    assert "no file" in error_of(outcome)
    assert str(book) in outcome.err


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"", "is empty"), (b"  \n \n", "no text"), (bytes(range(256)) * 8, "not text"), (b"%PDF-1.7 ", "is damaged")],
    ids=["empty", "blank", "binary", "pdf"],
)
def test_unusable_book(content: bytes, said: str, cagchat: Terminal, tmp_path: Path) -> None:
    """A file that is no book is one line and exit code 1."""
    path = tmp_path / "book.txt"
    path.write_bytes(content)
    assert said in error_of(cagchat("ask", "--fake", path, QUESTION))


def test_folder_as_book(cagchat: Terminal, tmp_path: Path) -> None:
    """A folder is no book."""
    assert "is a folder" in error_of(cagchat("ask", "--fake", tmp_path, QUESTION))


def test_missing_model(cagchat: Terminal, book: Path, tmp_path: Path) -> None:
    """A model that is not there is one line."""
    assert "no model at" in error_of(cagchat("ask", "--model", tmp_path / "none.gguf", book, QUESTION))


@pytest.mark.parametrize("content", [b"", b"GGUF", b"GGUF\x03\0\0\0" + b"\xff" * 64, b"not a model"])
def test_damaged_model(content: bytes, cagchat: Terminal, book: Path, tmp_path: Path) -> None:
    """A file that is no model is one line with its path."""
    model = tmp_path / "broken.gguf"
    model.write_bytes(content)
    assert str(model) in error_of(cagchat("ask", "--model", model, book, QUESTION))


def test_cut_model(cagchat: Terminal, book: Path, tmp_path: Path, models: Path) -> None:
    """A model whose download was cut short is one line with its path."""
    from tests.engine_cases import model_path

    model = tmp_path / "cut.gguf"
    content = model_path("qwen3", models).read_bytes()
    model.write_bytes(content[: len(content) // 2])
    assert str(model) in error_of(cagchat("ask", "--model", model, book, QUESTION))


@pytest.mark.parametrize("name", ["x" * 5000, "x/" * 3000, "\udcff", "~no-such-user/x"])
def test_any_name_of_a_fake_model(name: str, cagchat: Terminal, book: Path) -> None:
    """The engine without a model takes whatever is called one, too long for a file or not UTF-8, and knows it again."""
    assert FIRST_PROOF.search(cagchat("ask", "--fake", "--model", name, book, QUESTION).err)
    assert LATER_PROOF.search(cagchat("ask", "--fake", "--model", name, book, QUESTION).err)


def test_damaged_state_without_rereading(cagchat: Terminal, book: Path) -> None:
    """With --no-reread a damaged state is an error that names the file; without it the book is read again."""
    cagchat("read", "--fake", book)
    (state,) = cagchat.home.rglob("state-*.bin")
    state.write_bytes(state.read_bytes()[:-1])
    assert state.name in error_of(cagchat("ask", "--fake", "--no-reread", book, QUESTION))
    outcome = cagchat("ask", "--fake", book, QUESTION)
    assert outcome.code == 0
    assert "set aside" in outcome.err


@pytest.mark.parametrize(
    "line",
    ["BOOK -- QUESTION", "BOOK --max-tokens 9 -- QUESTION", "--max-tokens 9 -- BOOK QUESTION", "-- BOOK QUESTION"],
)
@pytest.mark.parametrize("question", ["-what?", "--json", "Who?"])
def test_behind_two_dashes_stands_the_question(line: str, question: str, cagchat: Terminal, book: Path) -> None:
    """What follows "--" is no flag, wherever other flags stand."""
    words = {"BOOK": str(book), "QUESTION": question}
    assert cagchat("ask", "--fake", *(words.get(word, word) for word in line.split())).code == 0
    (turn,) = json.loads(cagchat("sessions", "show", "last", "--json").out)["turns"]
    assert turn["question"] == question


@pytest.mark.parametrize("words", [["-what?"], ["--", "-what?", "more"], ["Who?", "--", "-what?"]])
def test_more_than_a_question_is_wrong_usage(words: list[str], cagchat: Terminal, book: Path) -> None:
    """A question that looks like a flag needs "--", and there is one question only."""
    assert cagchat("ask", book, "--fake", *words).code == 2


@pytest.mark.parametrize("arguments", [["--wrong"], ["--kv", "f32"], ["--threads", "many"], ["-c", "--session", "x"]])
def test_wrong_usage(arguments: list[str], cagchat: Terminal, book: Path) -> None:
    """What the parser refuses is exit code 2."""
    assert cagchat("ask", "--fake", book, QUESTION, *arguments).code == 2


def test_wrong_setting(cagchat: Terminal, book: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable with a value that its setting does not take is one line that names it."""
    monkeypatch.setenv("CAGCHAT_THREADS", "many")
    assert "CAGCHAT_THREADS" in error_of(cagchat("ask", "--fake", book, QUESTION))


def test_ctrl_c_keeps_the_answer(cagchat: Terminal, book: Path) -> None:
    """Ctrl-C in an answer ends it with exit code 130; what was said is on stdout and in the record."""
    cagchat("read", "--fake", book)
    with cagchat.start("ask", "--fake", book, "Tell me everything.") as program:
        assert program.process.stdout is not None
        begun = program.process.stdout.read(4)
        program.process.send_signal(signal.SIGINT)
        out, err = program.rest()
    assert program.process.returncode == 130
    assert "kept as it is" in err
    assert "Traceback" not in err
    found = json.loads(cagchat("ask", "--fake", "--json", "-c", book, QUESTION).out)
    assert found["turn"] == 2
    assert 4 <= len(begun + out) < 400


def test_broken_pipe(cagchat: Terminal, book: Path) -> None:
    """When the reader of stdout goes away, the command ends without a word, and the turn is recorded as stopped."""
    cagchat("read", "--fake", book)
    with cagchat.start("ask", "--fake", book, "Tell me everything.") as program:
        assert program.process.stdout is not None
        program.process.stdout.close()
        assert program.process.stderr is not None
        assert program.process.stderr.read() == ""
        assert program.process.wait() == 1
    assert json.loads(cagchat("ask", "--fake", "--json", "-c", book, QUESTION).out)["turn"] == 2

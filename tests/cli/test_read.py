"""`cagchat read`: prepares a book once, says what it does on stderr, and goes on where Ctrl-C stopped it."""

from __future__ import annotations

import re
import signal
from pathlib import Path

import pytest

from tests.cli.commands import Terminal, error_of, terminal_at
from tests.engine_cases import model_path
from tests.reading_cases import chapters, write_book

COMMAND = ("-m", "cagchat")


@pytest.fixture
def cagchat(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Terminal:
    return terminal_at(tmp_path / "home", capsys, monkeypatch)


@pytest.fixture
def book(tmp_path: Path) -> Path:
    return write_book(tmp_path, chapters(1))


def number_in(pattern: str, text: str) -> int:
    """Return the number that the first group of a pattern finds."""
    found = re.search(pattern, text)
    assert found, text
    return int(found[1].replace(",", ""))


def test_read_says_what_is_ready(cagchat: Terminal, book: Path) -> None:
    """Stdout is one line with title, tokens and size; the plan and the sealing are on stderr."""
    outcome = cagchat("read", "--fake", book)
    assert outcome.code == 0
    assert re.fullmatch(r"Lanterns is ready: [\d,]+ tokens, \d+ kB on disk\.\n", outcome.out)
    assert outcome.err.startswith("Reading Lanterns: ")
    assert "\nRead: " in outcome.err


def test_reading_twice_reads_once(cagchat: Terminal, book: Path) -> None:
    """The second time nothing is read, and stdout says the same."""
    first = cagchat("read", "--fake", book)
    second = cagchat("read", "--fake", book)
    assert second.out == first.out
    assert second.err == ""


def test_everything_is_private(cagchat: Terminal, book: Path) -> None:
    """Files can be read by their owner only, and so can folders."""
    cagchat("read", "--fake", book)
    for path in cagchat.home.rglob("*"):
        assert path.stat().st_mode & 0o077 == 0, path


def test_book_too_long(cagchat: Terminal, tmp_path: Path, models: Path) -> None:
    """A book that the model cannot hold is one line with a hint; --truncate reads its beginning."""
    book = write_book(tmp_path, chapters(12))
    model = model_path("qwen3", models)
    outcome = cagchat("read", book, "--model", model, "--no-yarn", "--fast-kernels", "off", "--threads", "1")
    assert "too many" in error_of(outcome)
    assert "--truncate" in outcome.err


def test_truncated_book(cagchat: Terminal, tmp_path: Path, models: Path) -> None:
    """With --truncate the beginning is read, and it is said how much is left out."""
    book = write_book(tmp_path, chapters(12))
    model = model_path("qwen3", models)
    outcome = cagchat(
        "read", book, "--truncate", "--no-yarn", "--model", model, "--fast-kernels", "off", "--threads", "1"
    )
    assert outcome.code == 0
    assert "Only the beginning fits" in outcome.err


def test_home_that_cannot_be_written(cagchat: Terminal, book: Path) -> None:
    """A file where the data folder should be is one line with a hint."""
    cagchat.home.mkdir()
    (cagchat.home / "data").write_text("not a folder")
    assert "cannot be written" in error_of(cagchat("read", "--fake", book))


def test_missing_book(cagchat: Terminal, tmp_path: Path) -> None:
    """A book that is not there is one line."""
    assert "no file" in error_of(cagchat("read", "--fake", tmp_path / "nothing.txt"))


@pytest.mark.parametrize("engine", ["fake", "qwen35"])
def test_ctrl_c_and_resume(engine: str, cagchat: Terminal, tmp_path: Path, models: Path) -> None:
    """Ctrl-C while reading is exit code 130 and a hint; the same command goes on at the token that was kept."""
    book = write_book(tmp_path, chapters(7))
    arguments: list[str | Path] = ["read", book, "--batch", "16", "--chat-tokens", "256"]
    if engine == "fake":
        arguments.append("--fake")
        python = ("-m", "tests.slow_cagchat")
    else:
        arguments += ["--model", model_path(engine, models), "--fast-kernels", "off", "--threads", "1"]
        python = COMMAND
    with cagchat.start(*arguments, python=python) as program:
        program.line_with(" / ", program.process.stderr)
        program.process.send_signal(signal.SIGINT)
        out, err = program.rest()
    assert program.process.returncode == 130, err
    assert out == ""
    assert "The same command goes on from there." in err
    assert "Traceback" not in err
    kept = number_in(r"; ([\d,]+) are kept", err)
    outcome = cagchat(*arguments)
    assert outcome.code == 0
    assert number_in(r"Going on at token ([\d,]+)", outcome.err) == kept > 0
    assert "is ready" in outcome.out


def test_second_ctrl_c_ends_at_once(cagchat: Terminal, tmp_path: Path) -> None:
    """Two Ctrl-C end the command with exit code 130 and without a traceback."""
    book = write_book(tmp_path, chapters(7))
    with cagchat.start("read", "--fake", book, "--batch", "16") as program:
        program.line_with(" / ", program.process.stderr)
        program.process.send_signal(signal.SIGINT)
        program.process.send_signal(signal.SIGINT)
        _, err = program.rest()
    assert program.process.returncode == 130
    assert "Traceback" not in err
    assert cagchat("read", "--fake", book, "--batch", "16").code == 0

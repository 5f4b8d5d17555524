"""The demonstration, on the engine without a model and on the real one."""

from __future__ import annotations

from pathlib import Path

import pytest

from cagchat.cli.demo import program
from cagchat.cli.main import main
from cagchat.demo import questions


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAGCHAT_HOME", str(tmp_path))


def test_it_tells_right_from_wrong() -> None:
    """An answer counts as right only when it holds all that is expected, in whatever case."""
    question = questions()[0]
    assert question.answered_by("It weighed ELEVEN pounds too much.")
    assert not question.answered_by("It weighed nothing.")


def test_a_second_run_starts_from_the_saved_cache(capsys: pytest.CaptureFixture[str]) -> None:
    """The first run reads the story once; the second evaluates no token of it."""
    assert main(["demo", "--fake"]) == 0
    first = capsys.readouterr().err
    assert first.count("book tokens read") == 1
    assert main(["demo", "--fake"]) == 0
    second = capsys.readouterr().err
    assert "book tokens read" not in second
    assert second.count("tokens reused") == len(questions())


@pytest.mark.parametrize(
    ("started", "path", "typed"),
    [
        ("/env/bin/cagchat", "/env/bin", "cagchat"),
        (".venv/bin/cagchat", "", ".venv/bin/cagchat"),
        ("my env/bin/cagchat", "", "'my env/bin/cagchat'"),
        ("/package/cagchat/__main__.py", "", "python -m cagchat"),
    ],
)
def test_the_next_command_can_be_typed(
    started: str, path: str, typed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the shell does not find the program, the demo names it as it was started."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", [started])
    monkeypatch.setattr("cagchat.cli.demo.which", lambda name: path and f"{path}/{name}")
    assert program() == typed


def test_smollm2_answers_from_the_story(capsys: pytest.CaptureFixture[str]) -> None:
    """The small model answers all four questions rightly, the last one after reopening, and reads the book once."""
    assert main(["demo", "--threads", "1", "--chat-tokens", "1024"]) == 0
    shown = capsys.readouterr()
    for question in questions():
        assert f"> {question.text}" in shown.out
    assert shown.err.count("book tokens read") == 1
    assert shown.err.count("tokens reused") == len(questions()) - 1
    assert "READ AGAIN" not in shown.err

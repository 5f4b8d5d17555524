"""The `cagchat` command itself: what Ctrl-C does before there is a command that could be stopped."""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path

import pytest

from tests.cli.commands import Outcome, Terminal, terminal_at


@pytest.fixture
def cagchat(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Terminal:
    return terminal_at(tmp_path / "home", capsys, monkeypatch)


def stopped(cagchat: Terminal, *arguments: str) -> Outcome:
    """Run a command that is interrupted; what it lets through would end the tests."""
    try:
        return cagchat(*arguments)
    except KeyboardInterrupt:
        pytest.fail("Ctrl-C ended the program with a traceback.")


def interrupted(*arguments: object, **options: object) -> None:
    """Be interrupted, as by Ctrl-C; not by the signal, which a program in the background has ignored."""
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    "moment",
    [
        "cagchat.cli.main.take_any_character",
        "importlib.import_module",
        "cagchat.cli.main.parse",
        "cagchat.cli.main.run",
    ],
)
def test_ctrl_c_in_the_first_moments_is_quiet(cagchat: Terminal, monkeypatch: pytest.MonkeyPatch, moment: str) -> None:
    """While modules are imported and the command line is parsed, Ctrl-C ends the program with 130 and no word."""
    monkeypatch.setattr(moment, interrupted)
    assert stopped(cagchat, "library") == Outcome(130, "", "")


def test_ctrl_c_while_help_is_printed_is_quiet(cagchat: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    """The parser's own output is interrupted as quietly."""
    monkeypatch.setattr(ArgumentParser, "print_help", interrupted)
    assert stopped(cagchat, "--help") == Outcome(130, "", "")

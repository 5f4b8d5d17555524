"""Running commands for tests: in this process with what they printed, or in one of their own."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import pytest

from cagchat.cli.main import main
from tests.reading_cases import Program

SLOW = ("-m", "tests.slow_cagchat")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a command returned and printed."""

    code: int
    out: str
    err: str


class Terminal:
    """Runs commands with all of cagchat's files under one home."""

    def __init__(self, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.home = home
        self._capsys = capsys

    def __call__(self, *arguments: str | Path) -> Outcome:
        """Run a command; a usage error of the parser counts as its exit code. No traceback may show."""
        self._capsys.readouterr()
        try:
            code = main([str(argument) for argument in arguments])
        except SystemExit as exit_:
            code = int(exit_.code or 0)
        out, err = self._capsys.readouterr()
        assert "Traceback" not in err
        assert "error of its own" not in err
        return Outcome(code, out, err)

    def start(self, *arguments: str | Path, python: tuple[str, ...] = SLOW) -> Program:
        """Start a command in a process of its own."""
        environ = {name: value for name, value in os.environ.items() if not name.startswith("CAGCHAT_")}
        return Program(*python, *map(str, arguments), environ=environ | {"CAGCHAT_HOME": str(self.home)})


def terminal_at(home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """Return a terminal in whose environment only the home is set."""
    for name in [name for name in os.environ if name.startswith("CAGCHAT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("CAGCHAT_HOME", str(home))
    return Terminal(home, capsys)


def error_of(outcome: Outcome, code: int = 1) -> str:
    """Return the one error of a command that failed with this exit code, checking that it has a hint."""
    assert outcome.code == code, outcome
    (error,) = [line for line in outcome.err.splitlines() if line.startswith("cagchat: ")]
    assert outcome.err.splitlines()[-1].startswith("  hint: ")
    return error

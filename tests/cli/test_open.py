"""`cagchat open` where there is no terminal; on one it is tested in tests/tui."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.commands import error_of, terminal_at
from tests.reading_cases import write_book


def test_open_needs_a_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a terminal `open` is a usage error that says to use `ask`."""
    outcome = terminal_at(tmp_path, capsys, monkeypatch)("open", write_book(tmp_path), "--fake")
    assert "needs a terminal" in error_of(outcome, 2)
    assert "cagchat ask" in outcome.err


def test_without_a_command_and_a_terminal_the_help_is_printed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bare `cagchat` in a pipe prints its help and succeeds."""
    outcome = terminal_at(tmp_path, capsys, monkeypatch)()
    assert outcome.code == 0
    assert "usage: cagchat" in outcome.out

"""What llama.cpp says while it works: kept for errors, passed on to stderr, and to nothing else."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest

from cagchat.engine.bindings import LogTail

WARNING = 3


def said(line: bytes) -> LogTail:
    """Return the log of a library that says one line."""

    def listen(receive: object, user_data: object) -> None:
        assert callable(receive)
        receive(WARNING, line, user_data)

    return LogTail(SimpleNamespace(llama_log_callback=lambda receive: receive, llama_log_set=listen))


def test_a_warning_is_passed_on_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    """It is not among the data on stdout; the last line is kept, to say why something failed."""
    assert said(b"no such tensor\n").because() == ": no such tensor"
    assert capsys.readouterr() == ("", "no such tensor\n")


def test_without_stderr_a_warning_is_kept_only(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A program that was started with stderr closed does not print it among its data."""
    with monkeypatch.context() as closed:
        closed.setattr(sys, "stderr", None)
        assert said(b"no such tensor\n").because() == ": no such tensor"
    assert capsys.readouterr() == ("", "")

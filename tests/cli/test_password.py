"""Asking for the password of a locked file."""

from __future__ import annotations

import sys
from collections.abc import Callable

import pytest

from cagchat.cli.options import PROMPTS, unlocked
from cagchat.documents.password import PasswordNeeded


def lock(right: str) -> Callable[[str], str]:
    """Return a loader that opens with one password."""

    def load(password: str) -> str:
        if password != right:
            raise PasswordNeeded("It is locked.", "Give --password.")
        return "open"

    return load


def answers(*given: str) -> Callable[[str], str]:
    """Return a prompt that is answered with these, one after the other."""
    left = list(given)
    return lambda prompt: left.pop(0)


def never(prompt: str) -> str:
    raise AssertionError(prompt)


@pytest.fixture
def _terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)


@pytest.mark.usefixtures("_terminal")
def test_the_right_password_asks_nothing() -> None:
    """What --password opens is opened."""
    assert unlocked(lock("x"), "x", never) == "open"


@pytest.mark.usefixtures("_terminal")
def test_a_wrong_answer_is_asked_again() -> None:
    """The right one among the prompts opens."""
    assert unlocked(lock("x"), "", answers("a", "b", "x")) == "open"


@pytest.mark.usefixtures("_terminal")
def test_wrong_answers_have_an_end() -> None:
    """After so many prompts the error comes through."""
    with pytest.raises(PasswordNeeded):
        unlocked(lock("x"), "", answers(*"a" * PROMPTS))


@pytest.mark.usefixtures("_terminal")
def test_an_empty_answer_gives_up() -> None:
    """Nobody is asked again who presses return."""
    with pytest.raises(PasswordNeeded):
        unlocked(lock("x"), "", answers(""))


def test_without_a_terminal_nobody_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a script the error comes at once."""
    monkeypatch.setattr("sys.stdin.isatty", lambda: False)
    with pytest.raises(PasswordNeeded):
        unlocked(lock("x"), "", never)


def test_without_stdin_nobody_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that was started without stdin cannot be asked."""
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(PasswordNeeded):
        unlocked(lock("x"), "", never)

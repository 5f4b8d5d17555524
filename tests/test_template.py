"""Chat templates run apart: what they do wrong stays there, and what they say comes back unchanged."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import pytest

from cagchat.errors import ModelError
from cagchat.template import Case, render, rendered

ECHO = "{{ bos_token }}{% for m in messages %}{{ m.role }}: {{ m.content }}{{ eos_token }}{% endfor %}"
GREETING: Case = (json.dumps([{"role": "user", "content": "Grüß Gott, \ue000 “you”"}]), False)


def test_apart_as_here() -> None:
    """A template gives the same text in its own process as in this one, characters of every language included."""
    assert list(rendered(ECHO, "<s>", "</s>", (GREETING,))) == render(ECHO, "<s>", "</s>", [GREETING])
    assert rendered(ECHO, "<s>", "</s>", (GREETING,)) == ("<s>user: Grüß Gott, \ue000 “you”</s>",)


def test_each_case_fails_alone() -> None:
    """A template that refuses one conversation still renders the other."""
    picky = "{% if messages[0].role == 'system' %}{{ raise_exception('no') }}{% endif %}said"
    system: Case = (json.dumps([{"role": "system", "content": "x"}]), False)
    assert rendered(picky, "", "", (system, GREETING)) == (None, "said")


def test_an_absurdly_long_answer_is_none() -> None:
    """A template whose text is longer than any prompt frame is not rendered at all."""
    assert rendered("{{ 'x' * 2000000 }}", "", "", (GREETING,)) == (None,)


def test_rendered_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same template is rendered in one process, however often it is asked for."""
    runs: list[object] = []
    run = subprocess.run

    def counted(*args: Any, **more: Any) -> subprocess.CompletedProcess[bytes]:
        runs.append(args)
        return run(*args, **more)

    monkeypatch.setattr(subprocess, "run", counted)
    for _ in range(3):
        rendered("{{ 'once' }}", "", "", (GREETING,))
    assert len(runs) == 1


def test_no_process_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no process can be started, that is said, and no other template is taken in silence."""

    def refuse(*args: object, **more: object) -> None:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(subprocess, "run", refuse)
    with pytest.raises(ModelError, match="temporarily unavailable"):
        rendered("{{ 'never' }}", "", "", (GREETING,))


@pytest.mark.parametrize("said", [b"", b"not json", b"[1]", b'{"a": 1}'])
def test_a_confused_answer_is_none(said: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer that is no text counts as a template that could not be rendered."""

    def confuse(*args: object, **more: object) -> subprocess.CompletedProcess[bytes]:
        return subprocess.CompletedProcess([], 0, said)

    monkeypatch.setattr(subprocess, "run", confuse)
    assert rendered(f"{{{{ 'confused' }}}}{said!r}", "", "", (GREETING,)) == (None,)

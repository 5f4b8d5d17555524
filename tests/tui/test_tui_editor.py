"""Writing a question in an editor of one's own."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from cagchat.errors import UsageError
from cagchat.tui.editor import edited


def command(folder: Path, program: str) -> dict[str, str]:
    """Return an environment whose editor is a Python program; its only argument is the file."""
    script = folder / "editor.py"
    script.write_text(f"import sys, pathlib\npath = pathlib.Path(sys.argv[1])\n{program}\n", encoding="utf-8")
    return {"VISUAL": f"{sys.executable} {script}", "EDITOR": "false"}


def test_the_text_comes_back_as_it_was_left(tmp_path: Path) -> None:
    """The editor gets what was written and its changes are taken, the last line's end not."""
    environ = command(tmp_path, "path.write_text(path.read_text() + ' harbour?\\n')")
    assert edited("Who runs the", environ) == "Who runs the harbour?"


def test_the_question_is_private(tmp_path: Path) -> None:
    """Nobody else can read the folder that the question is in meanwhile."""
    environ = command(tmp_path, "path.write_text(oct(path.parent.stat().st_mode & 0o777))")
    assert edited("", environ) == "0o700"


@pytest.mark.parametrize(
    ("environ", "said"),
    [({"EDITOR": "no-such-editor-here"}, "cannot be started"), ({"EDITOR": "false"}, "ended with code 1")],
)
def test_an_editor_that_fails_is_a_refusal(environ: dict[str, str], said: str) -> None:
    """An editor that is missing or fails is one sentence, and the question stays as it was."""
    with pytest.raises(UsageError) as refused:
        edited("Who?", environ)
    assert said in refused.value.message

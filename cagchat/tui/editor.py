"""Let the reader write a question in an editor of their own."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

from cagchat.errors import UsageError
from cagchat.files import storage_errors

USUAL = ("nano", "vi")  # where neither VISUAL nor EDITOR is set


def edited(text: str, environ: Mapping[str, str] = os.environ) -> str:
    """Return the text as it was left by the editor.

    Raises `UsageError` when there is none, or when it fails, and `StorageError` when the text cannot be handed over.
    """
    command = editor(environ)
    place = Path(tempfile.gettempdir())
    with storage_errors(place / "question.md"), tempfile.TemporaryDirectory() as folder:  # readable by its owner only
        path = Path(folder) / "question.md"
        path.write_text(text, encoding="utf-8")
        try:
            code = subprocess.run([*command, str(path)], check=False).returncode
        except OSError as error:
            raise UsageError(
                f"The editor {command[0]} cannot be started.", "Set EDITOR to one that is installed."
            ) from error
        if code:
            raise UsageError(f"The editor {command[0]} ended with code {code}.", "The question is as it was before.")
        return path.read_text(encoding="utf-8", errors="replace").rstrip("\n")


def editor(environ: Mapping[str, str]) -> list[str]:
    """Return the editor's command: VISUAL, EDITOR, or a usual one that is installed."""
    for name in ("VISUAL", "EDITOR"):
        try:
            words = shlex.split(environ.get(name, ""))
        except ValueError as error:
            raise UsageError(f"{name} is {environ[name]!r}: {error}.", "Close its quotation marks.") from error
        if words:
            return words
    for name in USUAL:
        if shutil.which(name):
            return [name]
    raise UsageError("No editor was found.", "Set EDITOR to one that is installed.")

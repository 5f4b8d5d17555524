"""Keep the answers of a long measurement in a file of JSON lines, so that an interrupted run asks nothing twice.

A line that was cut off by a crash is dropped, and its question is asked again.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from cagchat.files import storage_errors


@dataclass(frozen=True, slots=True)
class Asked:
    """What an answer depends on: `run` is a digest of model, prompt and sampling, `text` one of the book."""

    run: str
    text: str
    kv_type: str
    evidence: str
    question: str


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer, and how many tokens went through the model for it beside the answer's own."""

    answer: str
    evaluated: int


class Journal:
    """The answers so far, in memory and in a file that only grows. One process writes to it."""

    def __init__(self, path: Path) -> None:
        """Read the file, if there is one. Raises `StorageError` when it cannot be read."""
        self._path = path
        self._replies: dict[Asked, Reply] = {}
        with storage_errors(path):
            content = path.read_bytes() if path.exists() else b""
        self._torn = bool(content) and not content.endswith(b"\n")
        for line in content.splitlines():
            if (entry := _entry(line)) is not None:
                self._replies[entry[0]] = entry[1]

    def __len__(self) -> int:
        return len(self._replies)

    def get(self, asked: Asked) -> Reply | None:
        """Return the answer that was written down, None when there is none."""
        return self._replies.get(asked)

    def add(self, asked: Asked, reply: Reply) -> None:
        """Write an answer down; it is on the disk when this returns."""
        line = json.dumps({**asdict(asked), **asdict(reply)}, ensure_ascii=False)
        with storage_errors(self._path):
            fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            with os.fdopen(fd, "wb") as file:
                file.write(f"{chr(10) if self._torn else ''}{line}\n".encode("utf-8", "backslashreplace"))
                file.flush()
                os.fsync(file.fileno())
        self._torn = False
        self._replies[asked] = reply


def _entry(line: bytes) -> tuple[Asked, Reply] | None:
    """Return what a line says, None for one that is not whole."""
    try:
        values = json.loads(line)
        asked = Asked(*(str(values[name]) for name in Asked.__slots__))
        return asked, Reply(str(values["answer"]), int(values["evaluated"]))
    except (ValueError, TypeError, KeyError):
        return None

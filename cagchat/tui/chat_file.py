"""A chat as a file of its own."""

from __future__ import annotations

import json
from itertools import count
from pathlib import Path
from typing import Literal

from cagchat.exporting import as_markdown
from cagchat.files import write_bytes
from cagchat.sessions.export import to_json
from cagchat.sessions.store import Sessions

Suffix = Literal["md", "json"]


def write_chat(sessions: Sessions, session_id: str, folder: Path, suffix: Suffix) -> Path:
    """Write a chat as it is recorded into a folder and return the file, which is a new one.

    Raises `StorageError`, and `SessionError` when the chat is gone.
    """
    session, turns = sessions.get(session_id), sessions.turns(session_id)
    if suffix == "md":
        text = as_markdown(session, turns)
    else:
        text = json.dumps(to_json(session, turns), ensure_ascii=False, indent=2) + "\n"
    path = free_path(folder, f"chat-{session_id}", suffix)
    write_bytes(path, text.encode())
    return path


def free_path(folder: Path, name: str, suffix: Suffix) -> Path:
    """Return a file of this name that is not there yet, with a number after it where it is."""
    names = (f"{name} {number}" if number > 1 else name for number in count(1))
    return next(path for path in (folder / f"{each}.{suffix}" for each in names) if not path.exists())

"""A chat as a file of its own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

from cagchat.files import write_bytes
from cagchat.sessions.export import to_json, to_markdown
from cagchat.sessions.session import Session
from cagchat.sessions.store import Sessions

Suffix = Literal["md", "json"]


def write_chat(sessions: Sessions, session: Session, folder: Path, suffix: Suffix) -> Path:
    """Write a chat into a folder and return the file. Raises `StorageError`."""
    path = folder / f"chat-{session.id}.{suffix}"
    turns = sessions.turns(session.id)
    if suffix == "md":
        text = to_markdown(session, turns)
    else:
        text = json.dumps(to_json(session, turns), ensure_ascii=False, indent=2) + "\n"
    write_bytes(path, text.encode())
    return path

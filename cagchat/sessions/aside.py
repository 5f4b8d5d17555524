"""Damaged databases of chats that were set aside: what they are called, and which there are."""

from __future__ import annotations

import re
from pathlib import Path

MARK = ".damaged-"  # and a number, behind the name of the database


def aside_chats(path: Path) -> list[Path]:
    """Return the files that were set aside of the database at `path`, journals among them."""
    named = re.compile(rf"{re.escape(path.name + MARK)}\d+(-wal|-shm)?")
    try:
        return sorted(file for file in path.parent.iterdir() if named.fullmatch(file.name))
    except OSError:  # not there yet, or not to be looked into: whoever opens the chats says so
        return []

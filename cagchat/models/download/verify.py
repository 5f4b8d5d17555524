"""Tell whether a model on disk is byte for byte the one that was published."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from cagchat.errors import ModelError
from cagchat.models.download.part import hash_file
from cagchat.models.download.source import check_sha256
from cagchat.models.facts import unheard
from cagchat.models.gguf import read_any_header, unreadable


def verify(path: Path, sha256: str = "", progress: Callable[[int, int], None] = unheard) -> str:
    """Read a whole file and return its SHA-256; with `sha256`, which is hexadecimal, compare it.

    `progress` hears the bytes read so far and in all, and may raise to stop. Raises `ModelError` when the file cannot
    be read, is no sound GGUF, or has another checksum.
    """
    expected = check_sha256(sha256)
    read_any_header(path)
    try:
        found = hash_file(path, progress)
    except OSError as error:
        raise unreadable(path, error) from error
    if expected and found != expected:
        raise ModelError(
            f"{path} is not the file that was published: its SHA-256 is {found[:12]}…, not {expected[:12]}….",
            "Delete it, then fetch it again.",
        )
    return found

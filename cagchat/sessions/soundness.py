"""A note beside the chats of what the file held when it was last known to be sound, so that a start need not check it.

The whole check reads every row and every index: 0.26 s for 5,000 turns, at each command that opens the chats. The note
has a digest of every byte of the file, so a file of which one bit differs is checked again, whatever its times say.

It is begun when a check found nothing, and completed when the program closes the file, if that program has met no error
of the database, nobody else has the file open, and nobody has withdrawn the note: what changed since the check was
written by SQLite. It cannot see what else changed the file while it was open. So rows have their checksums compared
whenever they are read, and after a day the whole file is checked again, as it is after a crash, which leaves a journal.
"""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import xxhash

from cagchat.errors import StorageError
from cagchat.files import write_bytes

ENDING = "-sound"
FORMAT = 1
RECHECK_S = 24 * 3600.0
PIECE_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Note:
    """When the whole file was checked, and the digest of what it held when it was closed; "" while it is open."""

    checked_at: float
    digest: str = ""


def last_check(path: Path, now: float) -> Note | None:
    """Return the note about the file at `path`; None where it has to be checked now.

    Called when this process has no connection to it: closing a file takes all locks of a process on it.
    """
    note = read(path)
    with suppress(OSError):
        if note is not None and 0 <= now - note.checked_at < RECHECK_S and not journalled(path):
            return note if note.digest == digest_of(path) else None
    return None


def begin(path: Path, checked_at: float) -> Note:
    """Note that the file was checked now and found sound, and return that."""
    note = Note(checked_at)
    _write(path, note)
    return note


def complete(path: Path, begun: Note, inode: int) -> None:
    """Note what the file holds now that this process has closed it, if the note is still the one that was begun.

    Nothing is noted where a journal holds a part of the file, or another file than that with this inode has its name.
    """
    with suppress(OSError):
        on_disk = read(path)
        if on_disk is None or on_disk.checked_at != begun.checked_at or journalled(path) or inode_of(path) != inode:
            return
        if (now := Note(begun.checked_at, digest_of(path))) != on_disk:
            _write(path, now)


def withdraw(path: Path) -> None:
    """Let the next start check the file at `path`, whatever was noted, or would be by those that have it open."""
    with suppress(OSError):
        note_of(path).unlink(missing_ok=True)


def read(path: Path) -> Note | None:
    """Return the note about the file at `path`, None when there is none that can be used."""
    with suppress(OSError, ValueError, RecursionError):
        match json.loads(note_of(path).read_bytes()):
            case {"format": int(number), "checked_at": int() | float() as checked_at, "digest": str(digest)}:
                return Note(float(checked_at), digest) if number == FORMAT else None
    return None


def journalled(path: Path) -> bool:
    """Tell whether a part of the file is still in the journal beside it. Raises `OSError`."""
    try:
        return path.with_name(f"{path.name}-wal").stat().st_size > 0
    except FileNotFoundError:
        return False


def inode_of(path: Path) -> int:
    """Return the number of the file at `path`, 0 when there is none."""
    try:
        return path.stat().st_ino
    except OSError:
        return 0


def digest_of(path: Path) -> str:
    """Return the digest of every byte of a file. Raises `OSError`."""
    digest = xxhash.xxh3_128()
    with path.open("rb", buffering=0) as file:
        while piece := file.read(PIECE_BYTES):
            digest.update(piece)
    return str(digest.hexdigest())


def note_of(path: Path) -> Path:
    """Return where the note about a file lies."""
    return path.with_name(path.name + ENDING)


def _write(path: Path, note: Note) -> None:
    content = {"format": FORMAT, "checked_at": note.checked_at, "digest": note.digest}
    with suppress(StorageError):  # without it the next start checks
        write_bytes(note_of(path), json.dumps(content).encode())

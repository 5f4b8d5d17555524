"""What SQLite refuses, as errors of cagchat."""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cagchat.errors import CagchatError, SessionError, StorageError
from cagchat.files import storage_error

DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
IN_USE = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
# The operating system's number that says the same thing, so that one function words all of them.
AS_ERRNO = {
    sqlite3.SQLITE_FULL: errno.ENOSPC,
    sqlite3.SQLITE_READONLY: errno.EROFS,
    sqlite3.SQLITE_PERM: errno.EACCES,
    sqlite3.SQLITE_CANTOPEN: errno.EACCES,
    sqlite3.SQLITE_IOERR: errno.EIO,
}


def primary_code(error: sqlite3.Error) -> int | None:
    """Return SQLite's primary result code, or None when the error comes from Python's side of the module."""
    code = getattr(error, "sqlite_errorcode", None)
    return code & 0xFF if isinstance(code, int) else None


@contextmanager
def sqlite_errors(path: Path) -> Iterator[None]:
    """Turn SQLite's refusals about the database at `path` into one sentence and a hint."""
    try:
        yield
    except sqlite3.Error as error:
        code = primary_code(error)
        if code is None:
            raise
        raise refusal(code, str(error), path) from error


def refusal(code: int, reason: str, path: Path) -> CagchatError:
    """Describe a primary result code of SQLite."""
    if code in AS_ERRNO:
        return storage_error(OSError(AS_ERRNO[code], reason), path)
    if code in IN_USE:
        return SessionError(
            f"{path} is in use by another program that does not let go of it.",
            "Close other windows of cagchat, or a database viewer that has the file open, and try again.",
        )
    if code in DAMAGED:
        return StorageError(
            f"{path} is damaged: {reason}.",
            "Start cagchat again: the file is set aside, never deleted, and a new one is begun.",
        )
    return SessionError(f"The chats in {path} cannot be used: {reason}.", "Move the file away to begin a new one.")

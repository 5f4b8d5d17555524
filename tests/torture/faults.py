"""A disk that refuses: the file operations of this process, of which one fails as the system or SQLite would say it."""

from __future__ import annotations

import errno
import io
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from cagchat.sessions import schema

LOOKING = ("listdir", "scandir", "statvfs", "read", "sqlite SELECT")
DELETING = ("unlink", "rmdir")
SQLITE = {
    errno.ENOSPC: sqlite3.SQLITE_FULL,
    errno.EACCES: sqlite3.SQLITE_CANTOPEN,
    errno.EROFS: sqlite3.SQLITE_READONLY,
    errno.EIO: sqlite3.SQLITE_IOERR,
    errno.ENOENT: sqlite3.SQLITE_CANTOPEN,
}
STATEMENTS = ("INSERT", "UPDATE", "DELETE", "BEGIN", "COMMIT", "CREATE", "SELECT")
BY_PATH = ("open", "mkdir", "rename", "replace", "unlink", "rmdir", "utime", "chmod", "listdir", "scandir", "statvfs")
BY_FILE = ("ftruncate", "posix_fallocate")
NOBODY = 2**31 - 1  # a process number that no system gives: what it leaves is a dead process's


def codes_of(what: str) -> tuple[int, ...]:
    """Return the reasons for which the system may refuse an operation."""
    if what in LOOKING:
        return errno.EACCES, errno.EIO, errno.ENOENT
    if what in DELETING:
        return errno.EACCES, errno.EROFS, errno.EIO, errno.ENOENT
    return errno.ENOSPC, errno.EACCES, errno.EROFS, errno.EIO, errno.ENOENT


class Faults:
    """Notes what is done to files under a folder; the operation with the number `fails` fails, 0 for none.

    While it works this process has another number, so that what it leaves behind is what a dead process left.
    """

    def __init__(self, root: Path, fails: int = 0, code: int = errno.ENOSPC) -> None:
        self.met: list[str] = []
        self.struck = ""
        self._root = str(root)
        self._fails = fails
        self._code = code

    def strikes(self, what: str) -> bool:
        """Note an operation and tell whether it is the one that fails."""
        self.met.append(what)
        if len(self.met) == self._fails:
            self.struck = what
        return len(self.met) == self._fails

    def refuse(self, what: str) -> None:
        """Note an operation of the system, and let it fail if its time has come."""
        if self.strikes(what):
            raise OSError(self._code, os.strerror(self._code))

    def refuse_sqlite(self, statement: str) -> None:
        """Note a statement, and let it fail as SQLite does."""
        word = statement.split(maxsplit=1)[0].upper()
        if word in STATEMENTS and self.strikes(f"sqlite {word}"):
            error = sqlite3.OperationalError("refused")
            error.sqlite_errorcode = SQLITE[self._code]
            raise error

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Stand before the file operations for the length of a block."""
        with pytest.MonkeyPatch.context() as patch:
            for name in BY_PATH:
                patch.setattr(os, name, self._by_path(name, getattr(os, name)))
            for name in BY_FILE:
                patch.setattr(os, name, self._counted(name, getattr(os, name)))
            patch.setattr(io, "open", self._by_path("read", io.open))
            patch.setattr(os, "fdopen", self._fdopen(os.fdopen))
            patch.setattr(os, "fsync", self._counted("fsync", os.fsync))
            patch.setattr(os, "getpid", lambda: NOBODY)
            patch.setattr(schema, "connect", self._connect(schema.connect))
            yield

    def _by_path(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(path: Any = ".", *arguments: Any, **options: Any) -> Any:
            inside = "dir_fd" in options and options["dir_fd"] is not None
            if inside or (not isinstance(path, int) and os.fsdecode(path).startswith(self._root)):
                self.refuse(name)
            return real(path, *arguments, **options)

        return call

    def _counted(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            self.refuse(name)
            return real(*arguments)

        return call

    def _fdopen(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(fd: int, mode: str = "r", *arguments: Any, **options: Any) -> Any:
            file = real(fd, mode, *arguments, **options)
            return Refusing(file, self) if mode == "wb" else file

        return call

    def _connect(self, real: Callable[..., sqlite3.Connection]) -> Callable[..., Any]:
        def call(path: Path, busy_timeout_s: float) -> Any:
            return RefusingConnection(real(path, busy_timeout_s), self)

        return call


@contextmanager
def unsynced() -> Iterator[None]:
    """Wait for no disk for the length of a block: what is tried is no loss of power, and waiting would take longest."""
    real = schema.connect

    def connect(path: Path, busy_timeout_s: float) -> Any:
        return UnsyncedConnection(real(path, busy_timeout_s))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda fd: None)
        patch.setattr(schema, "connect", connect)
        yield


class Refusing:
    """A file opened for writing whose writes may fail."""

    def __init__(self, file: Any, faults: Faults) -> None:
        self._file = file
        self._faults = faults

    def __enter__(self) -> Refusing:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def write(self, content: bytes) -> int:
        """Write, or write a part and fail."""
        try:
            self._faults.refuse("write")
        except OSError:
            self._file.write(content[: len(content) // 2])
            raise
        return int(self._file.write(content))


class UnsyncedConnection:
    """A connection to a database that is never synced, whatever is asked of it."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._connection.execute("PRAGMA synchronous = OFF")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def execute(self, statement: str, *values: Any) -> Any:
        """Execute a statement."""
        if statement.startswith("PRAGMA synchronous"):
            statement = "PRAGMA synchronous = OFF"
        return self._connection.execute(statement, *values)


class RefusingConnection:
    """A connection to a database whose statements may fail."""

    def __init__(self, connection: sqlite3.Connection, faults: Faults) -> None:
        self._connection = connection
        self._faults = faults

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def execute(self, statement: str, *values: Any) -> Any:
        """Execute a statement."""
        self._faults.refuse_sqlite(statement)
        return self._connection.execute(statement, *values)

    def executemany(self, statement: str, *values: Any) -> Any:
        """Execute a statement with each of several values."""
        self._faults.refuse_sqlite(statement)
        return self._connection.executemany(statement, *values)

"""The lock of a state's folder: who reads a book holds it, others wait and say so."""

from __future__ import annotations

import os
import threading
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from cagchat.errors import Stopped, StorageError, UsageError
from cagchat.events import Waiting
from cagchat.files import storage_error, write_bytes
from cagchat.states.locking import check_locks
from cagchat.states.store import StateFolder

if TYPE_CHECKING:
    from filelock import BaseFileLock

WAIT_STEP_S = 0.2


def acquire(folder: StateFolder, title: str, stopping: threading.Event) -> Generator[Waiting, None, BaseFileLock]:
    """Take the lock and return it, yielding `Waiting` once when another process holds it.

    Raises `Stopped` when `stopping` is set while waiting, `StorageError` when the lock's file cannot be made or the
    file system keeps no locks.
    """
    from filelock import FileLock, Timeout  # 70 ms: only when a book is read

    check_locks(folder.lock_path.parent)
    lock = FileLock(folder.lock_path, mode=0o600)
    told = False
    while True:
        try:
            lock.acquire(timeout=WAIT_STEP_S if told else 0)
            return lock
        except OSError as error:
            if not isinstance(error, Timeout):
                raise storage_error(error, folder.lock_path) from error
            if not told:
                yield Waiting(title, holder(folder))
                told = True
            if stopping.is_set():
                raise Stopped("Stopped while waiting.", "The other process goes on reading.") from None


def holder(folder: StateFolder) -> int:
    """Return the number of the process that reads a book now, 0 when it did not say."""
    try:
        return int(folder.holder_path.read_text())
    except (OSError, ValueError):
        return 0


@contextmanager
def named_holder(folder: StateFolder) -> Iterator[None]:
    """Say for the time of the block that this process holds the lock."""
    path = folder.holder_path
    write_bytes(path, str(os.getpid()).encode())
    try:
        yield
    finally:
        with suppress(OSError):  # only who holds the lock is asked for its number
            path.unlink(missing_ok=True)


def held(lock_path: Path) -> bool:
    """Tell whether another process holds a lock; a file that is not there is not made."""
    if not lock_path.exists():
        return False
    from filelock import FileLock, Timeout  # 70 ms: only where there is a lock to ask about

    try:
        check_locks(lock_path.parent)
        with FileLock(lock_path, timeout=0, mode=0o600):
            return False
    except Timeout:
        return True
    except (OSError, StorageError):  # no lock can be taken: nobody reads a book into it either
        return False


@contextmanager
def holding(lock_path: Path) -> Iterator[None]:
    """Hold a lock and delete its file while it is held. Raises `UsageError` when another process holds it."""
    from filelock import FileLock, Timeout

    check_locks(lock_path.parent)
    try:
        with FileLock(lock_path, timeout=0, mode=0o600):
            yield
            lock_path.unlink(missing_ok=True)
    except Timeout:
        raise UsageError(f"{lock_path} is held by another process.", "Wait until it is done.") from None
    except OSError as error:
        raise storage_error(error, lock_path) from error

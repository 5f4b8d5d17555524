"""Who has a book open: a shared lock on its state's folder, held until the book is closed, for those who delete to see.

The lock is of the folder itself, so that it needs no file, moves with the folder and is gone with the process. Where
locks are not kept there is none, and nothing is deleted there either.
"""

from __future__ import annotations

import os
import sys
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from cagchat.errors import UsageError

# Who asks whether a book is open, or deletes it, holds the lock alone for that moment.
WAIT_S, WAIT_STEP_S = 1.0, 0.02


class Hold:
    """What keeps a state's folder from being deleted until it is released, or dropped."""

    def __init__(self, folder: Path, sleep: Callable[[float], None] = time.sleep) -> None:
        """Take the lock; where there is no folder, or locks are refused, hold nothing."""
        self._close: weakref.finalize[[int], Hold] | None = None
        if sys.platform == "win32":  # no folder can be opened there, and no file that is in use deleted
            return
        import fcntl

        try:
            fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        except OSError:
            return
        self._close = weakref.finalize(self, os.close, fd)
        for _ in range(round(WAIT_S / WAIT_STEP_S)):
            try:
                fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                sleep(WAIT_STEP_S)
            except OSError:
                return
            else:
                return

    def release(self) -> None:
        """Let the folder be deleted."""
        if self._close is not None:
            self._close()


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Keep a state's folder from being opened for the time of the block. Raises `UsageError` when it is open."""
    if sys.platform == "win32":
        yield
        return
    import fcntl

    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UsageError(
                f"{folder.name} is open in a chat.",
                "Quit the window of that chat, then delete it in the library, or with `cagchat library rm`.",
            ) from None
        except OSError:  # no locks here: nobody can tell
            pass
        yield
    finally:
        os.close(fd)


def is_open(folder: Path) -> bool:
    """Tell whether somebody has the book open."""
    try:
        with alone(folder):
            return False
    except UsageError:
        return True
    except OSError:  # gone, or not to be looked into
        return False

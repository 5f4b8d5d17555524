"""Whether a file system keeps locks between processes: some network ones refuse them, or grant every one of them.

NFS mounted with `nolock`, Lustre without `flock`, and some FUSE and SMB mounts are like that. Two processes would read
the same book into the same folder there, and one would delete what the other reads.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from cagchat.errors import StorageError
from cagchat.files import PARTIAL, storage_errors

ELSEWHERE = "Set CAGCHAT_HOME to a folder on a disk of this machine, or mount this one with locks."

Flock = Callable[[int], None]


def lock_descriptor(fd: int) -> None:
    """Lock an open file without waiting, as `filelock` does. Raises `BlockingIOError` when another one holds it."""
    if sys.platform != "win32":  # there, locks are of the file system that comes with it
        import fcntl

        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)


def check_locks(folder: Path, lock: Flock = lock_descriptor) -> None:
    """Lock a new file in `folder` and try to lock it again through a second descriptor, which must be refused.

    Two descriptors conflict as two processes do. Takes a tenth of a millisecond where locks are kept. Raises
    `StorageError` when the first lock is refused or the second is granted.
    """
    if sys.platform == "win32":
        return
    try:
        first, name = tempfile.mkstemp(prefix="locks.", suffix=f".{os.getpid()}{PARTIAL}", dir=folder)
    except OSError:  # nothing can be made here: whoever writes next says why, and deleting may still help
        return
    try:
        with storage_errors(Path(name)):
            second = os.open(name, os.O_RDWR)
        try:
            take_twice(folder, first, second, lock)
        finally:
            os.close(second)
    finally:
        os.close(first)
        with suppress(OSError):  # it stays a leftover then, and is swept as one
            Path(name).unlink(missing_ok=True)


def take_twice(folder: Path, first: int, second: int, lock: Flock) -> None:
    """Lock one file through two descriptors. Raises `StorageError` unless only the first is granted."""
    try:
        lock(first)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise StorageError(f"The file system of {folder} refuses locks: {reason}.", ELSEWHERE) from error
    try:
        lock(second)
    except OSError:
        return
    raise StorageError(f"The file system of {folder} grants the same lock to two at a time.", ELSEWHERE)

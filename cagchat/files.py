"""Write files so that a crash, a full disk or a second process never leaves half of one.

Everything cagchat writes goes beside its target, is synced, and is renamed over it. Files are 0600 and folders 0700:
a KV cache can be turned back into the text it was made from.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cagchat.errors import StorageError

PARTIAL = ".partial"


def private_folder(path: Path) -> Path:
    """Create `path` and its parents, readable by their owner only, and return it."""
    missing = [folder for folder in (path, *path.parents) if not folder.is_dir()]
    with storage_errors(path):
        for folder in reversed(missing):  # one by one: mkdir(parents=True) would give the parents the umask's mode
            folder.mkdir(mode=0o700, exist_ok=True)
    return path


def partial_path(path: Path) -> Path:
    """Return the name beside `path` under which its next content is written; one a process, so that two never mix."""
    return path.with_name(f"{path.name}.{os.getpid()}{PARTIAL}")


def publish(partial: Path, path: Path) -> None:
    """Sync `partial`, rename it over `path` and sync the folder, so that either the old or the new content survives."""
    with storage_errors(path):
        fd = os.open(partial, os.O_RDWR)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
        partial.replace(path)
        sync_folder(path.parent)


def write_bytes(path: Path, content: bytes) -> None:
    """Replace the content of `path` in one step."""
    partial = partial_path(path)
    with storage_errors(path):
        try:
            fd = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(fd, "wb") as file:
                file.write(content)
            publish(partial, path)
        finally:
            partial.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Make renames inside `folder` durable, where the platform lets a folder be opened."""
    if os.name == "nt":
        return
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def free_bytes(folder: Path) -> int:
    """Return how many bytes the disk that a folder is, or will be, on still takes. Raises `OSError`."""
    there = next((path for path in (folder, *folder.parents) if path.exists()), folder)
    return shutil.disk_usage(there).free


def is_leftover(path: Path) -> bool:
    """Tell whether `path` is the partial file of a process that no longer runs."""
    if not path.name.endswith(PARTIAL):
        return False
    pid = path.name.removesuffix(PARTIAL).rpartition(".")[2]
    return not (pid.isdecimal() and process_runs(int(pid)))


def process_runs(pid: int) -> bool:
    """Tell whether a process with this number exists (its owner does not matter)."""
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        return True
    return True


@contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Turn the operating system's refusals about `path` into one sentence and a hint."""
    try:
        yield
    except OSError as error:
        raise storage_error(error, path) from error


def storage_error(error: OSError, path: Path) -> StorageError:
    """Describe why `path` could not be written."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StorageError(
            f"The disk that holds {path.parent} is full.",
            "Free some space (`cagchat library prune` removes states that were not used lately), or set CAGCHAT_HOME "
            "to a larger disk; nothing that was saved before is lost.",
        )
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return StorageError(
            f"{path} cannot be written: {os.strerror(error.errno)}.",
            "Make the folder writable, or set CAGCHAT_HOME to one that is.",
        )
    reason = os.strerror(error.errno) if error.errno else str(error)
    return StorageError(f"{path} cannot be written: {reason}.", "Set CAGCHAT_HOME to another folder.")

"""Whether a file system keeps locks: found out before anything relies on them."""

from __future__ import annotations

import errno
import fcntl
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock

from cagchat.errors import StorageError
from cagchat.states.lock import acquire, held, holding
from cagchat.states.locking import check_locks
from cagchat.states.store import StateFolder, States


def refusing(number: int) -> Callable[[int, int], None]:
    """Return a `flock` that refuses as a file system without locks does."""

    def flock(fd: int, operation: int) -> None:
        raise OSError(number, os.strerror(number))

    return flock


def granting(fd: int, operation: int) -> None:
    """Grant every lock to everybody."""


WITHOUT = [refusing(errno.ENOLCK), refusing(errno.EOPNOTSUPP), refusing(errno.ENOSYS), granting]
NAMES = ["ENOLCK", "EOPNOTSUPP", "ENOSYS", "granted"]


def test_a_disk_that_keeps_locks_passes(tmp_path: Path) -> None:
    """On the file system of the tests the check passes and leaves nothing behind."""
    check_locks(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_not_judged(tmp_path: Path) -> None:
    """Where no file can be made the check says nothing: what is written next says why."""
    check_locks(tmp_path / "missing")


@pytest.mark.parametrize("flock", WITHOUT, ids=NAMES)
def test_no_locks_are_one_sentence_with_a_hint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flock: Callable[[int, int], None]
) -> None:
    """Refused locks and locks granted twice are an error that names the folder and says what to do; nothing stays."""
    monkeypatch.setattr(fcntl, "flock", flock)
    with pytest.raises(StorageError) as caught:
        check_locks(tmp_path)
    assert str(tmp_path) in caught.value.message
    assert "CAGCHAT_HOME" in caught.value.hint
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("flock", WITHOUT, ids=NAMES)
def test_nothing_is_locked_or_deleted_without_locks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flock: Callable[[int, int], None]
) -> None:
    """Reading into a folder, deleting it and pruning beside it are refused where locks are not kept."""
    folder = StateFolder(tmp_path / "book-1")
    folder.path.mkdir()
    monkeypatch.setattr(fcntl, "flock", flock)
    with pytest.raises(StorageError, match="lock"):
        list(acquire(folder, "A book", threading.Event()))
    with pytest.raises(StorageError, match="lock"):
        States(tmp_path).delete(folder)
    with pytest.raises(StorageError, match="lock"), holding(folder.lock_path):
        pass
    assert list(tmp_path.iterdir()) == [folder.path]


@pytest.mark.parametrize("flock", WITHOUT, ids=NAMES)
def test_without_locks_no_state_counts_as_being_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flock: Callable[[int, int], None]
) -> None:
    """A lock file in a library that was moved to a disk without locks is held by nobody."""
    (tmp_path / "book.lock").touch()
    monkeypatch.setattr(fcntl, "flock", flock)
    assert not held(tmp_path / "book.lock")


def test_a_check_does_not_disturb_a_lock_that_is_held(tmp_path: Path) -> None:
    """While a book is being read, another check in the same folder passes."""
    with FileLock(tmp_path / "book.lock"):
        check_locks(tmp_path)

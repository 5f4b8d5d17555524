"""Files are whole or not there, and private."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cagchat.errors import StorageError
from cagchat.files import (
    is_leftover,
    partial_path,
    private_folder,
    process_runs,
    publish,
    storage_error,
    sync_folder,
    write_bytes,
)
from tests.waiting import open_files


@pytest.fixture
def open_umask() -> Iterator[None]:
    """Let the umask allow everything, so that only the program's own modes count."""
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.fixture(scope="module")
def dead_pid() -> int:
    """The number of a process that has ended."""
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    return child.pid


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def failing(number: int) -> object:
    def fail(*arguments: object, **options: object) -> None:
        raise OSError(number, os.strerror(number))

    return fail


def test_written_bytes_are_there(tmp_path: Path) -> None:
    """What is written is the whole content, and nothing else lies beside it."""
    write_bytes(tmp_path / "file", b"old, and longer")
    write_bytes(tmp_path / "file", b"new")
    assert (tmp_path / "file").read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["file"]  # noqa: PTH208 - names, not paths


@pytest.mark.usefixtures("open_umask")
def test_files_are_private(tmp_path: Path) -> None:
    """A file is readable by its owner only, whatever the umask."""
    write_bytes(tmp_path / "file", b"")
    assert mode(tmp_path / "file") == 0o600


@pytest.mark.usefixtures("open_umask")
def test_folders_are_private(tmp_path: Path) -> None:
    """A folder and every parent that had to be made are their owner's only, whatever the umask."""
    made = private_folder(tmp_path / "a" / "b" / "c")
    assert [mode(folder) for folder in (made, made.parent, made.parent.parent)] == [0o700] * 3


@pytest.mark.usefixtures("open_umask")
def test_an_existing_folder_keeps_its_mode(tmp_path: Path) -> None:
    """A folder that the user made is left as it is."""
    (tmp_path / "shared").mkdir(mode=0o755)
    private_folder(tmp_path / "shared")
    private_folder(tmp_path / "shared" / "ours")
    assert mode(tmp_path / "shared") == 0o755


def test_a_file_in_place_of_a_folder_is_said(tmp_path: Path) -> None:
    """A file where a folder is needed is a `StorageError` with its path."""
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "file" / "inside"):
        with pytest.raises(StorageError, match="file"):
            private_folder(path)


@pytest.mark.parametrize("call", ["fsync", "open", "fdopen"])
def test_a_full_disk_leaves_the_old_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    """When the disk is full, at whichever step, the file is what it was and no partial one stays."""
    write_bytes(tmp_path / "file", b"old")
    with monkeypatch.context() as patch:
        patch.setattr(os, call, failing(errno.ENOSPC))
        with pytest.raises(StorageError, match="is full") as caught:
            write_bytes(tmp_path / "file", b"new")
    assert "cagchat library prune" in caught.value.hint
    assert (tmp_path / "file").read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]  # noqa: PTH208 - names, not paths


@pytest.mark.parametrize("number", [errno.EACCES, errno.EPERM, errno.EROFS])
def test_an_unwritable_folder_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """A folder that cannot be written is a `StorageError` with path, reason and a way out."""
    with monkeypatch.context() as patch:
        patch.setattr(os, "open", failing(number))
        with pytest.raises(StorageError) as caught:
            write_bytes(tmp_path / "file", b"new")
    assert str(tmp_path / "file") in caught.value.message
    assert os.strerror(number) in caught.value.message
    assert "CAGCHAT_HOME" in caught.value.hint


def test_other_refusals_are_said_too(tmp_path: Path) -> None:
    """Any other refusal is a sentence with the path and the system's reason, or the error's own text."""
    path = tmp_path / "file"
    assert os.strerror(errno.EIO) in storage_error(OSError(errno.EIO, "x"), path).message
    assert "odd" in storage_error(OSError("odd"), path).message


def test_publishing_replaces(tmp_path: Path) -> None:
    """A published file has the partial one's content, and the partial one is gone."""
    target = tmp_path / "state"
    target.write_bytes(b"old")
    partial = partial_path(target)
    partial.write_bytes(b"new")
    publish(partial, target)
    assert target.read_bytes() == b"new"
    assert not partial.exists()


def test_publishing_syncs_before_it_renames(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The content reaches the disk before the name does, and the folder after both."""
    target = tmp_path / "state"
    partial = partial_path(target)
    partial.write_bytes(b"new")
    renamed_at_sync: list[bool] = []
    fsync = os.fsync

    def watched(fd: int) -> None:
        renamed_at_sync.append(target.exists())
        fsync(fd)

    monkeypatch.setattr(os, "fsync", watched)
    publish(partial, target)
    assert renamed_at_sync == [False, True]


def test_publishing_nothing_is_said(tmp_path: Path) -> None:
    """A partial file that is not there is a `StorageError`, and the old file stays."""
    (tmp_path / "state").write_bytes(b"old")
    with pytest.raises(StorageError):
        publish(tmp_path / "nothing", tmp_path / "state")
    assert (tmp_path / "state").read_bytes() == b"old"


def test_syncing_a_folder_is_repeatable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder is synced each time, also when nothing has changed in it, and let go of again."""
    synced: list[tuple[int, int]] = []
    fsync = os.fsync

    def watched(fd: int) -> None:
        synced.append((os.fstat(fd).st_dev, os.fstat(fd).st_ino))
        fsync(fd)

    before = open_files()
    monkeypatch.setattr(os, "fsync", watched)
    sync_folder(tmp_path)
    sync_folder(tmp_path)
    assert synced == [(tmp_path.stat().st_dev, tmp_path.stat().st_ino)] * 2
    assert open_files() <= before


def test_partial_files_are_one_a_process(tmp_path: Path) -> None:
    """A partial file's name holds the process's number and lies beside its target."""
    partial = partial_path(tmp_path / "state.bin")
    assert partial.parent == tmp_path
    assert str(os.getpid()) in partial.name


def test_a_running_writer_s_file_is_no_leftover(tmp_path: Path) -> None:
    """The partial file of a process that runs is in use."""
    assert not is_leftover(partial_path(tmp_path / "state.bin"))


def test_a_dead_writer_s_file_is_a_leftover(tmp_path: Path, dead_pid: int) -> None:
    """The partial file of a process that has ended can be deleted."""
    assert is_leftover(tmp_path / f"state.bin.{dead_pid}.partial")


@pytest.mark.parametrize("name", ["state.bin", "state.partial.bin", "manifest.json", "12"])
def test_finished_files_are_no_leftovers(tmp_path: Path, name: str) -> None:
    """A file without the mark of a partial one is never a leftover."""
    assert not is_leftover(tmp_path / name)


@pytest.mark.parametrize("number", ["", "x", "²", "-5", "9" * 40])
def test_odd_names_are_leftovers(tmp_path: Path, number: str) -> None:
    """A partial file whose name holds no possible process belongs to nobody."""
    assert is_leftover(tmp_path / f"state.bin.{number}.partial")


def test_processes_are_told_apart(dead_pid: int) -> None:
    """A process that runs is known to, whoever owns it, and one that has ended is not."""
    assert process_runs(os.getpid())
    assert process_runs(1)
    assert not process_runs(dead_pid)

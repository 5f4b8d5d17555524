"""Checksums of pieces, and files that are mapped to be written or read."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cagchat.engine.pieces import damaged, digests, first_difference, map_existing, map_new
from cagchat.engine.protocol import Blob
from cagchat.errors import StateDamaged, StorageError

PIECE = 16


def blob_of(content: bytes) -> Blob:
    return Blob(1, len(content), PIECE, digests(memoryview(content), PIECE), ())


def saved(path: Path, content: bytes) -> Blob:
    path.write_bytes(content)
    return blob_of(content)


@pytest.mark.parametrize(("size", "count"), [(1, 1), (15, 1), (16, 1), (17, 2), (32, 2), (33, 3)])
def test_pieces_cover_the_content(size: int, count: int) -> None:
    """There is a digest for every piece, the last of which may be shorter."""
    assert len(blob_of(bytes(size)).pieces) == count


@given(st.binary(min_size=1, max_size=80), st.data())
def test_a_flipped_bit_names_its_piece(content: bytes, data: st.DataObject) -> None:
    """A bit that flips anywhere is found in the piece it is in, and nowhere is found when none has."""
    blob = blob_of(content)
    assert first_difference(memoryview(content), blob) is None
    offset = data.draw(st.integers(0, len(content) - 1))
    flipped = bytearray(content)
    flipped[offset] ^= 1 << data.draw(st.integers(0, 7))
    assert first_difference(memoryview(flipped), blob) == offset // PIECE


def test_a_piece_without_a_digest_is_a_difference() -> None:
    """A record that lists too few digests does not vouch for the rest of the file."""
    content = bytes(40)
    short = Blob(1, 40, PIECE, blob_of(content).pieces[:2], ())
    assert first_difference(memoryview(content), short) == 2


def test_damage_is_named_in_bytes(tmp_path: Path) -> None:
    """The message gives the file and the range of bytes, cut at the file's end."""
    error = damaged(tmp_path / "state", blob_of(bytes(40)), 2)
    assert f"{tmp_path / 'state'} is damaged: bytes 32 to 40" in error.message
    assert error.hint


def test_a_new_file_holds_what_was_written(tmp_path: Path) -> None:
    """What is written into the mapping is in the file, which has exactly that size and is private."""
    path = tmp_path / "state"
    before = os.umask(0)
    try:
        with map_new(path, 10) as mapped:
            mapped[:] = b"0123456789"
    finally:
        os.umask(before)
    assert path.read_bytes() == b"0123456789"
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_new_file_replaces_a_longer_one(tmp_path: Path) -> None:
    """A leftover of the same name leaves no byte behind."""
    path = tmp_path / "state"
    path.write_bytes(b"x" * 100)
    with map_new(path, 3) as mapped:
        mapped[:] = b"new"
    assert path.read_bytes() == b"new"


def test_a_full_disk_is_an_error_before_the_first_byte(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that cannot hold the file is a `StorageError`, and nothing is written into the mapping."""

    def full(fd: int, *rest: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(StorageError, match="full"), map_new(tmp_path / "state", 1 << 20):
        pytest.fail("the mapping was handed out")


def test_space_is_reserved_where_no_call_for_it_exists(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without posix_fallocate the file is filled by writing, to its full size, and a full disk is still an error."""
    monkeypatch.delattr(os, "posix_fallocate")
    size = (1 << 20) + 17
    with map_new(tmp_path / "state", size) as mapped:
        mapped[-1:] = b"!"
    assert (tmp_path / "state").stat().st_size == size

    def full(fd: int, content: bytes) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(StorageError, match="full"), map_new(tmp_path / "other", size):
        pytest.fail("the mapping was handed out")


def test_a_disk_that_takes_less_is_written_to_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Writes that end early are continued until the whole file is there."""
    monkeypatch.delattr(os, "posix_fallocate")
    write = os.write
    monkeypatch.setattr(os, "write", lambda fd, content: write(fd, content[:1000]))
    with map_new(tmp_path / "state", 4321):
        pass
    assert (tmp_path / "state").stat().st_size == 4321


def test_an_unwritable_place_is_a_storage_error(tmp_path: Path) -> None:
    """A path that cannot be created is a `StorageError` that names it."""
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="state cannot be written"), map_new(tmp_path / "file" / "state", 5):
        pytest.fail("the mapping was handed out")


def test_a_mapping_is_the_files_content(tmp_path: Path) -> None:
    """A mapped file reads as what was saved."""
    blob = saved(tmp_path / "state", b"some bytes")
    with map_existing(tmp_path / "state", blob) as mapped:
        assert mapped[:] == b"some bytes"


def test_a_mapping_never_writes(tmp_path: Path) -> None:
    """What is done to a mapped file's pages stays in memory."""
    blob = saved(tmp_path / "state", b"some bytes")
    with map_existing(tmp_path / "state", blob) as mapped:
        mapped[0:4] = b"XXXX"
    assert (tmp_path / "state").read_bytes() == b"some bytes"


@pytest.mark.parametrize("content", [b"some byte", b"some bytes and more", b""])
def test_another_size_is_damage(tmp_path: Path, content: bytes) -> None:
    """A file that is shorter, longer or empty is refused with both sizes."""
    blob = saved(tmp_path / "state", b"some bytes")
    (tmp_path / "state").write_bytes(content)
    with (
        pytest.raises(StateDamaged, match=f"{len(content)} bytes where 10"),
        map_existing(tmp_path / "state", blob),
    ):
        pytest.fail("the mapping was handed out")


def test_an_empty_record_is_damage(tmp_path: Path) -> None:
    """A record of no bytes at all is refused, since no state is empty."""
    blob = saved(tmp_path / "state", b"")
    with pytest.raises(StateDamaged), map_existing(tmp_path / "state", blob):
        pytest.fail("the mapping was handed out")


def test_a_missing_file_is_damage(tmp_path: Path) -> None:
    """A file that is gone is `StateDamaged`, with its path."""
    with (
        pytest.raises(StateDamaged, match="state cannot be opened"),
        map_existing(tmp_path / "state", blob_of(b"some bytes")),
    ):
        pytest.fail("the mapping was handed out")

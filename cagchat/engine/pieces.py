"""Checksums over consecutive pieces of a state file, and the mapping of such a file into memory."""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import xxhash

from cagchat.engine.protocol import Blob
from cagchat.errors import StateDamaged
from cagchat.files import storage_errors

PIECE_BYTES = 16 << 20  # large enough that a digest costs nothing beside its bytes, small enough to name the damage


def digests(view: memoryview, piece_bytes: int = PIECE_BYTES) -> tuple[str, ...]:
    """Return the xxh3_128 digest of each piece; xxhash releases the interpreter lock while it works."""
    return tuple(
        xxhash.xxh3_128_hexdigest(view[start : start + piece_bytes]) for start in range(0, len(view), piece_bytes)
    )


def first_difference(view: memoryview, blob: Blob) -> int | None:
    """Return the index of the first piece whose digest is not the recorded one, or None when all agree.

    A piece without a recorded digest differs.
    """
    for index, start in enumerate(range(0, len(view), blob.piece_bytes)):
        digest = xxhash.xxh3_128_hexdigest(view[start : start + blob.piece_bytes])
        if index >= len(blob.pieces) or digest != blob.pieces[index]:
            return index
    return None


def damaged(path: Path, blob: Blob, piece: int) -> StateDamaged:
    """Return the error that names the bytes of a damaged piece."""
    start = piece * blob.piece_bytes
    end = min(blob.size_bytes, start + blob.piece_bytes)
    return StateDamaged(
        f"{path} is damaged: bytes {start:,} to {end:,} are not the ones that were written.",
        "The book has to be read again; the damaged file is set aside, not deleted.",
    )


@contextmanager
def map_new(path: Path, size: int) -> Iterator[mmap.mmap]:
    """Create `path` (0600) with `size` bytes really reserved on the disk and map it for writing; sync it at the end.

    Reserving first turns a full disk into an error here; writing to a sparse mapping would kill the process (SIGBUS).
    """
    with storage_errors(path):
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            _reserve(fd, size)
            with mmap.mmap(fd, size) as mapped:
                yield mapped
                mapped.flush()
            os.fsync(fd)
        finally:
            os.close(fd)


def _reserve(fd: int, size: int) -> None:
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(fd, 0, size)
        return
    zeros = bytes(1 << 20)  # macOS and Windows: writing is the only portable way to be sure of the space
    left = size
    while left:  # a disk that is nearly full takes less than it was given, and refuses only the next write
        left -= os.write(fd, zeros[:left])


@contextmanager
def map_existing(path: Path, blob: Blob) -> Iterator[mmap.mmap]:
    """Map a saved file for reading. Its pages are private: nothing that is done to them reaches the file.

    Raises `StateDamaged` when the file is missing or not of the recorded size.
    """
    try:
        fd = os.open(path, os.O_RDONLY)
    except OSError as error:
        raise StateDamaged(
            f"{path} cannot be opened: {os.strerror(error.errno or 0)}.", "The book has to be read again."
        ) from error
    try:
        size = os.fstat(fd).st_size
        if size != blob.size_bytes or not size:
            raise StateDamaged(
                f"{path} holds {size:,} bytes where {blob.size_bytes:,} were written.",
                "The book has to be read again; the damaged file is set aside, not deleted.",
            )
        with mmap.mmap(fd, size, access=mmap.ACCESS_COPY) as mapped:
            if hasattr(mmap, "MADV_SEQUENTIAL"):
                mapped.madvise(mmap.MADV_SEQUENTIAL)
            yield mapped
    finally:
        os.close(fd)

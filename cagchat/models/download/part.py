"""The beginning of a file on disk, and beside it what is known of the whole: enough to go on with another day."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from typing import IO

from cagchat.errors import ModelError
from cagchat.files import publish, storage_errors, write_bytes
from cagchat.models.download.answer import Record
from cagchat.models.download.refusals import DownloadError
from cagchat.models.gguf import read_any_header

PART, RECORD, DAMAGED = ".part", ".part.json", ".damaged"
RECORD_LIMIT_BYTES = 1 << 16
HASH_BYTES = 4 << 20
FORMAT = 1


class Part:
    """NAME.part and NAME.part.json beside `target`; the SHA-256 of the bytes there is kept up to date."""

    def __init__(self, target: Path) -> None:
        self.target = target
        self.path = target.with_name(target.name + PART)
        self.record_path = target.with_name(target.name + RECORD)
        self.size_bytes = 0
        self._hash = sha256()

    @property
    def bytes_on_disk(self) -> int:
        """How many bytes lie there, of use or not."""
        with storage_errors(self.path):
            return self.path.stat().st_size if self.path.is_file() else 0

    def find(self, url: str) -> Record:
        """Return what is known of the file that was begun from `url`; `size_bytes` is then how much of it is here.

        What cannot be gone on with is as if it were not there. The bytes still have to be hashed: see `rehash`.
        """
        record, size = read_record(self.record_path), self.bytes_on_disk
        usable = record is not None and record.url == url and record.can_go_on
        if record is None or not usable or not 0 < size <= (record.size_bytes or size):
            self.size_bytes = 0
            return Record(url)
        self.size_bytes = size
        return record

    def rehash(self) -> Iterator[int]:
        """Read the bytes that are here for their checksum, yielding how many were read."""
        self._hash, done = sha256(), 0
        with storage_errors(self.path), self.path.open("rb") as file:
            while piece := file.read(HASH_BYTES):
                self._hash.update(piece)
                done += len(piece)
                yield done
        self.size_bytes = done

    def begin(self, record: Record, start: int) -> IO[bytes]:
        """Write down what is known of the file, and open it to write from `start` on; what is after is cut off."""
        if start == 0:
            self._hash = sha256()
        write_bytes(self.record_path, json.dumps({"format": FORMAT, **asdict(record)}, indent=1).encode())
        with storage_errors(self.path):
            file = os.fdopen(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600), "r+b", buffering=0)
            file.truncate(start)
            file.seek(start)
        self.size_bytes = start
        return file

    def append(self, file: IO[bytes], piece: bytes) -> None:
        """Add bytes to the file and to its checksum."""
        view = memoryview(piece)
        with storage_errors(self.path):
            while view:
                view = view[file.write(view) :]
        self._hash.update(piece)
        self.size_bytes += len(piece)

    def first_bytes(self, count: int) -> bytes:
        """Return how the file begins."""
        with storage_errors(self.path), self.path.open("rb") as file:
            return file.read(count)

    @property
    def sha256(self) -> str:
        """The checksum of the bytes that are here, hexadecimal."""
        return self._hash.hexdigest()

    def finish(self, expected_sha256: str) -> None:
        """Give the file its name, when it is what was expected and a sound GGUF; else set it aside.

        Raises `DownloadError` when it is not.
        """
        if expected_sha256 and self.sha256 != expected_sha256:
            raise self.set_aside(f"its SHA-256 is {self.sha256[:12]}…, not {expected_sha256[:12]}… as expected")
        try:
            read_any_header(self.path, thorough=True)
        except ModelError as error:
            raise self.set_aside(error.message.replace(str(self.path), "it").rstrip(".")) from error
        publish(self.path, self.target)
        self._forget(self.record_path)

    def set_aside(self, why: str) -> DownloadError:
        """Rename what came so that nobody takes it for the model, and say why."""
        damaged = self.target.with_name(self.target.name + DAMAGED)
        with storage_errors(damaged):
            self.path.replace(damaged)
        self._forget(self.record_path)
        return DownloadError(
            f"{self.target.name} was not received as it should be: {why}.",
            f"It was set aside as {damaged}; delete that, then fetch the model again.",
        )

    def discard(self) -> None:
        """Remove what is here."""
        self._forget(self.path)
        self._forget(self.record_path)
        self.size_bytes = 0

    def _forget(self, path: Path) -> None:
        with storage_errors(path):
            path.unlink(missing_ok=True)


def read_record(path: Path) -> Record | None:
    """Read what was written down, None when that is missing or damaged."""
    try:
        with path.open("rb") as file:
            content = json.loads(file.read(RECORD_LIMIT_BYTES))
    except (OSError, ValueError, RecursionError):
        return None
    match content:
        case {
            "format": int(number),
            "url": str(url),
            "etag": str(etag),
            "size_bytes": int() | None as size_bytes,
            "sha256": str(sha256),
        } if number == FORMAT:
            return Record(url, etag, size_bytes, sha256)
    return None


def hash_file(path: Path, progress: Callable[[int, int], None]) -> str:
    """Return the SHA-256 of a file, hexadecimal; `progress` hears the bytes read so far and in all."""
    digest, done = sha256(), 0
    with path.open("rb") as file:
        total = os.fstat(file.fileno()).st_size
        while piece := file.read(HASH_BYTES):
            digest.update(piece)
            done += len(piece)
            progress(done, total)
    return digest.hexdigest()

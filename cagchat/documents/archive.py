"""Read the members of a ZIP archive from memory, within limits on their number, size and compression.

Nothing is ever written to disk, so a member's name is a key and no more: `../../etc/passwd` is looked up, not opened.
"""

from __future__ import annotations

import io
import struct
import unicodedata
import zipfile
import zlib
from dataclasses import dataclass
from typing import IO

from cagchat.errors import BookError

_CHUNK_BYTES = 1 << 20
_ENTRY = b"PK\x01\x02"
_AGAIN = "Download or export it again."


@dataclass(frozen=True, slots=True)
class Limits:
    """What an archive may hold before it counts as hostile.

    A member larger than `ratio_from_bytes` may not be more than `ratio` times its compressed size; deflate reaches
    1032, text in markup seldom 20. `total_bytes` bounds what is inflated over the archive's life.
    """

    members: int = 20_000
    member_bytes: int = 64 << 20
    total_bytes: int = 256 << 20
    ratio: int = 200
    ratio_from_bytes: int = 8 << 20


class Archive:
    """A ZIP archive in memory. `book` is the file's path, for messages.

    Names are compared by their NFC form without regard to case, an exact match first: archives are packed on one
    system and their links written on another. Of two members with one name the later counts, as when unpacking.
    """

    def __init__(self, content: bytes, book: str, limits: Limits = Limits()) -> None:
        # Before the table of contents is parsed: every entry in it becomes an object of about 500 bytes.
        if (entries := content.count(_ENTRY)) > limits.members:
            raise _too_much(book, f"{entries} files, where {limits.members} are the limit")
        try:
            self._file = zipfile.ZipFile(io.BytesIO(content))
        # zipfile lets these through for damaged tables; none of them says more than "damaged".
        except (zipfile.BadZipFile, ValueError, OSError, struct.error, NotImplementedError, OverflowError) as error:
            raise BookError(f"{book} is damaged or cut short: its table of contents is unreadable.", _AGAIN) from error
        self._book = book
        self._limits = limits
        self._inflated_bytes = 0
        # Not by `is_dir`, which fails on a member without a name.
        members = (member for member in self._file.infolist() if not member.filename.endswith("/"))
        self._members = {member.filename: member for member in members}
        self._folded = {_fold(name): name for name in self._members}

    @property
    def names(self) -> tuple[str, ...]:
        """The members' names as they are stored, without folders."""
        return tuple(self._members)

    def find(self, path: str) -> str | None:
        """Return the stored name of the member at `path`, or None when there is none."""
        return path if path in self._members else self._folded.get(_fold(path))

    def read(self, path: str) -> bytes:
        """Return a member's bytes. Raises `BookError` when it is missing, encrypted, damaged or past a limit."""
        name = self.find(path)
        if name is None:
            raise BookError(f"{self._book} is not complete: {path} is missing from it.", _AGAIN)
        member = self._members[name]
        self._check(member)
        try:
            with self._file.open(member) as stream:
                content = self._inflate(stream, name)
        # What zipfile raises for members that are not what the table says they are.
        except (
            zipfile.BadZipFile,
            zlib.error,
            EOFError,
            ValueError,
            OSError,
            OverflowError,
            RuntimeError,
            struct.error,
        ) as error:
            raise BookError(f"{self._book} is damaged: {name} in it cannot be unpacked.", _AGAIN) from error
        return content

    def _check(self, member: zipfile.ZipInfo) -> None:
        """Refuse a member by what the table of contents declares."""
        if member.flag_bits & 1:
            raise BookError(
                f"{self._book} is locked: {member.filename} in it is encrypted with a password.",
                "Unpack it with its password and pack it again without one.",
            )
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise BookError(
                f"{self._book} cannot be read: {member.filename} in it is compressed with method "
                f"{member.compress_type}, which no book format allows.",
                "Unpack it and pack it again as an ordinary ZIP.",
            )
        limits = self._limits
        if member.file_size > limits.member_bytes:
            raise _too_much(self._book, f"{member.filename} of {member.file_size >> 20} MiB")
        if member.file_size > limits.ratio_from_bytes and member.file_size > limits.ratio * member.compress_size:
            raise _too_much(self._book, f"{member.filename}, which grows more than {limits.ratio} times when unpacked")

    def _inflate(self, stream: IO[bytes], name: str) -> bytes:
        """Read a member to its end, counting what comes out rather than trusting what was declared."""
        content = bytearray()
        while chunk := stream.read(_CHUNK_BYTES):
            content += chunk
            self._inflated_bytes += len(chunk)
            if len(content) > self._limits.member_bytes:
                raise _too_much(self._book, f"{name} of more than {self._limits.member_bytes >> 20} MiB")
            if self._inflated_bytes > self._limits.total_bytes:
                raise _too_much(self._book, f"more than {self._limits.total_bytes >> 20} MiB of text")
        return bytes(content)


def _fold(path: str) -> str:
    """Return the key under which names that differ in case, slashes or Unicode form are one."""
    path = path.replace("\\", "/").lstrip("/")
    while path.startswith("./"):
        path = path[2:]
    return unicodedata.normalize("NFC", path).casefold()


def _too_much(book: str, what: str) -> BookError:
    """Describe an archive that is past a limit."""
    return BookError(
        f"{book} is no ordinary book: it holds {what}.",
        "Give a file from a source you trust; if this is a real book, give its text as .txt or .html.",
    )

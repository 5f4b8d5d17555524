"""Hold the bytes a book is made of, and read them from a file or from stdin, or say why that is not possible."""

from __future__ import annotations

import errno
import os
import shlex
import stat
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, BinaryIO

from cagchat.errors import BookError

if TYPE_CHECKING:
    from cagchat.documents.document import Document

STDIN = "-"
# About a hundred times the longest novel: what is larger is a disk image or a dump, not something to chat about.
MAX_BYTES = 256 << 20
SENT = "Send it with `< book.txt` behind the command, or through a pipe."


@dataclass(frozen=True, slots=True)
class File:
    """One file of a book: its name, as titles and messages show it, and its bytes."""

    name: str
    content: bytes


@dataclass(frozen=True, slots=True)
class Source:
    """What a book is made of, before it is parsed.

    `places` are where it came from: absolute paths, or "-" for stdin. `title` is that of a book in several files and ""
    for one file, which has its own. `notes` says what was left out, `notice` what a reader is told at every opening.
    `document` is there when the book was parsed before: it is not parsed again.
    """

    places: tuple[str, ...]
    files: tuple[File, ...]
    title: str = ""
    notes: tuple[str, ...] = ()
    notice: str = ""
    document: Document | None = None

    @property
    def name(self) -> str:
        """The places in one text, with `os.pathsep` between them, as records keep them."""
        return os.pathsep.join(self.places)

    @property
    def label(self) -> str:
        """What to call the book until it is parsed."""
        from cagchat.documents.titles import printable

        return self.title or printable(PurePath(self.files[0].name).name)

    def again(self, title: str) -> str:
        """Return what a command line calls the book by next time: its paths, or `title` when it came through stdin."""
        return shlex.quote(title) if STDIN in self.places else shlex.join(self.places)

    @property
    def size_bytes(self) -> int:
        """The size of all files together."""
        return sum(len(file.content) for file in self.files)

    def fingerprint(self) -> str:
        """Return a digest of everything that parsing depends on: contents, and what names say of kinds and titles.

        Of a single file only the suffix counts, so that a renamed copy is known again.
        """
        import xxhash  # 6 ms

        digest = xxhash.xxh3_128(self.title.encode("utf-8", "surrogatepass"))
        for file in self.files:
            name = file.name if len(self.files) > 1 else PurePath(file.name).suffix.lower()
            digest.update(f"\0{len(file.content)}\0{name}\0".encode("utf-8", "surrogatepass"))
            digest.update(file.content)
        return str(digest.hexdigest())


def read(path: Path, *, max_bytes: int = MAX_BYTES) -> bytes:
    """Return the content of a regular file of 1 to `max_bytes` bytes; raise `BookError` for anything else."""
    try:
        found = path.stat()
        # Before opening: opening a pipe waits for a writer.
        if not stat.S_ISREG(found.st_mode):
            raise _not_a_file(path, found.st_mode)
        if found.st_size > max_bytes:
            raise too_large(str(path), max_bytes)
        with path.open("rb") as file:
            content = file.read(max_bytes + 1)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise _missing(path) from error
    except PermissionError as error:
        raise BookError(
            f"{path} cannot be read: you have no permission.",
            f"Look at its owner and mode with `ls -l {shlex.quote(str(path))}`, or give a copy that is yours.",
        ) from error
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise BookError(
                f"There is no file {path}: names are shorter.", "Give the path of a book, or the title of a saved one."
            ) from error
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise BookError(
            f"{path} cannot be read: {reason}.", "Copy the book to a local disk and open the copy."
        ) from error
    except ValueError as error:  # a NUL character in the name
        raise BookError(f"{str(path)!r} is not a file name.", "Give the path of a book.") from error
    if not content:
        raise BookError(f"{path} is empty.", "Give a file with text in it; a download may have failed.")
    if len(content) > max_bytes:
        raise too_large(str(path), max_bytes)
    return content


def read_stdin(stdin: BinaryIO, *, max_bytes: int = MAX_BYTES) -> bytes:
    """Return everything that comes through a pipe, 1 to `max_bytes` bytes; raise `BookError` for anything else."""
    content = stdin.read(max_bytes + 1)
    if not content:
        raise BookError("Nothing came through stdin.", SENT)
    if len(content) > max_bytes:
        raise too_large("What came through stdin", max_bytes)
    return content


def too_large(what: str, max_bytes: int) -> BookError:
    """Describe a book that is no book, by its size."""
    return BookError(
        f"{what} is larger than {max_bytes >> 20} MiB, which no book is.",
        "Put each book in a file of its own; `split` cuts a large text into pieces.",
    )


def _missing(path: Path) -> BookError:
    """Describe a path that leads nowhere, with the nearest name beside it."""
    from difflib import get_close_matches  # 1.3 ms, and only for a mistake

    folder = path.parent
    if not folder.is_dir():
        return BookError(f"There is no folder {folder}, so no book {path}.", "Check the path with `ls`.")
    try:
        names = sorted(entry.name for entry in folder.iterdir())
    except OSError:
        names = []
    lowered = {name.lower(): name for name in names}
    if near := get_close_matches(path.name.lower(), lowered, n=1):
        hint = f"Did you mean {shlex.quote(str(folder / lowered[near[0]]))}?"
    else:
        hint = f"`ls {shlex.quote(str(folder))}` shows what is there, `cagchat library` what has been read."
    return BookError(f"There is no file {path}.", hint)


def _not_a_file(path: Path, mode: int) -> BookError:
    """Describe what stands at the path instead of a file."""
    if stat.S_ISDIR(mode):
        return BookError(f"{path} is a folder, not a book.", f"Give a file inside it: `ls {shlex.quote(str(path))}`.")
    kinds = {stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket", stat.S_IFCHR: "a device", stat.S_IFBLK: "a device"}
    kind = kinds.get(stat.S_IFMT(mode), "not a regular file")
    return BookError(f"{path} is {kind}, not a book.", "Save the text in a file first and give that file.")

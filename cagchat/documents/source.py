"""Read a book's bytes from disk, or say in one sentence why that is not possible."""

from __future__ import annotations

import os
import shlex
import stat
from pathlib import Path

from cagchat.errors import BookError

# About a hundred times the longest novel: what is larger is a disk image or a dump, not something to chat about.
MAX_BYTES = 256 << 20


def read(path: Path, *, max_bytes: int = MAX_BYTES) -> bytes:
    """Return the content of a regular file of 1 to `max_bytes` bytes; raise `BookError` for anything else."""
    try:
        mode = path.stat().st_mode
        # Before opening: opening a pipe waits for a writer.
        if not stat.S_ISREG(mode):
            raise _not_a_file(path, mode)
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
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise BookError(
            f"{path} cannot be read: {reason}.", "Copy the book to a local disk and open the copy."
        ) from error
    except ValueError as error:  # a NUL character in the name
        raise BookError(f"{str(path)!r} is not a file name.", "Give the path of a book.") from error
    if not content:
        raise BookError(f"{path} is empty.", "Give a file with text in it; a download may have failed.")
    if len(content) > max_bytes:
        raise BookError(
            f"{path} is larger than {max_bytes >> 20} MiB, which no book is.",
            "Put each book in a file of its own; `split` cuts a large text into pieces.",
        )
    return content


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
        hint = f"`ls {shlex.quote(str(folder))}` shows what is there."
    return BookError(f"There is no file {path}.", hint)


def _not_a_file(path: Path, mode: int) -> BookError:
    """Describe what stands at the path instead of a file."""
    if stat.S_ISDIR(mode):
        return BookError(f"{path} is a folder, not a book.", f"Give a file inside it: `ls {shlex.quote(str(path))}`.")
    kinds = {stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket", stat.S_IFCHR: "a device", stat.S_IFBLK: "a device"}
    kind = kinds.get(stat.S_IFMT(mode), "not a regular file")
    return BookError(f"{path} is {kind}, not a book.", "Save the text in a file first and give that file.")

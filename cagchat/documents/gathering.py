"""Gather a book from what a command line names: one file or several, a folder of them, or stdin."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path, PurePath
from typing import BinaryIO

from cagchat.documents.registry import chosen, suffixes, worth_reading
from cagchat.documents.source import MAX_BYTES, SENT, STDIN, File, Source, read, read_stdin, too_large
from cagchat.errors import BookError

# A folder with more than that is somebody's home, not a book in parts.
MAX_FILES = 2000

_HEAD_BYTES = 4096
# What lies beside texts without being one: styles and scripts of saved pages, records of programs that keep books.
_BESIDE = frozenset((".css", ".js", ".json", ".opf", ".svg"))
_DIGITS = re.compile("([0-9]+)")
_TOKENS = re.compile(r"[^\W\d_]+|\d+|[\W_]+")
# Words that only count the files of a book.
_COUNTING = frozenset(
    ["band", "book", "buch", "chapter", "kapitel", "part", "parte", "partie", "teil", "vol", "volume"]
)
_MOST_NAMED = 5


def gather(names: Sequence[str | Path], *, stdin: BinaryIO | None = None, max_bytes: int = MAX_BYTES) -> Source:
    """Read a book of one or several files, folders (their files in natural order) or stdin (the name "-").

    `stdin` is this process's own when it is not given. Raises `BookError` for what is missing, too large or no book;
    inside a folder such files are left out and a note says so.
    """
    files: list[File] = []
    left_out: list[str] = []
    for name in names:
        if isinstance(name, str) and not name.strip():  # as a path it would be the present folder
            raise BookError("A book was asked for by an empty name.", "Give its file, or its title once it was read.")
        path = expanded(name)
        if name == STDIN:
            files.append(File("stdin", read_stdin(stdin or _stdin(), max_bytes=max_bytes)))
        elif is_there(path) and path.is_dir():
            files += _read_folder(path, max_bytes, left_out)
        else:
            files.append(File(str(path), read(path, max_bytes=max_bytes)))
        if sum(len(file.content) for file in files) > max_bytes:
            raise too_large("All of this together", max_bytes)
    places = tuple(STDIN if name == STDIN else str(expanded(name).absolute()) for name in names)
    title = _title(names, files) if len(files) > 1 else ""
    return Source(places, tuple(files), title, _notes(left_out))


def _stdin() -> BinaryIO:
    if sys.stdin is None:  # as after `<&-` in a shell
        raise BookError("stdin is closed, so no book can come through it.", SENT)
    return sys.stdin.buffer


def expanded(name: str | Path) -> Path:
    """Return a path with the home folder in place of "~"."""
    try:
        return Path(name).expanduser()
    except RuntimeError:  # "~nobody": then it is a name
        return Path(name)


def is_there(path: Path) -> bool:
    """Tell whether there is a file or folder; a name that the system refuses is none: titles can be of any length."""
    try:
        return path.exists()
    except OSError:
        return False


def natural(name: str) -> tuple[int | str, ...]:
    """Return a key that sorts names as readers do: "chapter 2" before "chapter 10"."""
    return tuple(int(part) if index % 2 else part.casefold() for index, part in enumerate(_DIGITS.split(name)))


def _read_folder(folder: Path, max_bytes: int, left_out: list[str]) -> list[File]:
    """Return the files inside a folder that a loader takes; names of the others go to `left_out`."""
    files: list[File] = []
    total = 0
    for path in _paths_inside(folder):
        name = str(path.relative_to(folder))
        if path.suffix.lower() in _BESIDE or not worth_reading(_head(path)):
            left_out.append(name)
            continue
        content = read(path, max_bytes=max_bytes)
        if not content.strip():
            left_out.append(name)
            continue
        try:
            chosen(content, str(path))
        except BookError:
            left_out.append(name)
            continue
        total += len(content)
        if total > max_bytes:
            raise too_large(f"What {folder} holds", max_bytes)
        files.append(File(str(path), content))
    if not files:
        raise BookError(
            f"{folder} is a folder without a book in it.", f"Files like these can be opened: {', '.join(suffixes())}."
        )
    return files


def _paths_inside(folder: Path) -> list[Path]:
    """Return the regular files below a folder in natural order, without hidden ones; linked folders are not entered."""
    found: list[Path] = []
    for root, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found.extend(path for name in names if not name.startswith(".") and (path := Path(root, name)).is_file())
        if len(found) > MAX_FILES:
            raise BookError(
                f"{folder} holds more than {MAX_FILES:,} files, which no book does.", "Give the folder of one book."
            )
    return sorted(found, key=lambda path: ([natural(part) for part in path.relative_to(folder).parts], path))


def _head(path: Path) -> bytes:
    """Return a file's first bytes; nothing when it cannot be read, which reading it whole will explain."""
    try:
        with path.open("rb") as file:
            return file.read(_HEAD_BYTES)
    except OSError:
        return b" "


def _notes(left_out: Sequence[str]) -> tuple[str, ...]:
    """Say which files of a folder are not in the book."""
    if not left_out:
        return ()
    unnamed = len(left_out) - _MOST_NAMED
    named = ", ".join(left_out[:_MOST_NAMED]) + (f" and {unnamed:,} more" if unnamed > 0 else "")
    if len(left_out) == 1:
        return (f"1 file was left out, because no book can be read from it: {named}.",)
    return (f"{len(left_out):,} files were left out, because no book can be read from them: {named}.",)


def _title(names: Sequence[str | Path], files: Sequence[File]) -> str:
    """Return the title of a book in several files: a folder's name, else what the files' names begin with."""
    from cagchat.documents.titles import title_from_name

    if len(names) == 1:
        return title_from_name(f"{expanded(names[0]).resolve().name}.txt")
    common: list[str] = []
    for tokens in zip(*(_TOKENS.findall(PurePath(file.name).stem) for file in files), strict=False):
        if len(set(tokens)) > 1:
            break
        common.append(tokens[0])
    while common and (not common[-1].isalpha() or common[-1].casefold() in _COUNTING):
        common.pop()
    if common:
        return title_from_name(f"{''.join(common)}.txt")
    return f"{title_from_name(files[0].name)} and {len(files) - 1} more"

"""What the standard streams take: on a terminal nothing that it would obey, and nowhere a refusal that is a defect.

stdout is data: where it is no terminal, it gets each character as it is.
"""

from __future__ import annotations

import errno
import io
import os
import sys
from contextlib import suppress
from typing import TextIO

from cagchat.printable import printable

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)


def take_any_character(stream: TextIO | None) -> None:
    """Let a stream whose encoding lacks a character show its number instead of refusing the whole line."""
    if not isinstance(stream, io.TextIOWrapper):
        return
    # In UTF-8 "surrogateescape" gives the bytes of a path as they are; in ASCII it would refuse every accent.
    utf_8 = stream.encoding.lower().replace("_", "-") in ("utf-8", "utf8")
    if stream.errors == "strict" or (stream.errors == "surrogateescape" and not utf_8):
        stream.reconfigure(errors="backslashreplace")


def take_any_byte(stream: TextIO | None) -> None:
    """Let what is typed or piped in have a mark in place of bytes that its encoding lacks; a book is read as bytes."""
    if isinstance(stream, io.TextIOWrapper) and stream.errors != "replace":
        with suppress(io.UnsupportedOperation):  # something was read from it already
            stream.reconfigure(errors="replace")


def is_terminal(stream: TextIO | None) -> bool:
    """Tell whether a standard stream is a terminal; a program may have been started without it."""
    return stream is not None and stream.isatty()


def put(text: str, end: str = "\n") -> None:
    """Print on stdout at once."""
    print(printable(text) if is_terminal(sys.stdout) else text, end=end, flush=True)


def narrate(text: str) -> None:
    """Write to stderr at once. Where it takes nothing there is nobody to be told; a reader who has gone is noticed."""
    if sys.stderr is None:  # print would take stdout for it
        return
    try:
        print(printable(text), end="", file=sys.stderr, flush=True)
    except BrokenPipeError:
        raise
    except OSError:
        give_up(sys.stderr)


def refusal_of(error: OSError) -> str:
    """Return why stdout took no more, an empty string for another error: those of files have the file's name."""
    return os.strerror(error.errno) if error.errno in FULL and error.filename is None else ""


def give_up(stream: TextIO | None) -> None:
    """Let go of a stream that takes no more, or the interpreter would try once more at its end, and complain."""
    with suppress(OSError, ValueError):
        if stream is not None:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())

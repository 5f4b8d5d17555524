"""Load a document in a process of its own, with limits on time and memory.

Parsers of PDF, ZIP and markup meet files that were made to break them. Whatever happens there (a crash, a loop, too
much memory) is one `BookError` here. The answer is JSON that is checked field by field: nothing a child sends is run.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import IO, Any

from cagchat.documents.document import Document, Page, Section
from cagchat.documents.password import PasswordNeeded
from cagchat.documents.sandboxed import LENGTH, OUT_OF_MEMORY
from cagchat.errors import BookError

_LOG_TAIL_BYTES = 4000
_LONGEST_REASON = 200
# The errors that a child may raise here by name; every other one is a BookError.
_ERRORS: dict[str, type[BookError]] = {"PasswordNeeded": PasswordNeeded}
_DAMAGED = "The file may be damaged, or made to do harm: try another copy, or convert it to text."


@dataclass(frozen=True, slots=True)
class Limits:
    """What loading one document may take. The generous numbers are for the largest books, not for usual ones.

    `cpu_s` ends a loop even when the machine is busy with other work; `log_bytes` bounds every file that is written.
    """

    memory_bytes: int = 3 << 30
    cpu_s: int = 90
    wall_s: float = 180.0
    answer_bytes: int = 256 << 20
    log_bytes: int = 1 << 20
    open_files: int = 64


class _NotAnAnswer(Exception):
    """What the child sent is not a document."""


def apart(
    load: str,
    content: bytes,
    name: str,
    password: str = "",
    *,
    limits: Limits | None = None,
    environ: Mapping[str, str] = os.environ,
) -> Document:
    """Return what the function `load` ("module:function") makes of the content, in a fresh child process.

    It is called as `load(content, name, password)`. Raises `BookError` for what it raises, and for a child that
    crashed, took too long or needed too much memory; nothing is left running or on disk.
    """
    limits = limits or Limits()
    request = {"load": load, "name": name, "password": password, "limits": asdict(limits)}
    with tempfile.TemporaryFile() as log:  # unlinked: the password and the text stay in pipes, only warnings come here
        child = _spawn(log, environ)
        expired = threading.Event()
        timer = threading.Timer(limits.wall_s, _expire, (child, expired))
        timer.daemon = True
        timer.start()
        try:
            answer = _exchange(child, json.dumps(request).encode(), content, limits.answer_bytes)
        finally:
            timer.cancel()
            child.kill()  # after an answer it only waits for its input to close
            code = child.wait()
            _close(child)
        if answer is None:
            raise _died(name, code, expired.is_set(), limits, _last_line(log))
    try:
        return _read_answer(answer)
    except _NotAnAnswer as error:
        raise BookError(f"Reading {name} ended without a usable answer: {error}.", _DAMAGED) from error


def _spawn(log: IO[bytes], environ: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """Start the child, in a session of its own so that a Ctrl-C reaches only this process."""
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "cagchat.documents.sandboxed"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=log,
        # Without it the order of sets, and with it perhaps a text, would differ from one reading to the next.
        env={**environ, "PYTHONHASHSEED": "0"},
        start_new_session=True,
    )


def _expire(child: subprocess.Popen[bytes], expired: threading.Event) -> None:
    """End a child that takes too long."""
    expired.set()
    child.kill()


def _exchange(child: subprocess.Popen[bytes], header: bytes, content: bytes, most: int) -> bytes | None:
    """Send the request and return the answer, None when the child ended before it was whole.

    The child's input stays open until it has answered: its closing tells the child that this process is gone.
    """
    stdin, stdout = child.stdin, child.stdout
    assert stdin is not None
    assert stdout is not None
    # A child that ended early is noticed where its answer is missing.
    with contextlib.suppress(BrokenPipeError):
        for part in (LENGTH.pack(len(header)), header, LENGTH.pack(len(content)), content):
            stdin.write(part)
        stdin.flush()
    length = stdout.read(LENGTH.size)
    if len(length) < LENGTH.size:
        child.wait()
        return None
    (size,) = LENGTH.unpack(length)
    if size > most:
        return b""
    answer = stdout.read(size)
    if len(answer) < size:
        child.wait()
        return None
    return answer


def _close(child: subprocess.Popen[bytes]) -> None:
    """Close both pipes; what is left in the buffer for a child that is gone is dropped."""
    for pipe in (child.stdin, child.stdout):
        if pipe is not None:
            with contextlib.suppress(BrokenPipeError):
                pipe.close()


def _last_line(log: IO[bytes]) -> str:
    """Return the last line of what the child wrote to stderr, printable and of bounded length."""
    size = log.seek(0, os.SEEK_END)
    log.seek(max(0, size - _LOG_TAIL_BYTES))
    lines = [line.strip() for line in log.read().decode(errors="replace").splitlines() if line.strip()]
    return "".join(filter(str.isprintable, lines[-1]))[:_LONGEST_REASON] if lines else ""


def _died(name: str, code: int, expired: bool, limits: Limits, last_line: str) -> BookError:
    """Say why there is no answer."""
    if expired:
        return BookError(f"Reading {name} took longer than {limits.wall_s:g} s and was given up.", _DAMAGED)
    if code == -getattr(signal, "SIGXCPU", 0):
        return BookError(f"Reading {name} took more than {limits.cpu_s} s of work and was given up.", _DAMAGED)
    if code == OUT_OF_MEMORY:
        return BookError(f"Reading {name} needs more than {limits.memory_bytes >> 20} MiB of memory.", _DAMAGED)
    reason = _signal_name(-code) if code < 0 else last_line or f"exit code {code}"
    return BookError(f"Reading {name} failed: {reason.rstrip('.')}.", _DAMAGED)


def _signal_name(number: int) -> str:
    """Return "SIGSEGV" for 11."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _read_answer(answer: bytes) -> Document:
    """Return the document in an answer, or raise the error in it; `_NotAnAnswer` when it is neither."""
    if not answer:
        raise _NotAnAnswer("it is too large")
    try:
        fields = json.loads(answer)
    except (ValueError, RecursionError) as error:
        raise _NotAnAnswer("it is not JSON") from error
    if not isinstance(fields, dict):
        raise _NotAnAnswer("it has no fields")
    if "error" in fields:
        kind = _ERRORS.get(_text(fields, "error"), BookError)
        raise kind(_text(fields, "message"), _text(fields, "hint"))
    text = _text(fields, "text")
    return Document(
        title=_text(fields, "title"),
        text=text,
        sections=_sections(_rows(fields, "sections", (str, int, int, int)), len(text)),
        kind=_text(fields, "kind"),
        author=_text(fields, "author"),
        language=_text(fields, "language"),
        notes=tuple(note for (note,) in _rows(fields, "notes", (str,))),
        pages=_pages(_rows(fields, "pages", (str, int)), len(text)),
    )


def _text(fields: dict[str, Any], key: str) -> str:
    """Return a field that must be a string of whole characters."""
    value = fields.get(key)
    if not isinstance(value, str):
        raise _NotAnAnswer(f"its {key} is no text")
    return value


def _rows(fields: dict[str, Any], key: str, types: tuple[type, ...]) -> list[list[Any]]:
    """Return a field that must be a list of lists with these types."""
    rows = fields.get(key)
    if not isinstance(rows, list) or not all(
        isinstance(row, list) and [type(value) for value in row] == list(types) for row in rows
    ):
        raise _NotAnAnswer(f"its {key} have the wrong form")
    return rows


def _sections(rows: list[list[Any]], length: int) -> tuple[Section, ...]:
    """Return the sections, which must tile a text of this length."""
    sections = tuple(Section(*row) for row in rows)
    bounds = [0, *(section.end for section in sections)]
    if not sections or bounds[-1] != length or any(start > end for start, end in pairwise(bounds)):
        raise _NotAnAnswer("its sections do not cover its text")
    if any(section.start != start or section.level < 0 for section, start in zip(sections, bounds, strict=False)):
        raise _NotAnAnswer("its sections overlap")
    return sections


def _pages(rows: list[list[Any]], length: int) -> tuple[Page, ...]:
    """Return the pages, which must stand in order inside a text of this length."""
    pages = tuple(Page(*row) for row in rows)
    starts = [0, *(page.start for page in pages), length]
    if any(start > following for start, following in pairwise(starts)):
        raise _NotAnAnswer("its pages are out of order")
    return pages

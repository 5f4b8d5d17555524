"""The child of `documents.sandbox`: takes limits upon itself, loads one document, answers in JSON.

It is run as `python -m cagchat.documents.sandboxed`; the request comes on stdin and the answer goes to stdout.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import struct
import sys
import threading
from typing import IO, Any

from cagchat.confined import confine
from cagchat.documents.document import Document
from cagchat.errors import BookError

# The exit code that says more than the last line of the log.
OUT_OF_MEMORY = 71
# What stands before each part of a request and before an answer: its length in bytes.
LENGTH = struct.Struct("<Q")


def main() -> None:
    """Answer one request; the process is ended by its parent, or ends when the parent is gone."""
    # Loaders and native libraries may print: what they print must not get between the bytes of the answer.
    with os.fdopen(os.dup(1), "wb") as answers:
        os.dup2(2, 1)
        requests = sys.stdin.buffer
        request = json.loads(_part(requests))
        content = _part(requests)
        threading.Thread(target=_end_with_parent, args=(requests.fileno(),), daemon=True).start()
        limits = request["limits"]
        confine(
            memory_bytes=limits["memory_bytes"],
            cpu_s=limits["cpu_s"],
            file_bytes=limits["log_bytes"],
            open_files=limits["open_files"],
        )
        try:
            answer = _answer(request, content)
        except MemoryError:
            os._exit(OUT_OF_MEMORY)
        answers.write(LENGTH.pack(len(answer)))
        answers.write(answer)
    # Not through the interpreter's end: native libraries that were confused by the document may hang or crash there.
    os._exit(0)


def _part(requests: IO[bytes]) -> bytes:
    """Read one part of the request, behind its length."""
    (size,) = LENGTH.unpack(requests.read(LENGTH.size))
    return requests.read(size)


def _end_with_parent(requests: int) -> None:
    """Wait for the end of the input, which comes when the parent is gone, and end this process with it."""
    with contextlib.suppress(OSError):
        os.read(requests, 1)
    os._exit(1)


def _answer(request: dict[str, Any], content: bytes) -> bytes:
    """Call the loader and return what it made or the error that it raised."""
    module, _, function = request["load"].partition(":")
    load = getattr(importlib.import_module(module), function)
    try:
        return json.dumps(_fields(load(content, request["name"], request["password"]))).encode()
    except BookError as error:
        fields = {"error": type(error).__name__, "message": error.message, "hint": error.hint}
        return json.dumps(fields).encode()


def _fields(document: Document) -> dict[str, Any]:
    """Return a document as lists and strings."""
    return {
        "title": document.title,
        "text": document.text,
        "sections": [[section.title, section.start, section.end, section.level] for section in document.sections],
        "kind": document.kind,
        "author": document.author,
        "language": document.language,
        "notes": [[note] for note in document.notes],
        "pages": [[page.label, page.start] for page in document.pages],
    }


if __name__ == "__main__":
    main()

"""Choose the loader for a file by what it holds, or say by name why it cannot be opened.

A new format is one more `Loader` in `LOADERS`. Its `load` imports what it needs when it is called.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import PurePath

from cagchat.documents.document import Document
from cagchat.documents.encoding import mark_of, unmarked_utf16
from cagchat.documents.kinds import Kind, recognise
from cagchat.errors import BookError


def never(content: bytes) -> bool:
    """Recognise nothing: the format has no signature, its suffix alone tells."""
    return False


@dataclass(frozen=True, slots=True)
class Loader:
    """One format: `recognises` looks at the bytes and must be certain; `suffixes` are lower case, with their dot.

    `load` takes the content and the file's path, and returns a document whose `kind` is `name`.
    """

    name: str
    suffixes: tuple[str, ...]
    load: Callable[[bytes, str], Document]
    recognises: Callable[[bytes], bool] = never


def _load_text(content: bytes, name: str) -> Document:
    """Load plain text."""
    from cagchat.documents.text import load_text  # 15 ms of patterns for headings

    return load_text(content, name)


def _load_markdown(content: bytes, name: str) -> Document:
    """Load Markdown."""
    from cagchat.documents.markdown import load_markdown  # 5 ms

    return load_markdown(content, name)


PLAIN = Loader("text", (".txt", ".text", ".asc"), _load_text)
LOADERS = (
    Loader("markdown", (".md", ".markdown", ".mdown", ".mkd"), _load_markdown),
    PLAIN,
)

# Escape and backspace colour and underline terminal output that was saved.
_CONTROLS = bytes(set(range(32)) - set(b"\t\n\v\f\r\x08\x1b\x1a")) + b"\x7f"
_MOST_NULS = 0.001
_MOST_CONTROLS = 0.02


def parse(content: bytes, name: str, loaders: tuple[Loader, ...] = LOADERS) -> Document:
    """Return the document in `content`; `name` is its path, for suffix, title and messages.

    Raises `BookError` for formats that no loader takes, for binary files and for files without text.
    """
    for loader in loaders:
        if loader.recognises(content):
            return loader.load(content, name)
    if kind := recognise(content):
        raise _unsupported(kind, name)
    if is_binary(content):
        raise BookError(f"{name} is not text: it is full of control characters.", "Give a text or Markdown file.")
    suffix = PurePath(name).suffix.lower()
    for loader in loaders:
        if suffix in loader.suffixes:
            return loader.load(content, name)
    return PLAIN.load(content, name)


def is_binary(content: bytes) -> bool:
    """Tell whether the bytes have more control characters than any text, in an encoding of 8 bits or of 16."""
    if mark_of(content) or unmarked_utf16(content):
        return False
    controls = len(content) - len(content.translate(None, _CONTROLS))
    return content.count(0) > _MOST_NULS * len(content) or controls > _MOST_CONTROLS * len(content)


def _unsupported(kind: Kind, name: str) -> BookError:
    """Describe a format that was recognised, with the command that makes a text file of it."""
    message = f"{name} is {kind.name}, which cannot be opened."
    if not kind.command:
        return BookError(message, "Give a text or Markdown file.")
    source, target = shlex.quote(name), shlex.quote(str(PurePath(name).with_suffix(".txt")))
    return BookError(message, f"Convert it first: `{kind.command.format(source=source, target=target)}`.")

"""Turn a file into a `Document`: read the bytes, recognise the kind, decode, clean, find the chapters."""

from __future__ import annotations

from pathlib import Path

from cagchat.documents.document import Document, Section
from cagchat.documents.registry import parse
from cagchat.documents.source import read

__all__ = ["Document", "Section", "load", "parse", "read"]


def load(path: Path) -> Document:
    """Read the book at `path`. Raises `BookError` with one sentence and a hint when it cannot be used."""
    return parse(read(path), str(path))

"""Turn a book's files into a `Document`: read the bytes, recognise the kind, decode, clean, find the chapters.

gather    paths, a folder or stdin -> Source: the bytes, and a fingerprint by which a book is known again
compose   Source -> Document: each file by its loader, several files as parts of one book
"""

from __future__ import annotations

from pathlib import Path

from cagchat.documents.document import Document, Page, Section
from cagchat.documents.gathering import gather
from cagchat.documents.registry import parse
from cagchat.documents.source import Source, read
from cagchat.documents.volumes import compose

__all__ = ["Document", "Page", "Section", "Source", "compose", "gather", "load", "parse", "read"]


def load(*names: str | Path, password: str = "") -> Document:
    """Read one book. Raises `BookError` with one sentence and a hint when it cannot be used."""
    return compose(gather(names), password)

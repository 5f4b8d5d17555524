"""Read EPUB 2 and 3: from the ZIP archive to a `Document` in the order in which the book is read."""

from __future__ import annotations

from cagchat.documents.epub.book import KIND, load_epub

__all__ = ["KIND", "load_epub"]

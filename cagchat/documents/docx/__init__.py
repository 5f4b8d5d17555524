"""Read Word documents (.docx): the parts of the package, their XML made plain, the notes where they are read."""

from __future__ import annotations

from cagchat.documents.docx.book import KIND, load_docx

__all__ = ["KIND", "load_docx"]

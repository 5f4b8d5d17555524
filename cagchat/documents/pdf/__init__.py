"""PDF: the only text format that knows where ink stands, not what it means; lines, columns and paragraphs are inferred.

    pdfium.py     the native library: spans of text with their boxes, outline, labels, metadata
    running.py    takes off running heads and page numbers
    layout.py     puts spans into lines and lines into reading order
    reflow.py     joins lines into paragraphs, mends hyphens
    chapters.py   finds where the chapters of an outline, or headings in large type, stand in the text
    loader.py     makes the `Document`

PDFium is native code that meets hostile files: `documents.sandbox` runs this in a process of its own.
"""

from __future__ import annotations

from cagchat.documents.pdf.loader import load_pdf

__all__ = ["load_pdf"]

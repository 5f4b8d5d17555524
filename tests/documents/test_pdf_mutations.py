"""Damaged PDFs: a document or one error comes out, whatever is broken."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cagchat.documents.sandbox import Limits, apart
from tests.documents.pdf_files import Ink, Sheet, column, pdf, real_pdfs, sheet, wrapped

ROOT = Path(__file__).resolve().parents[2]
ENVIRON = {**os.environ, "PYTHONPATH": str(ROOT)}
TEXT = "The keeper climbed the tower before the lamps of the harbour were lit, and counted every step aloud. " * 6
OURS = {
    "outline": pdf([sheet(TEXT), sheet(TEXT)], outline=[(1, "One", 0), (2, "Two", 1)], labels="0 << /S /r >>"),
    "columns": pdf(
        [Sheet((*column(wrapped(TEXT, 30)), *column(wrapped(TEXT, 30), x=330), Ink(300, 760, "1", turn=90)))]
    ),
    "locked": pdf([sheet(TEXT)], password="kettle"),
}


def outcomes(content: bytes, seed: int, count: int, password: str = "") -> str:
    """Return "N read, M refused" for so many mutations, loaded in a process of their own."""
    return apart(
        "tests.documents.pdf_mutations:survive",
        content,
        f"{seed}:{count}",
        password,
        limits=Limits(cpu_s=100),
        environ=ENVIRON,
    ).text


@pytest.mark.parametrize("kind", OURS)
def test_mutations_of_our_own_files_end_in_a_document_or_an_error(kind: str) -> None:
    """Nothing but a `BookError` comes out of a broken file, and the process lives on."""
    found = outcomes(OURS[kind], 0, 150, "kettle" if kind == "locked" else "")
    print(kind, found, end="")
    assert "read" in found


@pytest.mark.parametrize("path", [path for path in real_pdfs() if path.stat().st_size < 100_000], ids=lambda p: p.stem)
def test_mutations_of_real_files_end_in_a_document_or_an_error(path: Path) -> None:
    """The same holds for files that none of us wrote."""
    found = outcomes(path.read_bytes(), 0, 40, "openpassword" if "password" in path.stem else "")
    print(path.stem, found, end="")
    assert "read" in found

"""The bench of loading, and the books that are made for it."""

from __future__ import annotations

from itertools import count
from pathlib import Path

import pytest

from cagchat import documents
from cagchat.bench import documents as bench_documents
from cagchat.bench.made_books import made_epub, made_pdf, made_text
from cagchat.bench.tables import Figure
from cagchat.bench.workbench import Workbench
from cagchat.settings import Settings


def test_every_file_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each row has the size, the text's length and a time for every run."""
    for name, value in {
        "NOVEL_CHARACTERS": 9000,
        "NOVEL_CHAPTERS": 3,
        "TALE_CHARACTERS": 6000,
        "TALE_CHAPTERS": 2,
    }.items():
        monkeypatch.setattr(bench_documents, name, value)
    monkeypatch.setattr(bench_documents, "PDF_PAGES", 2)
    book = tmp_path / "book.txt"
    book.write_text("Words.\n")
    ticks = count()
    bench = Workbench(tmp_path, Settings(), book, 2, (), print)
    table = bench_documents.measure(bench, timer=lambda: float(next(ticks)))
    assert [row["file"] for row in table.rows][1:] == ["PDF of 2 pages", "EPUB as long as Moby-Dick", "book.txt"]
    for row in table.rows:
        assert row["load"] == Figure(1.0, 1.0, (1.0, 1.0))
    assert (table.rows[-1]["size"], table.rows[-1]["characters"]) == (7, 7)


def test_made_books_have_their_length() -> None:
    """The text is as long as it was wished, within a paragraph for each chapter."""
    text = made_text(100_000, 10).decode()
    assert 100_000 <= len(text) < 115_000
    assert len(documents.parse(text.encode(), "novel.txt").sections) == 10


def test_made_epub_has_its_chapters() -> None:
    """Every chapter of the table of contents is found with its words."""
    document = documents.parse(made_epub(20_000, 5), "tale.epub")
    assert [section.title for section in document.sections] == [f"Chapter {number}" for number in range(1, 6)]
    assert len(document.text) >= 20_000


def test_made_pdf_has_its_pages() -> None:
    """Every page is found, without its running head."""
    document = documents.parse(made_pdf(8), "manual.pdf")
    assert [page.label for page in document.pages] == list("12345678")
    assert document.text.count("The Keeper of the Light") <= 1


def test_made_books_are_the_same_every_time() -> None:
    """Two runs measure the same bytes."""
    assert made_text(9000, 3) == made_text(9000, 3)
    assert made_pdf(2) == made_pdf(2)

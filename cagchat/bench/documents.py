"""How long a book takes from its file to its text: made files of known lengths, and the book that was given."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from cagchat import documents
from cagchat.bench.made_books import made_epub, made_pdf, made_text
from cagchat.bench.tables import Cell, Column, Table, least, of_how_many
from cagchat.bench.workbench import Workbench
from cagchat.files import private_folder, write_bytes

# As long as War and Peace, and as Moby-Dick; a technical book.
NOVEL_CHARACTERS, NOVEL_CHAPTERS = 3_200_000, 365
TALE_CHARACTERS, TALE_CHAPTERS = 1_200_000, 135
PDF_PAGES = 400

_COLUMNS = (
    Column("file", "file"),
    Column("size", "size", "bytes"),
    Column("characters", "characters of text", "count"),
    Column("sections", "sections", "count"),
    Column("load", "from file to text", "seconds"),
)


def measure(bench: Workbench, timer: Callable[[], float] = time.perf_counter) -> Table:
    """Load each file as opening does, the tokenizer left out; formats that work in a process of their own start it."""
    folder = private_folder(bench.home / "documents")
    made = {
        "text as long as War and Peace": ("novel.txt", made_text(NOVEL_CHARACTERS, NOVEL_CHAPTERS)),
        f"PDF of {PDF_PAGES} pages": ("manual.pdf", made_pdf(PDF_PAGES)),
        "EPUB as long as Moby-Dick": ("tale.epub", made_epub(TALE_CHARACTERS, TALE_CHAPTERS)),
    }
    rows = []
    for what, (name, content) in made.items():
        write_bytes(folder / name, content)
        rows.append(_row(what, folder / name, bench.repeat, timer))
    rows.append(_row(bench.book.name, bench.book, bench.repeat, timer))
    return Table("documents", "From a file to its text", _COLUMNS, tuple(rows), of_how_many(_COLUMNS, rows))


def _row(what: str, path: Path, repeat: int, timer: Callable[[], float]) -> dict[str, Cell]:
    runs = []
    for _ in range(repeat):
        begin = timer()
        document = documents.load(path)
        runs.append(timer() - begin)
    return {
        "file": what,
        "size": documents.gather([path]).size_bytes,
        "characters": len(document.text),
        "sections": len(document.sections),
        "load": least(runs),
    }

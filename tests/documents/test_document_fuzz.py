"""Damaged files of every kind: what comes out is a document whose sections tile it, or a `BookError`."""

from __future__ import annotations

import re
from importlib import import_module
from itertools import pairwise
from pathlib import Path

import pytest

from cagchat.documents.document import Document
from cagchat.documents.registry import parse
from cagchat.errors import BookError
from tests.documents.document_mutations import BOOKS, mutations, unzipped, zipped

REAL = Path(__file__).resolve().parents[3] / "shared" / "documents"
# Loaders that are plain Python and libxml2 are called here, hundreds of times a second; PDFium stays in its process.
TRIED = dict.fromkeys(BOOKS, 150) | {"book.pdf": 12}
TRIED_REAL, TRIED_REAL_PDF = 6, 2
MOST_REAL_BYTES = 2 << 20
# A defect inside the other process arrives as an error too, but with the exception's name.
DEFECT = re.compile(r"failed: \w*(Error|Exception|Warning|Iteration)\b")


def here(load: str, content: bytes, name: str, password: str = "") -> Document:
    """Call a loader in this process, so that a defect in it is not taken for a damaged file."""
    module, _, function = load.partition(":")
    document = getattr(import_module(module), function)(content, name, password)
    assert isinstance(document, Document)
    return document


def tried(content: bytes, name: str, count: int, seed: int, monkeypatch: pytest.MonkeyPatch) -> tuple[int, int]:
    """Return how many damaged copies became documents and how many were refused."""
    if not name.endswith(".pdf"):
        monkeypatch.setattr("cagchat.documents.sandbox.apart", here)
    outcomes = [outcome(mutation, name) for mutation in mutations(content, count, seed)]
    for found in outcomes:
        check(found)
    refused = sum(isinstance(found, BookError) for found in outcomes)
    return count - refused, refused


def outcome(content: bytes, name: str) -> Document | BookError:
    """Return the document in a file, or why there is none."""
    try:
        return parse(content, name)
    except BookError as error:
        return error


def check(found: Document | BookError) -> None:
    """Check what every document and every refusal promises."""
    if isinstance(found, BookError):
        assert found.message.endswith("."), found.message
        assert found.hint, found.message
        assert not DEFECT.search(found.message), found.message
        return
    bounds = [0, *(section.end for section in found.sections)]
    assert [section.start for section in found.sections] == bounds[:-1]
    assert bounds[-1] == len(found.text) > 0
    starts = [page.start for page in found.pages]
    assert all(before <= after for before, after in pairwise([0, *starts, len(found.text)]))
    assert "\r" not in found.text
    assert "\0" not in found.text
    found.text.encode()


def cases() -> list[tuple[str, bytes, int]]:
    """Return names, contents and how many copies are damaged: our small books, and real files where there are some."""
    found = [(name, content, TRIED[name]) for name, content in BOOKS.items()]
    for path in sorted(path for path in REAL.glob("*.*") if path.suffix != ".md"):
        if path.stat().st_size < MOST_REAL_BYTES:
            found.append((path.name, path.read_bytes(), TRIED_REAL_PDF if path.suffix == ".pdf" else TRIED_REAL))
    return found


@pytest.mark.parametrize("name", BOOKS)
def test_whole_books_are_opened(name: str) -> None:
    """What is damaged below can be read undamaged."""
    check(parse(BOOKS[name], name))


@pytest.mark.parametrize(("name", "content", "count"), [pytest.param(*case, id=case[0]) for case in cases()])
def test_damaged_books_are_opened_or_refused(
    name: str, content: bytes, count: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing but a document or a `BookError` comes of a damaged file."""
    opened, refused = tried(content, name, count, 1, monkeypatch)
    with capsys.disabled():
        print(f"\n{name}: {opened} opened, {refused} refused", end=" ")
    assert opened + refused == count


@pytest.mark.parametrize(
    ("name", "member", "before", "after"),
    [
        # libxml2 makes half a character of it, which no string can hold.
        pytest.param("book.docx", "word/styles.xml", b'"Heading1"', b'"&#xD800;"', id="docx-half-a-character"),
        pytest.param("book.docx", "word/styles.xml", b"w:style ", b"w:style x='&#56000;' ", id="docx-half-in-decimal"),
        pytest.param("book.epub", "toc.ncx", b'src="', b'src="&#xDFFF;', id="epub-half-a-character"),
        pytest.param("book.epub", "book.opf", b"opf", b"opf&#xdbff;", id="epub-half-in-a-namespace"),
        pytest.param("book.epub", "chapter-1.xhtml", b"<p>", b"<p id='&#xD800;'>&#xD800;", id="epub-half-in-a-page"),
        pytest.param("book.html", "", b"id=a", b"id='&#xD800;'", id="html-half-a-character"),
    ],
)
def test_what_broke_a_loader_once(
    name: str, member: str, before: bytes, after: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Damage that fuzzing found is a document or a refusal."""
    monkeypatch.setattr("cagchat.documents.sandbox.apart", here)
    content = BOOKS[name]
    if member:
        members = unzipped(content)
        assert before in members[member]
        content = zipped({**members, member: members[member].replace(before, after)})
    else:
        content = content.replace(before, after)
    check(outcome(content, name))


@pytest.mark.parametrize("name", BOOKS)
def test_the_same_bytes_give_the_same_document(name: str) -> None:
    """A book is known by its digest, so nothing about it may change between two readings."""
    assert parse(BOOKS[name], name) == parse(BOOKS[name], name)


@pytest.mark.parametrize("name", [name for name in BOOKS if name not in ("book.txt", "book.md")])
def test_the_name_does_not_hide_the_format(name: str) -> None:
    """Every format is known by its bytes under the suffix of another."""
    other = parse(BOOKS[name], "book.txt")
    assert (other.text, other.kind) == (parse(BOOKS[name], name).text, name.partition(".")[2])


@pytest.mark.parametrize("name", BOOKS)
def test_a_cut_file_is_never_a_defect(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A download that ended early, after any part of the file, is a document or a refusal."""
    content, steps = BOOKS[name], 6
    if name != "book.pdf":
        monkeypatch.setattr("cagchat.documents.sandbox.apart", here)
        steps = 60
    for step in range(steps):
        check(outcome(content[: 1 + step * len(content) // steps], name))

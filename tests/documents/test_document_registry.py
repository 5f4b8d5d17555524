"""Which loader takes a file, and which files none takes."""

from __future__ import annotations

import io
import os
import sys
import zipfile
from importlib import import_module
from inspect import signature
from subprocess import run

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cagchat.documents.registry import LOADERS, Loader, chosen, parse
from cagchat.errors import BookError
from tests.documents.invented_text import prose
from tests.documents.test_kinds import archive


def refusal(content: bytes, name: str) -> BookError:
    """Return the error that parsing raises."""
    with pytest.raises(BookError) as caught:
        parse(content, name)
    return caught.value


@pytest.mark.parametrize(
    ("name", "kind"), [("book.txt", "text"), ("book.MD", "markdown"), ("book", "text"), ("book.md.txt", "text")]
)
def test_the_suffix_chooses_among_texts(name: str, kind: str) -> None:
    """Markdown is known by its suffix; everything else that is text is plain."""
    assert parse(prose().encode(), name).kind == kind


@pytest.mark.parametrize("name", ["page.html", "page.txt", "page"])
def test_content_comes_before_the_suffix(name: str) -> None:
    """A page of HTML is one, whatever it is called."""
    assert chosen(b"<!doctype html><title>T</title><p>Hello", name).name == "html"


@pytest.mark.parametrize(
    ("content", "name", "loader"),
    [
        (b"<p>A part of a page.</p>", "part.htm", "html"),
        (b"<p>A part of a page.</p>", "part.xhtml", "html"),
        (b"<p>A part of a page.</p>", "part.txt", "text"),
        (b"Words.", "book.epub", "text"),
        (b"Words.", "book.PDF", "text"),
        (b"%PDF-1.7\n\0\xff", "book.txt", "pdf"),
        (archive("META-INF/container.xml"), "book.zip", "epub"),
        (archive("word/document.xml"), "letter", "docx"),
    ],
)
def test_each_format_has_its_loader(content: bytes, name: str, loader: str) -> None:
    """Bytes that are certain decide; where they are text, the suffix does."""
    assert chosen(content, name).name == loader


@pytest.mark.parametrize("loader", LOADERS, ids=lambda loader: loader.name)
def test_every_loader_is_there(loader: Loader) -> None:
    """A loader's function can be imported, and takes content, name and password."""
    module, _, function = loader.target.partition(":")
    assert list(signature(getattr(import_module(module), function)).parameters) == ["content", "name", "password"]


def test_a_wrong_suffix_is_told() -> None:
    """A file that is something else than it is called is opened, and a note says so."""
    assert parse(prose().encode(), "book.pdf").notes == ("The file is called .pdf, but it is plain text.",)


def test_a_suffix_of_no_format_is_not_wrong() -> None:
    """A name that promises no format cannot lie."""
    assert parse(prose().encode(), "book.v2").notes == ()


def test_a_kindle_book_is_refused_with_the_command_that_converts_it() -> None:
    """The message names the format, the hint the whole command with the file's own name."""
    error = refusal(b"Book" + b"\0" * 56 + b"BOOKMOBI", "my books/tower.azw3")
    assert error.message == "my books/tower.azw3 is a Kindle book, which cannot be opened."
    assert error.hint == "Convert it first: `ebook-convert 'my books/tower.azw3' 'my books/tower.epub'`."


def test_an_archive_is_refused_with_the_command_that_unpacks_it() -> None:
    """A book inside a ZIP archive is not looked for, not even when it is the only member."""
    error = refusal(archive("tower.epub"), "tower.zip")
    assert error.message == "tower.zip is a ZIP archive, which cannot be opened."
    assert error.hint == "Unpack it first: `unzip tower.zip`."


def test_an_archive_with_a_stored_book_is_no_book() -> None:
    """The signature of a book that lies inside an archive uncompressed is not the archive's."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as file:
        file.writestr("tower.epub", archive("mimetype", "META-INF/container.xml"))
    assert "a ZIP archive" in refusal(buffer.getvalue(), "tower.zip").message


@pytest.mark.parametrize(("suffix", "name"), [(".pdf", "a PDF"), (".epub", "an EPUB book"), (".mobi", "a Kindle book")])
def test_a_damaged_file_is_called_by_its_suffix(suffix: str, name: str) -> None:
    """Bytes that are nothing known are said to be no such book, with what to do."""
    error = refusal(b"\0\1\2\3" * 100, f"book{suffix}")
    assert f"does not begin like {name}" in error.message
    assert error.hint.startswith("Get the file again")


def test_an_office_document_with_a_password_is_named() -> None:
    """What protects a DOCX hides that it is one; the hint says how to take it off."""
    content = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 1000 + "EncryptedPackage".encode("utf-16-le")
    error = refusal(content, "letter.docx")
    assert error.message == "letter.docx is an Office document with a password, which cannot be opened."
    assert "without the password" in error.hint


def test_a_text_that_no_model_holds_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bound on text is in the message, the way to cut it in the hint."""
    monkeypatch.setattr("cagchat.documents.registry.MAX_TEXT_BYTES", 1 << 20)
    error = refusal(b"x" * ((1 << 20) + 1), "dump.txt")
    assert error.message == "dump.txt is a text of more than 1 MiB, which no model can hold."
    assert "split" in error.hint


def test_a_large_text_is_the_same_from_another_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a text is loaded makes no difference to the document."""
    here = parse(prose(60_000).encode(), "book.txt")
    monkeypatch.setattr("cagchat.documents.registry._LARGE_BYTES", 1000)
    assert parse(prose(60_000).encode(), "book.txt") == here


def test_a_model_is_refused_without_a_command() -> None:
    """What cannot become text has a hint all the same."""
    assert refusal(b"GGUF\x03\0\0\0", "model.gguf").hint == "Give an EPUB, PDF, DOCX, HTML, Markdown or text file."


@pytest.mark.parametrize("content", [b"abc\0def", bytes(range(256)) * 20, b"\x01\x02\x03 text"])
def test_binary_files_are_refused(content: bytes) -> None:
    """NULs and many control characters are no text."""
    assert "is not text" in refusal(content, "book.txt").message


def test_one_stray_control_in_a_book_is_dropped() -> None:
    """A NUL that slipped into a long text does not make it binary."""
    text = prose(5000)
    assert parse(b"\0" + text.encode(), "book.txt").text == text.strip("\n") + "\n"


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_wide_text_is_not_binary(encoding: str) -> None:
    """The NULs of UTF-16 and UTF-32 are part of the letters."""
    assert parse(prose().encode(encoding), "book.txt").text == prose().strip("\n") + "\n"


@pytest.mark.parametrize("name", ["book.txt", "book.md"])
def test_blanks_alone_are_refused(name: str) -> None:
    """A file of spaces and line ends holds no book."""
    assert "holds no text" in refusal(b" \r\n\t\n", name).message


@given(st.binary(min_size=1, max_size=400), st.sampled_from(["a.txt", "a.md", "a.epub"]))
def test_any_bytes_give_a_document_or_a_refusal(content: bytes, name: str) -> None:
    """Whatever is given, the answer is a document whose sections tile it, or an error that names the file."""
    try:
        document = parse(content, name)
    except BookError as error:
        said = error.message
    else:
        said = name
        assert "".join(document.text[part.start : part.end] for part in document.sections) == document.text
    assert said.startswith(name)


def test_importing_the_package_loads_nothing_heavy() -> None:
    """The encoding detector is imported when it is needed and no sooner."""
    code = "import sys, cagchat.documents; print('charset_normalizer' in sys.modules)"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    result = run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert result.stdout == "False\n"

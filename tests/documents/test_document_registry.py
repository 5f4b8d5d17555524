"""Which loader takes a file, and which files none takes."""

from __future__ import annotations

import os
import sys
from subprocess import run

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cagchat.documents.document import Document, Section
from cagchat.documents.registry import LOADERS, Loader, parse
from cagchat.errors import BookError
from tests.documents.invented_text import prose


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


def test_content_comes_before_the_suffix() -> None:
    """A loader that recognises the bytes gets them, whatever the file is called."""

    def load(content: bytes, name: str) -> Document:
        return Document(name, "x", (Section("", 0, 1),), "invented")

    loader = Loader("invented", (".inv",), load, lambda content: content.startswith(b"INVENTED"))
    assert parse(b"INVENTED\0\0", "book.txt", (*LOADERS, loader)).kind == "invented"


def test_a_pdf_is_refused_with_the_command_that_converts_it() -> None:
    """The message names the format, the hint the whole command with the file's own name."""
    error = refusal(b"%PDF-1.7\n\0\xff", "my books/tower.pdf")
    assert error.message == "my books/tower.pdf is a PDF, which cannot be opened."
    assert error.hint == "Convert it first: `pdftotext -layout 'my books/tower.pdf' 'my books/tower.txt'`."


def test_an_html_page_is_refused_by_name() -> None:
    """A saved web page has the wrong text in it, although it is text."""
    assert "an HTML page" in refusal(b"<!doctype html><p>Hello", "page.txt").message


def test_a_model_is_refused_without_a_command() -> None:
    """What cannot become text has a hint all the same."""
    assert refusal(b"GGUF\x03\0\0\0", "model.gguf").hint == "Give a text or Markdown file."


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

"""Formats by their first bytes."""

from __future__ import annotations

import io
import zipfile

import pytest

from cagchat.documents import kinds
from cagchat.documents.kinds import recognise


def archive(*members: str) -> bytes:
    """Return a ZIP archive whose members hold their own names."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for member in members:
            file.writestr(member, "application/epub+zip" if member == "mimetype" else member)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (archive("mimetype", "META-INF/container.xml"), "an EPUB book"),
        (archive("[Content_Types].xml", "word/document.xml"), "a Word document"),
        (archive("[Content_Types].xml", "xl/workbook.xml"), "a spreadsheet"),
        (archive("[Content_Types].xml", "ppt/presentation.xml"), "a slide show"),
        (archive("book.opf", "text.html"), "an EPUB book"),
        (archive("Index/Document.iwa"), "a Pages document"),
        (archive("notes.txt"), "a ZIP archive"),
        (archive("password/word.txt"), "a ZIP archive"),
        (archive("many", *map(str, range(3000)), "META-INF/container.xml"), "an EPUB book"),
        (archive(), "a ZIP archive"),
        (archive("notes.txt", "word/document.xml")[:150], "a Word document"),
        (b"%PDF-1.7\n%\xe2\xe3", "a PDF"),
        (b"\xef\xbb\xbf\r\n%PDF-1.4", "a PDF"),
        (b"{\\rtf1\\ansi", "an RTF document"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1\0\0", "an old Office document"),
        (b"Book" + b"\0" * 56 + b"BOOKMOBI", "a Kindle book"),
        (b"AT&TFORM\0\0", "a DjVu book"),
        (b"HTTP/1.1 200 OK\r\n%PDF-1.4\n1 0 obj <<>> endobj", "a PDF"),
        (b"\n <!DOCTYPE html>\n<html>", "an HTML page"),
        (b"<!-- saved from a site -->\n<HTML lang=en>", "an HTML page"),
        (b'<?xml version="1.0"?>\n<!DOCTYPE html PUBLIC "x" "y">\n<html>', "an HTML page"),
        ("\ufeff<!doctype html><p>é".encode("utf-16-le"), "an HTML page"),
        (b"From: a\r\nContent-Type: multipart/related;\r\n boundary=x\r\n", "a web archive"),
        (b'<?xml version="1.0"?>\n<FictionBook>', "a FictionBook"),
        (b"\x1f\x8b\x08\0", "a gzip file"),
        (b"\x89PNG\r\n\x1a\n\0", "an image"),
        (b"\xff\xd8\xff\xe0", "an image"),
        (b"RIFF\0\0\0\0WEBP", "an image"),
        (b"\0\0\0\x20ftypisom", "a film"),
        (b"ID3\x04\0", "a sound recording"),
        (b"\x7fELF\x02", "a program"),
        (b"MZ\x90\0", "a program"),
        (b"GGUF\x03\0\0\0", "a language model (GGUF)"),
        (b"x" * 257 + b"ustar", "a tar archive"),
    ],
)
def test_formats_are_named(content: bytes, name: str) -> None:
    """Each signature gives the format's name."""
    kind = recognise(content)
    assert kind is not None
    assert kind.name == name


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"Plain text.",
        b"GGUF is a format.",
        b"ID3 tags",
        b"BM and MZ",
        b"MZ",
        b"<p align=center>A readme</p>",
        b"<!-- a comment -->\n# A readme",
        b"How to write <html> by hand",
        b"A file begins with\n%PDF-1.7 when it is a PDF.",
        b"RIFF",
    ],
)
def test_text_is_not_taken_for_a_format(content: bytes) -> None:
    """Words that are also signatures are text."""
    assert recognise(content) is None


def test_loaders_can_compare_kinds() -> None:
    """A format is one value, so that a loader can ask for it."""
    assert recognise(archive("mimetype")) is kinds.EPUB

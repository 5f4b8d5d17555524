"""Make books of a wanted length as text, EPUB and PDF: the same bytes every time, in words that mean nothing."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from random import Random

_LINES_A_PAGE, _LINE_CHARACTERS, _PARAGRAPH_SENTENCES = 40, 72, 8
_WORDS = tuple(
    """
    a and at before bell boat by called came down evening every found from gate grey had harbour her house in island
    keeper lamp letter light like long made morning never night no of off old on one out over rain sea she ship slowly
    stairs stone storm that the their then there they to tower under until voice was water went when wind window with
    """.split()  # noqa: SIM905 - prose is read more easily than a list
)
_CONTAINER = (
    '<?xml version="1.0"?>\n<container version="1.0" xmlns="urn:oasis:names:tc:opendocument:xmlns:container">'
    '<rootfiles><rootfile full-path="book.opf" media-type="application/oebps-package+xml"/></rootfiles></container>'
)
_PACKAGE = (
    '<?xml version="1.0"?>\n<package xmlns="http://www.idpf.org/2007/opf" version="2.0" unique-identifier="id">'
    '<metadata xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:title>A Tale of the Light</dc:title>'
    '<dc:language>en</dc:language><dc:identifier id="id">tale</dc:identifier></metadata><manifest>{items}'
    '<item id="ncx" href="toc.ncx" media-type="application/x-dtbncx+xml"/></manifest><spine toc="ncx">{spine}</spine>'
    "</package>"
)
_CONTENTS = (
    '<?xml version="1.0"?>\n<ncx xmlns="http://www.daisy.org/z3986/2005/ncx/" version="2005-1">'
    "<navMap>{points}</navMap></ncx>"
)
_CHAPTER = (
    '<?xml version="1.0" encoding="utf-8"?>\n<html xmlns="http://www.w3.org/1999/xhtml"><head><title>Chapter {number}'
    "</title></head><body><h2>Chapter {number}</h2>\n{body}</body></html>"
)


def made_text(characters: int, chapters: int, seed: int = 1) -> bytes:
    """Return a plain text with numbered chapters and about so many characters."""
    parts = [
        f"CHAPTER {number}\n\n" + "\n\n".join(_filled(paragraph) for paragraph in paragraphs)
        for number, paragraphs in _chapters(characters, chapters, seed)
    ]
    return "\n\n\n".join(parts).encode()


def made_epub(characters: int, chapters: int, seed: int = 2) -> bytes:
    """Return an EPUB 2 with a file and an entry in its table of contents for each chapter."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("mimetype", "application/epub+zip", zipfile.ZIP_STORED)
        archive.writestr("META-INF/container.xml", _CONTAINER)
        items, spine, points = [], [], []
        for number, paragraphs in _chapters(characters, chapters, seed):
            name = f"chapter-{number}.xhtml"
            body = "".join(f"<p>{paragraph}</p>\n" for paragraph in paragraphs)
            archive.writestr(name, _CHAPTER.format(number=number, body=body))
            items.append(f'<item id="c{number}" href="{name}" media-type="application/xhtml+xml"/>')
            spine.append(f'<itemref idref="c{number}"/>')
            points.append(
                f'<navPoint id="n{number}" playOrder="{number}"><navLabel><text>Chapter {number}</text></navLabel>'
                f'<content src="{name}"/></navPoint>'
            )
        archive.writestr("book.opf", _PACKAGE.format(items="".join(items), spine="".join(spine)))
        archive.writestr("toc.ncx", _CONTENTS.format(points="".join(points)))
    return content.getvalue()


def made_pdf(pages: int, seed: int = 3) -> bytes:
    """Return a PDF of full pages in one column, with a running head and page numbers."""
    random = Random(seed)
    kids = " ".join(f"{2 * page + 4} 0 R" for page in range(pages))
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Kids [{kids}] /Count {pages} >>".encode(),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Times-Roman >>",
    ]
    for page in range(pages):
        stream = _page_stream(page + 1, random)
        objects.append(
            b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Resources << /Font << /F 3 0 R >> >> "
            b"/Contents %d 0 R >>" % (2 * page + 5)
        )
        objects.append(b"<< /Length %d >>\nstream\n%s\nendstream" % (len(stream), stream))
    return _pdf(objects)


def _pdf(objects: list[bytes]) -> bytes:
    """Return a PDF of numbered objects, the first its catalogue."""
    content = bytearray(b"%PDF-1.4\n")
    places = []
    for number, body in enumerate(objects, start=1):
        places.append(len(content))
        content += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    start = len(content)
    content += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    content += b"".join(b"%010d 00000 n \n" % place for place in places)
    content += b"trailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (len(objects) + 1, start)
    return bytes(content)


def _page_stream(number: int, random: Random) -> bytes:
    """Return what draws one page."""
    lines = _filled(" ".join(_sentence(random) for _ in range(_LINES_A_PAGE))).split("\n")[:_LINES_A_PAGE]
    drawn = "".join(f"({line}) Tj T*\n" for line in lines)
    return (
        f"BT /F 9 Tf 72 800 Td (The Keeper of the Light) Tj ET\n"
        f"BT /F 11 Tf 72 770 Td 16 TL\n{drawn}ET\n"
        f"BT /F 9 Tf 290 40 Td ({number}) Tj ET"
    ).encode("latin-1")


def _chapters(characters: int, chapters: int, seed: int) -> Iterator[tuple[int, list[str]]]:
    """Yield the numbers of chapters with their paragraphs; the same seed gives the same words."""
    random = Random(seed)
    for number in range(1, chapters + 1):
        paragraphs: list[str] = []
        while sum(map(len, paragraphs)) < characters // chapters:
            paragraphs.append(" ".join(_sentence(random) for _ in range(_PARAGRAPH_SENTENCES)))
        yield number, paragraphs


def _sentence(random: Random) -> str:
    return " ".join(random.choices(_WORDS, k=random.randint(6, 18))).capitalize() + "."


def _filled(paragraph: str) -> str:
    """Return a paragraph in lines."""
    lines, line = [], ""
    for word in paragraph.split():
        if len(line) + len(word) >= _LINE_CHARACTERS:
            lines.append(line)
            line = word
        else:
            line = f"{line} {word}" if line else word
    return "\n".join([*lines, line])

"""EPUBs made in memory for tests, and the real ones where a folder of them stands beside the checkout."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

DOCUMENTS = Path(__file__).resolve().parents[3] / "shared" / "documents"

CONTAINER = (
    '<container xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><rootfiles>'
    '<rootfile full-path="OPS/package.opf" media-type="application/oebps-package+xml"/></rootfiles></container>'
)
SENTENCE = "The keeper climbed the tower before the lamps were lit."


def real_epubs() -> list[Path]:
    """Return the real EPUBs beside the checkout; none where there is no such folder."""
    return sorted(DOCUMENTS.glob("*.epub"))


def page(body: str, head: str = "") -> str:
    """Return an XHTML page."""
    return (
        '<?xml version="1.0" encoding="utf-8"?><html xmlns="http://www.w3.org/1999/xhtml" '
        f'xmlns:epub="http://www.idpf.org/2007/ops"><head><title>x</title>{head}</head><body>{body}</body></html>'
    )


def chapter(title: str, level: int = 1) -> str:
    """Return a page with a heading and a paragraph."""
    return page(f'<h{level} id="top">{title}</h{level}><p>{SENTENCE} This is {title}.</p>')


def nav(lines: str, more: str = "") -> str:
    """Return a navigation document around the list items of its table of contents."""
    return page(f'<nav epub:type="toc"><h1>Contents</h1><ol>{lines}</ol></nav>{more}')


def ncx(points: str, more: str = "") -> str:
    """Return an NCX around its points."""
    return f'<ncx xmlns="http://www.daisy.org/z3986/2005/ncx/"><navMap>{points}</navMap>{more}</ncx>'


def point(title: str, source: str, inner: str = "") -> str:
    """Return a point of an NCX."""
    return f'<navPoint><navLabel><text>{title}</text></navLabel><content src="{source}"/>{inner}</navPoint>'


@dataclass(frozen=True, slots=True)
class Epub:
    """An EPUB to be packed: pages by name, in the order in which they are read.

    `not_linear` names pages with linear="no"; `others` are further members by their whole path, `items` further lines
    of the manifest.
    """

    pages: Mapping[str, str | bytes]
    metadata: str = "<dc:title>The Keeper</dc:title><dc:creator>Ada Example</dc:creator><dc:language>en</dc:language>"
    nav: str = ""
    ncx: str = ""
    guide: str = ""
    not_linear: Sequence[str] = ()
    items: str = ""
    references: str = ""
    others: Mapping[str, str | bytes] = field(default_factory=dict)

    def package(self) -> str:
        """Return the package file."""
        items = "".join(
            f'<item id="p{index}" href="{name}" media-type="application/xhtml+xml"/>'
            for index, name in enumerate(self.pages)
        )
        if self.nav:
            items += '<item id="nav" href="nav.xhtml" media-type="application/xhtml+xml" properties="nav"/>'
        if self.ncx:
            items += '<item id="ncx" href="toc.ncx" media-type="application/x-dtbncx+xml"/>'
        references = "".join(
            f'<itemref idref="p{index}"' + (' linear="no"/>' if name in self.not_linear else "/>")
            for index, name in enumerate(self.pages)
        )
        return (
            '<?xml version="1.0"?><package xmlns="http://www.idpf.org/2007/opf" version="3.0">'
            f'<metadata xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:opf="http://www.idpf.org/2007/opf">'
            f"{self.metadata}</metadata><manifest>{items}{self.items}</manifest>"
            f'<spine toc="ncx">{references}{self.references}</spine><guide>{self.guide}</guide></package>'
        )

    def members(self) -> dict[str, str | bytes]:
        """Return the members of the archive."""
        members: dict[str, str | bytes] = {
            "mimetype": "application/epub+zip",
            "META-INF/container.xml": CONTAINER,
            "OPS/package.opf": self.package(),
        }
        members |= {f"OPS/{name}": content for name, content in self.pages.items()}
        members |= {"OPS/nav.xhtml": self.nav} if self.nav else {}
        members |= {"OPS/toc.ncx": self.ncx} if self.ncx else {}
        return members | dict(self.others)

    def packed(self) -> bytes:
        """Return the EPUB."""
        return pack(self.members())


def pack(members: Mapping[str, str | bytes]) -> bytes:
    """Return a ZIP archive; the same members always give the same bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members.items():
            file.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()

"""Make a `Document` of a Word document: parts, plain XML, HTML by mammoth, blocks, sections."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from xml.parsers.expat import ExpatError

import mammoth
from lxml import etree

from cagchat.documents.archive import Archive
from cagchat.documents.assembly import assemble
from cagchat.documents.document import Document
from cagchat.documents.docx.notes import with_notes_in_place
from cagchat.documents.docx.package import read_package
from cagchat.documents.docx.plain import HEADING_STYLE, make_plain
from cagchat.documents.docx.styles import read_styles
from cagchat.documents.gutenberg import unframe
from cagchat.documents.markup import blocks
from cagchat.documents.text import no_text
from cagchat.documents.titles import title_from_name
from cagchat.errors import BookError

KIND = "docx"

_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_ENCRYPTED = "EncryptedPackage".encode("utf-16-le")
_STYLE_MAP = "\n".join(f"p.{HEADING_STYLE.format(level=level)} => h{level}:fresh" for level in range(1, 7))
# What mammoth raises for documents that are not built as Word builds them; it has no error of its own.
_UNREADABLE = (
    KeyError,
    IndexError,
    AttributeError,
    TypeError,
    ValueError,
    OSError,
    RecursionError,
    ExpatError,
    zipfile.BadZipFile,
)


def load_docx(content: bytes, name: str, password: str = "") -> Document:
    """Return the document in a .docx file; `name` is the file's path, the last resort for a title.

    Raises `BookError` for a file that is damaged, locked or without text. `password` is what all loaders take; a
    locked document is refused with and without one.
    """
    _refuse_locked(content, name)
    package = read_package(Archive(content, name), name)
    styles = read_styles(package.parts.get("styles"))
    title = ""
    for role in ("document", "footnotes", "endnotes"):
        if role in package.parts:
            title = make_plain(package.parts[role], styles) or title
    whole = assemble(with_notes_in_place(blocks(_convert(package.parts, name))))
    framed = unframe(whole.text)
    if not framed.text.strip():
        raise no_text(name)
    book = whole.part(whole.text.find(framed.text.rstrip("\n")), framed.text) if framed.notes else whole
    return Document(
        title=framed.title or package.properties.title or title or title_from_name(name),
        text=book.text,
        sections=book.sections,
        kind=KIND,
        author=framed.author or package.properties.author,
        language=framed.language or package.properties.language or styles.language,
        notes=framed.notes,
    )


def _refuse_locked(content: bytes, name: str) -> None:
    """Raise `BookError` for what has the suffix of a Word document and is none that can be read."""
    if not content.startswith(_OLE):
        return
    if _ENCRYPTED in content:
        raise BookError(
            f"{name} is locked: Word has encrypted it with a password.",
            "Open it in Word or LibreOffice with its password and save it without one.",
        )
    raise BookError(
        f"{name} is an old Office document, not a .docx.",
        "Save it as .docx in Word or LibreOffice: `libreoffice --headless --convert-to docx FILE`.",
    )


def _convert(parts: Mapping[str, etree._Element], name: str) -> str:
    """Return the document as HTML. mammoth sees nothing but the parts that were made plain, under their usual names."""
    plain = io.BytesIO()
    with zipfile.ZipFile(plain, "w", zipfile.ZIP_STORED) as archive:
        for role, root in parts.items():
            # What the file itself declared was not expanded, and stays out.
            etree.strip_elements(root, etree.Entity, with_tail=False)
            archive.writestr(f"word/{role}.xml", etree.tostring(root, encoding="utf-8"))
    try:
        result = mammoth.convert_to_html(plain, style_map=_STYLE_MAP, include_embedded_style_map=False)
    except _UNREADABLE as error:
        raise BookError(
            f"{name} is damaged: its text is not put together as in a Word document.",
            "Open it in Word or LibreOffice and save it again as .docx.",
        ) from error
    return str(result.value)

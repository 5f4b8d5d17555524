"""Make a `Document` of a Word document: parts, plain XML, HTML by mammoth, blocks, sections."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Mapping, Sequence
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
from cagchat.documents.xml import descendants, local
from cagchat.errors import BookError

KIND = "docx"

_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_ENCRYPTED = "EncryptedPackage".encode("utf-16-le")
_STYLE_MAP = "\n".join(f"p.{HEADING_STYLE.format(level=level)} => h{level}:fresh" for level in range(1, 7))
# What mammoth says of what it leaves out: elements, and signs of fonts that have pictures for letters.
_IGNORED = re.compile(r"unrecognised element was ignored: (?:\{.*\}|[\w-]+:)?([\w.-]+)")
_SIGN = re.compile(r"w:sym element .* was ignored")
# Elements that stand for text which is kept elsewhere.
_ELSEWHERE = {"altChunk": "an inserted document", "subDoc": "a subdocument", "contentPart": "an inserted part"}
_MOST_NAMED = 5
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
    converted, messages = _convert(package.parts, name)
    whole = assemble(with_notes_in_place(blocks(converted)))
    framed = unframe(whole.text)
    if not framed.text.strip():
        raise no_text(name)
    book = whole.part(framed.start, framed.text) if framed.start else whole
    return Document(
        title=framed.title or package.properties.title or title or title_from_name(name),
        text=book.text,
        sections=book.sections,
        kind=KIND,
        author=framed.author or package.properties.author,
        language=framed.language or package.properties.language or styles.language,
        notes=(*_left_out(messages, package.parts), *framed.notes),
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


def _convert(parts: Mapping[str, etree._Element], name: str) -> tuple[str, list[str]]:
    """Return the document as HTML, and what mammoth says of it.

    It sees nothing but the parts that were made plain, under their usual names.
    """
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
    return str(result.value), [str(said.message) for said in result.messages]


def _left_out(messages: Sequence[str], parts: Mapping[str, etree._Element]) -> tuple[str, ...]:
    """Say in one sentence what was not understood, where that may have cost text."""
    ignored = [match[1] for message in messages if (match := _IGNORED.search(message))]
    with_text = _names_around_text(parts) if ignored else frozenset()
    lost = {_ELSEWHERE.get(name, name) for name in ignored if name in _ELSEWHERE or name in with_text}
    if any(_SIGN.search(message) for message in messages):
        lost.add("signs of a symbol font")
    if not lost:
        return ()
    return (f"Some of the document was not understood ({', '.join(sorted(lost)[:_MOST_NAMED])}); text may be missing.",)


def _names_around_text(parts: Mapping[str, etree._Element]) -> frozenset[str]:
    """Return the names of all elements with text somewhere inside."""
    texts = (text for part in parts.values() for text in descendants(part, "t") if (text.text or "").strip())
    return frozenset(local(element) for text in texts for element in text.iterancestors())

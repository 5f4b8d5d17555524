"""Find the parts of a Word document in its archive, and what the document says about itself."""

from __future__ import annotations

import posixpath
from dataclasses import dataclass

from lxml import etree

from cagchat.documents.archive import Archive
from cagchat.documents.xml import attribute, descendants, parse_xml, text_of
from cagchat.errors import BookError

_LARGEST_PART_BYTES = 64 << 20
_PARTS = ("styles", "numbering", "footnotes", "endnotes")
_LONGEST_FIELD = 300
# What programs write when nobody has filled in a title or an author.
_EMPTY_TITLES = ("microsoft word", "untitled", "document", "word document", "normal", "no title")
_EMPTY_AUTHORS = ("python-docx", "user", "windows user", "microsoft office user", "administrator", "admin", "unknown")


@dataclass(frozen=True, slots=True)
class Properties:
    """Title, author and language from the document's properties; empty where they say nothing."""

    title: str = ""
    author: str = ""
    language: str = ""


@dataclass(frozen=True, slots=True)
class Package:
    """The parts that are read, by their role ("document", "styles", "numbering", "footnotes", "endnotes")."""

    parts: dict[str, etree._Element]
    properties: Properties


def read_package(archive: Archive, book: str) -> Package:
    """Parse the parts that hold text. Raises `BookError` when there is no document among them.

    Relationships say where the parts are; where they are missing or wrong, the usual names count.
    """
    main = _related(archive, "", "officeDocument") or "word/document.xml"
    if archive.find(main) is None:
        raise BookError(
            f"{book} is no Word document: no text is in it.", "Save it again as .docx in Word or LibreOffice."
        )
    parts = {"document": parse_xml(archive.read(main), f"{main} in {book}", max_bytes=_LARGEST_PART_BYTES)}
    for role in _PARTS:
        path = _related(archive, main, role) or f"{posixpath.dirname(main)}/{role}.xml".lstrip("/")
        if archive.find(path) is None:
            continue
        try:
            parts[role] = parse_xml(archive.read(path), f"{path} in {book}", max_bytes=_LARGEST_PART_BYTES)
        except BookError:
            # The text can be read without its styles and lists, but not without its notes.
            if role in ("footnotes", "endnotes"):
                raise
    return Package(parts, _properties(archive))


def _related(archive: Archive, source: str, role: str) -> str:
    """Return the path of the part that stands in this relationship to `source`; "" when there is none."""
    folder, name = posixpath.split(source)
    path = posixpath.join(folder, "_rels", f"{name}.rels")
    if archive.find(path) is None:
        return ""
    try:
        root = parse_xml(archive.read(path), path)
    except BookError:
        return ""
    for relationship in descendants(root, "Relationship"):
        # Strict and transitional documents name the types by different addresses that end alike.
        if attribute(relationship, "Type").rpartition("/")[2] == role:
            target = posixpath.normpath(posixpath.join("/", folder, attribute(relationship, "Target"))).lstrip("/")
            if archive.find(target) is not None:
                return target
    return ""


def _properties(archive: Archive) -> Properties:
    """Read docProps/core.xml; a damaged one says nothing."""
    path = _related(archive, "", "core-properties") or "docProps/core.xml"
    if archive.find(path) is None:
        return Properties()
    try:
        root = parse_xml(archive.read(path), path)
    except BookError:
        return Properties()
    fields = {
        name: next((text_of(found)[:_LONGEST_FIELD] for found in descendants(root, name)), "")
        for name in ("title", "creator", "language")
    }
    title, author = fields["title"], fields["creator"]
    return Properties(
        title="" if title.lower().startswith(_EMPTY_TITLES[0]) or title.lower() in _EMPTY_TITLES else title,
        author="" if author.lower() in _EMPTY_AUTHORS else author,
        language=fields["language"],
    )

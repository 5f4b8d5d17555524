"""Make a `Document` of an EPUB: archive, package, table of contents, pages, sections."""

from __future__ import annotations

from collections.abc import Sequence

from cagchat.documents.archive import Archive
from cagchat.documents.document import Document, Page
from cagchat.documents.epub.chapters import sections
from cagchat.documents.epub.contents import Contents, read_contents
from cagchat.documents.epub.drm import refuse_locked
from cagchat.documents.epub.package import Package, find_package, read_package
from cagchat.documents.epub.pages import Pages, read_pages
from cagchat.documents.gutenberg import unframe
from cagchat.documents.left_out import note_on_share
from cagchat.documents.titles import title_from_name
from cagchat.errors import BookError

KIND = "epub"


def load_epub(content: bytes, name: str, password: str = "") -> Document:
    """Return the document in an EPUB; `name` is the file's path, the last resort for a title.

    Raises `BookError` for a file that is damaged, locked or without text. EPUBs have no passwords: `password` is what
    all loaders take, and is not looked at.
    """
    archive = Archive(content, name)
    refuse_locked(archive, name)
    package = read_package(archive, find_package(archive, name))
    contents = read_contents(archive, package.nav, package.ncx)
    pages = read_pages(archive, package, contents)
    framed = unframe(pages.joined.text)
    if not framed.text.strip():
        raise _no_text(name)
    inside = pages.part(framed.start, framed.text)
    return Document(
        title=package.title or framed.title or title_from_name(name),
        text=framed.text,
        sections=sections(contents.chapters, inside),
        kind=KIND,
        author=package.author or framed.author,
        language=package.language or framed.language,
        notes=(*_notes(package, pages), *framed.notes),
        pages=_printed(contents, inside),
    )


def _printed(contents: Contents, pages: Pages) -> tuple[Page, ...]:
    """Return the printed pages: those the book lists, else those marked in its text."""
    listed = [
        Page(entry.title, offset)
        for entry in contents.pages
        if entry.title and entry.target and (offset := pages.offset_of(entry.target)) is not None
    ]
    found = sorted(listed or pages.joined.pages, key=lambda page: page.start)
    return tuple(dict.fromkeys(page for page in found if page.start < len(pages.joined.text)))


def _notes(package: Package, pages: Pages) -> Sequence[str]:
    """Say what a reader should know about the file."""
    notes = []
    if package.guessed:
        notes.append("The book does not say in which order its pages are read; they were read in the order listed.")
    if package.missing:
        notes.append(f"The file is not complete: {_count(package.missing)} missing, the first is {package.missing[0]}.")
    if lost := pages.unreadable:
        notes.append(f"The file is damaged: {_count(lost)} no text, the first is {lost[0]}.")
    whole = pages.left_out + len(pages.joined.text)
    notes += note_on_share(
        pages.left_out, whole, "its cover, lists of links, what is hidden or aside from the reading order"
    )
    return notes


def _count(files: Sequence[str]) -> str:
    """Return "1 page is" or "3 pages are"."""
    return "1 page is" if len(files) == 1 else f"{len(files)} pages are"


def _no_text(name: str) -> BookError:
    """Describe a book of pictures."""
    return BookError(
        f"{name} holds no text, only pictures or empty pages.",
        "If its pages are scans, convert it to PDF and put a text layer in it: `ocrmypdf IN.pdf OUT.pdf`.",
    )

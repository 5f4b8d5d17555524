"""Load a PDF: what its pages hold becomes a document with chapters, page numbers and notes."""

from __future__ import annotations

import re
import shlex
import unicodedata
from bisect import bisect_right
from collections.abc import Sequence
from pathlib import PurePath

from cagchat.documents.document import Document
from cagchat.documents.document import Page as PrintedPage
from cagchat.documents.pdf.chapters import Placed, sections_of
from cagchat.documents.pdf.layout import lines_of
from cagchat.documents.pdf.page import Contents, Page
from cagchat.documents.pdf.pdfium import read_pdf
from cagchat.documents.pdf.reflow import Paragraph, body_size, paragraphs_of
from cagchat.documents.pdf.running import without_running
from cagchat.documents.titles import title_from_name
from cagchat.errors import BookError

KIND = "pdf"

_LONGEST_TITLE = 200
_MOST_RANGES = 12
# What programs write where a title or an author should stand.
_NO_TITLE = re.compile(
    r"untitled.*|document\d*|microsoft word.*|powerpoint.*|slide \d+|no title|title|"
    r".*\.(?:docx?|odt|rtf|tex|dvi|indd|qxd|pdf|html?|txt|wpd|pages|md)",
    re.I,
)
_NO_AUTHOR = re.compile(r"unknown|user|admin(?:istrator)?|root|owner|author|anonymous|default|\(?none\)?|.*@.*", re.I)

_HYPHENS = {0xFFFE: None, 0xAD: None}


def load_pdf(content: bytes, name: str, password: str = "") -> Document:
    """Return the document in `content`; `name` is the file's path, the last resort for a title.

    Raises `PasswordNeeded` for a locked file, and `BookError` for one that is damaged or only pictures of pages.
    """
    contents = read_pdf(content, name, password)
    pages, had_running = without_running(contents.pages)
    lines = [lines_of(page) for page in pages]
    paragraphs = paragraphs_of(lines)
    _add_asides(paragraphs, pages)
    if not any(character.isalnum() for paragraph in paragraphs for character in paragraph.text) or _is_scan(pages):
        raise _without_text(name, pages)
    text, placed, printed = _text_of(paragraphs, pages)
    return Document(
        title=_sane(contents.title, _NO_TITLE) or title_from_name(name),
        text=text,
        sections=sections_of(text, placed, contents.outline, body_size(lines)),
        kind=KIND,
        author=_sane(contents.author, _NO_AUTHOR),
        language=_sane(contents.language, _NO_AUTHOR),
        notes=tuple(_notes(contents, had_running, name)),
        pages=printed,
    )


def _add_asides(paragraphs: list[Paragraph], pages: Sequence[Page]) -> None:
    """Put text that is turned against the rest of its page behind the paragraphs that begin there."""
    for page in reversed(pages):
        text = unicodedata.normalize("NFC", " ".join(" ".join(page.asides).translate(_HYPHENS).split()))
        printable = "".join(character for character in text if character.isprintable())
        if printable.strip():
            at = bisect_right(paragraphs, page.index, key=lambda paragraph: paragraph.page)
            paragraphs.insert(at, Paragraph(1.0, page.height, 1, [(page.index, printable.strip())]))


def _text_of(
    paragraphs: Sequence[Paragraph], pages: Sequence[Page]
) -> tuple[str, list[Placed], tuple[PrintedPage, ...]]:
    """Join the paragraphs; return where each begins and where each page begins.

    A page is named again where its footnotes stand behind a paragraph that ends on the next one.
    """
    placed: list[Placed] = []
    printed: list[PrintedPage] = []
    parts: list[str] = []
    length = 0
    current = -1
    for paragraph in paragraphs:
        if parts:
            parts.append("\n\n")
            length += 2
        placed.append(Placed(paragraph, length))
        for page, part in paragraph.parts:
            if page != current:
                printed.append(PrintedPage(pages[page].label, length))
                current = page
            parts.append(part)
            length += len(part)
    return "".join([*parts, "\n"]), placed, tuple(printed)


def _is_scan(pages: Sequence[Page]) -> bool:
    """Tell whether the pages are pictures: none of them has more than a few letters."""
    read = [page for page in pages if not page.failed]
    return any(page.is_picture for page in read) and all(page.is_picture or not page.spans for page in read)


def _without_text(name: str, pages: Sequence[Page]) -> BookError:
    """Describe a PDF from which no text can be read."""
    if all(page.failed for page in pages):
        return BookError(f"None of the {len(pages)} pages of {name} can be read.", "Fetch it again, or repair it.")
    if not any(page.is_picture for page in pages):
        return BookError(
            f"{name} holds no text, only empty pages.", "Look at it in a viewer; fetch it again if it has text."
        )
    target = str(PurePath(name).with_suffix("")) + "-ocr.pdf"
    return BookError(
        f"{name} has no text, only pictures of its {len(pages)} pages.",
        f"Have them read first: `ocrmypdf {shlex.quote(name)} {shlex.quote(target)}`, and open {target}.",
    )


def _notes(contents: Contents, had_running: bool, name: str) -> list[str]:
    """Say what was taken off and what could not be read."""
    notes = []
    if had_running:
        notes.append("Running heads and page numbers were taken off.")
    pictures = [page.index + 1 for page in contents.pages if page.is_picture]
    if pictures:
        notes.append(
            f"{_counted(pictures)} had hardly any text, only pictures; "
            f"`ocrmypdf --skip-text {shlex.quote(name)} OUT.pdf` would read them."
        )
    failed = [page.index + 1 for page in contents.pages if page.failed]
    if failed:
        notes.append(f"{_counted(failed)} could not be read.")
    return notes


def _counted(numbers: Sequence[int]) -> str:
    """Return "Page 3 of the file" or "Pages 3, 5–9 of the file"; long lists are cut off."""
    ranges: list[list[int]] = []
    for number in numbers:
        if ranges and ranges[-1][1] == number - 1:
            ranges[-1][1] = number
        else:
            ranges.append([number, number])
    named = [str(first) if first == last else f"{first}–{last}" for first, last in ranges[:_MOST_RANGES]]
    if len(ranges) > _MOST_RANGES:
        named.append("and others")
    return f"Page{'s' if len(numbers) > 1 else ''} {', '.join(named)} of the file"


def _sane(value: str, useless: re.Pattern[str]) -> str:
    """Return a field of the metadata on one line, "" when a program wrote it and not a person."""
    value = " ".join(value.split())
    if useless.fullmatch(value) or len(value) > _LONGEST_TITLE or not any(map(str.isalnum, value)):
        return ""
    return value

"""A document as every later step sees it: clean text, and sections that tile it."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from hashlib import sha256


@dataclass(frozen=True, slots=True)
class Section:
    """A chapter, a part, or what stands before the first: `text[start:end]`, offsets in characters of the document.

    `level` is 1 for the outermost headings (parts, books), larger inside; 0 for matter without a heading.
    """

    title: str
    start: int
    end: int
    level: int = 1


@dataclass(frozen=True, slots=True)
class Page:
    """A printed page: its number or name as the book counts it ("xii", "12"), and the character at which it begins."""

    label: str
    start: int


@dataclass(frozen=True, slots=True)
class Document:
    """A book: NFC text with `\\n` line ends, and sections in order that tile it without a gap or an overlap.

    `kind` is the loader's name ("text", "epub"); `notes` says in sentences what the loader did to the file (trimmed a
    frame, guessed an encoding). `pages` are in the order of the text; none where the file has no pages.
    """

    title: str
    text: str
    sections: tuple[Section, ...]
    kind: str
    author: str = ""
    language: str = ""
    notes: tuple[str, ...] = ()
    pages: tuple[Page, ...] = ()

    @property
    def digest(self) -> str:
        """SHA-256 of the text, hexadecimal: the same words in another file are the same book."""
        return sha256(self.text.encode("utf-8", "surrogatepass")).hexdigest()

    def section_at(self, offset: int) -> Section:
        """Return the section that holds the character at `offset`; the last one for offsets past the end."""
        index = bisect_right(self.sections, offset, key=lambda section: section.end)
        return self.sections[min(index, len(self.sections) - 1)]

    def page_at(self, offset: int) -> Page | None:
        """Return the page that holds the character at `offset`; None before the first one."""
        index = bisect_right(self.pages, offset, key=lambda page: page.start)
        return self.pages[index - 1] if index else None

    def place(self, offset: int) -> str:
        """Name the place of `offset` as a reader would: "Chapter 3, p. 12 (4.1 %)", without what the book has not."""
        share = 100 * offset / max(1, len(self.text))
        page = self.page_at(offset)
        names = [self.section_at(offset).title, f"p. {page.label}" if page and page.label else ""]
        named = ", ".join(filter(None, names))
        return f"{named} ({share:.1f} %)" if named else f"{share:.1f} %"

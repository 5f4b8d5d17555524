"""A document as every later step sees it: clean text, and sections that tile it."""

from __future__ import annotations

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
class Document:
    """A book: NFC text with `\\n` line ends, and sections in order that tile it without a gap or an overlap.

    `kind` is the loader's name ("text", "markdown"); `notes` says in sentences what the loader did to the file
    (trimmed a frame, guessed an encoding).
    """

    title: str
    text: str
    sections: tuple[Section, ...]
    kind: str
    author: str = ""
    language: str = ""
    notes: tuple[str, ...] = ()

    @property
    def digest(self) -> str:
        """SHA-256 of the text, hexadecimal: the same words in another file are the same book."""
        return sha256(self.text.encode("utf-8", "surrogatepass")).hexdigest()

    def section_at(self, offset: int) -> Section:
        """Return the section that holds the character at `offset`; the last one for offsets past the end."""
        for section in self.sections:
            if offset < section.end:
                return section
        return self.sections[-1]

    def place(self, offset: int) -> str:
        """Name the place of `offset` as a reader would: the section's title and how far into the book it is."""
        share = 100 * offset / max(1, len(self.text))
        title = self.section_at(offset).title
        return f"{title} ({share:.1f} %)" if title else f"{share:.1f} %"

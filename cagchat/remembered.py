"""What the app remembers between runs: a reader's choices, and for each book the place and the bookmarks.

One small JSON file, never the user's own configuration. Damaged, it counts as empty; what it knows of the books that
were not read for longest is forgotten first.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeGuard

from cagchat.errors import StorageError
from cagchat.files import private_folder, write_bytes
from cagchat.locations import Locations

FILE_NAME = "ui.json"
MAX_BOOKS = 500
MAX_BOOKMARKS = 200  # a book
MAX_DRAFT = 4000  # characters of a question that was not sent
MAX_BYTES = 32_000_000  # more than all of that takes: a larger file is not ours
MAX_OFFSET = 2**40


@dataclass(frozen=True, slots=True)
class Place:
    """Where the reader of a book was and the bookmarks in order, in characters; and a question that was not sent."""

    position: int = 0
    bookmarks: tuple[int, ...] = ()
    draft: str = ""

    @property
    def named(self) -> tuple[tuple[str, int], ...]:
        """The bookmarks as a reader calls them, in the order of the text, and "here" for where the reader was."""
        marks = ((f"bookmark {number}", offset) for number, offset in enumerate(self.bookmarks, start=1))
        return (*marks, ("here", self.position))


class Remembered:
    """Choices by name, and places by the book's digest.

    A file that cannot be read counts as empty, one that cannot be written as unimportant. What another window
    remembered meanwhile stays.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._places: dict[str, Place] = {}  # not on disk yet

    @classmethod
    def under(cls, locations: Locations) -> Remembered:
        """Return what is remembered among the user's data."""
        return cls(locations.data / FILE_NAME)

    def read(self) -> dict[str, object]:
        """Return all that is on disk, by name."""
        try:
            if self._path.stat().st_size > MAX_BYTES:
                return {}
            found = json.loads(self._path.read_bytes())
        except (OSError, ValueError, RecursionError):
            return {}
        return found if isinstance(found, dict) else {}

    def keep(self, name: str, value: object) -> None:
        """Remember a choice."""
        found = self.read()
        if name not in found or found[name] != value:
            self._write({**found, name: value})

    @property
    def theme(self) -> str:
        """The name of the theme that was chosen, "" when none was."""
        found = self.read().get("theme")
        return found if isinstance(found, str) else ""

    @theme.setter
    def theme(self, name: str) -> None:
        self.keep("theme", name)

    def place(self, digest: str) -> Place:
        """Return where the reader of the book with this digest was."""
        return self._places.get(digest) or places_in(self.read()).get(digest, Place())

    def remember(self, digest: str, place: Place) -> None:
        """Note where the reader of a book is; it is on disk after `save`, because it changes with every line."""
        self._places.pop(digest, None)
        self._places[digest] = place

    def save(self) -> bool:
        """Write the places that were noted; return whether everything is on disk."""
        if not self._places:
            return True
        found = self.read()
        places = {d: place for d, place in places_in(found).items() if d not in self._places} | self._places
        places = {digest: place for digest, place in places.items() if place != Place()}
        kept = list(places.items())[-MAX_BOOKS:]
        books = {digest: sheet(place) for digest, place in kept}
        if not self._write({**found, "books": books}):
            return False
        self._places = {}
        return True

    def knows(self, digest: str) -> bool:
        """Tell whether anything is written about a book, or about to be."""
        books = self.read().get("books")
        return digest in self._places or (isinstance(books, dict) and digest in books)

    def forget(self, digest: str) -> bool:
        """Forget where the reader of a book was, the bookmarks, and what was not sent; return whether that is on disk.

        A file that is damaged as a whole is left as it is.
        """
        self._places.pop(digest, None)
        found = self.read()
        books = found.get("books")
        if not isinstance(books, dict) or digest not in books:
            return True
        return self._write({**found, "books": {other: books[other] for other in books if other != digest}})

    def _write(self, content: Mapping[str, object]) -> bool:
        with suppress(StorageError):
            private_folder(self._path.parent)
            write_bytes(self._path, json.dumps(content, indent=1).encode())
            return True
        return False


def sheet(place: Place) -> dict[str, object]:
    """Return a place as it is written."""
    marks = sorted(place.bookmarks)[:MAX_BOOKMARKS]
    written: dict[str, object] = {"position": place.position, "bookmarks": marks}
    return {**written, "draft": place.draft[:MAX_DRAFT]} if place.draft else written


def places_in(found: Mapping[str, object]) -> dict[str, Place]:
    """Return the places that the file's content describes; what is no place is left out."""
    books = found.get("books")
    if not isinstance(books, dict):
        return {}
    places = {}
    for digest, found_sheet in books.items():
        if isinstance(found_sheet, dict) and is_offset(position := found_sheet.get("position")):
            marks, draft = found_sheet.get("bookmarks"), found_sheet.get("draft")
            kept = sorted({mark for mark in marks if is_offset(mark)}) if isinstance(marks, list) else []
            places[digest] = Place(position, tuple(kept), draft[:MAX_DRAFT] if isinstance(draft, str) else "")
    return places


def is_offset(value: object) -> TypeGuard[int]:
    """Tell whether a value can be a place in a text."""
    return type(value) is int and 0 <= value < MAX_OFFSET

"""What the app remembers between runs: a reader's choices, and for each book the place and the bookmarks.

One small JSON file, never the user's own configuration. Damaged, it is set aside before anything is written in its
place; while it cannot be read, nothing is written. It is read and written under a lock, so that no window writes over
what another one has just written. What it knows of the books that were not read for longest is forgotten first.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from hashlib import sha256
from itertools import count
from pathlib import Path
from typing import TypeGuard

from cagchat.errors import StorageError
from cagchat.files import private_folder, storage_errors, write_bytes
from cagchat.locations import Locations

FILE_NAME = "ui.json"
MAX_BOOKS = 500
MAX_BOOKMARKS = 200  # a book
MAX_DRAFT = 4000  # characters of a question that was not sent
MAX_ASIDE = 4000  # characters of all questions of a book that were put aside, the latest first
MAX_BYTES = 64_000_000  # more than all of that takes: a larger file is not ours
MAX_OFFSET = 2**40
CHECK = "check"
# Another window holds the lock while it writes a small file; longer than this no key press can wait for it.
WAIT_S, WAIT_STEP_S = 1.0, 0.01


@dataclass(frozen=True, slots=True)
class Place:
    """Where the reader of a book was and the bookmarks in order, in characters; and questions that were not sent.

    `draft` was being written, those in `aside` had been put aside for another, the latest last.
    """

    position: int = 0
    bookmarks: tuple[int, ...] = ()
    draft: str = ""
    aside: tuple[str, ...] = ()

    @property
    def named(self) -> tuple[tuple[str, int], ...]:
        """The bookmarks as a reader calls them, in the order of the text, and "here" for where the reader was."""
        marks = ((f"bookmark {number}", offset) for number, offset in enumerate(self.bookmarks, start=1))
        return (*marks, ("here", self.position))


class Remembered:
    """Choices by name, and places by the book's digest.

    Nothing is raised for a file that cannot be read or written: a run goes on with what it knows. What another window
    remembered meanwhile stays.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._places: dict[str, Place] = {}  # not on disk yet
        self._unread: set[str] = set()  # of these nobody could say what is on disk, when they were asked for

    @classmethod
    def under(cls, locations: Locations) -> Remembered:
        """Return what is remembered among the user's data."""
        return cls(locations.data / FILE_NAME)

    def read(self) -> dict[str, object]:
        """Return all that is on disk and whole, by name; nothing where it cannot be read."""
        with suppress(OSError):
            return self._load().values
        return {}

    def keep(self, name: str, value: object) -> None:
        """Remember a choice."""
        with suppress(OSError, StorageError), self._alone():
            found = self._load()
            if name not in found.values or found.values[name] != value:
                self._write({**found.values, name: value}, found)

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
        if digest in self._places:
            return self._places[digest]
        try:
            found = self._load()
        except OSError:
            self._unread.add(digest)
            return Place()
        self._unread.discard(digest)
        return places_in(found.values).get(digest, Place())

    def remember(self, digest: str, place: Place) -> None:
        """Note where the reader of a book is; it is on disk after `save`, because it changes with every line."""
        self._places.pop(digest, None)
        self._places[digest] = place

    def save(self) -> bool:
        """Write the places that were noted; return whether everything is on disk."""
        if not self._places:
            return True
        try:
            with self._alone():
                return self._save()
        except (OSError, StorageError):
            return False

    def _save(self) -> bool:
        found = self._load()
        before = places_in(found.values)
        unseen = self._unread & before.keys()
        noted = {d: joined(before[d], place) if d in unseen else place for d, place in self._places.items()}
        places = {d: place for d, place in before.items() if d not in noted} | noted
        places = {digest: place for digest, place in places.items() if place != Place()}
        kept = list(places.items())[-MAX_BOOKS:]
        books = {digest: sheet(place) for digest, place in kept}
        if not self._write({**found.values, "books": books}, found):
            return False
        self._places, self._unread = {}, set()
        return True

    def knows(self, digest: str) -> bool:
        """Tell whether anything is written about a book, or about to be."""
        return digest in self._places or digest in sheets(self.read())

    def forget(self, digest: str) -> bool:
        """Forget where the reader of a book was, the bookmarks, and what was not sent; return whether that is on disk.

        A file that is damaged as a whole is left as it is, and so are those that were set aside.
        """
        self._places.pop(digest, None)
        try:
            with self._alone():
                return self._forget(digest)
        except (OSError, StorageError):
            return False

    def _forget(self, digest: str) -> bool:
        found = self._load()
        books = sheets(found.values)
        if digest not in books:
            return True
        kept = {other: books[other] for other in books if other != digest}
        # Never set aside here, or what is to be forgotten would be kept there; the other books stay as they are.
        return self._write({**found.values, "books": kept}, replace(found, whole=True))

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Keep other windows from writing for the time of the block.

        Raises `OSError` when one of them does not let go in time, and where no lock can be had; `StorageError` where
        there can be no folder.
        """
        from filelock import FileLock  # 16 ms

        private_folder(self._path.parent)
        lock = self._path.with_name(f"{self._path.name}.lock")
        with FileLock(lock, timeout=WAIT_S, poll_interval=WAIT_STEP_S, mode=0o600):
            yield

    def _load(self) -> Found:
        """Read the file. Raises `OSError`, but not for a file that is not there."""
        try:
            with self._path.open("rb") as file:
                content = file.read(MAX_BYTES + 1)
        except FileNotFoundError:
            return Found({}, whole=True)
        try:
            values = json.loads(content) if len(content) <= MAX_BYTES else None
            return found_in(values) if isinstance(values, dict) else Found({}, whole=False)
        except (ValueError, RecursionError):
            return Found({}, whole=False)

    def _write(self, values: Mapping[str, object], before: Found) -> bool:
        """Write the file; the one before is kept beside it where it had anything that is no longer understood."""
        with suppress(StorageError):
            private_folder(self._path.parent)
            if not before.whole:
                set_aside(self._path)
            write_bytes(self._path, json.dumps({**values, CHECK: check_of(values)}, indent=1).encode())
            return True
        return False


@dataclass(frozen=True, slots=True)
class Found:
    """What the file holds by name, as far as it can be used, and whether that is all that was written."""

    values: dict[str, object]
    whole: bool


def found_in(content: Mapping[str, object]) -> Found:
    """Return what the file's JSON object holds."""
    values = {name: value for name, value in content.items() if name != CHECK}
    books = values.get("books", {})
    understood = isinstance(books, dict) and len(places_in(values)) == len(books)
    return Found(values, understood and content.get(CHECK, check_of(values)) == check_of(values))


def check_of(values: Mapping[str, object]) -> str:
    """Return the digest that finds a flipped bit: a bookmark would be elsewhere, or a name be another."""
    return sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def set_aside(path: Path) -> None:
    """Rename a damaged file to the first free name *.damaged-N. Raises `StorageError`."""
    names = (path.with_name(f"{path.name}.damaged-{n}") for n in count(1))
    with storage_errors(path):
        path.rename(next(name for name in names if not name.exists()))


def joined(old: Place, new: Place) -> Place:
    """Return what is known of a book whose reader went on while the old place could not be read."""
    bookmarks, aside = tuple(sorted({*old.bookmarks, *new.bookmarks})), tuple(dict.fromkeys((*old.aside, *new.aside)))
    return Place(new.position, bookmarks, new.draft or old.draft, aside)


def sheet(place: Place) -> dict[str, object]:
    """Return a place as it is written."""
    marks = sorted(place.bookmarks)[:MAX_BOOKMARKS]
    written: dict[str, object] = {"position": place.position, "bookmarks": marks}
    unsent = {"draft": place.draft[:MAX_DRAFT], "aside": latest(place.aside)}
    return {**written, **{name: text for name, text in unsent.items() if text}}


def latest(texts: Sequence[str]) -> list[str]:
    """Return the last of these texts, as much of them as is kept."""
    kept, room = [], MAX_ASIDE
    for text in reversed(texts):
        kept.append(text[:room])
        room -= len(kept[-1])
    return [text for text in reversed(kept) if text]


def sheets(found: Mapping[str, object]) -> dict[str, object]:
    """Return what the file's content says of each book, by digest."""
    books = found.get("books")
    return books if isinstance(books, dict) else {}


def places_in(found: Mapping[str, object]) -> dict[str, Place]:
    """Return the places that the file's content describes; what is no place is left out."""
    places = {}
    for digest, found_sheet in sheets(found).items():
        if isinstance(found_sheet, dict) and is_offset(position := found_sheet.get("position")):
            marks, draft, aside = (found_sheet.get(name) for name in ("bookmarks", "draft", "aside"))
            kept = sorted({mark for mark in marks if is_offset(mark)}) if isinstance(marks, list) else []
            texts = [text for text in aside if isinstance(text, str)] if isinstance(aside, list) else []
            draft = draft[:MAX_DRAFT] if isinstance(draft, str) else ""
            places[digest] = Place(position, tuple(kept), draft, tuple(latest(texts)))
    return places


def is_offset(value: object) -> TypeGuard[int]:
    """Tell whether a value can be a place in a text."""
    return type(value) is int and 0 <= value < MAX_OFFSET

"""Which book a file holds, remembered by the file's bytes, so that reopening parses nothing.

A folder of small JSON files in the cache. One that is damaged or from other loaders counts as not there.
"""

from __future__ import annotations

import json
from collections.abc import Set
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from cagchat.documents import Source
from cagchat.errors import StorageError
from cagchat.files import private_folder, write_bytes
from cagchat.locations import Locations

LOADER_VERSION = 1  # raise it when the loaders make another text of the same bytes


@dataclass(frozen=True, slots=True)
class Identity:
    """A book's title, and the sha256 of its text in hexadecimal digits."""

    title: str
    digest: str


class Identities:
    """What the files of books turned out to be."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @classmethod
    def under(cls, locations: Locations) -> Identities:
        """Return what the cache remembers."""
        return cls(locations.cache / "documents")

    def find(self, source: Source) -> Identity | None:
        """Return what a book's files hold, when that is known."""
        return read(self._path(source))

    def keep(self, source: Source, identity: Identity) -> None:
        """Remember what a book's files hold. Where the disk does not take it, the next opening parses again."""
        path = self._path(source)
        check = check_of(path.stem, identity)
        with suppress(StorageError):
            private_folder(self.folder)
            sheet = {"title": identity.title, "digest": identity.digest, "check": check}
            write_bytes(path, json.dumps(sheet).encode())

    def keep_only(self, digests: Set[str]) -> None:
        """Forget all books but these, and what cannot be read. Where the disk does not take it, they stay."""
        with suppress(OSError):  # titles in a cache that only its owner can read
            for path in sorted(self.folder.glob("*.json")):
                identity = read(path)
                if identity is None or identity.digest not in digests:
                    path.unlink(missing_ok=True)

    def _path(self, source: Source) -> Path:
        return self.folder / f"{source.fingerprint()}-{LOADER_VERSION}.json"


def read(path: Path) -> Identity | None:
    """Return what a file of the cache says, None when that is not to be trusted."""
    try:
        sheet = json.loads(path.read_bytes())
        identity = Identity(str(sheet["title"]), str(sheet["digest"]))
        return identity if sheet["check"] == check_of(path.stem, identity) else None
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return None


def check_of(fingerprint: str, identity: Identity) -> str:
    """Return the digest that finds a flipped bit in what is remembered of a file: it would mean another book."""
    content = f"{fingerprint}\n{identity.digest}\n{identity.title}"
    return sha256(content.encode("utf-8", "surrogatepass")).hexdigest()

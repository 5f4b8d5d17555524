"""A book that was read, as its state records it, and the bytes to open it from."""

from __future__ import annotations

import os
import re
import shlex
from dataclasses import dataclass
from pathlib import Path

from cagchat import documents
from cagchat.documents import Source
from cagchat.documents.gathering import is_there
from cagchat.documents.source import File
from cagchat.states.manifest import Manifest
from cagchat.states.store import StateFolder

BETWEEN_PATHS = re.compile(f"{re.escape(os.pathsep)}(?={re.escape(os.sep)})")


@dataclass(frozen=True, slots=True)
class Recorded:
    """A book and the folder of its state."""

    folder: StateFolder
    manifest: Manifest

    @property
    def label(self) -> str:
        """What to call the book."""
        return self.manifest.book.title

    def paths(self) -> tuple[str, ...]:
        """Return its files and folders while all of them are there; none when one has gone, or for stdin."""
        recorded = self.manifest.book.path
        for paths in ([recorded], BETWEEN_PATHS.split(recorded)):
            if all(Path(path).is_absolute() and is_there(Path(path)) for path in paths):
                return tuple(paths)
        return ()

    def source(self) -> Source:
        """Return what to open it from: its files, or in their stead the text in its state, which is the same book.

        Raises `BookError` for files that cannot be read, and `StateDamaged` where that text is another one now.
        """
        if paths := self.paths():
            return documents.gather(paths)
        book = self.manifest.book
        text = File(f"{book.title.replace(os.sep, ' ')}.txt", self.folder.checked_text(self.manifest).encode())
        return Source((book.path,), (text,))

    def again(self, title: str) -> str:
        """Return what a command line calls the book by next time: its paths, or `title` where they have gone."""
        return shlex.join(self.paths()) or shlex.quote(title)

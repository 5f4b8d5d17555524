"""A book that was read, as its state records it, and the bytes to open it from."""

from __future__ import annotations

import os
import re
import shlex
from dataclasses import dataclass, replace
from pathlib import Path

from cagchat import documents
from cagchat.documents import Source
from cagchat.documents.gathering import is_there
from cagchat.documents.source import File
from cagchat.errors import BookError
from cagchat.identities import Identities, Identity
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

    def source(self, identities: Identities) -> Source:
        """Return what to open it from: its files while they hold it, else the text in its state.

        Raises `BookError` for files that cannot be read, and `StateDamaged` where that text is another one now.
        """
        if not (paths := self.paths()):
            return self._kept()
        found = documents.gather(paths)
        identity = identities.find(found)
        if identity is None:
            try:
                document = documents.compose(found)
            except BookError:  # it takes a password, which who opens it asks for
                return found
            identity, found = Identity(document.title, document.digest), replace(found, document=document)
            identities.keep(found, identity)
        if identity.digest == self.manifest.book.digest:
            return found
        return self._kept(
            f"{shlex.join(paths)} has changed since {self.label} was read: this is what was read. "
            "Open it by its path to read what it holds now."
        )

    def _kept(self, notice: str = "") -> Source:
        """Return the text in its state. Not to be parsed again: it was made of a file of another kind, or cleaned."""
        book = self.manifest.book
        text = self.folder.checked_text(self.manifest)
        file = File(f"{book.title.replace(os.sep, ' ')}.txt", text.encode())
        return Source((book.path,), (file,), notice=notice, document=book.document(text))

    def again(self, title: str) -> str:
        """Return what a command line calls the book by next time: its paths, or `title` where they have gone."""
        return shlex.join(self.paths()) or shlex.quote(title)

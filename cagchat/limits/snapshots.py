"""Snapshots at limits that were read up to, for models whose cache cannot be cut: kept while the book is open.

They lie in the state's folder as this process's partial files, which others leave alone while it runs and sweep away
when it was killed.
"""

from __future__ import annotations

from contextlib import suppress

from cagchat.engine.protocol import CHAT, Engine
from cagchat.errors import StorageError
from cagchat.files import partial_path
from cagchat.states.manifest import StateFile
from cagchat.states.store import StateFolder

MOST = 4  # each takes what a boundary takes: 63 MiB for Qwen3.5 35B


class Snapshots:
    """The last few limits' snapshots of one open book."""

    def __init__(self, folder: StateFolder) -> None:
        self._folder = folder
        self.files: tuple[StateFile, ...] = ()

    def keep(self, engine: Engine) -> StateFile | None:
        """Save what a rewind of the chat's sequence to its present length needs; None when it needs nothing.

        Raises `StorageError` when the disk does not take it.
        """
        path = partial_path(self._folder.path / f"limit-{engine.length(CHAT)}.bin")
        try:
            blob = engine.save_boundary(CHAT, path)
        except StorageError:
            path.unlink(missing_ok=True)
            raise
        if blob is None:
            return None
        file = StateFile(path.name, blob)
        self.files = (*(other for other in self.files if other.name != file.name), file)
        for old in self.files[:-MOST]:
            self.drop(old)
        return file

    def drop(self, file: StateFile) -> None:
        """Forget a snapshot and delete its file; one that is none of these is left alone."""
        if file in self.files:
            self.files = tuple(other for other in self.files if other != file)
            with suppress(OSError):  # it stays a leftover then, and is swept as one
                (self._folder.path / file.name).unlink(missing_ok=True)

    def clear(self) -> None:
        """Delete all of them."""
        for file in self.files:
            self.drop(file)

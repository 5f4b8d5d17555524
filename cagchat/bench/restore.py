"""How fast a saved state is restored, checks included, beside a plain copy of the same bytes in memory."""

from __future__ import annotations

import ctypes
import mmap
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from cagchat.bench.tables import Cell, Column, Table, least, most, of_how_many, ratio
from cagchat.bench.workbench import Workbench, open_book
from cagchat.engine.protocol import BOOK
from cagchat.errors import StateDamaged

LEAST_ROUNDS = 5  # a round takes milliseconds, and the first ones pay for memory that was never touched

COLUMNS = (
    Column("tokens", "tokens", "count"),
    Column("size", "state", "bytes"),
    Column("seconds", "restored in", "seconds"),
    Column("restore", "restore", "bytes_per_s"),
    Column("copy", "memory copy", "bytes_per_s"),
    Column("ratio", "restore / copy", "times"),
)
NOTE = (
    "A restore maps the file, parses its header, copies it into the KV cache and compares checksums; the copy is one "
    "memmove from a mapping of the same file, all of it in the page cache, into memory that was touched before."
)


def measure(bench: Workbench, timer: Callable[[], float] = time.perf_counter) -> Table:
    """Restore the book's state and copy its file, in turn, and compare bytes per second."""
    with closing(open_book(bench)) as book:
        file = book.manifest.state
        if file is None:
            raise StateDamaged(f"{book.folder.name} has no saved state.", "Set TMPDIR to a larger disk.")
        path = book.folder.path / file.name
        rounds = max(LEAST_ROUNDS, bench.repeat)
        bench.say(f"restore: {rounds} rounds of {file.blob.size_bytes:,} bytes")
        restores, copies = [], []
        with Copier(path, timer) as copier:
            copier.seconds()
            for _ in range(rounds):
                transfer = book.engine.restore(BOOK, path, file.blob)
                restores.append(transfer.elapsed_s)
                copies.append(copier.seconds())
    n_bytes = file.blob.size_bytes
    restore, copy = (most([n_bytes / seconds for seconds in runs]) for runs in (restores, copies))
    row: dict[str, Cell] = {
        "tokens": file.blob.n_tokens,
        "size": n_bytes,
        "seconds": least(restores),
        "restore": restore,
        "copy": copy,
        "ratio": ratio(restore, copy),
    }
    return Table("restore", "Restoring a state", COLUMNS, (row,), (NOTE, *of_how_many(COLUMNS, (row,))))


class Copier:
    """Copies a file's mapped bytes into a buffer that it keeps; the first copy touches both."""

    def __init__(self, path: Path, timer: Callable[[], float]) -> None:
        self._path = path
        self._timer = timer

    def __enter__(self) -> Copier:
        with self._path.open("rb") as file:
            # Private pages, because ctypes takes the address only of what could be written to.
            self._mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
        self._source = (ctypes.c_uint8 * len(self._mapped)).from_buffer(self._mapped)
        self._target = (ctypes.c_uint8 * len(self._mapped))()
        return self

    def __exit__(self, *raised: object) -> None:
        del self._source
        self._mapped.close()

    def seconds(self) -> float:
        """Copy everything once and return how long that took."""
        began = self._timer()
        ctypes.memmove(self._target, self._source, len(self._mapped))
        return self._timer() - began

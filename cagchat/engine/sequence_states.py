"""What llama.cpp knows of a sequence, as bytes: in memory and in files, written and read back with checks."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cagchat.engine import blob as blobs
from cagchat.engine.bindings import LogTail
from cagchat.engine.pieces import PIECE_BYTES, damaged, digests, first_difference, map_existing, map_new
from cagchat.engine.protocol import Blob, Memory, Part
from cagchat.errors import EngineError, StateDamaged

WHOLE = 0
PARTIAL_ONLY = 1  # LLAMA_STATE_SEQ_FLAGS_PARTIAL_ONLY: only what a cut cannot bring back (recurrent state, window)


@dataclass(frozen=True, slots=True)
class SequenceStates:
    """Takes and loads states of one context's sequences; `what` is `WHOLE` or `PARTIAL_ONLY`."""

    ll: Any
    context: Any
    memory: Memory
    extended_cells: bool
    flash_attention: bool
    log: LogTail

    def size(self, sequence: int, what: int) -> int:
        """Return how many bytes the state of a sequence has now."""
        return int(self.ll.llama_state_seq_get_size_ext(self.context, sequence, what))

    def snapshot(self, sequence: int, what: int) -> bytearray:
        """Return the state of a sequence."""
        size = self.size(sequence, what)
        snapshot = bytearray(size)
        if self._take(sequence, snapshot, what) != size:
            raise EngineError(f"A snapshot of {size:,} bytes could not be taken.", "Open the book again.")
        return snapshot

    def load(self, sequence: int, snapshot: Any, what: int) -> None:
        """Load a snapshot back; it is trusted, for it never left this process."""
        if self._put(sequence, snapshot, what) != len(snapshot):
            raise EngineError("A snapshot could not be loaded back.", "Open the book again.")

    def write(self, sequence: int, length: int, path: Path, what: int) -> Blob:
        """Write the state of a sequence of `length` tokens to a new file and return what it is, digests included."""
        size = self.size(sequence, what)
        with map_new(path, size) as mapped:
            written = self._take(sequence, mapped, what)
            if written != size:
                raise EngineError(f"The state came out as {written:,} bytes instead of {size:,}.", "Try again.")
            with memoryview(mapped) as view:
                parts = self._parse(view, what)
                if blobs.n_tokens(parts) != length:
                    raise EngineError("The state that was written does not describe its sequence.", "Try again.")
                return Blob(length, size, PIECE_BYTES, digests(view), parts)

    @contextmanager
    def opened(self, path: Path, blob: Blob, what: int) -> Iterator[Any]:
        """Map a file whose layout is sound and the recorded one; its content is checked by `load_checked`.

        Raises `StateDamaged` before anything of it reaches llama.cpp.
        """
        with map_existing(path, blob) as mapped:
            with memoryview(mapped) as view:
                try:
                    parts = self._parse(view, what)
                except StateDamaged as damage:
                    raise StateDamaged(f"{path} is damaged: {damage.message}", damage.hint) from damage
            if parts != blob.parts:
                raise StateDamaged(f"{path} does not have the layout that was recorded.", "Read the book again.")
            yield mapped

    def load_checked(self, sequence: int, mapped: Any, path: Path, blob: Blob, what: int) -> None:
        """Load an opened file into a sequence while another thread compares its checksums.

        Raises `StateDamaged` when the bytes are not those that were written; what the sequence then holds may be
        anything.
        """
        with memoryview(mapped) as view:
            checker = _Checker(view, blob)
            checker.start()
            try:
                read = self._put(sequence, mapped, what)
                self.ll.llama_synchronize(self.context)
            finally:
                checker.join()
        if checker.damaged_piece is not None:
            raise damaged(path, blob, checker.damaged_piece)
        if read != blob.size_bytes:
            raise StateDamaged(
                f"llama.cpp did not accept {path}{self.log.because()}.", "The book has to be read again."
            )

    def _take(self, sequence: int, target: Any, what: int) -> int:
        pointer = _pointer(target)
        return int(self.ll.llama_state_seq_get_data_ext(self.context, pointer, len(target), sequence, what))

    def _put(self, sequence: int, source: Any, what: int) -> int:
        pointer = _pointer(source)
        return int(self.ll.llama_state_seq_set_data_ext(self.context, pointer, len(source), sequence, what))

    def _parse(self, view: memoryview, what: int) -> tuple[Part, ...]:
        table = blobs.FULL_PARTS if what == WHOLE else blobs.BOUNDARY_PARTS
        parts = blobs.parse(
            view, table[self.memory], extended_cells=self.extended_cells, flash_attention=self.flash_attention
        )
        if what == WHOLE:
            blobs.check_complete(parts)
        return parts


class _Checker(threading.Thread):
    """Compares checksums while llama.cpp copies the same bytes."""

    def __init__(self, view: memoryview, blob: Blob) -> None:
        super().__init__(name="checksums")
        self._view, self._blob = view, blob
        self.damaged_piece: int | None = None

    def run(self) -> None:
        """Record the first damaged piece."""
        self.damaged_piece = first_difference(self._view, self._blob)


def _pointer(buffer: Any) -> Any:
    return (ctypes.c_uint8 * len(buffer)).from_buffer(buffer)

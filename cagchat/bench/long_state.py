"""Make a saved state as long as wanted out of a short one, to reach a depth in seconds that takes hours to read.

Its rows are the bytes of the short state's, over and over, so they are of the right types and finite; its positions
count up without a gap, and a hybrid's recurrent state stands at the end. What attention costs depends on how many cells
there are, not on what they hold. Layout: see `engine.blob`.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import repeat
from pathlib import Path

from cagchat.engine.pieces import PIECE_BYTES, digests, map_existing
from cagchat.engine.protocol import Blob, Part
from cagchat.errors import StateError
from cagchat.files import storage_errors

CHUNK_BYTES = 8 << 20
HEAD_BYTES, ROW_HEAD_BYTES, WORD_BYTES = 8, 12, 4
PLAIN_WORDS, EXTENDED_WORDS = 3, 6  # of a cell: position, owners, [x, y, token of M-RoPE], sequence


def long_bytes(blob: Blob, n_tokens: int) -> int:
    """Return how large a state of `n_tokens` made from this one would be."""
    return HEAD_BYTES + sum(part_bytes(part, cell_words(blob)) for part in long_parts(blob, n_tokens))


def long_parts(blob: Blob, n_tokens: int) -> tuple[Part, ...]:
    """Return the layout of the longer state: all cells of the first KV part, the same window of a second one."""
    parts = []
    for index, part in enumerate(blob.parts):
        cells = part.cells if part.kind == "recurrent" else n_tokens if index == 0 else min(part.cells, n_tokens)
        first = n_tokens - cells if part.kind == "kv" else n_tokens - 1
        parts.append(replace(part, cells=cells, first_position=first, last_position=n_tokens - 1))
    return tuple(parts)


def write_long(short: Path, blob: Blob, n_tokens: int, path: Path, check: Callable[[], None]) -> Blob:
    """Write a state of `n_tokens` to `path` and return what it is, checksums included.

    `check` is called now and then and may raise to stop. Raises `StorageError` when the disk is full.
    """
    words = cell_words(blob)
    parts = long_parts(blob, n_tokens)
    with storage_errors(path), path.open("wb") as file:
        path.chmod(0o600)
        for piece in contents(memoryview(short.read_bytes()), blob.parts, parts, words):
            file.write(piece)
            check()
    plain = Blob(n_tokens, path.stat().st_size, PIECE_BYTES, (), parts)
    with map_existing(path, plain) as mapped, memoryview(mapped) as view:
        return replace(plain, pieces=digests(view))


def contents(
    view: memoryview, short: tuple[Part, ...], long: tuple[Part, ...], words: int
) -> Iterator[memoryview | bytes]:
    """Yield the longer state's bytes in pieces."""
    yield view[:HEAD_BYTES]
    at = HEAD_BYTES
    for before, after in zip(short, long, strict=True):
        size = part_bytes(before, words)
        part = view[at : at + size]
        yield from kv_contents(part, before, after, words) if before.kind == "kv" else recurrent_contents(part, after)
        at += size


def kv_contents(part: memoryview, before: Part, after: Part, words: int) -> Iterator[memoryview | bytes]:
    """Yield a part of K and V with another number of cells."""
    yield part[:WORD_BYTES]  # streams
    yield struct.pack("<I", after.cells)
    at = 2 * WORD_BYTES
    yield cells(part[at : at + before.cells * words * WORD_BYTES], before, after, words)
    at += before.cells * words * WORD_BYTES
    yield part[at : at + 2 * WORD_BYTES]  # layout of V, layers
    at += 2 * WORD_BYTES
    for _, row_bytes in before.layers:
        yield part[at : at + ROW_HEAD_BYTES]
        at += ROW_HEAD_BYTES
        yield from tiled(part[at : at + before.cells * row_bytes], after.cells * row_bytes)
        at += before.cells * row_bytes


def cells(table: memoryview, before: Part, after: Part, words: int) -> bytes:
    """Return the table of cells: the short one's entries over and over, at their new positions."""
    old = array("i")
    old.frombytes(table)
    new = old * (after.cells // before.cells) + old[: after.cells % before.cells * words]
    positions = array("i", range(after.first_position, after.last_position + 1))
    new[0::words] = positions
    if words == EXTENDED_WORDS:
        new[2::words] = new[3::words] = positions  # text stands at the same place in time, height and width
    return new.tobytes()


def recurrent_contents(part: memoryview, after: Part) -> Iterator[memoryview | bytes]:
    """Yield a recurrent part that stands at another position."""
    yield part[:WORD_BYTES]
    yield struct.pack("<i", after.last_position)
    yield part[2 * WORD_BYTES :]


def tiled(rows: memoryview, size: int) -> Iterator[memoryview]:
    """Yield `size` bytes: the rows over and over, in pieces of about `CHUNK_BYTES`."""
    chunk = memoryview(bytes(rows) * min(-(-size // len(rows)), max(1, CHUNK_BYTES // len(rows))))
    yield from repeat(chunk, size // len(chunk))
    yield chunk[: size % len(chunk)]


def part_bytes(part: Part, words: int) -> int:
    """Return the size of a part in a file."""
    rows = sum(ROW_HEAD_BYTES + part.cells * row_bytes for _, row_bytes in part.layers)
    if part.kind == "kv":
        return 4 * WORD_BYTES + part.cells * words * WORD_BYTES + rows
    return 5 * WORD_BYTES + rows


def cell_words(blob: Blob) -> int:
    """Return how many words a cell has: its own layout does not say, the file's size does."""
    for words in (PLAIN_WORDS, EXTENDED_WORDS):
        if HEAD_BYTES + sum(part_bytes(part, words) for part in blob.parts) == blob.size_bytes:
            return words
    raise StateError("The layout of this saved state is not known.", "Measure with the pinned llama-cpp-python.")

"""Parse and check the header of a sequence state as llama.cpp writes it, before llama.cpp reads it back.

llama.cpp accepts absurd positions silently and stops at the first structural surprise only after it has begun to write
into the cache, so every count, type, row size and position is checked here. Layout (llama-kv-cache.cpp and
llama-memory-recurrent.cpp of the pinned build, one stream):

    u32 magic, i32 sequence, then one or two parts
    KV part:         u32 streams (1), u32 cells, per cell (i32 position, u32 n_seq (1), [12 bytes for M-RoPE],
                     i32 sequence), u32 v_transposed (0), u32 layers, per layer (i32 type, u64 row bytes, rows of K),
                     per layer the same of V
    without flash attention: u32 v_transposed (1), and per layer V as (i32 type, u32 element bytes, u32 elements a cell,
                     one row of all cells for each element)
    recurrent part:  u32 cells (1), per cell (i32 position, u32 n_seq (0)), u32 s_transposed (0), u32 layers,
                     per recurrent layer (i32 type, u64 row bytes, rows of R), then the same of S
"""

from __future__ import annotations

import struct
from array import array
from typing import Literal

from cagchat.engine.protocol import Memory, Part
from cagchat.errors import StateDamaged

MAGIC = 0xAF143CD8
GGML_TYPES = {"f32": 0, "f16": 1, "q4_0": 2, "q8_0": 8}
ELEMENT_BYTES = {GGML_TYPES["f32"]: 4, GGML_TYPES["f16"]: 2}  # the types that can be transposed
MAX_ROW_BYTES = 1 << 24
MAX_LAYERS = 1024
MAX_CELLS = 1 << 24
MAX_SEQUENCES = 256  # LLAMA_MAX_SEQ

PartKind = Literal["kv", "recurrent"]

FULL_PARTS: dict[Memory, tuple[PartKind, ...]] = {
    "attention": ("kv",),
    "sliding": ("kv", "kv"),  # all positions of the global layers, then the window of the others
    "hybrid": ("kv", "recurrent"),
    "recurrent": ("recurrent",),
}
BOUNDARY_PARTS: dict[Memory, tuple[PartKind, ...]] = {
    "attention": (),
    "sliding": ("kv",),
    "hybrid": ("recurrent",),
    "recurrent": ("recurrent",),
}


def parse(
    view: memoryview, kinds: tuple[PartKind, ...], *, extended_cells: bool, flash_attention: bool = True
) -> tuple[Part, ...]:
    """Return the parts of a state and check that they tile it to the last byte.

    `extended_cells` tells whether cells carry the 12 bytes of a two-dimensional position (M-RoPE models),
    `flash_attention` whether the state must be of an engine with it; the layers of a part read the same either way.
    Raises `StateDamaged` naming the first thing that is wrong.
    """
    reader = _Reader(view)
    if (magic := reader.u32("magic")) != MAGIC:
        raise _bad(f"its magic number is {magic:#x}, not {MAGIC:#x}")
    sequence = reader.i32("sequence")
    if not 0 <= sequence < MAX_SEQUENCES:
        raise _bad(f"it is of sequence {sequence}")
    parts = []
    for kind in kinds:
        parts.append(_kv(reader, sequence, extended_cells, flash_attention) if kind == "kv" else _recurrent(reader))
    if reader.offset != len(view):
        raise _bad(f"its parts end at byte {reader.offset:,} of {len(view):,}")
    return tuple(parts)


def n_tokens(parts: tuple[Part, ...]) -> int:
    """Return the length of the sequence that the parts describe; all of them must end at the same position."""
    ends = {part.last_position for part in parts}
    if len(ends) != 1:
        raise _bad(f"its parts end at different positions: {sorted(ends)}")
    return ends.pop() + 1


def check_complete(parts: tuple[Part, ...]) -> None:
    """Check that the first KV part holds every position from 0 on, as a whole sequence does."""
    for part in parts[:1]:
        if part.kind == "kv" and part.first_position != 0:
            raise _bad(f"its first position is {part.first_position}, not 0")


def _kv(reader: _Reader, sequence: int, extended_cells: bool, flash_attention: bool) -> Part:
    if (streams := reader.u32("stream count")) != 1:
        raise _bad(f"it has {streams} streams, not 1")
    cells = reader.u32("cell count")
    if not cells:
        raise _bad("it holds no cells")
    if cells > MAX_CELLS:
        raise _bad(f"it claims {cells:,} cells")
    first, last = _positions(reader, cells, sequence, extended_cells)
    transposed = reader.u32("V layout")
    if transposed > 1:
        raise _bad(f"its V layout is {transposed}")
    if transposed == flash_attention:
        raise _bad(f"it was made {'without' if transposed else 'with'} flash attention")
    n_layers = reader.u32("layer count")
    if not 1 <= n_layers <= MAX_LAYERS:
        raise _bad(f"it claims {n_layers:,} layers")
    rows = [reader.rows(cells) for _ in range(n_layers)]
    rows += [reader.columns(cells) if transposed else reader.rows(cells) for _ in range(n_layers)]
    return Part("kv", cells, first, last, tuple(rows))


def _positions(reader: _Reader, cells: int, sequence: int, extended_cells: bool) -> tuple[int, int]:
    """Check every cell of a KV part: the sequence its only owner, positions a run without a gap; return its ends."""
    words = 6 if extended_cells else 3
    table = array("i")
    table.frombytes(reader.take(cells * words * 4, "cell table"))
    if array("i", [1]) * cells != table[1::words]:
        raise _bad("a cell does not belong to exactly one sequence")
    if array("i", [sequence]) * cells != table[words - 1 :: words]:
        raise _bad(f"a cell does not belong to sequence {sequence}")
    # Cells of a sliding window are reused in a ring, so only the sorted positions form a run.
    positions = sorted(table[0::words])
    first, last = positions[0], positions[-1]
    if first < 0 or positions != list(range(first, first + cells)):
        raise _bad(f"its positions are not a run: {cells:,} cells between {first:,} and {last:,}")
    return first, last


def _recurrent(reader: _Reader) -> Part:
    if (cells := reader.u32("recurrent cell count")) != 1:
        raise _bad(f"it has {cells} recurrent states, not 1")
    position = reader.i32("recurrent position")
    if position < 0:
        raise _bad(f"its recurrent state stands at position {position}")
    if owners := reader.u32("recurrent owners"):
        raise _bad(f"its recurrent state names {owners} owners, not 0")
    if reader.u32("S layout"):
        raise _bad("its S rows are transposed")
    n_layers = reader.u32("recurrent layer count")
    if not 1 <= n_layers <= MAX_LAYERS:
        raise _bad(f"it claims {n_layers:,} layers")
    rows: list[tuple[int, int]] = []
    # The recurrent part is always the last one; hybrids have fewer recurrent layers than layers.
    while reader.offset < len(reader.view) and len(rows) <= 2 * n_layers:
        rows.append(reader.rows(1))
    if not rows or len(rows) % 2 or len(rows) > 2 * n_layers:
        raise _bad(f"it has {len(rows)} recurrent rows for {n_layers} layers")
    return Part("recurrent", cells, position, position, tuple(rows))


class _Reader:
    """Reads little-endian numbers off a view and never past its end."""

    def __init__(self, view: memoryview) -> None:
        self.view = view
        self.offset = 0

    def take(self, size: int, what: str) -> memoryview:
        if size > len(self.view) - self.offset:
            raise _bad(f"it is cut short at the {what}, byte {self.offset:,} of {len(self.view):,}")
        self.offset += size
        return self.view[self.offset - size : self.offset]

    def u32(self, what: str) -> int:
        return int.from_bytes(self.take(4, what), "little")

    def i32(self, what: str) -> int:
        return int.from_bytes(self.take(4, what), "little", signed=True)

    def rows(self, cells: int) -> tuple[int, int]:
        """Skip one layer's rows and return (type, bytes a row)."""
        kind, row_bytes = struct.unpack("<iQ", self.take(12, "row header"))
        if kind not in GGML_TYPES.values():
            raise _bad(f"a row has the unknown type {kind}")
        if not 0 < row_bytes <= MAX_ROW_BYTES:
            raise _bad(f"a row claims {row_bytes:,} bytes")
        self.take(row_bytes * cells, "rows")
        return kind, row_bytes

    def columns(self, cells: int) -> tuple[int, int]:
        """Skip one layer's transposed rows and return (type, bytes a cell)."""
        kind, element_bytes, elements = struct.unpack("<iII", self.take(12, "column header"))
        if ELEMENT_BYTES.get(kind) != element_bytes:
            raise _bad(f"a column of type {kind} claims elements of {element_bytes:,} bytes")
        if not 0 < elements * element_bytes <= MAX_ROW_BYTES:
            raise _bad(f"a cell claims {elements:,} elements")
        self.take(elements * element_bytes * cells, "columns")
        return kind, elements * element_bytes


def _bad(what: str) -> StateDamaged:
    return StateDamaged(f"The saved state is not valid: {what}.", "The book has to be read again.")

"""Headers of saved states: every kind is understood, and every field that is damaged is named."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cagchat.engine.blob import (
    BOUNDARY_PARTS,
    FULL_PARTS,
    GGML_TYPES,
    MAGIC,
    MAX_CELLS,
    MAX_LAYERS,
    MAX_ROW_BYTES,
    MAX_SEQUENCES,
    PartKind,
    check_complete,
    n_tokens,
    parse,
)
from cagchat.engine.protocol import BOOK, Memory, Part
from cagchat.errors import StateDamaged
from tests.engine_cases import MEMORY, Case, start_engine

Row = tuple[int, int]  # ggml type, bytes a row
F16 = GGML_TYPES["f16"]


@dataclass(frozen=True, slots=True)
class Kv:
    """A KV part as llama.cpp writes it, with every field open to damage; `owners` is the count in each cell."""

    positions: tuple[int, ...] = (0, 1, 2)
    sequence: int = 0
    streams: int = 1
    cells: int | None = None
    owners: int = 1
    transposed: int = 0
    layers: int = 2
    rows: tuple[Row, ...] = ((F16, 4),) * 4
    element_bytes: int = 2

    def pack(self, extended_cells: bool) -> bytes:
        n = len(self.positions)
        out = struct.pack("<II", self.streams, n if self.cells is None else self.cells)
        for position in self.positions:
            out += struct.pack("<iI", position, self.owners)
            out += struct.pack("<iii", position, 0, 0) if extended_cells else b""
            out += struct.pack("<i", self.sequence)
        out += struct.pack("<II", self.transposed, self.layers)
        n_keys = self.layers if self.transposed else len(self.rows)
        keys, values = self.rows[:n_keys], self.rows[n_keys:]
        out += b"".join(struct.pack("<iQ", kind, size) + b"v" * min(size * n, 4096) for kind, size in keys)
        for kind, size in values:
            out += struct.pack("<iII", kind, self.element_bytes, size // self.element_bytes)
            out += b"v" * min(size * n, 4096)
        return out


@dataclass(frozen=True, slots=True)
class Recurrent:
    """A recurrent part as llama.cpp writes it, with every field open to damage."""

    position: int = 2
    cells: int = 1
    owners: int = 0
    transposed: int = 0
    layers: int = 2
    rows: tuple[Row, ...] = ((0, 8), (0, 8))

    def pack(self, extended_cells: bool) -> bytes:
        out = struct.pack("<IiIII", self.cells, self.position, self.owners, self.transposed, self.layers)
        return out + b"".join(struct.pack("<iQ", kind, size) + b"s" * min(size, 4096) for kind, size in self.rows)


@dataclass(frozen=True, slots=True)
class State:
    """A whole state."""

    parts: tuple[Kv | Recurrent, ...] = field(default=(Kv(),))
    magic: int = MAGIC
    sequence: int = 0

    @property
    def kinds(self) -> tuple[PartKind, ...]:
        return tuple("kv" if isinstance(part, Kv) else "recurrent" for part in self.parts)

    def pack(self, extended_cells: bool = False) -> bytes:
        head = struct.pack("<Ii", self.magic, self.sequence)
        return head + b"".join(part.pack(extended_cells) for part in self.parts)


def parsed(state: State, extended_cells: bool = False, *, flash_attention: bool = True) -> tuple[Part, ...]:
    view = memoryview(state.pack(extended_cells))
    return parse(view, state.kinds, extended_cells=extended_cells, flash_attention=flash_attention)


WINDOW = Kv(positions=(4, 2, 3), layers=1, rows=((F16, 4),) * 2)
STATES: dict[Memory, State] = {
    "attention": State((Kv(),)),
    "sliding": State((Kv(positions=(0, 1, 2, 3, 4)), WINDOW)),
    "hybrid": State((Kv(), Recurrent())),
    "recurrent": State((Recurrent(),)),
}


@pytest.mark.parametrize("extended_cells", [False, True])
@pytest.mark.parametrize("memory", STATES)
def test_every_kind_of_state_is_understood(memory: Memory, extended_cells: bool) -> None:
    """A sound state of each kind of memory, with plain or extended cells, parses to its parts and its length."""
    state = STATES[memory]
    assert state.kinds == FULL_PARTS[memory]
    parts = parsed(state, extended_cells)
    assert [part.kind for part in parts] == list(state.kinds)
    assert n_tokens(parts) == (5 if memory == "sliding" else 3)
    check_complete(parts)


@pytest.mark.parametrize("extended_cells", [False, True])
@pytest.mark.parametrize("memory", ["sliding", "hybrid", "recurrent"])
def test_every_kind_of_boundary_is_understood(memory: Memory, extended_cells: bool) -> None:
    """A boundary is the last part of the state alone, and its window may begin after position 0."""
    state = State(STATES[memory].parts[-1:])
    assert state.kinds == BOUNDARY_PARTS[memory]
    assert n_tokens(parsed(state, extended_cells)) == (5 if memory == "sliding" else 3)


def test_a_part_says_what_it_holds() -> None:
    """Cells, ends and rows are those of the header, rows in the order of K then V."""
    rows = ((F16, 4), (F16, 6), (8, 34), (2, 18))
    part = Kv(positions=(7, 5, 6), rows=rows)
    assert parsed(State((part,))) == (Part("kv", 3, 5, 7, rows),)


def test_a_window_is_not_a_whole_state() -> None:
    """A state whose first part does not begin at 0 is refused where a whole sequence is wanted."""
    with pytest.raises(StateDamaged, match="first position is 2"):
        check_complete(parsed(State((WINDOW,))))


def test_parts_must_end_together() -> None:
    """Parts that end at different positions have no common length."""
    with pytest.raises(StateDamaged, match="different positions"):
        n_tokens(parsed(State((Kv(), Recurrent(position=5)))))


DAMAGED_KV = {
    "streams": (Kv(streams=0), "0 streams"),
    "more streams": (Kv(streams=2), "2 streams"),
    "no cells": (Kv(positions=(), rows=()), "no cells"),
    "absurd cells": (Kv(cells=MAX_CELLS + 1), f"{MAX_CELLS + 1:,} cells"),
    "more cells than bytes": (Kv(cells=100_000), "cut short at the cell table"),
    "no owner": (Kv(owners=0), "exactly one sequence"),
    "two owners": (Kv(owners=2), "exactly one sequence"),
    "another owner": (Kv(sequence=1), "sequence 0"),
    "negative position": (Kv(positions=(-1, 0, 1)), "not a run"),
    "gap": (Kv(positions=(0, 1, 3)), "not a run"),
    "repetition": (Kv(positions=(0, 1, 1)), "not a run"),
    "absurd position": (Kv(positions=(0, 1, 2**31 - 1)), "not a run"),
    "transposed": (Kv(transposed=1), "without flash attention"),
    "unknown layout": (Kv(transposed=2), "layout is 2"),
    "no layers": (Kv(layers=0), "0 layers"),
    "absurd layers": (Kv(layers=MAX_LAYERS + 1), f"{MAX_LAYERS + 1:,} layers"),
    "fewer rows than layers": (Kv(layers=3), "cut short at the row header"),
    "more rows than layers": (Kv(layers=1), "its parts end at byte"),
    "unknown type": (Kv(rows=((77, 4),) * 4), "unknown type 77"),
    "negative type": (Kv(rows=((-1, 4),) * 4), "unknown type -1"),
    "empty rows": (Kv(rows=((F16, 0),) * 4), "0 bytes"),
    "absurd rows": (Kv(rows=((F16, MAX_ROW_BYTES + 1),) * 4), f"{MAX_ROW_BYTES + 1:,} bytes"),
    "rows past the end": (Kv(rows=((F16, 1 << 20),) * 4), "cut short at the rows"),
}
DAMAGED_RECURRENT = {
    "no cells": (Recurrent(cells=0), "0 recurrent states"),
    "two cells": (Recurrent(cells=2), "2 recurrent states"),
    "negative position": (Recurrent(position=-1), "position -1"),
    "owner": (Recurrent(owners=1), "1 owners"),
    "transposed": (Recurrent(transposed=1), "transposed"),
    "no layers": (Recurrent(layers=0), "0 layers"),
    "absurd layers": (Recurrent(layers=MAX_LAYERS + 1), f"{MAX_LAYERS + 1:,} layers"),
    "no rows": (Recurrent(rows=()), "0 recurrent rows"),
    "odd rows": (Recurrent(rows=((0, 8),) * 3), "3 recurrent rows"),
    "more rows than layers": (Recurrent(layers=1, rows=((0, 8),) * 4), "recurrent rows for 1 layers"),
    "unknown type": (Recurrent(rows=((77, 8),) * 2), "unknown type 77"),
    "empty rows": (Recurrent(rows=((0, 0),) * 2), "0 bytes"),
    "rows past the end": (Recurrent(rows=((0, 1 << 20),) * 2), "cut short at the rows"),
}


PLAIN = Kv(transposed=1)
DAMAGED_PLAIN = {
    "not transposed": (Kv(), "with flash attention"),
    "element size": (Kv(transposed=1, element_bytes=4), "elements of 4 bytes"),
    "quantised": (Kv(transposed=1, rows=((F16, 4), (F16, 4), (8, 4), (8, 4))), "type 8 claims elements"),
    "empty": (Kv(transposed=1, rows=((F16, 4), (F16, 4), (F16, 0), (F16, 0))), "0 elements"),
    "absurd": (Kv(transposed=1, rows=((F16, 4), (F16, 4), (F16, 2 * MAX_ROW_BYTES), (F16, 4))), "elements"),
    "past the end": (Kv(transposed=1, rows=((F16, 4), (F16, 4), (F16, 1 << 20), (F16, 4))), "cut short at the columns"),
    "fewer than layers": (Kv(transposed=1, rows=((F16, 4),) * 3), "cut short at the column header"),
}


def test_a_state_without_flash_attention_reads_like_one_with_it() -> None:
    """V that is kept transposed takes the same bytes, and its part says the same of them."""
    assert parsed(State((PLAIN,)), flash_attention=False) == parsed(State((Kv(),)))
    assert len(State((PLAIN,)).pack()) == len(State((Kv(),)).pack())


@pytest.mark.parametrize("damage", DAMAGED_PLAIN)
def test_damage_in_transposed_values_is_named(damage: str) -> None:
    """Each field that only states without flash attention have is refused by name."""
    part, message = DAMAGED_PLAIN[damage]
    with pytest.raises(StateDamaged, match=message):
        parsed(State((part,)), flash_attention=False)


@pytest.mark.parametrize("extended_cells", [False, True])
@pytest.mark.parametrize("damage", DAMAGED_KV)
def test_damage_in_a_kv_part_is_named(damage: str, extended_cells: bool) -> None:
    """Each field of a KV part that is not what llama.cpp writes is refused by name."""
    part, message = DAMAGED_KV[damage]
    with pytest.raises(StateDamaged, match=message):
        parsed(State((part,)), extended_cells)


@pytest.mark.parametrize("damage", DAMAGED_RECURRENT)
def test_damage_in_a_recurrent_part_is_named(damage: str) -> None:
    """Each field of a recurrent part that is not what llama.cpp writes is refused by name."""
    part, message = DAMAGED_RECURRENT[damage]
    with pytest.raises(StateDamaged, match=message):
        parsed(State((Kv(), part)))


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (State(magic=MAGIC + 1), "magic number"),
        (State(sequence=-1), "sequence -1"),
        (State(sequence=MAX_SEQUENCES), f"sequence {MAX_SEQUENCES}"),
        (State(sequence=1), "belong to sequence 1"),
    ],
)
def test_damage_in_the_head_is_named(state: State, message: str) -> None:
    """A wrong magic number and an impossible sequence are refused by name."""
    with pytest.raises(StateDamaged, match=message):
        parsed(state)


@pytest.mark.parametrize("memory", STATES)
def test_a_state_cut_anywhere_is_refused(memory: Memory) -> None:
    """No beginning of a state passes for a state."""
    state = STATES[memory]
    content = state.pack()
    for end in range(len(content)):
        with pytest.raises(StateDamaged):
            n_tokens(parse(memoryview(content)[:end], state.kinds, extended_cells=False))


@pytest.mark.parametrize("memory", STATES)
def test_bytes_after_the_state_are_refused(memory: Memory) -> None:
    """A state tiles its file to the last byte."""
    state = STATES[memory]
    with pytest.raises(StateDamaged):
        parse(memoryview(state.pack() + b"\0"), state.kinds, extended_cells=False)


def test_the_other_kind_of_cells_is_refused() -> None:
    """Plain cells do not pass for extended ones, nor the other way round."""
    state = State((replace(Kv(), positions=tuple(range(20))),))
    for made, read in ((False, True), (True, False)):
        with pytest.raises(StateDamaged):
            parse(memoryview(state.pack(made)), state.kinds, extended_cells=read)


@pytest.fixture(scope="session")
def hybrid_state(models: Path) -> bytes:
    """A state of 40 tokens that llama.cpp wrote for a hybrid model with extended cells."""
    engine = start_engine(Case("qwen35", memory=MEMORY["qwen35"]), models)
    try:
        tokens = engine.tokenize(["forty-one lanterns along the quay, and one more " * 2], special=False)[0][:40]
        for _ in engine.evaluate(BOOK, tokens):
            pass
        engine.save(BOOK, models / "hybrid-state")
    finally:
        engine.close()
    return (models / "hybrid-state").read_bytes()


def test_a_real_state_is_understood(hybrid_state: bytes) -> None:
    """The state of a hybrid model has 40 cells of attention, and a recurrent state at the last of them."""
    kv, recurrent = parse(memoryview(hybrid_state), FULL_PARTS["hybrid"], extended_cells=True)
    assert (kv.cells, kv.first_position, kv.last_position) == (40, 0, 39)
    assert (recurrent.first_position, recurrent.last_position) == (39, 39)


def parts_or_damage(content: bytes | bytearray, kinds: tuple[PartKind, ...], extended_cells: bool) -> None:
    """Parse; anything but parts that tile the bytes or `StateDamaged` is a failure."""
    try:
        parts = parse(memoryview(content), kinds, extended_cells=extended_cells)
        n_tokens(parts)
        check_complete(parts)
    except StateDamaged:
        return
    for part in parts:
        assert 0 <= part.first_position <= part.last_position < MAX_CELLS
        assert sum(size for _, size in part.layers) * part.cells <= len(content)


@given(
    st.lists(st.tuples(st.integers(0, 1300), st.integers(0, 255)), min_size=1, max_size=4),
    st.integers(-8, 8),
)
def test_a_mutated_state_is_parts_or_damage(
    hybrid_state: bytes, changes: list[tuple[int, int]], length_change: int
) -> None:
    """Whatever happens to bytes of the header, or to the length, parsing gives sound parts or `StateDamaged`."""
    content = bytearray(hybrid_state)
    for offset, value in changes:
        content[offset] = value
    content = content[:length_change] if length_change < 0 else content + bytes(length_change)
    parts_or_damage(content, FULL_PARTS["hybrid"], True)


@given(st.data())
def test_a_mutated_row_header_is_parts_or_damage(hybrid_state: bytes, data: st.DataObject) -> None:
    """A number anywhere in the state replaced by another, small or absurd, gives sound parts or `StateDamaged`."""
    content = bytearray(hybrid_state)
    number = data.draw(st.sampled_from([0, 1, 2, 255, 2**16, 2**31 - 1, 2**31, 2**32 - 1]))
    struct.pack_into("<I", content, data.draw(st.integers(0, len(content) - 4)), number)
    parts_or_damage(content, FULL_PARTS["hybrid"], True)


@given(st.binary(max_size=400), st.sampled_from([*FULL_PARTS.values()]), st.booleans(), st.booleans())
def test_random_bytes_are_parts_or_damage(
    content: bytes, kinds: tuple[PartKind, ...], extended_cells: bool, with_head: bool
) -> None:
    """Random bytes, also behind a sound head, give sound parts or `StateDamaged`."""
    head = struct.pack("<Ii", MAGIC, 0) if with_head else b""
    parts_or_damage(head + content, kinds, extended_cells)


def test_many_small_rows_are_not_collected() -> None:
    """A recurrent part that consists of millions of rows is refused at the first that is too many."""
    rows = struct.pack("<iQ", 0, 1) + b"s"
    content = struct.pack("<Ii", MAGIC, 0) + Recurrent(rows=()).pack(False) + rows * 100_000
    with pytest.raises(StateDamaged, match="5 recurrent rows for 2 layers"):
        parse(memoryview(content), ("recurrent",), extended_cells=False)

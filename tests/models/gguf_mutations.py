"""Damage a sound GGUF file where it hurts: its counts, lengths, kinds and offsets, and anywhere at random."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from struct import pack, unpack_from
from typing import Literal

STRING, ARRAY = 8, 9
SCALAR_BYTES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
WALKED_ITEMS = 3  # of an array of strings: the others are like them
EDGES = (0, 1, 2, 3, 31, 33, 255, 2**15, 2**16, 2**24, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**40, 2**61, 2**63 - 1,
         2**63, 2**64 - 1)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Field:
    """A number in the header: where it is, how many bytes it has."""

    start: int
    size: int


@dataclass(frozen=True, slots=True)
class Layout:
    """Where things are in a header: its numbers, and the whole entries of keys and tensors."""

    fields: tuple[Field, ...]
    keys: tuple[tuple[int, int], ...]
    tensors: tuple[tuple[int, int], ...]
    end: int


Kind = Literal["flip", "cut", "edge", "near", "repeat", "drop", "nest", "swap", "noise"]
KINDS: tuple[Kind, ...] = ("flip", "cut", "edge", "near", "repeat", "drop", "nest", "swap", "noise")


@dataclass(frozen=True, slots=True)
class Mutation:
    """One damage; `place` and `value` choose among what there is, whatever their size."""

    kind: Kind
    place: int
    value: int


def layout(content: bytes) -> Layout:
    """Find the numbers of a sound file's header."""
    n_tensors, n_keys = unpack_from("<QQ", content, 8)
    fields = [Field(4, 4), Field(8, 8), Field(16, 8)]
    keys, tensors = [], []
    at = 24

    def number(size: int) -> int:
        nonlocal at
        fields.append(Field(at, size))
        at += size
        return int.from_bytes(content[at - size : at], "little")

    def text() -> None:
        nonlocal at
        length = number(8)
        at += length

    for _ in range(n_keys):
        start = at
        text()
        kind = number(4)
        if kind == STRING:
            text()
        elif kind == ARRAY:
            item, count = number(4), number(8)
            if item == STRING:
                for _ in range(min(count, WALKED_ITEMS)):
                    text()
                for _ in range(WALKED_ITEMS, count):
                    at += 8 + unpack_from("<Q", content, at)[0]
            else:
                at += count * SCALAR_BYTES[item]
        else:
            number(SCALAR_BYTES[kind])
        keys.append((start, at))
    for _ in range(n_tensors):
        start = at
        text()
        for _ in range(number(4)):
            number(8)
        number(4)
        number(8)
        tensors.append((start, at))
    return Layout(tuple(fields), tuple(keys), tuple(tensors), at)


def mutate(content: bytes, places: Layout, mutations: list[Mutation]) -> bytes:
    """Return the file with damages; all places are those of the sound file, so later ones may hit anything."""
    damaged = bytearray(content)
    for mutation in mutations:
        apply(damaged, content, places, mutation)
    return bytes(damaged)


def apply(damaged: bytearray, content: bytes, places: Layout, mutation: Mutation) -> None:
    """Do one damage in place."""
    place, value = mutation.place, mutation.value
    field = places.fields[place % len(places.fields)]
    entries = places.keys + places.tensors
    start, stop = entries[place % len(entries)]
    match mutation.kind:
        case "flip":
            bit = place % (8 * min(len(damaged), places.end) or 1)
            if damaged:
                damaged[bit // 8] ^= 1 << bit % 8
        case "cut":
            del damaged[place % (len(content) + 1) :]
        case "edge":
            put(damaged, field, EDGES[value % len(EDGES)])
        case "near":
            put(
                damaged,
                field,
                int.from_bytes(content[field.start : field.start + field.size], "little") + value % 9 - 4,
            )
        case "repeat":
            damaged[stop:stop] = content[start:stop]
            add(damaged, Field(16, 8) if (start, stop) in places.keys else Field(8, 8), 1)
        case "drop":
            del damaged[start:stop]
            add(damaged, Field(16, 8) if (start, stop) in places.keys else Field(8, 8), -1)
        case "nest":
            depth = value % 2000 + 1
            name = b"nested" + pack("<Q", value)[:2]
            entry = pack("<Q", len(name)) + name + pack("<I", ARRAY) + pack("<IQ", ARRAY, 1) * depth
            damaged[24:24] = entry + pack("<IQ", 4, 0)
            add(damaged, Field(16, 8), 1)
        case "swap":
            other_start, other_stop = entries[value % len(entries)]
            if stop <= other_start:
                between = content[other_start:other_stop] + content[stop:other_start] + content[start:stop]
                damaged[start:other_stop] = between
        case "noise":
            at = place % (min(len(damaged), places.end) + 1)
            damaged[at : at + value % 16] = Random(value).randbytes(value // 16 % 16)


def put(damaged: bytearray, field: Field, value: int) -> None:
    """Write a number, as far as there is room for it."""
    if field.start + field.size <= len(damaged):
        damaged[field.start : field.start + field.size] = (value % 256**field.size).to_bytes(field.size, "little")


def add(damaged: bytearray, field: Field, change: int) -> None:
    """Change a number by so much."""
    put(damaged, field, int.from_bytes(damaged[field.start : field.start + field.size], "little") + change)


def at_random(random: Random) -> list[Mutation]:
    """Return one to three damages."""
    return [
        Mutation(random.choice(KINDS), random.getrandbits(32), random.getrandbits(32))
        for _ in range(random.choice((1, 1, 1, 2, 3)))
    ]

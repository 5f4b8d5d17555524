"""Random weights in every type that llama.cpp computes with, as fast as a disk takes them.

A quantised block is small integers and a scale. The integers are drawn once for a type; each time they come round, they
meet other scales, so that no two rows of a matrix are the same. Which weights they are changes no speed; that they
are finite, of mean zero and of the deviation asked for keeps a deep model's logits sane. Needs the `bench` extra.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from math import isqrt
from typing import Any

import gguf
import numpy as np

from cagchat.models.tensors import BLOCKS

Array = np.ndarray[Any, Any]

PATTERN_BYTES = 4 << 20  # in the processor's cache or near it, and a write of this size costs nothing beside its bytes

# Where a block keeps its scale, and its offset if it has one: that byte, and how many scales make the mean zero
# (ggml-common.h: with q evenly drawn, d * s * q and m * s' have the same mean).
SCALES: dict[str, tuple[int, int, float]] = {
    "Q4_0": (0, -1, 0.0),
    "Q4_1": (0, 2, -7.5),
    "Q5_0": (0, -1, 0.0),
    "Q5_1": (0, 2, -15.5),
    "Q8_0": (0, -1, 0.0),
    "Q2_K": (80, 82, 1.5),
    "Q3_K": (108, -1, 0.0),
    "Q4_K": (0, 2, 7.5),
    "Q5_K": (0, 2, 15.5),
    "Q6_K": (208, -1, 0.0),
    "IQ4_NL": (0, -1, 0.0),
    "IQ4_XS": (0, -1, 0.0),
}
FLOATS = ("F32", "F16", "BF16")


@dataclass(slots=True)
class Pattern:
    """Random blocks of one type, which come round again and again; `unit` is their deviation at a scale of 1.

    `scales` and `offsets` are f16 as bytes; of a type of plain numbers `scales` are those numbers at a deviation of 1.
    """

    type_name: str
    blocks: Array
    unit: float = 1.0
    deviation: float = 0.0
    scales: Array = field(default_factory=lambda: np.empty(0))
    offsets: Array = field(default_factory=lambda: np.empty(0))

    def rescale(self, deviation: float, random: np.random.Generator) -> None:
        """Give every block another scale, of either sign, so that the weights have that deviation."""
        if deviation != self.deviation:
            self.deviation = deviation
            self.draw_scales(random)
        if self.type_name in SCALES:
            scale_at, offset_at, _ = SCALES[self.type_name]
            shift = int(random.integers(len(self.blocks)))
            self.blocks[:, scale_at : scale_at + 2] = np.roll(self.scales, shift, axis=0)
            if offset_at >= 0:
                self.blocks[:, offset_at : offset_at + 2] = np.roll(self.offsets, shift, axis=0)

    def draw_scales(self, random: np.random.Generator) -> None:
        """Draw as many scales as there are blocks; numbers without a scale are multiplied themselves."""
        if self.type_name in FLOATS:
            self.blocks = cast(self.type_name, self.scales * np.float32(self.deviation))
            return
        count = len(self.blocks)
        balance = SCALES[self.type_name][2]
        # The mean square of a number drawn evenly between 0.75 and 1.25 is 1 + 1/48.
        drawn = random.uniform(0.75, 1.25, count) * (self.deviation / self.unit / (1 + 1 / 48) ** 0.5)
        drawn *= random.choice((-1.0, 1.0), count)
        self.scales, self.offsets = halves(drawn), halves(drawn * balance)


@dataclass(slots=True)
class Loom:
    """Yields the bytes of random tensors; memory holds one pattern of each type, whatever the tensors' sizes."""

    seed: int
    patterns: dict[str, Pattern] = field(default_factory=dict)

    def tensor(self, name: str, type_name: str, size_bytes: int, deviation: float) -> Iterator[memoryview]:
        """Yield a tensor's bytes in pieces, each good until the next; seed and name alone decide where it begins."""
        random = np.random.default_rng([self.seed, *name.encode()])
        pattern = self.pattern(type_name)
        block_bytes = BLOCKS[type_name][1]
        begin, left = int(random.integers(len(pattern.blocks))) * block_bytes, size_bytes
        while left:
            pattern.rescale(deviation, random)
            piece = pattern.blocks.data.cast("B")[begin : begin + left]
            yield piece
            begin, left = 0, left - len(piece)

    def pattern(self, type_name: str) -> Pattern:
        """Return the pattern of a type, drawn when it is first asked for."""
        if type_name not in self.patterns:
            self.patterns[type_name] = draw(type_name, np.random.default_rng([self.seed, *type_name.encode()]))
        return self.patterns[type_name]


def draw(type_name: str, random: np.random.Generator) -> Pattern:
    """Draw the blocks of a type: a prime number of them, so that rows do not line up with the pattern."""
    count = prime_below(PATTERN_BYTES // BLOCKS[type_name][1])
    if type_name in FLOATS:
        normal = random.standard_normal((count, 1), dtype=np.float32)
        return Pattern(type_name, cast(type_name, normal), scales=normal)
    pattern = Pattern(type_name, random.integers(0, 256, (count, BLOCKS[type_name][1]), dtype=np.uint8))
    pattern.unit = measured(pattern, random)
    return pattern


def measured(pattern: Pattern, random: np.random.Generator) -> float:
    """Return the deviation of the pattern's weights at a scale of 1, from its first blocks."""
    sample = Pattern(pattern.type_name, pattern.blocks[:512].copy())
    sample.rescale(1.0, random)
    weights = gguf.quants.dequantize(sample.blocks.reshape(-1), gguf.GGMLQuantizationType[pattern.type_name])
    return float(weights.std())


def cast(type_name: str, numbers: Array) -> Array:
    """Return f32 numbers in another type of number."""
    if type_name == "F32":
        return numbers
    if type_name == "F16":
        return numbers.astype(np.float16)
    return (numbers.view(np.uint32) >> 16).astype(np.uint16)  # bf16 is the upper half of an f32


def halves(values: Array) -> Array:
    """Return numbers as the bytes of f16, two columns."""
    return values.astype("<f2").view(np.uint8).reshape(-1, 2)


def prime_below(limit: int) -> int:
    """Return the largest prime that is not above `limit`."""
    return next(n for n in range(limit, 1, -1) if all(n % factor for factor in range(2, isqrt(n) + 1)))

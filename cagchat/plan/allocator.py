"""Replay how ggml places a graph's tensors in one buffer, to know the buffer's size without llama.cpp (ggml-alloc.c).

A tensor lives from the step that writes it to the last step that reads it. Its place is the tightest gap that holds it,
else the end of the buffer; some steps write over what they read. The buffer is as large as its end ever was.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from dataclasses import dataclass, field


@dataclass(eq=False, slots=True)
class Tensor:
    """A result that takes `size_bytes`; `kept` ones outlive the graph, for they are its outputs."""

    size_bytes: int
    kept: bool = False


@dataclass(frozen=True, slots=True)
class Step:
    """One operation: what it writes (None when that lies in a cache), what it reads, what it may write over."""

    result: Tensor | None
    reads: tuple[Tensor, ...]
    over: tuple[Tensor, ...]


@dataclass(frozen=True, slots=True)
class Graph:
    """Inputs, which are placed before all else, and steps in the order they are computed."""

    inputs: list[Tensor] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)

    def input(self, size_bytes: int) -> Tensor:
        """Add a tensor that is filled before the first step; one that no step reads is never freed."""
        self.inputs.append(Tensor(size_bytes))
        return self.inputs[-1]

    def step(self, size_bytes: int, *reads: Tensor, over: tuple[Tensor, ...] = (), kept: bool = False) -> Tensor:
        """Add an operation and return its result; `over` are those of `reads` that it may take the place of."""
        result = Tensor(size_bytes, kept)
        self.steps.append(Step(result, reads, over))
        return result

    def store(self, *reads: Tensor) -> None:
        """Add an operation that writes into a cache."""
        self.steps.append(Step(None, reads, ()))

    def buffer_bytes(self, alignment: int) -> int:
        """Return the size of the buffer that holds all tensors, each aligned."""
        buffer = Buffer(alignment)
        places = {id(tensor): buffer.take(tensor.size_bytes) for tensor in self.inputs}
        readers = Counter(id(tensor) for step in self.steps for tensor in step.reads)
        for step in self.steps:
            if step.result is not None:
                base = next((t for t in step.over if readers[id(t)] == 1 and not t.kept and id(t) in places), None)
                if base is None:
                    places[id(step.result)] = buffer.take(step.result.size_bytes)
                else:
                    places[id(step.result)] = places.pop(id(base))
            for tensor in step.reads:
                readers[id(tensor)] -= 1
                if not readers[id(tensor)] and not tensor.kept and id(tensor) in places:
                    buffer.give_back(places.pop(id(tensor)), tensor.size_bytes)
        return buffer.size_bytes


class Buffer:
    """A growing buffer with gaps; `size_bytes` is the farthest it ever reached."""

    def __init__(self, alignment: int) -> None:
        self.size_bytes = 0
        self._alignment = alignment
        self._gaps: list[tuple[int, int]] = []  # (start, end), in order
        self._end = 0  # everything from here on is free

    def take(self, size: int) -> int:
        """Return where `size` bytes are placed: the tightest gap (the last of equal ones), else the end."""
        size = self._aligned(size)
        if not size:
            return self._gaps[0][0] if self._gaps else self._end
        fitting = [(end - start, -start) for start, end in self._gaps if end - start >= size]
        if not fitting:
            start = self._end
            self._end += size
            self.size_bytes = max(self.size_bytes, self._end)
            return start
        room, negative = min(fitting)
        start = -negative
        index = bisect_left(self._gaps, (start, 0))
        self._gaps[index : index + 1] = [(start + size, start + room)] if room > size else []
        return start

    def give_back(self, start: int, size: int) -> None:
        """Free what was placed at `start`; gaps that touch become one."""
        end = start + self._aligned(size)
        if end == start:
            return
        index = bisect_left(self._gaps, (start, 0))
        if index < len(self._gaps) and self._gaps[index][0] == end:
            end = self._gaps.pop(index)[1]
        if index and self._gaps[index - 1][1] == start:
            start = self._gaps.pop(index - 1)[0]
            index -= 1
        if end == self._end:
            self._end = start
        else:
            self._gaps.insert(index, (start, end))

    def _aligned(self, size: int) -> int:
        return -(-size // self._alignment) * self._alignment

"""The replay of ggml's allocator: places never overlap, gaps are used, inputs and outputs outlive what they must."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from cagchat.plan.allocator import Buffer, Graph

UNIT = 32


@given(st.lists(st.tuples(st.integers(0, 10 * UNIT), st.integers(0, 20)), max_size=60))
def test_places_never_overlap(actions: list[tuple[int, int]]) -> None:
    """Whatever is taken and given back, no two live places overlap and all lie inside the buffer."""
    buffer = Buffer(UNIT)
    live: list[tuple[int, int]] = []
    for size, choice in actions:
        if choice < len(live):
            buffer.give_back(*live.pop(choice))
        elif size:
            live.append((buffer.take(size), size))
        ends = sorted((start, start + size) for start, size in live)
        assert all(ends[i][1] <= ends[i + 1][0] for i in range(len(ends) - 1))
        assert all(end <= buffer.size_bytes for _, end in ends)


def test_freed_neighbours_become_one_gap() -> None:
    """Two places that touch can be taken by one tensor as large as both."""
    buffer = Buffer(UNIT)
    first, second, _third = (buffer.take(UNIT) for _ in range(3))
    buffer.give_back(second, UNIT)
    buffer.give_back(first, UNIT)
    assert (buffer.take(2 * UNIT), buffer.size_bytes) == (first, 3 * UNIT)


def test_the_tightest_gap_is_taken() -> None:
    """Of two gaps that are large enough the smaller one is used, wherever it lies."""
    buffer = Buffer(UNIT)
    wide, _, tight, _ = (buffer.take(units * UNIT) for units in (3, 1, 2, 1))
    buffer.give_back(wide, 3 * UNIT)
    buffer.give_back(tight, 2 * UNIT)
    assert buffer.take(2 * UNIT) == tight


def test_sizes_are_aligned() -> None:
    """A tensor of one byte takes a whole unit."""
    graph = Graph()
    graph.step(1, graph.input(1), kept=True)
    assert graph.buffer_bytes(UNIT) == 2 * UNIT


def test_what_is_read_no_more_is_used_again() -> None:
    """A chain of steps needs room for two tensors, however long it is."""
    graph = Graph()
    tensor = graph.input(UNIT)
    for _ in range(10):
        tensor = graph.step(UNIT, tensor)
    assert graph.buffer_bytes(UNIT) == 2 * UNIT


def test_a_step_may_write_over_what_it_reads() -> None:
    """A step that may take its source's place needs no room of its own, unless another step still reads the source."""
    graph = Graph()
    source = graph.input(UNIT)
    graph.step(UNIT, source, over=(source,))
    assert graph.buffer_bytes(UNIT) == UNIT
    graph.store(source)
    assert graph.buffer_bytes(UNIT) == 2 * UNIT


def test_outputs_are_kept() -> None:
    """A kept tensor's place is not used again, though no step reads it any more."""
    graph = Graph()
    kept = graph.step(UNIT, graph.input(UNIT), kept=True)
    graph.step(UNIT, graph.step(UNIT, kept))
    assert graph.buffer_bytes(UNIT) == 3 * UNIT


def test_inputs_that_nothing_reads_stay() -> None:
    """An input without a reader is never freed."""
    graph = Graph()
    graph.input(5 * UNIT)
    graph.step(UNIT, graph.input(UNIT))
    assert graph.buffer_bytes(UNIT) == 7 * UNIT

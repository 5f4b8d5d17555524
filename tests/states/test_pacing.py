"""Checkpoints cost no more than their share of the reading."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cagchat.states.pacing import FIRST_GUESS_BYTES_PER_S, CheckpointPacer, SizeEstimate

CHUNKS = st.lists(st.floats(0.01, 30), min_size=1, max_size=200)


@given(st.floats(0.001, 0.2), st.floats(1e6, 1e10), st.integers(1, 10**7), CHUNKS)
def test_checkpoints_stay_within_their_share(
    share: float, bytes_per_s: float, bytes_per_chunk: int, chunks: list[float]
) -> None:
    """On a disk of constant speed, once that is known, the sum of all costs never exceeds the share of reading."""
    pacer = CheckpointPacer(share)
    size_bytes, reading_s, spent_s, first_s = 0, 0.0, 0.0, None
    for chunk_s in chunks:
        reading_s += chunk_s
        size_bytes += bytes_per_chunk
        if not pacer.due(reading_s, size_bytes):
            continue
        cost_s = size_bytes / bytes_per_s
        pacer.saved(size_bytes, cost_s)
        spent_s += cost_s
        if first_s is None:  # its speed was a guess, so it may cost more than the share; the others wait for it
            first_s = cost_s
        assert spent_s <= max(first_s, share * reading_s) * (1 + 1e-9)


@given(st.floats(0.001, 0.2), st.lists(st.tuples(st.floats(0.1, 30), st.integers(1, 10**9)), min_size=1, max_size=50))
def test_costs_as_predicted_never_exceed_the_share(share: float, chunks: list[tuple[float, int]]) -> None:
    """When each checkpoint costs what was expected, the share holds from the very first one on."""
    pacer = CheckpointPacer(share)
    reading_s = spent_s = 0.0
    for chunk_s, size_bytes in chunks:
        reading_s += chunk_s
        if pacer.due(reading_s, size_bytes):
            cost_s = size_bytes / FIRST_GUESS_BYTES_PER_S
            pacer.saved(size_bytes, cost_s)
            spent_s += cost_s
        assert spent_s <= share * reading_s * (1 + 1e-9)


def test_the_first_guess_is_a_slow_disk() -> None:
    """Before anything was measured, a state of a second at the guessed speed waits for a second's share."""
    pacer = CheckpointPacer(0.05)
    size_bytes = int(FIRST_GUESS_BYTES_PER_S)
    assert not pacer.due(19.9, size_bytes)
    assert pacer.due(20.1, size_bytes)


def test_a_slow_save_is_waited_for() -> None:
    """A checkpoint that took longer than expected delays the next one until the share holds again."""
    pacer = CheckpointPacer(0.1)
    pacer.saved(1000, 10.0)
    assert not pacer.due(199.0, 1000)
    assert pacer.due(201.0, 1000)


def test_a_save_of_no_time_keeps_the_speed() -> None:
    """A save that the clock could not measure is no reason to think the disk infinitely fast."""
    pacer = CheckpointPacer(0.1)
    pacer.saved(1000, 0.0)
    assert not pacer.due(9.9, int(FIRST_GUESS_BYTES_PER_S))


@pytest.mark.parametrize("reading_s", [0.0, 1.0, 1e9])
def test_a_share_of_nothing_switches_checkpoints_off(reading_s: float) -> None:
    """With share 0 no checkpoint is ever due."""
    assert not CheckpointPacer(0).due(reading_s, 1)


def test_no_estimate_from_one_size() -> None:
    """One size seen, even twice, is not enough to predict another."""
    estimate = SizeEstimate()
    assert estimate.predict(10) is None
    estimate.observe(512, 1000)
    estimate.observe(512, 1000)
    assert estimate.predict(1024) is None


@given(st.integers(0, 10**9), st.integers(1, 10**5), st.lists(st.integers(1, 10**6), min_size=2, unique=True))
def test_an_estimate_is_exact_for_what_grows_evenly(fixed: int, per_token: int, positions: list[int]) -> None:
    """A state of a fixed part and so many bytes a token is predicted to the byte, wherever it was seen."""
    estimate = SizeEstimate()
    for position in positions:
        estimate.observe(position, fixed + per_token * position)
    for position in (1, 500, 10**6):
        assert estimate.predict(position) == fixed + per_token * position


def test_the_latest_sizes_count() -> None:
    """When growth changes, as it does once a window is full, the last two sizes decide."""
    estimate = SizeEstimate()
    for position, size_bytes in ((100, 10_000), (200, 20_000), (300, 21_000)):
        estimate.observe(position, size_bytes)
    assert estimate.predict(400) == 22_000


def test_no_estimate_is_negative() -> None:
    """A state that shrank does not predict less than nothing."""
    estimate = SizeEstimate()
    estimate.observe(100, 10_000)
    estimate.observe(200, 10)
    assert estimate.predict(10_000) == 0

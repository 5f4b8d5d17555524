"""The record of what was evaluated."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cagchat.engine.protocol import Span
from cagchat.engine.spans import SpanLog


def logged(*spans: Span) -> list[Span]:
    log = SpanLog()
    for span in spans:
        log.add(span)
    return log.take()


def test_adjacent_spans_are_joined() -> None:
    """Batches that follow each other in one sequence are one span."""
    assert logged(Span(0, 0, 5), Span(0, 5, 3), Span(0, 8, 1)) == [Span(0, 0, 9)]


def test_a_gap_starts_a_new_span() -> None:
    """Positions that are skipped or evaluated again are not hidden by joining."""
    spans = [Span(0, 0, 5), Span(0, 6, 3), Span(0, 6, 3)]
    assert logged(*spans) == spans


def test_sequences_are_kept_apart() -> None:
    """A span that goes on in another sequence is another span."""
    spans = [Span(0, 0, 5), Span(1, 5, 3)]
    assert logged(*spans) == spans


@pytest.mark.parametrize("other", [Span(1, 5, 1, probe=True), Span(1, 5, 1, padding=True)])
def test_nobodys_text_is_kept_apart(other: Span) -> None:
    """A probe or padding is not joined to the answer that starts where it ended, nor to the one before."""
    spans = [Span(1, 0, 5), other, Span(1, 6, 2)]
    assert logged(*spans) == spans


def test_taking_empties_the_log() -> None:
    """Every span is returned once."""
    log = SpanLog()
    log.add(Span(0, 0, 5))
    assert log.take() == [Span(0, 0, 5)]
    assert log.take() == []


def test_nothing_is_joined_across_a_take() -> None:
    """What follows a take starts a span of its own, so that no count is returned twice."""
    log = SpanLog()
    log.add(Span(0, 0, 5))
    log.take()
    log.add(Span(0, 5, 3))
    assert log.take() == [Span(0, 5, 3)]


@given(st.lists(st.builds(Span, st.integers(0, 1), st.integers(0, 9), st.integers(1, 4), st.booleans(), st.booleans())))
def test_no_token_is_lost(spans: list[Span]) -> None:
    """The positions in the log are the positions that were added, in their order."""

    def positions(some: list[Span]) -> list[Span]:
        return [replace(span, start=span.start + i, count=1) for span in some for i in range(span.count)]

    assert positions(logged(*spans)) == positions(spans)

"""The record of what was evaluated: the source of every proof line."""

from __future__ import annotations

from dataclasses import replace

from cagchat.engine.protocol import Span


class SpanLog:
    """Collects spans in order; a span that goes on where the last one ended is joined to it."""

    def __init__(self) -> None:
        self._spans: list[Span] = []

    def add(self, span: Span) -> None:
        """Record tokens that went through the model."""
        if self._spans:
            last = self._spans[-1]
            if replace(last, start=last.start + last.count, count=span.count) == span:
                self._spans[-1] = replace(last, count=last.count + span.count)
                return
        self._spans.append(span)

    def take(self) -> list[Span]:
        """Return what was recorded since the last call."""
        spans, self._spans = self._spans, []
        return spans

"""Put the spans of a page into lines, and the lines into the order in which they are read.

A page has columns when an empty strip runs down between spans that fill the space on both sides of it, or that the
file itself holds one side after the other. What crosses the strip (a title, a figure's caption) parts the page into
bands, and each band is read column by column.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from statistics import median

from cagchat.documents.pdf.page import Line, Page, Span

_FEWEST_LINES = 5
_MOST_COLUMNS = 8
# Wider than this part of the region is a line of full width, which says nothing about columns.
_FULL_WIDTH = 0.62
_FILLED = 0.68
# The part of an edge's lines that must agree on it.
_SHARED = 0.2
_EDGE_POINTS = 2.0
# Between letters of one word, and between a word and its exponent, there is less.
_WORD_GAP = 0.12
_CELL_GAP = 1.6
_HEADING = 1.3
_DROP_CAP = 1.6
_MOST_DROP_CAPS = 4


@dataclass(frozen=True, slots=True)
class Row:
    """Spans side by side, from left to right."""

    spans: tuple[Span, ...]
    baseline: float
    size: float

    @property
    def left(self) -> float:
        """Where the first span begins."""
        return self.spans[0].left

    @property
    def right(self) -> float:
        """Where the last span ends; spans may overlap."""
        return max(span.right for span in self.spans)

    @property
    def has_gap(self) -> bool:
        """Whether two of its spans stand farther apart than words ever do."""
        return any(after.left - before.right > _CELL_GAP * self.size for before, after in pairwise(self.spans))

    @property
    def text(self) -> str:
        """The words; letters that touch, as exponents do, are one word."""
        parts = [self.spans[0].text]
        for before, after in pairwise(self.spans):
            if after.left - before.right > _WORD_GAP * min(before.size, after.size):
                parts.append(" ")
            parts.append(after.text)
        return "".join(parts)


def rows_of(spans: Sequence[Span]) -> list[Row]:
    """Return the rows from top to bottom; small signs above and below a baseline belong to its row."""
    rows: list[list[Span]] = []
    anchor: Span | None = None
    for span in sorted(spans, key=lambda span: (span.baseline, span.left)):
        if anchor is not None and _side_by_side(anchor, span):
            rows[-1].append(span)
            if len(span.text) > len(anchor.text):
                anchor = span
        else:
            rows.append([span])
            anchor = span
    return [_row(row) for row in rows]


def lines_of(page: Page) -> list[Line]:
    """Return the lines of a page in the order in which they are read."""
    lines: list[Line] = []
    for region in _regions(page.spans, _MOST_COLUMNS):
        caps, spans = _drop_caps(region)
        rows = rows_of(spans)
        margin = _shared_edge(sorted(row.left for row in _without_headings(rows)))
        measure = _shared_edge(sorted((row.right for row in rows), reverse=True))
        for row, capital, left in _with_caps(rows, caps):
            top = min(span.top for span in row.spans)
            text = capital + row.text
            lines.append(Line(text, left, row.right, top, row.baseline, row.size, margin, measure, row.has_gap))
    return lines


def _side_by_side(anchor: Span, span: Span) -> bool:
    """Tell whether two spans share at least half of the smaller one's height."""
    overlap = min(anchor.bottom, span.bottom) - max(anchor.top, span.top)
    return overlap >= 0.5 * min(anchor.size, span.size)


def _row(spans: list[Span]) -> Row:
    """Make a row; its baseline and size are those of its longest span."""
    spans.sort(key=lambda span: span.left)
    main = max(spans, key=lambda span: len(span.text))
    return Row(tuple(spans), main.baseline, main.size)


def _regions(spans: Sequence[Span], most: int) -> Iterator[Sequence[Span]]:
    """Yield groups of spans that are read one after the other, each a column or a band across the page."""
    strip = _strip(spans) if most > 1 else None
    if strip is None:
        if spans:
            yield spans
        return
    crossing = sorted((s for s in spans if s.left < strip < s.right), key=lambda s: s.baseline)
    beside = sorted((s for s in spans if not s.left < strip < s.right), key=lambda s: s.baseline)
    baselines = [span.baseline for span in beside]
    done = 0
    band: list[Span] = []
    for span in crossing:
        # Half a line's height of tolerance: an equation's number beside it belongs to its row.
        upto = bisect_left(baselines, span.baseline - span.size / 2, done)
        if upto > done:
            if band:
                yield band
            band = []
            yield from _sides(beside[done:upto], strip, most)
            done = upto
        band.append(span)
    if band:
        yield band
    yield from _sides(beside[done:], strip, most)


def _sides(spans: Sequence[Span], strip: float, most: int) -> Iterator[Sequence[Span]]:
    """Yield what is left of the strip, then what is right of it."""
    for side in ([s for s in spans if s.right <= strip], [s for s in spans if s.right > strip]):
        yield from _regions(side, most // 2)


def _strip(spans: Sequence[Span]) -> float | None:
    """Return the middle of the empty strip between two columns, None when the spans are in one."""
    if len(spans) < 2 * _FEWEST_LINES:
        return None
    left, right = min(span.left for span in spans), max(span.right for span in spans)
    narrow = [span for span in spans if span.right - span.left < _FULL_WIDTH * (right - left)]
    if len(narrow) < 2 * _FEWEST_LINES or 2.5 * sum(len(s.text) for s in narrow) < sum(len(s.text) for s in spans):
        return None
    middle = _widest_gap(narrow, left, right)
    if middle is None:
        return None
    near = [span for span in narrow if span.right <= middle]
    far = [span for span in narrow if span.left >= middle]
    near, far = _in_reach(near, far), _in_reach(far, near)
    if min(len(near), len(far)) < _FEWEST_LINES:
        return None
    filled = all(
        median(span.right - span.left for span in side)
        >= _FILLED * (max(span.right for span in side) - min(span.left for span in side))
        and median(len(span.text) for span in side) >= 2 * _FEWEST_LINES
        for side in (near, far)
    )
    beside = {*near, *far}
    sides = [span.left >= middle for span in narrow if span in beside]
    switches = sum(before != after for before, after in pairwise(sides))
    return middle if filled or switches <= max(1, len(sides) // 20) else None


def _in_reach(spans: list[Span], others: list[Span]) -> list[Span]:
    """Return the spans that are not above or below all of the others."""
    top = min((span.top for span in others), default=0.0)
    bottom = max((span.bottom for span in others), default=0.0)
    return [span for span in spans if top <= span.baseline <= bottom]


def _widest_gap(spans: Sequence[Span], left: float, right: float) -> float | None:
    """Return the middle of the widest strip in the inner part of the region that hardly any span reaches into."""
    points = min(10_000, int(right - left) + 2)
    changes = [0] * (points + 1)
    for span in spans:
        changes[min(points, max(0, int(span.left - left)))] += 1
        changes[min(points, max(0, int(span.right - left)))] -= 1
    most = len(spans) // 25
    best = run = end = 0
    first, last = points // 6, points - points // 6
    for point, covered in enumerate(accumulate(changes)):
        run = run + 1 if covered <= most and first <= point <= last else 0
        if run > best:
            best, end = run, point
    size = median(span.size for span in spans)
    return left + end - best / 2 + 1 if best >= 0.5 * size else None


def _drop_caps(spans: Sequence[Span]) -> tuple[list[Span], list[Span]]:
    """Part the large letters that begin chapters from the other spans."""
    if len(spans) < 3:
        return [], list(spans)
    usual = median(span.size for span in spans)
    margin = min(span.left for span in spans)
    caps = [
        span
        for span in spans
        if len(span.text) == 1 and span.text.isalpha() and span.size > _DROP_CAP * usual and span.left < margin + usual
    ][:_MOST_DROP_CAPS]
    return caps, [span for span in spans if span not in caps] if caps else list(spans)


def _with_caps(rows: list[Row], caps: list[Span]) -> list[tuple[Row, str, float]]:
    """Return each row, the drop cap that it begins with or "", and where it would begin without a cap beside it."""
    placed = [(row, "", row.left) for row in rows]
    for cap in caps:
        beside = [
            index
            for index, row in enumerate(rows)
            if cap.top - 0.3 * row.size <= row.baseline - 0.5 * row.size <= cap.bottom and row.left >= cap.left
        ]
        for index in beside:
            row = rows[index]
            placed[index] = (row, cap.text if index == beside[0] else "", cap.left)
        if not beside:
            at = bisect_right([row.baseline for row, _, _ in placed], cap.baseline)
            placed.insert(at, (Row((cap,), cap.baseline, cap.size), "", cap.left))
    return placed


def _without_headings(rows: Sequence[Row]) -> list[Row]:
    """Return the rows whose letters are not larger than usual: headings often stand left of the text below them."""
    usual = median(row.size for row in rows) if rows else 0.0
    return [row for row in rows if row.size < _HEADING * usual] or list(rows)


def _shared_edge(values: list[float]) -> float:
    """Return the first value that several lines share; the first of all when they share none."""
    fewest = max(2, _SHARED * len(values))
    ordered = sorted(values)
    for value in values:
        shared = bisect_right(ordered, value + _EDGE_POINTS) - bisect_left(ordered, value - _EDGE_POINTS)
        if shared >= fewest:
            return value
    return values[0] if values else 0.0

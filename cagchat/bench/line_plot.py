"""Draw curves against a book's length as one SVG: a small panel for each quantity, both axes logarithmic.

It follows the reader's light or dark theme. Every curve has its own dash and mark beside its colour, and each point's
tooltip has its numbers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape

from cagchat.bench.svg import picture, text

PANEL_WIDTH, PANEL_HEIGHT = 290, 190
LEFT, TOP, GAP_X, GAP_Y, MARGIN = 62, 84, 84, 62, 18
PANELS_A_ROW = 3
LEGEND_WIDTH = 280
CHARACTER_WIDTH = 7.0
LEAST_DECADES = 1.0  # an axis spans at least a power of ten, or noise would look like growth

STYLE = """
    svg { --paper: #ffffff; --ink: #1b1f24; --soft: #57606a; --grid: #d8dee4;
          --c0: #0b62c4; --c1: #b3500b; --c2: #19743a; --c3: #8438a8 }
    @media (prefers-color-scheme: dark) {
      svg { --paper: #0d1117; --ink: #f0f3f6; --soft: #9ea7b3; --grid: #30363d;
            --c0: #6cb0ff; --c1: #f0964f; --c2: #5dc97f; --c3: #cf95ee }
    }
    .paper { fill: var(--paper) }
    text { fill: var(--ink); font: 12px ui-sans-serif, system-ui, sans-serif }
    .title { font-size: 15px; font-weight: 600 }
    .name { font-weight: 600 }
    .soft { fill: var(--soft); font-size: 11px }
    .end { text-anchor: end }
    .middle { text-anchor: middle }
    .grid { stroke: var(--grid); stroke-width: 1 }
    .line { fill: none; stroke-width: 2 }
"""
COLOURS = 4
DASHES = ("", "6 3", "2 3", "8 3 2 3")


@dataclass(frozen=True, slots=True)
class Panel:
    """One quantity: its title, how a value is written, and for each curve by name its points (length, value)."""

    title: str
    shown: Callable[[float], str]
    curves: Mapping[str, Sequence[tuple[float, float]]]


@dataclass(frozen=True, slots=True)
class Axis:
    """A logarithmic axis from `low` to `high`, `size` long on the paper."""

    low: float
    high: float
    size: int

    def place(self, value: float) -> float:
        """Return how far along the axis a value stands."""
        return self.size * (math.log(value) - math.log(self.low)) / (math.log(self.high) - math.log(self.low))


def line_plot(title: str, panels: Sequence[Panel], caption: str = "") -> str:
    """Return the SVG; the same panels give the same bytes. Values of 0 or less cannot be drawn and are left out."""
    names = list(dict.fromkeys(name for panel in panels for name in panel.curves))
    lengths = [length for panel in panels for points in panel.curves.values() for length, _ in points]
    across = Axis(min(lengths, default=1.0), max([2 * min(lengths, default=1.0), *lengths]), PANEL_WIDTH)
    rows = -(-len(panels) // PANELS_A_ROW)
    columns = min(PANELS_A_ROW, len(panels))
    width = max(
        LEFT + columns * PANEL_WIDTH + (columns - 1) * GAP_X + 2 * MARGIN,
        MARGIN * 2 + LEGEND_WIDTH * len(names),
        round(CHARACTER_WIDTH * len(caption)) + 2 * MARGIN,
    )
    height = TOP + rows * (PANEL_HEIGHT + GAP_Y) + (24 if caption else 0)
    described = "; ".join(summary(panel) for panel in panels)
    lines = [
        text(MARGIN, 26, title, "title"),
    ]
    for number, name in enumerate(names):
        x = MARGIN + number * LEGEND_WIDTH
        lines.append(stroke(number, f"M {x} 46 h 30"))
        lines += [mark(number, x + 15, 46), text(x + 38, 50, name)]
    for number, panel in enumerate(panels):
        row, column = divmod(number, PANELS_A_ROW)
        corner = (MARGIN + LEFT + column * (PANEL_WIDTH + GAP_X), TOP + row * (PANEL_HEIGHT + GAP_Y))
        lines += draw(panel, names, across, *corner)
    if caption:
        lines.append(text(MARGIN, height - 12, caption, "soft"))
    return picture(width, height, title, described, STYLE, lines)


def draw(panel: Panel, names: Sequence[str], across: Axis, left: int, top: int) -> list[str]:
    """Return a panel's lines: frame, axes and curves, with its upper left corner at (left, top)."""
    upward = axis_for([value for points in panel.curves.values() for _, value in points if value > 0])
    lines = [text(left, top - 10, panel.title, "name")]
    for value in ticks(upward):
        y = top + PANEL_HEIGHT - upward.place(value)
        lines.append(f'  <path class="grid" d="M {left} {y:.1f} h {PANEL_WIDTH}"/>')
        lines.append(text(left - 6, round(y) + 4, panel.shown(value), "soft end"))
    for length in doublings(across):
        x = left + across.place(length)
        lines.append(f'  <path class="grid" d="M {x:.1f} {top} v {PANEL_HEIGHT}"/>')
        lines.append(text(round(x), top + PANEL_HEIGHT + 15, short(length), "soft middle"))
    for name, points in panel.curves.items():
        number = names.index(name)
        places = [
            (left + across.place(length), top + PANEL_HEIGHT - upward.place(value), length, value)
            for length, value in points
            if value > 0
        ]
        if places:
            lines.append(stroke(number, "M " + " L ".join(f"{x:.1f} {y:.1f}" for x, y, _, _ in places)))
        for x, y, length, value in places:
            tip = f"{name}, {length:,.0f} tokens: {panel.shown(value)}"
            lines.append(f"  <g><title>{escape(tip)}</title>{mark(number, x, y).strip()}</g>")
    return lines


def axis_for(values: Sequence[float]) -> Axis:
    """Return an axis that holds the values, at least a power of ten long."""
    low, high = min(values, default=1.0), max(values, default=10.0)
    missing = LEAST_DECADES - math.log10(high / low)
    if missing > 0:
        low, high = low / 10 ** (missing / 2), high * 10 ** (missing / 2)
    return Axis(low / 1.15, high * 1.15, PANEL_HEIGHT)


def ticks(axis: Axis) -> list[float]:
    """Return the powers of ten on an axis, and twice and five times them when it is short."""
    exponents = range(math.floor(math.log10(axis.low)), math.ceil(math.log10(axis.high)) + 1)
    steps = (1, 2, 5) if math.log10(axis.high / axis.low) < 2 else (1,)
    return [value for power in exponents for step in steps if axis.low <= (value := step * 10.0**power) <= axis.high]


def doublings(axis: Axis) -> list[float]:
    """Return the powers of two on an axis, every second one when there are many."""
    low, high = math.ceil(math.log2(axis.low) - 0.01), math.floor(math.log2(axis.high) + 0.01)
    return [min(max(2.0**power, axis.low), axis.high) for power in range(low, high + 1, 1 if high - low < 7 else 2)]


def short(length: float) -> str:
    """Return a number of tokens in few characters: 512, 4K, 1M."""
    n_tokens = round(length)
    if n_tokens >= 1 << 20:
        return f"{n_tokens / (1 << 20):.3g}M"
    return f"{n_tokens / 1024:.3g}K" if n_tokens >= 1024 else str(n_tokens)


def summary(panel: Panel) -> str:
    """Return a panel in words: the first and the last value of each curve."""
    ends = [
        f"{name} from {panel.shown(points[0][1])} at {short(points[0][0])} to {panel.shown(points[-1][1])} at "
        f"{short(points[-1][0])} tokens"
        for name, points in panel.curves.items()
        if points
    ]
    return f"{panel.title}: {', '.join(ends)}"


def stroke(number: int, path: str) -> str:
    """Return a curve's line."""
    dash = f' stroke-dasharray="{DASHES[number % len(DASHES)]}"' if DASHES[number % len(DASHES)] else ""
    return f'  <path class="line" stroke="var(--c{number % COLOURS})"{dash} d="{path}"/>'


def mark(number: int, x: float, y: float) -> str:
    """Return a curve's mark at a point: a circle, a square, a triangle or a diamond."""
    fill = f'fill="var(--c{number % COLOURS})"'
    shape = number % COLOURS
    if shape == 0:
        return f'  <circle {fill} cx="{x:.1f}" cy="{y:.1f}" r="3.5"/>'
    corners = {
        1: f"M {x - 3.5:.1f} {y - 3.5:.1f} h 7 v 7 h -7 z",
        2: f"M {x:.1f} {y - 4.5:.1f} l 4.5 8 h -9 z",
        3: f"M {x:.1f} {y - 5:.1f} l 5 5 l -5 5 l -5 -5 z",
    }
    return f'  <path {fill} d="{corners[shape]}"/>'

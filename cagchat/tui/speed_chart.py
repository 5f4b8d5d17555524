"""Speeds as bars that stand on zero: half the speed is half the height."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from textual.app import RenderResult
from textual.content import Content
from textual.reactive import reactive
from textual.widget import Widget

BARS = " ▁▂▃▄▅▆▇█"
STEPS = len(BARS) - 1  # in one row


class SpeedChart(Widget):
    """Shows the last speeds, a column each, the newest at the right."""

    DEFAULT_CSS = """
    SpeedChart { height: 2; color: $primary; }
    """

    speeds: reactive[Sequence[float]] = reactive(())

    def render(self) -> RenderResult:
        """Return the bars."""
        return Content("\n".join(bars(self.speeds, self.content_size.width, self.content_size.height)))


def bars(speeds: Sequence[float], width: int, height: int) -> list[str]:
    """Return the rows of a chart of the last `width` speeds, the fastest of them as high as there is room.

    One that is more than twice the median is drawn as if it were twice: a single burst would flatten all others.
    """
    shown = speeds[-width:] if width > 0 else ()
    highest = ceiling(shown)
    if highest <= 0:
        return [""] * height
    steps = [max(1, round(min(1.0, speed / highest) * STEPS * height)) for speed in shown]
    return ["".join(BARS[min(STEPS, max(0, step - STEPS * row))] for step in steps) for row in reversed(range(height))]


def ceiling(speeds: Sequence[float]) -> float:
    """Return the speed that is drawn as high as there is room, 0 without any."""
    return min(max(speeds), 2 * median(speeds)) if speeds else 0.0

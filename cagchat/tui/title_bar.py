"""The first line: the book at the left, the model at the right while there is room for both."""

from __future__ import annotations

from textual.app import RenderResult
from textual.content import Content
from textual.widget import Widget


class TitleBar(Widget):
    """Shows two texts; the left one is kept when only one fits."""

    DEFAULT_CSS = """
    TitleBar { height: 1; padding: 0 1; background: $panel; text-style: bold; }
    """

    def __init__(self, left: str, right: str = "") -> None:
        super().__init__()
        self.left = left
        self.right = right

    def render(self) -> RenderResult:
        """Return the line for the width there is."""
        return Content(between(self.left, self.right, self.content_size.width))


def between(left: str, right: str, width: int) -> str:
    """Return `left`, and `right` at the other end if both fit; a text that is too long ends in an ellipsis."""
    if right and len(left) + 2 + len(right) <= width:
        return left + " " * (width - len(left) - len(right)) + right
    return left if len(left) <= width else f"{left[: max(0, width - 1)]}…"

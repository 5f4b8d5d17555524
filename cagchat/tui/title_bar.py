"""The first line: the book at the left, the model at the right while there is room for both."""

from __future__ import annotations

from rich.cells import cell_len
from textual.app import RenderResult
from textual.content import Content
from textual.widget import Widget

from cagchat.sessions.naming import one_line
from cagchat.tui.cells import cut


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
        return Content(between(one_line(self.left), one_line(self.right), self.content_size.width))


def between(left: str, right: str, width: int) -> str:
    """Return `left`, and `right` at the other end if both fit; a text of more cells ends in an ellipsis."""
    gap = width - cell_len(left) - cell_len(right)
    return f"{left}{' ' * gap}{right}" if right and gap >= 2 else cut(left, width)

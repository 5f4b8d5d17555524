"""What F1 shows: how to use what has the focus, and every key that works on the screen now."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from rich.table import Table
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.dom import DOMNode
from textual.widgets import Markdown, Static

from cagchat.tui.modal import Modal

KEYS_WIDTH = 14


class HelpScreen(Modal[None]):
    """A page over the screen that it is about, scrolled by the usual keys."""

    DEFAULT_CSS = """
    HelpScreen {
        align: center middle;
        & > VerticalScroll {
            width: 76; max-width: 94%; height: auto; max-height: 90%; padding: 0 2; border: round $accent;
            background: $surface; border-subtitle-color: $text-muted;
        }
        Markdown { padding: 0; margin: 0; height: auto; }
        Static { height: auto; margin-bottom: 1; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "dismiss", "Close", id="help.close", show=False)]

    def __init__(self, text: str, keys: Iterable[tuple[str, str]]) -> None:
        """Show `text` (Markdown), and below it keys with what they do."""
        super().__init__()
        self.text = text
        self.keys = tuple(keys)

    def compose(self) -> ComposeResult:
        """Lay out the text and the keys."""
        page = VerticalScroll()
        page.border_title, page.border_subtitle = "Help", "up, down, page up, page down; Esc closes"
        with page:
            yield Markdown(self.text, open_links=False)
            table = Table.grid(padding=(0, 2, 0, 0))
            table.add_column(width=KEYS_WIDTH)
            table.add_column()
            for key, words in self.keys:
                table.add_row(Text(key, style="bold"), Text(words))
            yield Static(table)

    def on_mount(self) -> None:
        """Give the page the keys that scroll."""
        self.query_one(VerticalScroll).focus()


def help_for(node: DOMNode) -> str:
    """Return the help of a widget, or of the nearest one around it that has some; "" when there is none."""
    return next((found.HELP for found in node.ancestors_with_self if found.HELP), "")

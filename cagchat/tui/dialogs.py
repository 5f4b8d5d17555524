"""Two small questions to the reader: a text, and whether to do something that cannot be undone."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.widgets import Button, Input, Static

from cagchat.tui.modal import Modal

BOX = """
    align: center middle;
    & > Vertical {
        width: 60; max-width: 90%; height: auto; padding: 1 2; border: round $accent; background: $surface;
    }
    Horizontal { height: auto; margin-top: 1; }
    Button { margin-right: 2; }
"""


class AskText(Modal[str | None]):
    """Asks for a line of text; None when it was left with Esc."""

    HELP = """\
## A line of text

**Enter** takes it, **Esc** leaves everything as it is.
"""
    DEFAULT_CSS = f"AskText {{ {BOX} }}"
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "dismiss", "Cancel", id="text.cancel")]

    def __init__(self, title: str, text: str, *, secret: bool = False) -> None:
        """Ask for a text in place of `text`; what is `secret` is not shown while it is typed."""
        super().__init__()
        self._title = title
        self._text = text
        self._secret = secret

    def compose(self) -> ComposeResult:
        """Lay out the question and the line."""
        with Vertical():
            yield Static(self._title, markup=False)
            yield Input(self._text, password=self._secret)
            with Horizontal():
                yield Button("OK", id="ok", variant="primary")
                yield Button("Cancel", id="cancel")

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Take the text."""
        event.stop()
        self.dismiss(event.value)

    def on_button_pressed(self, event: Button.Pressed) -> None:
        """Take the text, or leave it."""
        event.stop()
        self.dismiss(self.query_one(Input).value if event.button.id == "ok" else None)


class Confirm(Modal[bool | None]):
    """Asks whether to do it; the answer that changes nothing has the focus."""

    HELP = """\
## Are you sure?

**y** does it; **n** and **Esc** leave everything as it is.
"""
    DEFAULT_CSS = f"Confirm {{ {BOX} }}"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,n", "dismiss(False)", "No", id="confirm.no"),
        Binding("y", "dismiss(True)", "Yes", id="confirm.yes"),
    ]

    def __init__(self, question: str, yes: str) -> None:
        super().__init__()
        self._question = question
        self._yes = yes

    def compose(self) -> ComposeResult:
        """Lay out the question and its two answers."""
        with Vertical():
            yield Static(self._question, markup=False)
            with Horizontal():
                yield Button("No", id="no")
                yield Button(self._yes, id="yes", variant="error")

    def on_button_pressed(self, event: Button.Pressed) -> None:
        """Take the answer."""
        event.stop()
        self.dismiss(event.button.id == "yes")

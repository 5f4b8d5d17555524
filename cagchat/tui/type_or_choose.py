"""A dialog with a line to type in and a list of what fits below it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.screen import ScreenResultType
from textual.widgets import Button, Input, OptionList, Static

from cagchat.tui.chosen import ChangingList
from cagchat.tui.modal import Modal


class TypeOrChoose(Modal[ScreenResultType]):
    """The frame of such a dialog. Who inherits says what fits, and what is taken (screens cannot be abstract classes).

    The binding of Down belongs to who inherits, under a name of its own, and calls `action_enter_list`.
    """

    TITLE_OF_BOX: str
    PLACEHOLDER: str

    DEFAULT_CSS = """
    TypeOrChoose {
        align: center middle;
        & > Vertical {
            width: 80; max-width: 96%; height: 80%; padding: 0 1; border: round $accent; background: $surface;
        }
        Input { height: 1; background: $panel; &.-textual-compact { padding: 0 1; } }
        OptionList:focus { border: none; }
        OptionList { height: 1fr; border: none; padding: 0; background: transparent; scrollbar-size-vertical: 1; }
        #note { height: auto; }
        Horizontal { height: 1; }
        Button { margin-right: 2; }
    }
    """

    def buttons(self) -> Iterator[Button]:
        """Yield the buttons at the end; every dialog has its own."""
        raise NotImplementedError

    def list_fitting(self, typed: str) -> None:
        """Show what fits, by `show_rows`; called whenever something is typed."""
        raise NotImplementedError

    def take(self, typed: str) -> None:
        """Take what is written."""
        raise NotImplementedError

    def compose(self) -> ComposeResult:
        """Lay out the words, the list, what is wrong, and the buttons."""
        with Vertical() as box:
            box.border_title = self.TITLE_OF_BOX
            yield Input(placeholder=self.PLACEHOLDER, compact=True)
            yield ChangingList(markup=False)
            yield Static(id="note", markup=False)
            with Horizontal():
                yield from self.buttons()

    @property
    def typed(self) -> str:
        """What stands in the line."""
        return self.query_one(Input).value

    @property
    def listed(self) -> OptionList:
        """The list."""
        return self.query_one(OptionList)

    def show_rows(self, rows: Sequence[Content]) -> None:
        """Show these in the list."""
        self.listed.clear_options()
        self.listed.add_options(rows)

    def say(self, text: str) -> None:
        """Say something below the list."""
        self.query_one("#note", Static).update(text)

    def on_input_changed(self, event: Input.Changed) -> None:
        """Show what fits while it is typed."""
        event.stop()
        self.list_fitting(event.value)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Take what is written."""
        event.stop()
        self.take(event.value)

    def action_enter_list(self) -> None:
        """Go from the line into the list."""
        if self.listed.option_count:
            self.listed.focus()
            self.listed.highlighted = self.listed.highlighted or 0

"""Textual's palette, as it stands keys that come while it closes."""

from __future__ import annotations

from textual import on
from textual.command import CommandPalette
from textual.widgets import Input, OptionList

from cagchat.tui.modal import Modal


class Palette(CommandPalette, Modal[None]):
    """Offers commands, and does one of them once."""

    @on(Input.Submitted)
    @on(OptionList.OptionSelected)
    def _take_one(self, event: Input.Submitted | OptionList.OptionSelected) -> None:
        """Take no command when one was taken: Textual would do it again."""
        if not self.on_top:
            event.stop().prevent_default()

    @on(Input.Changed)
    def _look_while_open(self, event: Input.Changed) -> None:
        """Look for no commands when the list that would show them is being removed."""
        if self not in self.app.screen_stack:
            event.stop().prevent_default()

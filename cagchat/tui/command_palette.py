"""Textual's palette, as it stands keys and clicks that come while it closes or lists something else."""

from __future__ import annotations

from textual import on
from textual.app import ComposeResult
from textual.command import CommandList, CommandPalette
from textual.widgets import Input, OptionList

from cagchat.tui.chosen import ChangingList
from cagchat.tui.modal import Modal


class Commands(CommandList, ChangingList):
    """The commands that fit what is typed."""


class Palette(CommandPalette, Modal[None]):
    """Offers commands, and does one of them once."""

    def compose(self) -> ComposeResult:
        """Lay it out as Textual does, with a list of our own."""
        for widget in super().compose():
            yield Commands() if isinstance(widget, CommandList) else widget

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

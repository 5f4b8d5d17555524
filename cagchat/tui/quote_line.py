"""A quote of an answer, with what the book says to it: a link to the passage where there is one."""

from __future__ import annotations

from textual import events
from textual.content import Content
from textual.message import Message
from textual.widgets import Static

from cagchat.quotes.check import Check
from cagchat.quotes.footnotes import footnote
from cagchat.tui.shown import clean

COLOURS = {"verified": "$text-success", "near": "$text-warning", "absent": "$text-error"}  # of the signs


class QuoteLine(Static):
    """One line below an answer; a click on it shows the passage in the book."""

    DEFAULT_CSS = """
    QuoteLine {
        height: auto; color: $text-muted; padding: 0 0 0 2;
        &.found:hover { text-style: underline; color: $text; }
    }
    """

    class Followed(Message):
        """The passage that a quote was found at is to be shown."""

        def __init__(self, start: int, length: int) -> None:
            super().__init__()
            self.start = start
            self.length = length

    def __init__(self, check: Check) -> None:
        said = Content(clean(footnote(check))).stylize(COLOURS[check.located.mark], 0, 1)
        super().__init__(said, classes="found" if is_found(check) else "")
        self._check = check

    def on_click(self, event: events.Click) -> None:
        """Say where the passage is."""
        if is_found(self._check):
            event.stop()
            self.post_message(followed(self._check))


def is_found(check: Check) -> bool:
    """Tell whether a quote has a place in the book."""
    return check.located.mark != "absent"


def followed(check: Check) -> QuoteLine.Followed:
    """Return the message that asks for a quote's passage."""
    located = check.located
    return QuoteLine.Followed(located.start, located.end - located.start)

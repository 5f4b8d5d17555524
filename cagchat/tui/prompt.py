"""Where questions are written: several lines, recall, and the reader's own editor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from rich.cells import cell_len
from textual import events
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.message import Message
from textual.reactive import reactive
from textual.widgets import TextArea

from cagchat.tui.keys import keyed

ASK = "ask about the book"
SEND = "[@click=send]send[/]"
GAP = "   "
AROUND = 6  # cells of a line on the border that are the border's and blanks
WHOLE = "the whole book"
LEAST_NAME = 8  # cells of a place's name; with less room it is left out


class Prompt(TextArea):
    """A text area in which Enter sends and the arrows at its edges recall earlier questions."""

    HELP = """\
## The question

**Enter** sends it, **shift+enter** or **ctrl+j** begins a new line; **up** and **down** at its edges recall earlier
questions, **ctrl+e** opens `$EDITOR`. **/summary**, **/who** and **/since** ask what every reader does.
"""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "send", "Send", id="prompt.send", show=False),
        Binding("shift+enter,ctrl+j", "newline", "New line", id="prompt.newline", show=False),
        Binding("ctrl+e", "edit_outside", "Write in $EDITOR", id="prompt.editor", show=False),
        Binding("pageup", "screen.page_up", "Scroll up", id="prompt.page_up", show=False),
        Binding("pagedown", "screen.page_down", "Scroll down", id="prompt.page_down", show=False),
    ]

    DEFAULT_CSS = """
    Prompt {
        height: auto;
        max-height: 8;
        border: round $border-blurred;
        border-title-color: $warning;
        border-subtitle-color: $text-muted;
        link-color: $text-muted; link-style: none; link-background: transparent;
        padding: 0 1;
        background: transparent;
        &:focus { border: round $border; background: transparent; }
    }
    """

    known: reactive[str | None] = reactive[str | None](None)
    """How far the chat knows the book, in words: "" for all of it, None while that is not known."""

    class Sent(Message):
        """A question is to be asked; `taken` returns it."""

    class EditorWanted(Message):
        """The text is to be edited in another program."""

    def __init__(self) -> None:
        super().__init__(placeholder=ASK, highlight_cursor_line=False, id="prompt")
        self.border_subtitle = below(None, 0)
        self._history: list[str] = []
        self._aside: list[str] = []  # of these, what was never sent: it can be recalled in every chat
        self._at = 0
        self._draft = ""
        self._sent: list[str] = []  # what was sent, and is neither asked nor given back yet

    def watch_known(self) -> None:
        """Say how far the chat knows the book."""
        self.border_subtitle = below(self.known, self.outer_size.width)

    def on_resize(self) -> None:
        """Fit the words on the border to another width."""
        self.border_subtitle = below(self.known, self.outer_size.width)

    def remember(self, questions: Sequence[str]) -> None:
        """Take the questions that can be recalled, the last one last."""
        self._history = [*questions, *(text for text in self._aside if text not in questions)]
        self._at = len(self._history)

    def write(self, text: str) -> None:
        """Replace the text and stand at its end."""
        self.text = text
        self.move_cursor(self.document.end)

    @property
    def unsent(self) -> str:
        """What is being written; what an earlier question stands in place of while one is recalled."""
        recalled = self._at < len(self._history) and self.text == self._history[self._at]
        return self._draft if recalled else self.text

    @property
    def aside(self) -> tuple[str, ...]:
        """What was put aside and not sent since, the latest last."""
        return tuple(self._aside)

    def fill(self, text: str) -> None:
        """Replace the text as `write` does; what was being written is recalled as an earlier question is."""
        unsent = self.unsent
        self._forget_aside(text)
        if unsent != text and unsent not in self._history:
            self.put_aside(unsent)
        self._at = len(self._history)
        self.write(text)

    def put_aside(self, text: str) -> None:
        """Let a text that was not sent be recalled as an earlier question is."""
        if not text.strip() or text in self._aside:
            return
        self._aside.append(text)
        self.post_message(self.Changed(self))  # of what is to be kept
        if text not in self._history:
            self._at += self._at == len(self._history)
            self._history.append(text)

    def _forget_aside(self, text: str) -> None:
        if text in self._aside:
            self._aside.remove(text)
            self._history.remove(text)
            self.post_message(self.Changed(self))

    async def _on_key(self, event: events.Key) -> None:
        """Do here what a key of the prompt does: by the app, as Textual does it, letters behind it would overtake it.

        Letters are written, but with Alt they are left to their bindings: terminals send them as letters.
        """
        with_alt = event.key.startswith("alt+")
        if with_alt or not event.is_printable:
            for binding in keyed(self, self.app._keymap).get(event.key, ()):
                if await self.app.run_action(binding.action, self):
                    event.stop()
                    break
        if with_alt or event.key == "enter":
            event.prevent_default()

    def action_send(self) -> None:
        """Send what is written and take it away: what is written from now on is another question."""
        if not self.text.strip():
            return
        if self._at < len(self._history):
            self.put_aside(self._draft)
        self._at, self._draft = len(self._history), ""
        self._sent.append(self.text)
        self.post_message(self.Sent())
        self.clear()

    def taken(self) -> str:
        """Return what was sent first, which is to be either asked or given back."""
        return self._sent.pop(0)

    def asked(self, text: str) -> None:
        """Let a question that was taken be recalled."""
        writing = self._at == len(self._history)
        self._forget_aside(text)
        self._history.append(text.strip())
        if writing:
            self._at = len(self._history)

    def give_back(self, text: str) -> None:
        """Write a text that is not asked again, before what was written since, as if it had not been taken."""
        if self._sent:
            self._sent[0] = text + self._sent[0]
        else:
            self.insert(text, (0, 0))

    def action_newline(self) -> None:
        """Begin a new line."""
        self.insert("\n")

    def action_edit_outside(self) -> None:
        """Ask for the other editor."""
        self.post_message(self.EditorWanted())

    def action_cursor_up(self, select: bool = False) -> None:
        """Move up, or recall the question before when there is no row above."""
        if select or self._row > 0:
            super().action_cursor_up(select)
        else:
            self._recall(self._at - 1)

    def action_cursor_down(self, select: bool = False) -> None:
        """Move down, or recall the question after when there is no row below."""
        if select or self._row < self.wrapped_document.height - 1:
            super().action_cursor_down(select)
        else:
            self._recall(self._at + 1)

    @property
    def _row(self) -> int:
        """The row of the cursor: a question that is wider than the prompt stands in several, which are one line."""
        return self.wrapped_document.location_to_offset(self.cursor_location).y

    def _recall(self, at: int) -> None:
        if not 0 <= at <= len(self._history):
            return
        if self._at == len(self._history):
            self._draft = self.text
        self._at = at
        self.write(self._history[at] if at < len(self._history) else self._draft)


def below(known: str | None, width: int) -> Content:
    """Return what stands on the border below the question: how far the chat knows the book, and the way to send."""
    send = Content.from_markup(SEND)
    if known is None:
        return send
    room = width - AROUND - len(GAP) - send.cell_length
    shown = up_to(known, room)
    return Content.from_markup("[@click=screen.limit]$shown[/]", shown=shown) + GAP + send if shown else send


def up_to(known: str, width: int) -> str:
    """Return how far the chat knows the book in so many cells: a limit is cut, the whole book is left out."""
    shown = f"up to: {known or WHOLE}"
    if cell_len(shown) <= width:
        return shown
    room = width - len("up to: ")
    return f"up to: {Content(known).truncate(room, ellipsis=True).plain}" if known and room >= LEAST_NAME else ""

"""The reader pane on a screen of its own."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.screen import ModalScreen
from textual.widgets import Footer

from cagchat.documents.document import Document
from cagchat.tui.reader import ReaderPane


class ReaderScreen(ModalScreen[int]):
    """The pane on a screen of its own, for terminals too narrow for two; its result is the position."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,q", "leave", "Back to the chat", id="reader.leave")]

    def __init__(
        self,
        document: Document,
        *,
        position: int = 0,
        bookmarks: tuple[int, ...] = (),
        passage: tuple[int, int] | None = None,
    ) -> None:
        """`passage` is the offset and the length of what to light."""
        super().__init__()
        self.pane = ReaderPane(document, position=position, bookmarks=bookmarks)
        self._passage = passage

    def compose(self) -> ComposeResult:
        """Lay out the pane and the keys."""
        yield self.pane
        yield Footer()

    def on_mount(self) -> None:
        """Light the passage once there are rows to scroll."""
        self.pane.focus()
        if self._passage is not None:
            self.call_after_refresh(self.pane.show, *self._passage)

    def action_leave(self) -> None:
        """Go back, with the position."""
        self.dismiss(self.pane.position)

"""A screen that lies over another one and is left once, however often it is told to go."""

from __future__ import annotations

from textual.await_complete import AwaitComplete
from textual.screen import ModalScreen, ScreenResultType


class Modal(ModalScreen[ScreenResultType]):
    """The base of dialogs, the help and the palette."""

    @property
    def on_top(self) -> bool:
        """Whether it is there and nothing lies over it (`is_current` holds for what shows through, too)."""
        return self.app.screen_stack[-1:] == [self]

    def dismiss(self, result: ScreenResultType | None = None) -> AwaitComplete:
        """Leave, unless that was done: Textual takes away whichever screen is on top, so it would be the one below.

        Keys may come faster than they are handled, and the second Enter is on its way when the first one is.
        """
        return super().dismiss(result) if self.on_top else AwaitComplete()

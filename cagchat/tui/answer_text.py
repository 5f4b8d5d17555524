"""An answer as Markdown: drawn piece by piece, while it comes and when it is there."""

from __future__ import annotations

import asyncio

from textual import events
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.widgets import Markdown
from textual.widgets.markdown import MarkdownStream

from cagchat.tui.pieces import SETTLED, STREAMED, pieces

AWAY = "-away"


class AnswerText(Vertical):
    """Shows an answer. Only the last piece is drawn anew while it grows, and only those in sight are laid out."""

    DEFAULT_CSS = """
    AnswerText {
        height: auto;
        Markdown { padding: 0; margin: 0; background: transparent; }
        .-away > * { display: none; }
    }
    """

    def __init__(self, text: str) -> None:
        super().__init__()
        self._text = text
        self._growing = ""
        self._stream: MarkdownStream | None = None
        self._width = 0

    def compose(self) -> ComposeResult:
        """Lay the pieces out."""
        for piece in pieces(self._text, SETTLED):
            yield Markdown(piece, open_links=False)

    @property
    def drawn(self) -> list[Markdown]:
        """The pieces, in order."""
        return list(self.query_children(Markdown))

    async def add(self, text: str) -> None:
        """Take a fragment of the answer."""
        *complete, growing = pieces(self._growing + text, STREAMED)
        for piece in complete:
            await self._end_stream()
            await self.drawn[-1].update(piece)  # a stream draws tables and loose lists differently
            await self.mount(Markdown("", open_links=False))
        self._growing = growing
        if self._stream is None:  # opened here because a stream that was never written to cannot be stopped
            self._stream = Markdown.get_stream(self.drawn[-1])
            text = growing
        await self._stream.write(text)

    async def settle(self, text: str) -> None:
        """Show the whole answer as it ended; what is drawn already stays."""
        streamed = self._stream is not None
        await self._end_stream()
        found, wanted = self.drawn, pieces(text, SETTLED)
        await self.remove_children(found[len(wanted) :])
        for number, piece in enumerate(wanted):
            if number >= len(found):
                await self.mount(Markdown(piece, open_links=False))
            elif found[number].source != piece or (streamed and number == len(found) - 1):
                await found[number].update(piece)
            await asyncio.sleep(0)  # keys come first

    def lay_out_between(self, top: int, bottom: int) -> None:
        """Lay out the pieces between two rows of the screen; of the others only the height is kept."""
        growing = self.drawn[-1:] if self._stream is not None else []
        for piece in self.drawn:
            region = piece.region
            away = (region.bottom < top or region.y > bottom) and region.height > 0 and piece not in growing
            if away != piece.has_class(AWAY):
                piece.styles.height = region.height if away else "auto"
                piece.set_class(away, AWAY)

    def on_resize(self, event: events.Resize) -> None:
        """Lay all pieces out where the width is another: their heights are."""
        if event.size.width != self._width:
            self._width = event.size.width
            for piece in self.drawn:
                piece.styles.height = "auto"
                piece.remove_class(AWAY)

    async def _end_stream(self) -> None:
        if self._stream is not None:
            await asyncio.sleep(0)  # one that has not begun to run yet cannot be stopped either
            await self._stream.stop()
            self._stream = None

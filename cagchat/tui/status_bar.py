"""The line that shows state, context, speed, memory and the proof of the last answer, as far as there is room."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.cells import cell_len
from textual import events
from textual.app import RenderResult
from textual.content import Content
from textual.reactive import reactive
from textual.widget import Widget

from cagchat.tui.cells import cut
from cagchat.tui.load import memory_text, percent_text

if TYPE_CHECKING:
    from cagchat.hardware.meter import Load

GAP = "   "


@dataclass(frozen=True, slots=True)
class Field:
    """A text of the status line; the field with the lowest `worth` is dropped first, one of 0 never."""

    text: str
    worth: int
    gap: str = GAP  # before it


@dataclass(frozen=True, slots=True)
class Figures:
    """What the status line says."""

    state: str = ""
    book: int = 0
    chat: int = 0
    context: int = 0
    proof: str = ""
    speed: float = 0.0
    model: str = ""


class StatusBar(Widget):
    """Draws the figures; a field that does not fit is left out whole."""

    DEFAULT_CSS = """
    StatusBar { height: 1; padding: 0 1; background: $panel; color: $foreground; }
    """

    figures: reactive[Figures] = reactive(Figures())
    load: reactive[Load | None] = reactive(None)

    def render(self) -> RenderResult:
        """Return the line for the width there is."""
        return Content(line(fields(self.figures, self.load), self.content_size.width))

    async def on_click(self, event: events.Click) -> None:
        """Stop what runs, as Esc does."""
        event.stop()
        await self.run_action("screen.stop")


def fields(figures: Figures, load: Load | None = None) -> list[Field]:
    """Return the fields in the order in which they stand."""
    found = [Field(figures.state, 0)]
    if figures.context:
        full = f"book {short(figures.book)} + chat {short(figures.chat)} / {short(figures.context)}"
        found.append(Field(full, 5))
    if figures.proof:
        found.append(Field(figures.proof, 0))
    if figures.speed:
        found.append(Field(f"{figures.speed:,.0f} tok/s", 3))
    if load is not None:
        memory, percent = memory_text(load), percent_text(load)
        if memory:
            found.append(Field(memory, 4))
        if percent:
            found.append(Field(percent, 2, gap=" " if memory else GAP))
    if figures.model:
        found.append(Field(figures.model, 1))
    return found


def line(given: Sequence[Field], width: int) -> str:
    """Return the fields that fit, the least worth ones left out; what must be shown is cut at the end."""
    kept = list(given)
    while cell_len(joined(kept)) > width:
        droppable = [field for field in kept if field.worth]
        if not droppable:
            break
        kept.remove(min(droppable, key=lambda field: field.worth))
    return cut(joined(kept), width)


def joined(given: Sequence[Field]) -> str:
    """Return the fields on one line."""
    return "".join(f"{field.gap}{field.text}" for field in given)[len(GAP) :]


def short(count: int) -> str:
    """Return a number of tokens in few characters: 870, 3.1k, 212k, 1.05M."""
    if count < 1000:
        return str(count)
    if count < 99_950:
        return f"{count / 1e3:.1f}k"
    return f"{count / 1e3:.0f}k" if count < 999_500 else f"{count / 1e6:.2f}M"

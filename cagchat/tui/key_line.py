"""The last line: the keys of what has the focus, whole ones only."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len
from textual import events
from textual.app import ComposeResult
from textual.widget import Widget
from textual.widgets import Footer
from textual.widgets._footer import FooterKey  # Textual offers no other way to tell what a footer consists of

AROUND = 3  # cells beside and between key and words
PALETTE = "-command-palette"
PALETTE_AROUND = 2  # more, for its border and its end
KEPT = ("app.help", "help")  # how to learn the other keys: never left out before them


class KeyLine(Footer):
    """A footer that leaves out the keys that do not fit, those farthest from the focus first."""

    def compose(self) -> ComposeResult:
        """Lay out the keys, and hide those that do not fit."""
        keys = list(super().compose())
        show_fitting(keys, self.size.width or self.app.size.width)
        yield from keys

    def on_resize(self, event: events.Resize) -> None:
        """Choose the keys anew where there is another width."""
        show_fitting(list(self.query_children(FooterKey)), event.size.width)


def show_fitting(keys: Sequence[Widget], width: int) -> None:
    """Show the keys that fit into a width, and no other."""
    shown = fitting(keys, width)
    for key in keys:
        key.display = key in shown


def fitting(keys: Sequence[Widget], width: int) -> list[Widget]:
    """Return the keys that fit into a width, in their order; those that are kept come before all others."""
    wanted = sorted(keys, key=lambda key: not is_kept(key))  # the order of the others stays
    chosen: list[Widget] = []
    left = width
    for key in wanted:
        left -= cells(key)
        if left < 0:
            break
        chosen.append(key)
    return [key for key in keys if key in chosen]


def is_kept(key: Widget) -> bool:
    """Tell whether a key is how the others are learnt: help and the palette."""
    return isinstance(key, FooterKey) and (key.action in KEPT or key.has_class(PALETTE))


def cells(key: Widget) -> int:
    """Return how many cells a key takes."""
    if not isinstance(key, FooterKey):
        return 0
    more = PALETTE_AROUND if key.has_class(PALETTE) else 0
    return cell_len(key.key_display) + cell_len(key.description) + AROUND + more

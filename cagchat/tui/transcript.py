"""The chat's turns, of which only those around what is looked at are mounted: two thousand open as fast as twenty."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

from textual import events, work
from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.message import Message
from textual.timer import Timer
from textual.widget import Widget
from textual.widgets import Static

from cagchat.tui.shown import Shown
from cagchat.tui.turn_view import TurnView

if TYPE_CHECKING:
    from cagchat.quotes.check import Checks

MOUNTED = 40  # turns, each a question and an answer; 200 mounted answers take seconds to lay out
FIRST_MOUNTED = 16
STEP = 10
QUIET_S = 0.2  # opening a chat and scrolling come first


class MoreRow(Static):
    """Says how many turns there are beyond the mounted ones; a click shows some of them."""

    DEFAULT_CSS = """
    MoreRow { color: $text-muted; text-align: center; height: 1; &:hover { text-style: underline; } }
    """

    class Wanted(Message):
        """The row was clicked."""

        def __init__(self, row: MoreRow) -> None:
            super().__init__()
            self.row = row

    def on_click(self, event: events.Click) -> None:
        """Ask for more."""
        event.stop()
        self.post_message(self.Wanted(self))


class Transcript(VerticalScroll):
    """A window of turns. It follows an answer that is being made until it is scrolled up."""

    HELP = """\
## The chat

Scrolling up lets go of the end; the key that goes back to it is in the list below.
Earlier questions appear when the top is reached.
"""

    DEFAULT_CSS = """
    Transcript {
        height: 1fr; padding: 1 0 0 0; scrollbar-size-vertical: 1;
        .greeting { color: $text-muted; padding: 0 2; }
    }
    """

    class Unchecked(Message):
        """Recorded answers are on the screen whose quotes were not looked up yet: these, the newest first."""

        def __init__(self, turns: Sequence[Shown]) -> None:
            super().__init__()
            self.turns = turns

    def __init__(self, greeting: str = "") -> None:
        """`greeting` is shown while there are no turns."""
        super().__init__()
        self._greeting = Static(greeting, classes="greeting", markup=False)
        self._turns: list[Shown] = []
        self._first = 0
        self._last = 0
        self._moving = asyncio.Lock()  # one change of what is mounted at a time
        self._settling = False
        self._quiet: Timer | None = None
        self._above = MoreRow("", markup=False)
        self._below = MoreRow("", markup=False)

    def compose(self) -> ComposeResult:
        """Lay out the greeting and the two rows; turns go between these."""
        yield self._greeting
        yield self._above
        yield self._below

    def on_mount(self) -> None:
        """Hide what is not needed yet."""
        self._count_rest()

    def on_turn_view_grew(self, message: TurnView.Grew) -> None:
        """Follow the end once there is more than fits."""
        message.stop()
        self._anchor_if_longer()

    def on_resize(self) -> None:
        """Follow the end when less fits than before."""
        self._anchor_if_longer()

    def _anchor_if_longer(self) -> None:
        """Anchor a chat that is longer than the screen; a shorter one would be drawn at the bottom."""
        longer = self.virtual_size.height > self.container_size.height
        if longer != self.is_anchored:
            self.anchor(longer)

    def follow(self) -> None:
        """Follow the end again."""
        if self.is_anchored:
            self.anchor()

    @property
    def turns(self) -> Sequence[Shown]:
        """Every turn of the chat, mounted or not."""
        return self._turns

    @property
    def views(self) -> list[TurnView]:
        """The mounted turns, in order."""
        return [child for child in self.children if isinstance(child, TurnView)]

    @property
    def follows(self) -> bool:
        """Whether the end is in view, so that new text scrolls."""
        return self._last == len(self._turns) and self.scroll_y >= self.max_scroll_y

    async def show(self, turns: Sequence[Shown]) -> None:
        """Show a chat from its end."""
        self._turns = list(turns)
        await self._remount_end()
        self.follow()

    async def to_end(self) -> None:
        """Go to the last turn and follow it."""
        if self._last != len(self._turns) or not self.views:
            await self._remount_end()
        self.follow()

    async def cut(self, number: int) -> None:
        """Take turn `number` and all after it away."""
        async with self._moving:
            self._turns = [turn for turn in self._turns if turn.number < number]
            await self.remove_children([view for view in self._entries() if _number_of(view) >= number])
            self._last = min(self._last, len(self._turns))
            self._first = min(self._first, self._last)
            self._count_rest()

    async def begin(self, shown: Shown) -> TurnView:
        """Add a turn that is about to be answered."""
        await self.to_end()
        self._turns.append(shown)
        self._last = len(self._turns)
        self._count_rest()
        view = TurnView(shown)
        await self.add(view)
        return view

    def settle(self, shown: Shown) -> None:
        """Note how the last turn ended."""
        if self._turns:
            self._turns[-1] = shown

    async def show_quotes(self, shown: Shown, quotes: Checks) -> None:
        """Show what the book says to the quotes of a recorded turn, if it is still here; the lines in view stay."""
        async with self._moving:
            if not any(turn is shown for turn in self._turns):
                return
            checked = shown.checked(quotes)
            self._turns = [checked if turn is shown else turn for turn in self._turns]
            for view in self.views:
                if view.shown is shown:
                    self._hold_below(view)
                    await view.show_quotes(checked)

    def _hold_below(self, view: TurnView) -> None:
        """Look at the same lines after a turn above them has become longer."""
        if view.virtual_region.bottom > self.scroll_y or self.follows or self._settling:
            return
        stays = next((below for below in self.views if below.virtual_region.bottom > self.scroll_y), None)
        if stays is not None:
            self._settling = True
            self.call_after_refresh(self._keep_place, stays, stays.virtual_region.y)

    def _tell_nothing(self) -> None:
        if self._quiet is not None:
            self._quiet.stop()

    def _tell_when_quiet(self) -> None:
        """Tell which of the mounted turns are to be looked up, when nothing was mounted for a moment."""
        self._tell_nothing()
        self._quiet = self.set_timer(QUIET_S, self._tell_unchecked)

    def _tell_unchecked(self) -> None:
        self.post_message(self.Unchecked([view.shown for view in reversed(self.views) if view.shown.unchecked]))

    async def add(self, entry: Widget) -> None:
        """Add something else at the end: a card, a notice."""
        await self.mount(entry, before=self._below)
        self.call_after_refresh(self._anchor_if_longer)

    def up(self) -> None:
        """Scroll a page up, past the mounted turns where there are more."""
        if self.scroll_y <= 0:
            self.slide(-STEP)
        self.release_anchor()
        self.scroll_page_up(animate=False)

    def down(self) -> None:
        """Scroll a page down, past the mounted turns where there are more."""
        if self.scroll_y >= self.max_scroll_y:
            self.slide(STEP)
        self.scroll_page_down(animate=False)

    @work
    async def slide(self, by: int) -> None:
        """Mount `by` turns more at the beginning (negative) or the end, and unmount those that are too many."""
        if self._moving.locked() or self._settling:
            return
        async with self._moving:
            first, last = max(0, self._first + min(by, 0)), min(len(self._turns), self._last + max(by, 0))
            if (first, last) == (self._first, self._last) or not self.views:
                return
            self.release_anchor()
            # What stays in the window shows by how much the lines in view are moved.
            stays = self.views[0 if by < 0 else -1]
            before = stays.virtual_region.y
            await self.mount(*map(TurnView, self._turns[first : self._first]), after=self._above)
            await self.mount(*map(TurnView, self._turns[self._last : last]), before=self._below)
            views = self.views
            far = views[MOUNTED:] if by < 0 else views[: max(0, len(views) - MOUNTED)]
            self._first, self._last = (first, last - len(far)) if by < 0 else (first + len(far), last)
            self._count_rest()
            await self.remove_children(far)
            self._settling = True
            self.call_after_refresh(self._keep_place, stays, before)
        self._tell_when_quiet()

    def _keep_place(self, stays: TurnView, before: int) -> None:
        """Look at the same lines as before some were put or taken away above them."""
        self.scroll_to(y=self.scroll_y + stays.virtual_region.y - before, animate=False, force=True)
        self._settling = False

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """Show more when either end of the mounted turns is reached."""
        super().watch_scroll_y(old_value, new_value)
        if not self.is_mounted:
            return
        if new_value < old_value and new_value <= 1:
            self.slide(-STEP)
        elif new_value > old_value and new_value >= self.max_scroll_y - 1:
            self.slide(STEP)

    def on_more_row_wanted(self, message: MoreRow.Wanted) -> None:
        """Show more on a click."""
        message.stop()
        self.release_anchor()
        self.slide(-STEP if message.row is self._above else STEP)

    def _entries(self) -> list[Widget]:
        return [child for child in self.children if child not in (self._greeting, self._above, self._below)]

    async def _remount_end(self) -> None:
        self._tell_nothing()  # of turns that are mounted now and told of afterwards
        async with self._moving:
            self._first, self._last = max(0, len(self._turns) - FIRST_MOUNTED), len(self._turns)
            await self.remove_children(self._entries())
            await self.mount(*map(TurnView, self._turns[self._first :]), before=self._below)
            self._count_rest()
        self._tell_when_quiet()

    def _count_rest(self) -> None:
        before, after = self._first, len(self._turns) - self._last
        self._greeting.display = not self._turns
        self._above.update(f"▲ {before:,} earlier")
        self._below.update(f"▼ {after:,} later")
        self._above.display = before > 0
        self._below.display = after > 0


def _number_of(entry: Widget) -> int:
    """Return a turn's number; cards and notices stand after every turn."""
    return entry.shown.number if isinstance(entry, TurnView) else 1 << 30

"""A book on its way to being open: the plan before the wait, then how far the reading is."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.message import Message
from textual.screen import Screen
from textual.widgets import ProgressBar, Static

from cagchat.documents.password import PasswordNeeded
from cagchat.documents.source import Source
from cagchat.errors import CagchatError, Stopped
from cagchat.events import (
    Checkpointed,
    Notice,
    Opening,
    Planned,
    PrepareEvent,
    Reading,
    Ready,
    Restored,
    Resumed,
    Sealed,
    Waiting,
)
from cagchat.library import Options
from cagchat.opened import OpenBook
from cagchat.recorded import Recorded
from cagchat.sessions.naming import one_line
from cagchat.tui.desk import Desk
from cagchat.tui.dialogs import AskText
from cagchat.tui.error_card import ErrorCard
from cagchat.tui.figure_lines import FigureLines
from cagchat.tui.jobs import Prepare
from cagchat.tui.key_line import KeyLine
from cagchat.tui.messages import Ended, Happened
from cagchat.tui.shown import clean
from cagchat.tui.speed_chart import SpeedChart
from cagchat.tui.status_bar import StatusBar
from cagchat.tui.title_bar import TitleBar
from cagchat.units import duration, size

SPEEDS_SHOWN = 80


class PreparingScreen(Screen[None]):
    """Shows the plan and the progress; Esc stops the reading and keeps what was read."""

    HELP = """\
## Reading a book

The model reads the whole book **once**. **Esc** stops it and keeps what was read: the next time goes on from there.
"""
    CSS_PATH = "preparing_screen.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "stop", "Stop and keep", id="reading.stop"),
        Binding("enter", "resume", "Go on", id="reading.resume"),
    ]

    class BookReady(Message):
        """The book can be asked. It is told once more when the screen is uncovered."""

        def __init__(self, screen: PreparingScreen, book: OpenBook) -> None:
            super().__init__()
            self.screen = screen
            self.book = book

    def __init__(
        self,
        desk: Desk,
        book: Path | Source | Recorded,
        options: Options,
        name_terminal: Callable[[str], None] = lambda title: None,
    ) -> None:
        """Prepare a book: a path, what was gathered, or what a state records.

        `name_terminal` shows the percentage outside of the screen.
        """
        super().__init__()
        self.book = book
        self.label = one_line(book.name if isinstance(book, Path) else book.label)
        self._name_terminal = name_terminal
        self._desk = desk
        self._options = options
        self._job: Prepare | None = None
        self._ready: OpenBook | None = None
        self._speeds: deque[float] = deque(maxlen=SPEEDS_SHOWN)
        self._at = 0
        self._at_s = 0.0
        self._was_read = False
        self._facts = ""
        self._stopping = False

    def compose(self) -> ComposeResult:
        """Lay out the plan, the progress and what was noticed."""
        yield TitleBar(self.label)
        with VerticalScroll(id="plan"):
            yield Static(f"Opening {self.label} …", id="title", markup=False)
            yield Static(id="facts", markup=False)
            with Vertical(id="progress"):
                yield ProgressBar(show_eta=False)
                yield FigureLines(id="now")
                yield SpeedChart()
            yield Static(id="reasons", markup=False)
            yield Static(id="notes", markup=False)
        yield StatusBar()
        yield KeyLine()

    def on_mount(self) -> None:
        """Begin."""
        self.action_resume()

    @property
    def running(self) -> bool:
        """Whether the book is being prepared."""
        return self._job is not None and self._ready is None

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Offer to stop what runs and to go on with what was stopped."""
        if action == "stop":
            return self.running
        return self._job is None if action == "resume" else True

    def action_stop(self) -> None:
        """Stop the reading; what was read is kept."""
        if self.running:
            self._desk.stop()
            self._stopping = True
            self._draw(state="◌ stopping")
            self._title("Stopping: what was read is being saved …")

    def action_resume(self) -> None:
        """Read, or go on reading."""
        if self._job is None:
            self.query(ErrorCard).remove()
            self._job = Prepare(self.book, self._options)
            self._stopping = False
            self._draw(state="◌ opening")
            self._desk.submit(self._job, self)
            self.refresh_bindings()

    def on_screen_resume(self) -> None:
        """Tell of a book that became ready while something else was open over it."""
        self._tell()

    def _tell(self) -> None:
        if self._ready is not None:
            self.post_message(self.BookReady(self, self._ready))

    def on_happened(self, message: Happened) -> None:
        """Show an event of the preparation."""
        if message.job is self._job:
            self._show(message.event)  # type: ignore[arg-type]  # a Prepare job has no other events

    async def on_ended(self, message: Ended) -> None:
        """Show why the preparation ended, when it did not end with the book."""
        if message.job is not self._job or message.error is None:
            return
        self._job = None
        self.refresh_bindings()
        self._name_terminal("")
        await self._ended(message.error)

    async def _ended(self, error: CagchatError) -> None:
        if isinstance(error, PasswordNeeded):
            self._draw(state="◌ locked")
            self.app.push_screen(AskText(error.message, "", secret=True), partial(self._unlocked, error))
            return
        if isinstance(error, Stopped):
            self._draw(state="■ stopped")
            self._title(error.message)
            self._note("Enter goes on from there.")
            return
        await self._refused(error)

    async def _unlocked(self, locked: PasswordNeeded, password: str | None) -> None:
        """Go on with the password that was given; without one, the book stays closed."""
        if password:
            self._options = replace(self._options, password=password)
            self.action_resume()
        else:
            await self._refused(locked)

    async def _refused(self, error: CagchatError) -> None:
        self._draw(state="✘ failed")
        self._title(f"{self.label} could not be opened.")
        await self.query_one("#plan").mount(ErrorCard(error))

    def _show(self, event: PrepareEvent) -> None:
        match event:
            case Notice(text):
                self._note(text)
            case Waiting(title, pid):
                who = f"process {pid}" if pid else "another process"
                self._title(f"{title} is being read by {who}; waiting until it is done.")
            case Opening(title, n_tokens):
                self._title(f"Opening {title}: {n_tokens:,} tokens from the disk …")
            case Planned():
                self._plan(event)
            case Resumed(position, n_tokens):
                self._at = position
                self._note(f"Going on at token {position:,} of {n_tokens:,}.")
            case Reading():
                self._progress(event)
            case Checkpointed(position, size_bytes):
                self.query_one("#facts", Static).update(
                    f"{self._facts}\nsaved     {position:,} tokens, {size(size_bytes)} on disk"
                )
            case Sealed(_, size_bytes, elapsed_s):
                self._title(f"Saved {size(size_bytes)} in {duration(elapsed_s)}.")
            case Restored():
                self._title("Opening …")
            case Ready(book):
                self._ready = book
                if self._was_read:
                    self.app.bell()
                self._name_terminal(book.manifest.book.title)
                self._tell()

    def _plan(self, event: Planned) -> None:
        self._was_read = True
        self._facts = clean("\n".join(plan(event)))
        self._title(f"Reading {event.title}")
        self._draw(state="◐ reading", model=event.model)
        self.query_one("#facts", Static).update(self._facts)
        self.query_one("#reasons", Static).update("\n".join(f"· {clean(reason)}" for reason in event.reasons))

    def _progress(self, event: Reading) -> None:
        self.add_class("-reading")
        self.query_one(ProgressBar).update(total=event.n_tokens, progress=event.position)
        share = 100 * event.position / max(1, event.n_tokens)
        self.query_one("#now", FigureLines).text = now(event)
        if event.elapsed_s > self._at_s and event.position > self._at:
            self._speeds.append((event.position - self._at) / (event.elapsed_s - self._at_s))
            self.query_one(SpeedChart).speeds = tuple(self._speeds)
        self._at, self._at_s = event.position, event.elapsed_s
        if not self._stopping:
            self._draw(state=f"◐ reading {share:.0f} %")
        self._name_terminal(f"{share:.0f} % {self.label}")

    def _title(self, text: str) -> None:
        self.query_one("#title", Static).update(clean(text))

    def _draw(self, **changes: Any) -> None:
        bar = self.query_one(StatusBar)
        bar.figures = replace(bar.figures, **changes)

    def _note(self, text: str) -> None:
        notes = self.query_one("#notes", Static)
        notes.update(f"{notes.content}\n{clean(text)}".lstrip("\n"))


def plan(event: Planned) -> list[str]:
    """Return what is about to be done, a line for each thing that is known."""
    lines = [
        f"tokens    {event.n_tokens:,}",
        f"model     {event.model}",
        f"context   {event.n_context:,} tokens, KV cache {event.kv_type}",
    ]
    if event.memory_bytes:
        lines.append(f"memory    {size(event.memory_bytes)}")
    if event.disk_bytes:
        lines.append(f"disk      {size(event.disk_bytes)}")
    if event.estimated_s is not None:
        lines.append(f"time      {about(event.estimated_s)}")
    return lines


def about(seconds: float) -> str:
    """Return an estimate no finer than it can be: about 40 seconds, about 12 minutes, about 2 h 10 min."""
    if seconds < 55:
        tens = max(10, round(seconds / 10) * 10)
        return f"about {tens} seconds"
    minutes = round(seconds / 60)
    if minutes < 60:
        return "about a minute" if minutes <= 1 else f"about {minutes} minutes"
    hours, rest = divmod(round(minutes / 10) * 10, 60)
    return f"about {hours} h {rest:02d} min"


def now(event: Reading) -> str:
    """Return tokens done and in all, speed and remaining time, and the chapter below."""
    parts = [f"{event.position:,} / {event.n_tokens:,} tokens"]
    if event.tokens_per_s:
        parts.append(f"{event.tokens_per_s:,.0f} tok/s")
    if event.remaining_s is not None:
        parts.append(f"{duration(event.remaining_s)} left")
    return " · ".join(parts) + (f"\n{event.section}" if event.section else "")

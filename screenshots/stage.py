"""The real app on the demonstration's story: its parts in a folder of their own, and what drives and draws it."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from engine import Clock, SteadyBackend
from shelf import shelve
from svg import plain
from textual.pilot import Pilot
from textual.widgets import Input, TextArea

from cagchat.conversation import AskOptions
from cagchat.demo import story_path
from cagchat.engine.protocol import Sampling
from cagchat.events import Ready
from cagchat.files import private_folder
from cagchat.hardware.meter import Load
from cagchat.library import Library
from cagchat.locations import Locations
from cagchat.sessions.store import Sessions
from cagchat.settings import Settings
from cagchat.tui.app import CagchatApp

PATIENCE_S = 10.0  # for one thing to appear: a picture that hangs says what it waits for
SAME_LOOKS = 3
LOOK_AGAIN_S = 0.02
BEGAN = 1_767_261_600.0  # 2026-01-01, 10:00 UTC
SETTINGS = Settings(
    model="scripted.gguf",  # a model is called what its file is
    kv_type="f16",
    chat_tokens=4096,
    batch=512,
    threads=1,
    fast_kernels="off",
    temperature=0.0,
    seed=7,
)
ANSWERING = AskOptions(Sampling(temperature=0.0, seed=7), max_tokens=1024)
LOAD = Load("RAM", 6_100_000_000, 16_000_000_000)
READY = "● ready"


class SteadyMeter:
    """A meter of a machine on which nothing changes."""

    def __init__(self) -> None:
        self.was_read = False

    def read(self) -> Load:
        """Return what is always used."""
        self.was_read = True
        return LOAD

    def close(self) -> None:
        """Do nothing: there is no driver."""


class Desktop:
    """The parts of an app under `home`, and a copy of the story."""

    def __init__(self, home: Path, story: Path, held_after: int | None) -> None:
        ids = count()
        self.meter = SteadyMeter()
        self.clock = Clock(BEGAN, held_after, PATIENCE_S)
        self.book = Path(shutil.copy(story, home / "eleven-pounds.md"))
        self.locations = Locations(home / "config", home / "data", home / "cache")
        private_folder(self.locations.data)
        self.settings = SETTINGS
        self.backend = SteadyBackend(self.clock)
        self.sessions = Sessions(self.locations.sessions_db, clock=self.clock, new_id=lambda: f"chat{next(ids):04}")
        self.library = Library(self.locations, SETTINGS, self.backend, clock=self.clock, timer=self.clock)

    def fill_library(self) -> None:
        """Read the story and put invented books in its place."""
        for event in self.library.prepare(self.book):
            if isinstance(event, Ready):
                event.book.close()
                shutil.rmtree(event.book.folder.path)
                shelve(self.library.states, self.sessions, event.book.manifest, self.clock)


@contextmanager
def desktop(held_after: int | None) -> Iterator[Desktop]:
    """Give the parts of an app whose engine holds after so many batches."""
    with tempfile.TemporaryDirectory() as home, story_path() as story:
        parts = Desktop(Path(home), story, held_after)
        try:
            yield parts
        finally:
            parts.sessions.close()


@dataclass(frozen=True, slots=True)
class Stage:
    """A running app, driven by keys."""

    pilot: Pilot[None]
    parts: Desktop

    async def ask(self, question: str) -> None:
        """Ask, and wait for the end of the answer, or of the engine."""
        await self.wait(lambda: bool(self.pilot.app.screen.query("#prompt")), "the prompt")
        before = self._settled_turns()
        self.pilot.app.screen.query_one("#prompt", TextArea).insert(question)
        await self.pilot.press("enter")
        await self.wait(lambda: self._settled_turns() > before, f"an answer to {question}")
        await self.see(READY)
        await self.pilot.pause()

    async def type(self, text: str) -> None:
        """Press a key for each letter."""
        await self.pilot.press(*("space" if letter == " " else letter for letter in text))

    async def see(self, text: str) -> None:
        """Wait until the screen shows a text that stands on one line."""
        await self.wait(lambda: text in self.text(), text)

    async def wait(self, holds: Callable[[], bool], what: str) -> None:
        """Let the app work until `holds` does. Raises `TimeoutError` with what the screen shows."""
        until = time.monotonic() + PATIENCE_S
        while not holds():
            if time.monotonic() > until:
                raise TimeoutError(f"Not seen in {PATIENCE_S:.0f} s: {what}. The screen:\n{self.text()}")
            await self.pilot.pause(LOOK_AGAIN_S)

    def text(self) -> str:
        """Return what the screen shows, as lines."""
        return "\n".join(strip.text.rstrip() for strip in self.pilot.app.screen._compositor.render_strips())

    async def draw(self) -> str:
        """Return the screen as SVG as soon as three looks in a row are the same."""
        if self.pilot.app.screen.query("StatusBar"):
            await self.wait(lambda: self.parts.meter.was_read, "a look at the memory")
            await self.pilot.pause()
        for field in (*self.pilot.app.screen.query(Input), *self.pilot.app.screen.query(TextArea)):
            field.cursor_blink = False
        looks: list[str] = []
        until = time.monotonic() + PATIENCE_S
        while len(looks) < SAME_LOOKS:
            if time.monotonic() > until:
                raise TimeoutError(f"The screen never stayed the same:\n{self.text()}")
            now = plain(self.pilot.app.export_screenshot(title="cagchat"))
            looks = [*looks, now] if looks and looks[-1] == now else [now]
            await self.pilot.pause(2 * LOOK_AGAIN_S)
        return looks[-1]

    def _settled_turns(self) -> int:
        sessions = self.parts.sessions
        turns = (turn for chat in sessions.list() for turn in sessions.turns(chat.id))
        return sum(turn.status != "running" for turn in turns)


Drive = Callable[[Stage], Awaitable[None]]


def played(parts: Desktop, drive: Drive, size: tuple[int, int], *, library: bool) -> str:
    """Run the app on the story, or with `library` on the library, drive it, and return what it shows then."""
    app = CagchatApp(
        parts,
        None if library else parts.book,
        answering=ANSWERING,
        story=parts.book,
        open_meter=lambda: parts.meter,
        timer=parts.clock,
        folder=parts.book.parent,
    )

    async def play() -> str:
        async with app.run_test(size=size) as pilot:
            app.animation_level = "none"
            stage = Stage(pilot, parts)
            try:
                await drive(stage)
                return await stage.draw()
            finally:
                parts.clock.release()

    try:
        return asyncio.run(play())
    finally:
        app.leave()

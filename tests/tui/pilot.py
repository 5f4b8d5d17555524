"""Driving the terminal app in tests: its parts under a home of the test's own, and waiting for what it shows."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from textual import events
from textual.pilot import Pilot

from cagchat.conversation import AskOptions
from cagchat.engine.backend import Backend, FakeBackend
from cagchat.engine.fake import FakeScript
from cagchat.engine.protocol import Sampling
from cagchat.files import private_folder
from cagchat.hardware.meter import Load
from cagchat.library import Library
from cagchat.locations import Locations
from cagchat.sessions.store import Sessions
from cagchat.settings import Settings
from cagchat.tui.app import CagchatApp
from cagchat.tui.chat_screen import ChatScreen
from cagchat.tui.transcript import Transcript
from tests.reading_cases import SETTINGS, locations, write_book

DEADLINE_S = 20.0
LOOK_AGAIN_S = 0.02
NOON = 1_750_000_000.0
WIDE = (100, 30)
NARROW = (60, 20)
ANSWERS = {
    "lanterns": "She counted **forty-one** lanterns along the quay.",
    "everything": "And so it went on. " * 200,
}
ROOMY = replace(SETTINGS, chat_tokens=16384)
ANSWERING = AskOptions(Sampling(temperature=0.0, seed=7), max_tokens=4000)


@dataclass
class Desktop:
    """The parts of an app under `home`, and a book; `app` makes an app of them."""

    home: Path
    backend: Backend = field(default_factory=lambda: FakeBackend(FakeScript(answers=ANSWERS)))
    settings: Settings = ROOMY
    text: str = ""
    name: str = "lanterns.txt"
    timer: Callable[[], float] = time.perf_counter
    answering: AskOptions = ANSWERING

    def __post_init__(self) -> None:
        private_folder(self.locations.data)
        ids = (f"chat{n:04}" for n in range(10_000))
        self.sessions = Sessions(self.locations.sessions_db, clock=lambda: NOON, new_id=lambda: next(ids))
        self.library = Library(self.locations, self.settings, self.backend, clock=lambda: NOON, timer=self.timer)
        self.book = write_book(self.home, self.text, self.name)

    @property
    def locations(self) -> Locations:
        return locations(self.home)

    def app(self, *, book: Path | None = None, library: bool = False, **options: Any) -> CagchatApp:
        """Return an app that opens the book, or with `library` the library."""
        path = None if library else book or self.book
        return CagchatApp(self, path, answering=self.answering, story=self.book, folder=self.home, **options)


async def wait_until(pilot: Pilot[None], holds: Callable[[], bool], what: str = "") -> None:
    """Let the app work until `holds` does; fail with what the screen shows when it never did."""
    until = time.monotonic() + DEADLINE_S
    while not holds():
        if time.monotonic() > until:
            raise AssertionError(f"{what or 'it'}: never. The screen:\n{text_of(pilot)}")
        await pilot.pause(LOOK_AGAIN_S)


def text_of(pilot: Pilot[None]) -> str:
    """Return what the screen shows, as lines."""
    lines = pilot.app.screen._compositor.render_strips()
    return "\n".join(strip.text.replace("\xa0", " ").rstrip() for strip in lines)


def shows(pilot: Pilot[None], text: str) -> Callable[[], bool]:
    """Return whether the screen shows a text, as a question for `wait_until`."""
    return lambda: text in text_of(pilot)


async def chat_of(pilot: Pilot[None]) -> ChatScreen:
    """Wait until the book is open and return the chat."""
    await wait_until(pilot, lambda: isinstance(pilot.app.screen, ChatScreen) and pilot.app.screen.is_mounted, "a chat")
    await pilot.pause()
    screen = pilot.app.screen
    assert isinstance(screen, ChatScreen)
    return screen


async def ask(pilot: Pilot[None], question: str, *, wait: bool = True) -> ChatScreen:
    """Type a question, send it, and wait for its answer's end."""
    chat = await chat_of(pilot)
    chat.prompt.write(question)
    await pilot.press("enter")
    await wait_until(pilot, lambda: chat.busy or bool(chat.transcript.turns), "an answer that begins")
    if wait:
        await idle(pilot, chat)
    return chat


def burst(pilot: Pilot[None], *keys: str) -> None:
    """Press keys all at once: the last one is there before the first one is handled."""
    for key in keys:
        pilot.app.post_message(events.Key(key, key if len(key) == 1 else None))


async def idle(pilot: Pilot[None], chat: ChatScreen) -> None:
    """Wait until nothing is being answered and all of it is drawn."""
    await wait_until(pilot, lambda: not chat.busy, "the answer's end")
    await pilot.pause()


def transcript(pilot: Pilot[None]) -> Transcript:
    """Return the chat's transcript."""
    return pilot.app.screen.query_one(Transcript)


def run(
    desktop: Desktop,
    drive: Callable[[Pilot[None]], Coroutine[Any, Any, None]],
    *,
    size: tuple[int, int] = WIDE,
    running: CagchatApp | None = None,
    **options: Any,
) -> CagchatApp:
    """Run an app and drive it; returns it after it has ended."""
    app = running or desktop.app(**options)

    async def go() -> None:
        async with app.run_test(size=size) as pilot:
            await drive(pilot)
        app.leave()

    asyncio.run(go())
    return app


class FixedMeter:
    """A meter of a machine on which nothing changes."""

    def read(self) -> Load:
        return Load("RAM", 6_000_000_000, 16_000_000_000)

    def close(self) -> None:
        pass


class Gate:
    """A `sleep` for the engine without a model: it waits at a pause, when told to, until it is let through."""

    def __init__(self) -> None:
        self._open = threading.Event()
        self._open.set()
        self.waiting = threading.Event()
        self._after = 0

    def __call__(self, seconds: float) -> None:
        if seconds and self._after:
            self._after -= 1
            if not self._after:
                self._open.clear()
        if seconds and not self._open.is_set():
            self.waiting.set()
            self._open.wait(DEADLINE_S)

    def hold(self, after: int) -> None:
        """Wait at the pause with this number, from now on."""
        self.waiting.clear()
        self._after = after

    def release(self) -> None:
        """Let everything through."""
        self._open.set()

"""How long the terminal app takes to show a key that is pressed while the engine is busy."""

from __future__ import annotations

import asyncio
import re
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from string import ascii_letters, digits
from typing import Any

from cagchat.bench.tables import Cell, Column, Figure, Table, least
from cagchat.bench.workbench import QUESTIONS, Workbench, cut_book
from cagchat.conversation import AskOptions
from cagchat.engine.backend import FAKE_MODEL, Backend, FakeBackend
from cagchat.engine.fake import FakeScript
from cagchat.engine.protocol import Sampling
from cagchat.errors import EngineError
from cagchat.files import private_folder, write_bytes
from cagchat.library import Library
from cagchat.locations import Locations, locate
from cagchat.sessions.store import Sessions
from cagchat.settings import Settings
from cagchat.tui.app import CagchatApp
from cagchat.tui.chat_screen import ChatScreen
from cagchat.tui.preparing_screen import PreparingScreen
from cagchat.tui.status_bar import StatusBar

KEYS = 50
WARM_UP = 4  # keys that are not counted: the first ones pay for what is laid out once
GAP_S = 0.04  # between two keys: a fast typist, out of step with the engine's batches
KEY_DEADLINE_S = 10.0
DEADLINE_S = 120.0  # loading a large model and reading a short book take most of it
LOOK_AGAIN_S = 0.01
BUSY_AGAIN_S = 0.25  # how often is asked whether letters that wait can still come
SIZE = (120, 40)
# No letter comes twice, so that the last few are on the screen only once; backwards they form no part of a word.
LETTERS = (ascii_letters + digits)[::-1]
TAIL = 4
STYLE = re.compile(r"\x1b\[[0-9;]*m")

SHORT_TOKENS = 256  # of the book that is asked about: only its answer is of interest
FAKE_LINES = 2000
FAKE_ANSWER = "The count of the lanterns went on along the quay. " * 200
FAKE_SCRIPT = FakeScript(answers={QUESTIONS[0]: FAKE_ANSWER}, batch_s=0.01, token_s=0.005)
FAKE_SETTINGS = Settings(batch=64, chat_tokens=4 * len(FAKE_ANSWER))

COLUMNS = (
    Column("engine", "engine"),
    Column("work", "while it is"),
    Column("keys", "keys shown", "count"),
    Column("best", "best", "seconds"),
    Column("median", "median", "seconds"),
    Column("worst", "worst", "seconds"),
)
NOTE = (
    f"From a key press to the terminal sequence with its letter, a key every {1000 * GAP_S:.0f} ms whether the app is "
    "free or not: in the command palette while a book is read, in the prompt while an answer streams; the engine in "
    "its own process, the app without a terminal, whose drawing would come after. The goal is 100 ms."
)


@dataclass(frozen=True, slots=True)
class Stage:
    """What the measured app is made of, in folders of its own."""

    locations: Locations
    settings: Settings
    backend: Backend
    library: Library
    sessions: Sessions


class RecordedApp(CagchatApp):
    """The app, which hands what it would write to a terminal to `written`."""

    def __init__(self, stage: Stage, book: Path) -> None:
        answering = AskOptions(Sampling(temperature=0.0, seed=7), max_tokens=stage.settings.chat_tokens)
        super().__init__(stage, book, answering=answering, story=book, folder=stage.locations.data)
        self.written: Callable[[str], None] = _ignore

    def _display(self, screen: Any, renderable: Any) -> None:
        # Textual leaves the sequence out where there is no terminal; making it is part of the time.
        super()._display(screen, renderable)
        render = getattr(renderable, "render_segments", None)
        if render is not None and not self._batch_count:
            self.written(render(self.console))


Drive = Callable[[RecordedApp, int, Callable[[], float]], Coroutine[Any, Any, list[float]]]


def measure(bench: Workbench, timer: Callable[[], float] = time.perf_counter) -> Table:
    """Press keys while the engine without a model works, and then while the model does."""
    home = private_folder(bench.home / "interface")
    rows = fake_rows(home, FakeBackend(FAKE_SCRIPT, own_process=True), KEYS, timer)
    works: tuple[tuple[str, Path, Drive], ...] = (
        ("reading", bench.book, keys_while_reading),
        ("answering", cut_book(bench, SHORT_TOKENS), keys_while_answering),
    )
    for work, book, drive in works:
        bench.say(f"interface: {KEYS} keys while the model is {work}")
        with set_stage(home / work, bench.settings, bench.backend) as stage:
            rows.append(row(bench.model_name, work, run(stage, book, drive, KEYS, timer)))
    return table(rows)


def fake_rows(home: Path, backend: FakeBackend, keys: int, timer: Callable[[], float]) -> list[dict[str, Cell]]:
    """Press keys while the engine without a model reads a long book and answers about a short one."""
    long, short = (write_lanterns(home / f"{count} lanterns.txt", count) for count in (FAKE_LINES, 10))
    name = backend.facts(Path(FAKE_MODEL)).name
    with set_stage(home / "fake", FAKE_SETTINGS, backend) as stage:
        return [
            row(name, "reading", run(stage, long, keys_while_reading, keys, timer)),
            row(name, "answering", run(stage, short, keys_while_answering, keys, timer)),
        ]


def table(rows: Sequence[dict[str, Cell]]) -> Table:
    """Return the rows as a table."""
    return Table("interface", "From a key press to the screen", COLUMNS, tuple(rows), (NOTE,))


def row(engine: str, work: str, latencies: Sequence[float]) -> dict[str, Cell]:
    """Return best, median and worst of what the keys took."""
    middle, worst = median(latencies), max(latencies)
    return {
        "engine": engine,
        "work": work,
        "keys": len(latencies),
        "best": least(latencies),
        "median": Figure(middle, middle),
        "worst": Figure(worst, worst),
    }


def write_lanterns(path: Path, lines: int) -> Path:
    """Write a book of so many lines."""
    write_bytes(path, "".join(f"Lantern {number} hung on the quay.\n" for number in range(lines)).encode())
    return path


@contextmanager
def set_stage(home: Path, settings: Settings, backend: Backend) -> Iterator[Stage]:
    """Set up an app's parts under `home` for the length of a block."""
    locations = locate({"CAGCHAT_HOME": str(home)})
    private_folder(locations.data)
    with closing(Sessions(locations.sessions_db)) as sessions:
        yield Stage(locations, settings, backend, Library(locations, settings, backend), sessions)


def run(stage: Stage, book: Path, drive: Drive, keys: int, timer: Callable[[], float]) -> list[float]:
    """Open a book in an app without a terminal and return the seconds that each key took.

    Raises `EngineError` when the engine was not busy for one key, or a key was never shown.
    """

    async def go() -> list[float]:
        app = RecordedApp(stage, book)
        try:
            async with app.run_test(size=SIZE):
                return await drive(app, keys, timer)
        finally:
            app.leave()

    latencies = asyncio.run(go())
    if not latencies:
        raise EngineError(f"{book.name} was read before a key could be pressed.", "Take a longer one: --book FILE.")
    return latencies


async def keys_while_reading(app: RecordedApp, keys: int, timer: Callable[[], float]) -> list[float]:
    """Type into the command palette while the book is read; fewer keys when the reading ends before."""
    await until(app, lambda: isinstance(app.screen, PreparingScreen) and app.screen.has_class("-reading"))
    preparing = app.screen
    assert isinstance(preparing, PreparingScreen)
    app.simulate_key("ctrl+p")
    await until(app, lambda: app.screen is not preparing and app.screen.is_mounted)

    def reads() -> bool:
        return preparing.running

    async def reads_on() -> bool:
        return preparing.running

    latencies = await type_keys(app, keys, timer, reads, reads_on)
    if preparing.running:
        app.simulate_key("escape")
        await until(app, lambda: app.screen is preparing or not preparing.running)
        app.simulate_key("escape")
        await until(app, lambda: not preparing.running)
    return latencies


async def keys_while_answering(app: RecordedApp, keys: int, timer: Callable[[], float]) -> list[float]:
    """Type into the prompt while an answer streams; one that ends is asked for again."""
    await until(app, lambda: isinstance(app.screen, ChatScreen) and app.screen.is_mounted)
    chat = app.screen
    assert isinstance(chat, ChatScreen)

    def streams() -> bool:
        return chat.busy and chat.query_one(StatusBar).figures.state.endswith("answering")

    async def streams_again() -> bool:
        if not streams():
            await until(app, lambda: not chat.busy or streams())
        if not streams():
            app.simulate_key("ctrl+r")
            await until(app, streams)
        return True

    chat.prompt.write(QUESTIONS[0])
    app.simulate_key("enter")
    await until(app, streams)
    latencies = await type_keys(app, keys, timer, streams, streams_again)
    app.simulate_key("escape")
    await until(app, lambda: not chat.busy)
    return latencies


async def type_keys(
    app: RecordedApp,
    keys: int,
    timer: Callable[[], float],
    busy: Callable[[], bool],
    busy_again: Callable[[], Awaitable[bool]],
) -> list[float]:
    """Type letters as long as the engine is busy and return the seconds until each was shown.

    `busy_again` has it work again where that can be. Raises `EngineError` when a letter does not appear.
    """
    typist = Typist(app, timer, busy)
    while typist.next < WARM_UP + keys and await busy_again():
        await typist.type_until(WARM_UP + keys)
    return [typist.shown[number] - typist.due[number] for number in sorted(typist.shown) if number >= WARM_UP]


class Typist:
    """Presses letters at fixed times, from a thread of its own, as a hand does that does not wait for the app.

    Keys pressed by the app's own loop would be pressed only when that is free, and never be late. `due` and `shown`
    are the times at which each letter was to be pressed and at which it was drawn; `next` is the next letter.
    """

    def __init__(self, app: RecordedApp, timer: Callable[[], float], busy: Callable[[], bool]) -> None:
        self.due: dict[int, float] = {}
        self.shown: dict[int, float] = {}
        self.next = 0
        self._app = app
        self._timer = timer
        self._busy = busy
        self._waiting: list[int] = []
        self._stopped = threading.Event()
        self._changed = asyncio.Event()

    async def type_until(self, end: int) -> None:
        """Press the letters before `end` while the engine is busy and wait until those are shown that were pressed.

        Raises `EngineError` when one is not shown although the engine goes on.
        """
        loop = asyncio.get_running_loop()
        self._stopped.clear()
        began = self._timer()
        first = self.next

        def press_all() -> None:
            for number in range(first, end):
                due = began + (number - first) * GAP_S
                if self._stopped.wait(max(0.0, due - self._timer())):
                    return
                loop.call_soon_threadsafe(self._press, number, due)

        self._app.written = self._look
        pressing = asyncio.create_task(asyncio.to_thread(press_all))
        pressing.add_done_callback(lambda _: self._changed.set())
        try:
            while not pressing.done() or self._waiting:
                self._changed.clear()
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._changed.wait(), BUSY_AGAIN_S)
                self._give_up()
        finally:
            self._stopped.set()
            await pressing
            self._app.written = _ignore

    def _press(self, number: int, due: float) -> None:
        """Press a letter, on the app's loop; none, and no later one, when the engine has stopped."""
        if self._stopped.is_set():
            return
        if not self._busy():
            self._stopped.set()
            return
        self.due[number] = due
        self.next = number + 1
        self._waiting.append(number)
        self._app.simulate_key(LETTERS[number])

    def _look(self, sequence: str) -> None:
        """Note which letters are drawn: those that wait, up to the last one found, since they stand in order."""
        now = self._timer()
        drawn = STYLE.sub("", sequence)
        found = max((number for number in self._waiting if tail(number) in drawn), default=-1)
        for number in [number for number in self._waiting if number <= found]:
            self.shown[number] = now
            self._waiting.remove(number)
        self._changed.set()

    def _give_up(self) -> None:
        """Forget letters that were taken away with their screen. Raises `EngineError` for one that does not come."""
        if not self._waiting:
            return
        if not self._busy():
            self._stopped.set()
            self._waiting.clear()
        elif self._timer() - self.due[self._waiting[0]] > KEY_DEADLINE_S:
            message = f"Key {self._waiting[0] + 1} was not on the screen after {KEY_DEADLINE_S:.0f} s."
            raise EngineError(message, "Run it again when the machine has less to do.")


def tail(number: int) -> str:
    """Return a letter and a few before it, which stand nowhere else on the screen."""
    return LETTERS[max(0, number + 1 - TAIL) : number + 1]


async def until(app: RecordedApp, holds: Callable[[], bool]) -> None:
    """Let the app work until `holds` does. Raises `EngineError` when it shows an error or takes too long."""
    deadline = time.monotonic() + DEADLINE_S
    while not holds():
        if app.screen.query("ErrorCard"):
            raise EngineError("The app showed an error instead of the book.", "See what `cagchat read BOOK` says.")
        if time.monotonic() > deadline:
            message = f"The app was not ready after {DEADLINE_S:.0f} s."
            raise EngineError(message, "Take a shorter book: --book FILE.")
        await asyncio.sleep(LOOK_AGAIN_S)


def _ignore(sequence: str) -> None:
    """Hear of nothing."""

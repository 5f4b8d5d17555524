"""What the machine has to do, on the status line of every screen that waits for the engine."""

from __future__ import annotations

import queue
import threading
from pathlib import Path

from textual.message import Message
from textual.message_pump import MessagePump
from textual.pilot import Pilot

from cagchat.hardware.meter import Load
from cagchat.tui.gauge import Gauge, Measured
from tests.tui.pilot import DEADLINE_S, Desktop, FixedMeter, chat_of, run, shows, wait_until

GPU = Load("VRAM", 20_900_000_000, 24_000_000_000, percent=87)


class StepMeter:
    """A meter that waits for what it is to say."""

    def __init__(self) -> None:
        self.says: queue.SimpleQueue[Load] = queue.SimpleQueue()
        self.closed = threading.Event()

    def read(self) -> Load:
        return self.says.get(timeout=DEADLINE_S)

    def close(self) -> None:
        self.closed.set()


class Inbox(MessagePump):
    """Keeps what is posted."""

    def __init__(self) -> None:
        super().__init__()
        self.messages: queue.SimpleQueue[Message] = queue.SimpleQueue()

    def post_message(self, message: Message) -> bool:
        self.messages.put(message)
        return True


def test_each_look_is_told_until_it_is_stopped() -> None:
    """What the meter reads is posted in order; after a stop the meter is closed."""
    meter, inbox = StepMeter(), Inbox()
    gauge = Gauge(lambda: meter, inbox, every_s=0)
    gauge.start()
    for percent in (1, 2):
        meter.says.put(Load("VRAM", 1, 2, percent=percent))
        message = inbox.messages.get(timeout=DEADLINE_S)
        assert isinstance(message, Measured)
        assert message.load.percent == percent
    gauge.stop()
    meter.says.put(GPU)
    assert meter.closed.wait(DEADLINE_S)


def test_the_chat_shows_memory_and_load(tmp_path: Path) -> None:
    """The status line shows what the meter says, and what it says next."""
    meter = StepMeter()

    async def drive(pilot: Pilot[None]) -> None:
        await chat_of(pilot)
        meter.says.put(GPU)
        await wait_until(pilot, shows(pilot, "VRAM ▓▓▓▓▓▓▓░ 20.9/24 GB 87 %"), "the GPU")
        meter.says.put(Load("RAM", 3_100_000_000, 16_000_000_000))
        await wait_until(pilot, shows(pilot, "RAM ▓▓░░░░░░ 3.1/16 GB"), "the memory")

    run(Desktop(tmp_path), drive, open_meter=lambda: meter, size=(120, 30))


def test_a_meter_that_never_answers_holds_nothing_up(tmp_path: Path) -> None:
    """A driver that hangs keeps nobody from reading, asking and leaving."""
    meter = StepMeter()

    async def drive(pilot: Pilot[None]) -> None:
        chat = await chat_of(pilot)
        await pilot.press(*"hello")
        assert chat.prompt.text == "hello"
        await pilot.press("ctrl+q")
        await wait_until(pilot, lambda: not pilot.app.is_running, "the end")

    run(Desktop(tmp_path), drive, open_meter=lambda: meter)
    meter.says.put(GPU)


def test_without_a_meter_there_is_no_field(tmp_path: Path) -> None:
    """Who passes no meter sees nothing of memory."""

    async def drive(pilot: Pilot[None]) -> None:
        await chat_of(pilot)
        assert not shows(pilot, "RAM")()

    run(Desktop(tmp_path), drive)


def test_a_screen_that_comes_later_shows_it_at_once(tmp_path: Path) -> None:
    """The chat that follows the preparation has the last figures before the next look."""

    async def drive(pilot: Pilot[None]) -> None:
        await chat_of(pilot)
        await wait_until(pilot, shows(pilot, "6.0/16 GB"), "the memory")

    run(Desktop(tmp_path), drive, open_meter=FixedMeter)

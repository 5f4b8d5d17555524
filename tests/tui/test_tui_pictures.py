"""The screens as pictures, compared with those in `pictures/`.

After a change that is meant: CAGCHAT_PICTURES=write python -m pytest tests/tui/test_tui_pictures.py, and look at them.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.widgets import Collapsible, Input, TextArea

from cagchat.engine.backend import FakeBackend, Notify
from cagchat.engine.fake import FakeEngine, FakeScript
from cagchat.engine.protocol import (
    Blob,
    Engine,
    EngineSettings,
    Finish,
    Piece,
    Progress,
    Sampling,
    Tokens,
    Transfer,
)
from cagchat.errors import EngineDied
from cagchat.tui.dialogs import Confirm
from cagchat.tui.error_card import ErrorCard
from cagchat.tui.status_bar import StatusBar
from tests.tui.pilot import ANSWERS, NARROW, WIDE, Desktop, FixedMeter, Gate, ask, chat_of, run, shows, wait_until

PICTURES = Path(__file__).parent / "pictures"
WRITE = os.environ.get("CAGCHAT_PICTURES") == "write"
VERY_WIDE = (140, 36)
TERMINAL_ID = re.compile(r"terminal-\d+")
FONT = re.compile(r"\s*@font-face \{.*?\}", re.DOTALL)  # rich links a web font; ours must not need the network

LANTERNS = "How many lanterns were there?"
TABLE = """\
Three things are known of him:

1. he keeps the **ledger** of the harbour,
2. it lies under a loose *board*,
3. nobody else has read it.

> Old Perrin kept the ledger of the harbour

| what | where |
|---|---|
| ledger | kitchen |
"""
THOUGHT = "<think>\nThe ferry left at nine.\n</think>\n\nNo: she was not on it."
SCRIPT = FakeScript(answers={**ANSWERS, "perrin": TABLE, "ferry": THOUGHT}, batch_s=1.0, token_s=1.0)

Drive = Callable[[Pilot[None], Gate], Coroutine[Any, Any, None]]


class SteadyEngine(FakeEngine):
    """An engine that always takes the same time."""

    def evaluate(self, sequence: int, tokens: Tokens) -> Iterator[Progress]:
        for number, progress in enumerate(super().evaluate(sequence, tokens), 1):
            yield Progress(progress.position, 0.25 * number)

    def generate(
        self, sequence: int, prompt: Tokens, sampling: Sampling, *, max_tokens: int
    ) -> Iterator[Piece | Finish]:
        for item in super().generate(sequence, prompt, sampling, max_tokens=max_tokens):
            yield replace(item, first_token_s=0.05, decode_s=1.25) if isinstance(item, Finish) else item

    def save(self, sequence: int, path: Path) -> tuple[Blob, Transfer]:
        blob, transfer = super().save(sequence, path)
        return blob, replace(transfer, elapsed_s=0.01)

    def restore(self, sequence: int, path: Path, blob: Blob) -> Transfer:
        return replace(super().restore(sequence, path, blob), elapsed_s=0.01)


class SteadyBackend(FakeBackend):
    """Serves steady engines that can be held."""

    def __init__(self, gate: Gate) -> None:
        super().__init__(SCRIPT)
        self._gate = gate

    def open_engine(self, settings: EngineSettings, notify: Notify) -> Engine:
        return SteadyEngine(settings, SCRIPT, self._gate)


async def reading(pilot: Pilot[None], gate: Gate) -> None:
    """Show a book that is being read."""
    await wait_until(pilot, shows(pilot, "320 / 986 tokens"), "progress")


async def stopped_reading(pilot: Pilot[None], gate: Gate) -> None:
    """Show a reading that was stopped."""
    await reading(pilot, gate)
    await pilot.press("escape")
    gate.release()
    await wait_until(pilot, shows(pilot, "Stopped at token"), "the end of the reading")


async def empty(pilot: Pilot[None], gate: Gate) -> None:
    """Show a chat before its first question."""
    await chat_of(pilot)


async def answered(pilot: Pilot[None], gate: Gate) -> None:
    """Show two answers, one of them with all that Markdown has."""
    await ask(pilot, LANTERNS)
    await ask(pilot, "What is known of Perrin?")


async def answering(pilot: Pilot[None], gate: Gate) -> None:
    """Show an answer that is being made."""
    await chat_of(pilot)
    gate.hold(11)
    await ask(pilot, LANTERNS, wait=False)
    await wait_until(pilot, shows(pilot, "She counted"), "a part of the answer")


async def stopped(pilot: Pilot[None], gate: Gate) -> None:
    """Show an answer that was stopped."""
    await answering(pilot, gate)
    await pilot.press("escape")
    gate.release()
    await wait_until(pilot, shows(pilot, "Stopped here."), "a stopped answer")
    await wait_until(pilot, shows(pilot, "● ready"), "a chat that is ready")


async def thought(pilot: Pilot[None], gate: Gate) -> None:
    """Show what was thought."""
    chat = await ask(pilot, "Was she on the ferry?")
    chat.query_one(Collapsible).collapsed = False
    await wait_until(pilot, shows(pilot, "The ferry left"), "the thought")


async def died(pilot: Pilot[None], gate: Gate) -> None:
    """Show a card."""
    chat = await ask(pilot, LANTERNS)
    error = EngineDied("The engine's process ended (SIGSEGV).", "Ask again: it is started anew and the book restored.")
    error.log_lines = ("the last thing that the engine wrote",)
    await chat.transcript.add(ErrorCard(error))
    await wait_until(pilot, shows(pilot, "SIGSEGV"), "a card")


async def editing(pilot: Pilot[None], gate: Gate) -> None:
    """Show a question that is being edited."""
    await ask(pilot, LANTERNS)
    await pilot.press("f2")
    await wait_until(pilot, shows(pilot, "instead of question 1"), "the question")


async def deleting(pilot: Pilot[None], gate: Gate) -> None:
    """Show the question before a chat is deleted."""
    await ask(pilot, LANTERNS)
    await pilot.press("f8")
    await wait_until(pilot, lambda: isinstance(pilot.app.screen, Confirm), "a question")


async def helped(pilot: Pilot[None], gate: Gate) -> None:
    """Show the help for the prompt."""
    await ask(pilot, LANTERNS)
    await pilot.press("f1")
    await wait_until(pilot, shows(pilot, "The question"), "help")


async def palette(pilot: Pilot[None], gate: Gate) -> None:
    """Show the palette."""
    await ask(pilot, LANTERNS)
    await pilot.press("ctrl+p")
    await wait_until(pilot, shows(pilot, "Answer the last question anew"), "the palette")


async def beside(pilot: Pilot[None], gate: Gate) -> None:
    """Show chats, transcript and book side by side."""
    await answered(pilot, gate)
    await pilot.press("ctrl+b")
    await wait_until(pilot, shows(pilot, "CHAPTER 1"), "the book")


async def limiting(pilot: Pilot[None], gate: Gate) -> None:
    """Show where the limit of the chat's knowledge is asked for."""
    chat = await ask(pilot, LANTERNS)
    await wait_until(pilot, lambda: chat.prompt.known == "", "how far the chat knows the book")
    await pilot.press("ctrl+l")
    await wait_until(pilot, shows(pilot, "100 %  the whole book"), "the places")


async def limited(pilot: Pilot[None], gate: Gate) -> None:
    """Show a chat that knows the book up to a place, and this place in the book."""
    chat = await chat_of(pilot)
    await wait_until(pilot, lambda: chat.prompt.known == "", "how far the chat knows the book")
    await pilot.press("ctrl+l")
    await wait_until(pilot, shows(pilot, "100 %  the whole book"), "the places")
    pilot.app.screen.query_one(Input).value = "chapter 1"
    await pilot.press("enter")
    await wait_until(pilot, shows(pilot, "up to: CHAPTER 1"), "the limit")
    await ask(pilot, LANTERNS)
    await pilot.press("ctrl+b")
    await wait_until(pilot, shows(pilot, "up to here"), "the book")


@pytest.mark.parametrize(
    ("name", "drive", "size"),
    [
        ("reading", reading, WIDE),
        ("reading-stopped", stopped_reading, WIDE),
        ("chat-empty", empty, WIDE),
        ("chat", answered, WIDE),
        ("chat-answering", answering, WIDE),
        ("chat-stopped", stopped, WIDE),
        ("chat-thinking", thought, WIDE),
        ("chat-error", died, WIDE),
        ("chat-editing", editing, WIDE),
        ("chat-delete", deleting, WIDE),
        ("chat-limit", limiting, WIDE),
        ("chat-limited", limited, VERY_WIDE),
        ("help", helped, WIDE),
        ("palette", palette, WIDE),
        ("chat-wide", beside, VERY_WIDE),
        ("chat-narrow", answered, NARROW),
        ("reading-narrow", reading, NARROW),
    ],
)
def test_the_screen_is_the_picture(tmp_path: Path, name: str, drive: Drive, size: tuple[int, int]) -> None:
    """A screen looks as it did when somebody last looked at its picture."""
    gate = Gate()
    if name.startswith("reading"):
        gate.hold(6)
    ticks = count()
    desktop = Desktop(tmp_path, SteadyBackend(gate), timer=lambda: next(ticks) / 100)
    drawn: list[str] = []

    async def draw(pilot: Pilot[None]) -> None:
        pilot.app.animation_level = "none"
        await drive(pilot, gate)
        for field in (*pilot.app.screen.query(Input), *pilot.app.screen.query(TextArea)):
            field.cursor_blink = False
        bars = pilot.app.screen.query(StatusBar)
        await wait_until(pilot, lambda: all(bar.load is not None for bar in bars), "what the meter says")
        await settled(pilot)
        drawn.append(picture(pilot))
        gate.release()

    run(desktop, draw, size=size, timer=lambda: 0.0, open_meter=FixedMeter)
    path = PICTURES / f"{name}.svg"
    if WRITE:
        PICTURES.mkdir(exist_ok=True)
        path.write_text(drawn[0], encoding="utf-8")
    (tmp_path / path.name).write_text(drawn[0], encoding="utf-8")
    assert drawn[0] == path.read_text(encoding="utf-8"), f"{path} differs from {tmp_path / path.name}"


async def settled(pilot: Pilot[None]) -> None:
    """Wait until the screen is the same at two looks in a row."""
    before = ""

    def same() -> bool:
        nonlocal before
        now, last = picture(pilot), before
        before = now
        return now == last

    await pilot.pause()
    await wait_until(pilot, same, "a screen that stays")


def picture(pilot: Pilot[None]) -> str:
    """Return the screen as an SVG that is the same in every run."""
    svg = FONT.sub("", TERMINAL_ID.sub("terminal", pilot.app.export_screenshot(title="cagchat")))
    return "\n".join(text.rstrip() for text in svg.splitlines()) + "\n"


def test_no_picture_is_left_over() -> None:
    """Every stored picture belongs to a screen that is drawn."""
    marks = test_the_screen_is_the_picture.pytestmark  # type: ignore[attr-defined]  # where pytest keeps the parameters
    names = {name for name, *_ in marks[0].args[1]}
    assert {path.stem for path in PICTURES.glob("*.svg")} == names

"""Chats are read beside the screen: it takes keys while another process holds them, and the last choice wins."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot

from cagchat.sessions.session import Session
from cagchat.tui.chat_screen import ChatScreen
from cagchat.tui.dialogs import AskText, Confirm
from tests.tui.pilot import Desktop, ask, chat_of, idle, run, shows, text_of, wait_until

FIRST, SECOND = "How many lanterns were there?", "And who lit them?"
HELD_S = 3.0  # at most: the screen would stand for so long


class Held:
    """Holds the calls of a reading that are made while it is closed."""

    def __init__(self, read: Callable[..., Any]) -> None:
        self._read = read
        self._open = threading.Event()
        self._open.set()
        self.waiting = threading.Event()

    def __call__(self, *arguments: Any) -> Any:
        if threading.current_thread().name == "desk":
            return self._read(*arguments)
        if not self._open.is_set():
            self.waiting.set()
            if not self._open.wait(HELD_S):
                self.open()
        return self._read(*arguments)

    def close(self) -> None:
        self._open.clear()

    @property
    def holds(self) -> bool:
        return self.waiting.is_set() and not self._open.is_set()

    def open(self) -> None:
        self._open.set()


async def two_chats(pilot: Pilot[None], desktop: Desktop) -> tuple[ChatScreen, Session, Session]:
    """Ask a question in each of two chats, and return them."""
    await ask(pilot, FIRST)
    await pilot.press("ctrl+n")
    chat = await ask(pilot, SECOND)
    by_title = {session.title: session for session in desktop.sessions.list()}
    return chat, by_title[FIRST], by_title[SECOND]


def test_a_chat_that_is_read_late_is_not_shown_in_place_of_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While a chat cannot be read the screen takes keys and shows nothing of another; a new chat begun then stays."""
    desktop = Desktop(tmp_path)
    held = Held(desktop.sessions.turns)
    monkeypatch.setattr(desktop.sessions, "turns", held)

    async def drive(pilot: Pilot[None]) -> None:
        chat, first, _ = await two_chats(pilot, desktop)
        held.close()
        await chat.go_to(first)
        await wait_until(pilot, held.waiting.is_set, "a chat that is read")
        await pilot.press(*"typed")
        assert chat.prompt.text == "typed"
        assert held.holds
        assert not chat.transcript.turns
        await pilot.press("ctrl+n")
        held.open()
        await wait_until(pilot, lambda: not beside_threads(), "the end of the reading")
        await pilot.pause()
        assert not chat.transcript.turns
        assert FIRST not in text_of(pilot)

    run(desktop, drive)


def test_a_question_sent_before_its_chat_is_there_is_asked_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It waits until the chat was read, and is its next question then."""
    desktop = Desktop(tmp_path)
    held = Held(desktop.sessions.turns)
    monkeypatch.setattr(desktop.sessions, "turns", held)

    async def drive(pilot: Pilot[None]) -> None:
        chat, first, _ = await two_chats(pilot, desktop)
        held.close()
        await chat.go_to(first)
        chat.prompt.write("Were they lit?")
        await pilot.press("enter")
        await pilot.pause()
        assert held.holds
        held.open()
        await wait_until(pilot, lambda: len(chat.transcript.turns) == 2, "the question")
        await idle(pilot, chat)
        assert [turn.question for turn in chat.transcript.turns] == [FIRST, "Were they lit?"]
        assert not chat.prompt.text

    run(desktop, drive)


@pytest.mark.parametrize("key", ["ctrl+n", "ctrl+q"])
def test_a_question_sent_before_its_chat_is_there_is_given_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    """Who leaves that chat before it was read has the question in the prompt, also the next time."""
    desktop = Desktop(tmp_path)
    held = Held(desktop.sessions.turns)
    monkeypatch.setattr(desktop.sessions, "turns", held)

    async def drive(pilot: Pilot[None]) -> None:
        chat, first, _ = await two_chats(pilot, desktop)
        held.close()
        await chat.go_to(first)
        chat.prompt.write("Were they lit?")
        await pilot.press("enter")
        await pilot.pause()
        assert held.holds
        await pilot.press(key)
        if key == "ctrl+n":
            assert chat.prompt.text == "Were they lit?"

    async def look(pilot: Pilot[None]) -> None:
        assert (await chat_of(pilot)).prompt.text == "Were they lit?"

    run(desktop, drive)
    held.open()
    run(Desktop(tmp_path), look)


@pytest.mark.parametrize(("key", "dialog"), [("f8", Confirm), ("f9", AskText)])
@pytest.mark.parametrize("left", [False, True])
def test_the_open_chat_is_read_beside_the_screen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str, dialog: type[Confirm | AskText], left: bool
) -> None:
    """Keys are taken meanwhile; the dialog opens when the chat is read, and not over another chat."""
    desktop = Desktop(tmp_path)
    held = Held(desktop.sessions.get)
    monkeypatch.setattr(desktop.sessions, "get", held)

    async def drive(pilot: Pilot[None]) -> None:
        chat = await ask(pilot, FIRST)
        held.close()
        await pilot.press(key)
        await wait_until(pilot, held.waiting.is_set, "a chat that is read")
        await pilot.press(*"typed")
        assert chat.prompt.text == "typed"
        assert held.holds
        if left:
            await pilot.press("ctrl+n")
        held.open()
        await wait_until(pilot, lambda: not beside_threads(), "the end of the reading")
        if left:
            await pilot.pause()
            assert pilot.app.screen is chat
        else:
            await wait_until(pilot, lambda: isinstance(pilot.app.screen, dialog), "a dialog")

    run(desktop, drive)


def test_an_export_is_written_beside_the_screen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys are taken while the chat cannot be read; the file is there afterwards."""
    desktop = Desktop(tmp_path)
    held = Held(desktop.sessions.turns)
    monkeypatch.setattr(desktop.sessions, "turns", held)

    async def drive(pilot: Pilot[None]) -> None:
        chat = await ask(pilot, FIRST)
        held.close()
        await pilot.press("f4")
        await wait_until(pilot, held.waiting.is_set, "a chat that is read")
        await pilot.press(*"typed")
        assert chat.prompt.text == "typed"
        assert held.holds
        held.open()
        await wait_until(pilot, lambda: bool(list(tmp_path.glob("chat-*.md"))), "the file")

    run(desktop, drive)


def test_the_palette_deletes_the_open_chat(tmp_path: Path) -> None:
    """A command of the palette asks in its dialog as the key does."""

    async def drive(pilot: Pilot[None]) -> None:
        await ask(pilot, FIRST)
        chat = await chat_of(pilot)
        await pilot.press("ctrl+p", *"delete chat")
        await wait_until(pilot, shows(pilot, "Overwrite it on the disk"), "the command")
        await pilot.press("down", "enter")
        await wait_until(pilot, lambda: isinstance(pilot.app.screen, Confirm), "a dialog")
        assert chat.is_attached

    run(Desktop(tmp_path), drive)


def beside_threads() -> list[threading.Thread]:
    """Return what runs beside the screen now."""
    return [thread for thread in threading.enumerate() if thread.name == "beside"]

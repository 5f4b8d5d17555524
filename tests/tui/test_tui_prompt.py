"""Where questions are written: what the arrows do, and that nothing which was written is lost."""

from __future__ import annotations

import threading
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot

from cagchat.errors import StorageError
from cagchat.remembered import Remembered
from cagchat.sessions.store import Sessions
from cagchat.tui.chat_screen import ChatScreen
from cagchat.tui.turn_view import TurnView
from tests.tui.pilot import DEADLINE_S, Desktop, ask, idle, run, wait_until

LANTERNS = "How many lanterns were there?"


def test_arrows_move_within_a_wrapped_question(tmp_path: Path) -> None:
    """In a question of several rows Up and Down move by a row, and recall only from the first and the last one."""
    long = "word " * 60

    async def drive(pilot: Pilot[None]) -> None:
        chat = await ask(pilot, LANTERNS)
        prompt = chat.prompt
        prompt.write(long)
        await pilot.pause()
        rows = prompt.wrapped_document.height
        assert rows > 2
        await pilot.press(*["up"] * (rows - 1))
        assert prompt.text == long
        await pilot.press("up")
        assert prompt.text == LANTERNS
        await pilot.press("down")
        assert prompt.text == long
        prompt.move_cursor((0, 0))
        await pilot.press(*["down"] * (rows - 1))
        assert prompt.text == long
        assert prompt.cursor_location[1] > 0

    run(Desktop(tmp_path), drive)


async def press_f2(pilot: Pilot[None]) -> None:
    """Take the last question back by its key."""
    await pilot.press("f2")


async def click_edit(pilot: Pilot[None]) -> None:
    """Take the last question back by a click below its answer."""
    chat = pilot.app.screen
    assert isinstance(chat, ChatScreen)
    chat.transcript.views[-1].post_message(TurnView.Wanted("edit", chat.transcript.turns[-1]))
    await wait_until(pilot, lambda: chat.editing is not None, "a question to edit")


@pytest.mark.parametrize("edit", [press_f2, click_edit])
def test_editing_puts_an_unsent_question_aside(
    tmp_path: Path, edit: Callable[[Pilot[None]], Coroutine[Any, Any, None]]
) -> None:
    """An earlier question is edited in place of the one that is being written, which comes back with Esc."""
    desktop = Desktop(tmp_path)

    async def drive(pilot: Pilot[None]) -> None:
        chat = await ask(pilot, LANTERNS)
        await pilot.press(*"draft")
        await edit(pilot)
        assert chat.prompt.text == LANTERNS
        await pilot.pause()
        digest = chat.book.manifest.book.digest
        chat._beside.save()
        assert Remembered.under(desktop.locations).place(digest).draft == "draft"
        await pilot.press("up")
        assert chat.prompt.text == "draft"
        await pilot.press("down", *"??", "escape")
        assert chat.editing is None
        assert chat.prompt.text == "draft"
        recalled = []
        for _ in range(2):
            await pilot.press("up")
            recalled.append(chat.prompt.text)
        assert recalled == [f"{LANTERNS}??", LANTERNS]
        await pilot.press("down", "down")
        assert chat.prompt.text == "draft"

    run(desktop, drive)


def test_what_was_being_written_comes_back_after_an_edit(tmp_path: Path) -> None:
    """When the edited question is sent, the one that was being written stands in the prompt again."""

    async def drive(pilot: Pilot[None]) -> None:
        chat = await ask(pilot, "Who is Perrin?")
        await pilot.press(*"draft", "f2")
        chat.prompt.write(LANTERNS)
        await pilot.press("enter")
        await wait_until(pilot, lambda: chat.transcript.turns[-1].question == LANTERNS, "the edited question")
        await idle(pilot, chat)
        assert chat.prompt.text == "draft"

    run(Desktop(tmp_path), drive)


def test_a_draft_under_a_recalled_question_is_kept(tmp_path: Path) -> None:
    """What was written before an earlier question was recalled outlives the editing of this one."""

    async def drive(pilot: Pilot[None]) -> None:
        chat = await ask(pilot, LANTERNS)
        await pilot.press(*"draft", "up", "f2")
        assert chat.prompt.text == LANTERNS
        await pilot.press("escape")
        assert chat.prompt.text == "draft"

    run(Desktop(tmp_path), drive)


def test_going_from_question_to_question_puts_none_of_them_aside(tmp_path: Path) -> None:
    """F2 and F2 again recall nothing but what was asked; what was changed meanwhile is recalled too."""

    async def drive(pilot: Pilot[None]) -> None:
        chat = await ask(pilot, "Who is Perrin?")
        await ask(pilot, LANTERNS)
        await pilot.press("f2", "f2", "f2", *"!", "f2")
        assert chat.prompt.text == "Who is Perrin?"
        await pilot.press("up")
        assert chat.prompt.text == f"{LANTERNS}!"
        await pilot.press("up")
        assert chat.prompt.text == LANTERNS
        await pilot.press("up")
        assert chat.prompt.text == "Who is Perrin?"

    run(Desktop(tmp_path), drive)


@pytest.mark.parametrize("typed", ["", "next"])
def test_a_question_that_was_not_recorded_is_not_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, typed: str
) -> None:
    """A question that the full disk refused stands in the prompt; where another was begun, Up recalls it."""
    desktop = Desktop(tmp_path)
    go_on = threading.Event()

    def refuse(*_: object, **__: object) -> None:
        go_on.wait(DEADLINE_S)
        raise StorageError("The disk that holds the chats is full.", "Free some space.")

    async def drive(pilot: Pilot[None]) -> None:
        await ask(pilot, "Who is Perrin?")
        monkeypatch.setattr(Sessions, "begin_turn", refuse)
        chat = await ask(pilot, LANTERNS, wait=False)
        await pilot.press(*typed)
        go_on.set()
        await idle(pilot, chat)
        assert [turn.question for turn in chat.transcript.turns] == ["Who is Perrin?"]
        if typed:
            assert chat.prompt.text == typed
            await pilot.press("up")
        assert chat.prompt.text == LANTERNS
        await chat.go_to(None)
        await pilot.press("down", "up")
        assert chat.prompt.text == LANTERNS

    run(desktop, drive)

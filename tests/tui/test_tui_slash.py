"""Lines that begin with a slash: each does what it does in `open --plain`, and none is asked of the model."""

from __future__ import annotations

from pathlib import Path

import pytest
from textual.pilot import Pilot

from cagchat.tui.help_screen import HelpScreen
from cagchat.tui.limit_dialogs import AskLimit
from tests.reading_cases import chapters
from tests.tui.pilot import Desktop, ask, chat_of, idle, run, shows, wait_until
from tests.tui.test_tui_ready_made import notices

FIRST, SECOND = "How many lanterns were there?", "And who lit them?"


def desktop(home: Path) -> Desktop:
    return Desktop(home, text=chapters(4))


async def send(pilot: Pilot[None], line: str) -> None:
    """Send a line as it is typed."""
    (await chat_of(pilot)).prompt.write(line)
    await pilot.press("enter")
    await pilot.pause()


def asked(desktop: Desktop) -> list[list[str]]:
    """Return the questions of each chat, the newest chat first."""
    return [[turn.question for turn in desktop.sessions.turns(chat.id)] for chat in desktop.sessions.list()]


def test_new_begins_another_chat(tmp_path: Path) -> None:
    """/new leaves the chat for a new one, as its key does."""
    used = desktop(tmp_path)

    async def drive(pilot: Pilot[None]) -> None:
        await ask(pilot, FIRST)
        await send(pilot, "/NEW ")
        chat = await ask(pilot, SECOND)
        assert len(chat.transcript.turns) == 1

    run(used, drive)
    assert sorted(asked(used)) == sorted([[FIRST], [SECOND]])


def test_again_answers_anew(tmp_path: Path) -> None:
    """/again supersedes the last answer; before any question it says so and stays to be seen."""
    used = desktop(tmp_path)

    async def drive(pilot: Pilot[None]) -> None:
        chat = await chat_of(pilot)
        await send(pilot, "/again")
        assert "no question to ask again" in notices(pilot)
        assert chat.prompt.text == "/again"
        await ask(pilot, FIRST)
        await send(pilot, "/again")
        await wait_until(pilot, shows(pilot, " reused, 0 evaluated"), "the proof of another answer")
        await idle(pilot, chat)
        assert chat.prompt.text == ""

    run(used, drive)
    assert asked(used) == [[FIRST]]


@pytest.mark.parametrize("line", [f"/edit 1 {SECOND}", f"/edit  1\n{SECOND}", "/edit 1"])
def test_edit_asks_in_place_of_a_question(tmp_path: Path, line: str) -> None:
    """/edit takes the number of a question and another one; with the number alone the reader writes it."""
    used = desktop(tmp_path)

    async def drive(pilot: Pilot[None]) -> None:
        chat = await ask(pilot, FIRST)
        await send(pilot, line)
        if line == "/edit 1":
            assert chat.prompt.text == FIRST
            assert chat.editing == 1
            await send(pilot, SECOND)
        await wait_until(pilot, lambda: [turn.question for turn in chat.transcript.turns] == [SECOND], "the other one")
        await idle(pilot, chat)

    run(used, drive)
    assert asked(used) == [[SECOND]]


def test_until_sets_how_far_the_chat_knows_the_book(tmp_path: Path) -> None:
    """/until takes a place as the dialog does, and opens the dialog when none is named."""

    async def drive(pilot: Pilot[None]) -> None:
        chat = await chat_of(pilot)
        await send(pilot, "/until Chapter 2")
        await wait_until(pilot, lambda: chat.prompt.known == "CHAPTER 2", "the limit")
        assert chat.prompt.text == ""
        await send(pilot, "/until")
        await wait_until(pilot, lambda: isinstance(pilot.app.screen, AskLimit), "the dialog")
        await pilot.press("escape")
        await send(pilot, "/until Chapter 99")
        assert "no place called Chapter 99" in notices(pilot)
        assert chat.prompt.text == "/until Chapter 99"

    run(desktop(tmp_path), drive)


def test_help_and_quit(tmp_path: Path) -> None:
    """/help explains the prompt, /quit leaves, and neither is a draft afterwards."""

    async def drive(pilot: Pilot[None]) -> None:
        chat = await chat_of(pilot)
        await send(pilot, "/help")
        await wait_until(pilot, lambda: isinstance(pilot.app.screen, HelpScreen), "the help")
        await pilot.press("escape")
        await wait_until(pilot, lambda: pilot.app.screen is chat, "the chat")
        assert chat.prompt.text == ""
        chat.prompt.write("/quit")
        await pilot.press("enter")
        await wait_until(pilot, lambda: not pilot.app.is_running, "the end")

    async def look(pilot: Pilot[None]) -> None:
        assert (await chat_of(pilot)).prompt.text == ""

    run(desktop(tmp_path), drive)
    run(desktop(tmp_path), look)


@pytest.mark.parametrize("line", ["/foo", "/turns", "/Foo bar", "/", "/edit x", "/edit 7 What?"])
def test_what_is_no_command_is_refused(tmp_path: Path, line: str) -> None:
    """It is not asked, what is wrong is said, and the line stays to be mended."""
    used = desktop(tmp_path)
    told = {"/edit x": "/edit needs a number", "/edit 7 What?": "This chat has no question 7."}

    async def drive(pilot: Pilot[None]) -> None:
        chat = await chat_of(pilot)
        await send(pilot, line)
        assert line in told or "/until PLACE" in notices(pilot), "which there are"
        assert told.get(line, f"There is no command {line.split()[0]}.") in notices(pilot)
        assert chat.prompt.text == line

    run(used, drive)
    assert asked(used) == []

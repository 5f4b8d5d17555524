"""What is typed into the prompt faster than it is handled: in its order, and nothing of it lost."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from textual.pilot import Pilot

from cagchat.engine.backend import FakeBackend
from cagchat.engine.fake import FakeScript
from cagchat.files import private_folder
from tests.tui.pilot import ANSWERS, Desktop, Gate, ask, burst, chat_of, idle, run, wait_until

LANTERNS = "How many lanterns were there?"
PERRIN = "Who is Perrin?"


def test_letters_behind_enter_are_the_next_question(tmp_path: Path) -> None:
    """Enter sends what stood before it; what comes behind it stays in the prompt."""

    async def drive(pilot: Pilot[None]) -> None:
        chat = await chat_of(pilot)
        burst(pilot, *LANTERNS, "enter", *PERRIN)
        await wait_until(pilot, lambda: bool(chat.transcript.turns), "a question")
        await idle(pilot, chat)
        assert [turn.question for turn in chat.transcript.turns] == [LANTERNS]
        assert chat.prompt.text == PERRIN
        await pilot.press("enter")
        await wait_until(pilot, lambda: len(chat.transcript.turns) == 2, "the next question")
        assert chat.transcript.turns[-1].question == PERRIN

    run(Desktop(tmp_path), drive)


@pytest.mark.parametrize(
    ("typed", "left"),
    [
        ([PERRIN, "enter"], PERRIN),
        ([PERRIN, "enter", "And Ines?"], f"{PERRIN}And Ines?"),
        ([PERRIN, "enter", " And Ines?", "enter", " Or"], f"{PERRIN} And Ines? Or"),
    ],
)
def test_what_is_sent_during_an_answer_is_given_back_in_order(tmp_path: Path, typed: Sequence[str], left: str) -> None:
    """Enter during an answer sends nothing, and all that was typed stands in the prompt."""
    gate = Gate()
    desktop = Desktop(tmp_path, FakeBackend(FakeScript(answers=ANSWERS, token_s=1.0), sleep=gate))

    async def drive(pilot: Pilot[None]) -> None:
        chat = await chat_of(pilot)
        gate.hold(5)
        burst(pilot, *LANTERNS, "enter", *letters(typed))
        await wait_until(pilot, gate.waiting.is_set, "an answer half said")
        await wait_until(pilot, lambda: chat.prompt.text == left, "what was typed")
        assert chat.prompt.cursor_location == chat.prompt.document.end
        gate.release()
        await idle(pilot, chat)
        assert [turn.question for turn in chat.transcript.turns] == [LANTERNS]
        assert chat.prompt.text == left

    run(desktop, drive)


def letters(typed: Sequence[str]) -> list[str]:
    """Return the keys that type texts, between which there may be an Enter."""
    return [key for text in typed for key in ([text] if text == "enter" else text)]


def test_a_refused_command_is_given_back(tmp_path: Path) -> None:
    """A chapter that there is not is told, and the line stands before what was typed since."""

    async def drive(pilot: Pilot[None]) -> None:
        chat = await chat_of(pilot)
        burst(pilot, *"/summary Chapter 9", "enter", *"0")
        await wait_until(pilot, lambda: bool(pilot.app._notifications), "a notice")
        assert chat.prompt.text == "/summary Chapter 90"
        assert not chat.transcript.turns

    run(Desktop(tmp_path), drive)


@pytest.mark.parametrize(
    ("keys", "written"),
    [
        (["a", "b", "backspace", "c"], "ac"),
        (["a", "ctrl+j", "b"], "a\nb"),
        (["a", "shift+enter", "b"], "a\nb"),
        (["a", " ", "b", "ctrl+w", "c"], "a c"),
        (["a", "ctrl+u", "b"], "b"),
        (["a", "left", "b"], "ba"),
        (["a", "ctrl+z", "b"], "b"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, list) else "",
)
def test_keys_and_letters_keep_their_order(tmp_path: Path, keys: Sequence[str], written: str) -> None:
    """A key that changes the text or moves in it does so before the letters behind it are written."""

    async def drive(pilot: Pilot[None]) -> None:
        chat = await chat_of(pilot)
        burst(pilot, *keys)
        await pilot.pause()
        assert chat.prompt.text == written

    run(Desktop(tmp_path), drive)


def test_keys_of_the_readers_own_keep_their_order(tmp_path: Path) -> None:
    """A key that was bound to sending sends, and Enter does what it was bound to."""
    desktop = Desktop(tmp_path)
    path = private_folder(desktop.locations.config) / "keys.toml"
    path.write_text('[keys]\n"prompt.send" = "ctrl+s"\n"prompt.newline" = "enter"\n', encoding="utf-8")

    async def drive(pilot: Pilot[None]) -> None:
        chat = await chat_of(pilot)
        burst(pilot, *"How many", "enter", *"lanterns?", "ctrl+s", *"next")
        await wait_until(pilot, lambda: bool(chat.transcript.turns), "a question")
        await idle(pilot, chat)
        assert [turn.question for turn in chat.transcript.turns] == ["How many\nlanterns?"]
        assert chat.prompt.text == "next"

    run(desktop, drive)


async def recalled(pilot: Pilot[None], times: int) -> list[str]:
    """Press Up so often, and return what stands in the prompt each time."""
    chat = await chat_of(pilot)
    found = []
    for _ in range(times):
        chat.prompt.move_cursor((0, 0))
        await pilot.press("up")
        found.append(chat.prompt.text)
    return found


def test_a_draft_does_not_come_before_what_is_typed(tmp_path: Path) -> None:
    """What was being written before an edit is recalled with Up when the next question is begun already."""

    async def drive(pilot: Pilot[None]) -> None:
        chat = await ask(pilot, PERRIN)
        await pilot.press(*"draft", "f2")
        chat.prompt.write(LANTERNS)
        burst(pilot, "enter", *"next")
        await wait_until(pilot, lambda: chat.transcript.turns[-1].question == LANTERNS, "the edited question")
        await idle(pilot, chat)
        assert chat.prompt.text == "next"
        assert "draft" in await recalled(pilot, 3)

    run(Desktop(tmp_path), drive)


def test_a_draft_under_a_recalled_question_that_is_sent_is_kept(tmp_path: Path) -> None:
    """What was being written when an earlier question was recalled and asked again is recalled as this is."""

    async def drive(pilot: Pilot[None]) -> None:
        chat = await ask(pilot, LANTERNS)
        await pilot.press(*"draft", "up", "enter")
        await wait_until(pilot, lambda: len(chat.transcript.turns) == 2, "the question again")
        await idle(pilot, chat)
        assert not chat.prompt.text
        assert "draft" in await recalled(pilot, 2)

    run(Desktop(tmp_path), drive)

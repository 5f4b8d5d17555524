"""What a reader acts on is in sight: the answer that comes, the field that has the keys, what was said of an answer."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from textual.pilot import Pilot

from cagchat.engine.backend import FakeBackend
from cagchat.engine.fake import FakeScript
from cagchat.tui.figure_lines import FigureLines
from tests.tui.pilot import ANSWERING, ANSWERS, NARROW, Desktop, Gate, ask, chat_of, idle, run, shows, wait_until

LANTERNS = "How many lanterns were there?"
WIDEST = (200, 60)


def test_what_there_is_of_an_answer_is_copied_while_it_comes(tmp_path: Path) -> None:
    """The key that copies takes what can be read already; with nothing to copy it leaves the clipboard as it was."""
    gate = Gate()
    backend = FakeBackend(FakeScript(answers=ANSWERS, token_s=1.0), sleep=gate)

    async def drive(pilot: Pilot[None]) -> None:
        chat = await chat_of(pilot)
        pilot.app.copy_to_clipboard("what was there")
        gate.hold(after=12)
        await ask(pilot, LANTERNS, wait=False)
        await wait_until(pilot, gate.waiting.is_set, "a part of the answer")
        await wait_until(pilot, lambda: bool(chat._generation.text_of(1)), "its text")
        await pilot.press("f3")
        part = pilot.app.clipboard
        assert part
        assert ANSWERS["lanterns"].startswith(part)
        gate.release()
        await idle(pilot, chat)
        await pilot.press("f3")
        assert pilot.app.clipboard == ANSWERS["lanterns"]

    run(Desktop(tmp_path, backend), drive)


def test_nothing_is_copied_of_an_answer_that_has_not_begun(tmp_path: Path) -> None:
    """The clipboard keeps what it has."""
    gate = Gate()
    backend = FakeBackend(FakeScript(answers=ANSWERS, batch_s=1.0), sleep=gate)

    async def drive(pilot: Pilot[None]) -> None:
        chat = await chat_of(pilot)
        pilot.app.copy_to_clipboard("what was there")
        gate.hold(after=1)
        await ask(pilot, LANTERNS, wait=False)
        await wait_until(pilot, lambda: bool(chat.transcript.turns) and gate.waiting.is_set(), "the turn")
        await pilot.press("f3")
        assert pilot.app.clipboard == "what was there"
        gate.release()
        await idle(pilot, chat)

    run(Desktop(tmp_path, backend), drive)


def test_a_question_makes_way_for_its_answer(tmp_path: Path) -> None:
    """Where the book lies over the chat, it is put away when something is asked."""

    async def drive(pilot: Pilot[None]) -> None:
        chat = await chat_of(pilot)
        await pilot.press("ctrl+b")
        await wait_until(pilot, lambda: chat.has_class("-book"), "the book")
        chat.prompt.focus()
        await ask(pilot, LANTERNS)
        assert not chat.has_class("-book")
        await wait_until(pilot, shows(pilot, ANSWERS["lanterns"][:12]), "the answer")

    run(Desktop(tmp_path), drive, size=NARROW)


def test_the_keys_leave_a_list_that_has_no_room(tmp_path: Path) -> None:
    """After the terminal became narrow the prompt has the focus, and what is typed is seen."""

    async def drive(pilot: Pilot[None]) -> None:
        chat = await chat_of(pilot)
        chat.chats.query_one("OptionList").focus()
        await pilot.resize_terminal(*NARROW)
        await wait_until(pilot, lambda: chat.focused is chat.prompt, "the prompt")
        await pilot.press("h", "i")
        assert chat.prompt.text == "hi"

    run(Desktop(tmp_path), drive, size=WIDEST)


def test_what_became_of_an_answer_stands_below_it(tmp_path: Path) -> None:
    """That an answer reached its limit is said where it ends."""

    async def drive(pilot: Pilot[None]) -> None:
        chat = await ask(pilot, LANTERNS)
        (notice,) = chat.query(".notice").results(FigureLines)
        assert "reached its limit" in notice.text
        (turn,) = chat.transcript.query("TurnView").results()
        parts = list(turn.children)
        assert parts.index(notice) == 1 + parts.index(turn.query_one("AnswerText"))

    run(Desktop(tmp_path, answering=replace(ANSWERING, max_tokens=8)), drive)

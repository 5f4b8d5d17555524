"""Where questions are written: what the arrows do, and that nothing which was written is lost."""

from __future__ import annotations

from pathlib import Path

from textual.pilot import Pilot

from tests.tui.pilot import Desktop, ask, run

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

"""Keys and clicks that are read faster than they are handled, as after a stall of the network."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from rich.style import Style
from textual import events
from textual.command import CommandPalette
from textual.pilot import Pilot
from textual.screen import Screen
from textual.widgets import Input, OptionList

from cagchat.tui.command_palette import Palette
from tests.reading_cases import chapters
from tests.tui.pilot import Desktop, ask, burst, chat_of, run, wait_until

LANTERNS = "How many lanterns were there?"


async def press_and_see(pilot: Pilot[None], keys: Sequence[str]) -> None:
    """Press keys one after the other; where one opens a dialog with a list, wait until there is something in it."""
    for key in keys:
        await pilot.press(key)
        await pilot.pause()
        await wait_until(pilot, lambda: all(each.option_count for each in lists_over(pilot)), "a list")


def lists_over(pilot: Pilot[None]) -> list[OptionList]:
    """Return the lists of the dialog that is open."""
    return list(pilot.app.screen.query(OptionList)) if pilot.app.screen.is_modal else []


@pytest.mark.parametrize(
    ("before", "key"),
    [
        (["f9"], "enter"),
        (["f8", "tab"], "enter"),
        (["alt+s"], "enter"),
        (["alt+w", "down"], "enter"),
        (["ctrl+l"], "enter"),
        (["ctrl+l", "enter"], "enter"),
        (["ctrl+p", "down"], "enter"),
        (["f1"], "escape"),
    ],
    ids=lambda keys: "-".join(keys) if isinstance(keys, list) else keys,
)
def test_a_dialog_is_left_once(tmp_path: Path, before: Sequence[str], key: str) -> None:
    """A key that leaves a dialog and is pressed again takes away the dialog, and not the chat below it."""

    async def drive(pilot: Pilot[None]) -> None:
        chat = await ask(pilot, LANTERNS)
        await press_and_see(pilot, before)
        dialog = pilot.app.screen
        assert dialog is not chat
        burst(pilot, key, key, key)
        await wait_until(pilot, lambda: dialog not in stack(pilot), "the end of the dialog")
        await pilot.pause()
        assert pilot.app.is_running
        assert stack(pilot)[1] is chat

    run(Desktop(tmp_path), drive)


def test_a_file_is_opened_once(tmp_path: Path) -> None:
    """Enter twice on the path of a book opens this book."""
    desktop = Desktop(tmp_path)

    async def drive(pilot: Pilot[None]) -> None:
        chat = await chat_of(pilot)
        await press_and_see(pilot, ["ctrl+o", "o", *desktop.book.name])
        burst(pilot, "enter", "enter", "enter")
        await wait_until(pilot, lambda: chat not in stack(pilot), "the end of the chat before")
        again = await chat_of(pilot)
        assert again.book.manifest.book.digest == chat.book.manifest.book.digest

    run(desktop, drive)


def test_a_command_of_the_palette_is_done_once(tmp_path: Path) -> None:
    """Enter twice on a command does it once."""

    async def drive(pilot: Pilot[None]) -> None:
        await ask(pilot, LANTERNS)
        await press_and_see(pilot, ["ctrl+p", *"exportjson"])
        await wait_until(pilot, lambda: len(lists_over(pilot)[0].options) == 1, "one command")
        burst(pilot, "enter", "enter", "enter")
        await wait_until(pilot, lambda: not isinstance(pilot.app.screen, Palette), "the end of the palette")
        await wait_until(pilot, lambda: bool(list(tmp_path.glob("*.json"))), "a file")
        await pilot.pause()
        assert len(list(tmp_path.glob("*.json"))) == 1

    run(Desktop(tmp_path), drive)


@pytest.mark.parametrize("page", ["page_up", "page_down"])
def test_a_page_of_rows_without_a_place_is_nothing(tmp_path: Path, page: str) -> None:
    """A palette that was empty and lists something again has no pages before the next layout; the key does nothing."""

    async def drive(pilot: Pilot[None]) -> None:
        await chat_of(pilot)
        await press_and_see(pilot, ["ctrl+p"])
        palette, (listed,) = pilot.app.screen, lists_over(pilot)
        listed.clear_options()
        await wait_until(pilot, lambda: not listed.size, "a list without rows")
        listed.add_options(["one", "two"])
        listed.highlighted = 1
        await pilot.app.run_action(f"command_list('{page}')", palette)
        assert listed.highlighted == 1

    run(Desktop(tmp_path), drive)


def test_a_palette_that_was_left_looks_for_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was typed before the palette was left, and arrives after it, begins no search: its list is being removed."""
    begun: list[str] = []

    async def drive(pilot: Pilot[None]) -> None:
        chat = await chat_of(pilot)
        await press_and_see(pilot, ["ctrl+p"])
        palette = pilot.app.screen
        monkeypatch.setattr(CommandPalette, "_gather_commands", lambda _, typed: begun.append(typed))
        palette.dismiss()
        palette.post_message(Input.Changed(palette.query_one(Input), "export"))
        await wait_until(pilot, lambda: not palette.is_attached, "the end of the palette")
        assert pilot.app.screen is chat
        assert not begun

    run(Desktop(tmp_path), drive)


def stack(pilot: Pilot[None]) -> list[Screen[Any]]:
    """Return the screens that lie over one another."""
    return pilot.app.screen_stack


def test_a_click_on_a_row_that_is_gone_is_nothing(tmp_path: Path) -> None:
    """A click that arrives when the list has become shorter chooses nothing."""

    async def drive(pilot: Pilot[None]) -> None:
        await chat_of(pilot)
        await press_and_see(pilot, ["alt+s"])
        picking = pilot.app.screen
        listed = picking.query_one(OptionList)
        last = listed.option_count - 1
        picking.query_one(Input).value = "CHAPTER 1"
        await wait_until(pilot, lambda: listed.option_count == 1, "one chapter")
        row = Style.from_meta({"option": last})
        listed.post_message(events.Click(listed, 0, last, 0, 0, 1, False, False, False, style=row))
        await pilot.pause()
        assert pilot.app.screen is picking

    run(Desktop(tmp_path, text=chapters(4)), drive)

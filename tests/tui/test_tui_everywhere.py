"""What holds on every screen: nothing past the edge, every action in the palette, help, and no colour needed."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from rich.color import ColorType
from textual.binding import Binding
from textual.content import Content
from textual.pilot import Pilot
from textual.widget import Widget
from textual.widgets import Button, Footer

from cagchat.engine.backend import FakeBackend
from cagchat.engine.fake import FakeScript
from cagchat.tui.book_table import BookTable
from cagchat.tui.dialogs import AskText, Confirm
from cagchat.tui.error_card import ErrorCard
from cagchat.tui.found import Fact
from cagchat.tui.help_screen import HelpScreen
from cagchat.tui.library_screen import LibraryScreen
from cagchat.tui.limit_dialogs import AskLimit, GoOn
from cagchat.tui.open_file import OpenFile
from cagchat.tui.palette import can, in_sight
from cagchat.tui.status_bar import StatusBar
from cagchat.tui.title_bar import TitleBar
from tests.tui.pilot import ANSWERS, Desktop, FixedMeter, Gate, ask, chat_of, run, shows, text_of, wait_until

SIZES = [(60, 20), (80, 24), (120, 40), (200, 60)]
LONG = "A question about the lanterns that is much longer than the narrowest terminal that the app is made for is wide"

Scene = Callable[[Pilot[None]], Coroutine[Any, Any, None]]


async def empty(pilot: Pilot[None]) -> None:
    """Show a chat before its first question."""
    await chat_of(pilot)


async def answered(pilot: Pilot[None]) -> None:
    """Show a chat with a long question and its answer."""
    await ask(pilot, LONG)


async def chats(pilot: Pilot[None]) -> None:
    """Show the list of chats."""
    chat = await ask(pilot, LONG)
    await pilot.press("ctrl+t")
    if not chat.chats.region:
        await pilot.press("ctrl+t")
    await wait_until(pilot, lambda: bool(chat.chats.region), "the list")


async def book(pilot: Pilot[None]) -> None:
    """Show the book."""
    await ask(pilot, LONG)
    await pilot.press("ctrl+b")
    await wait_until(pilot, shows(pilot, "CHAPTER 1"), "the book")


async def contents(pilot: Pilot[None]) -> None:
    """Show the book's contents."""
    await book(pilot)
    await pilot.press("t")
    await wait_until(pilot, shows(pilot, "0 %"), "the contents")


async def finding(pilot: Pilot[None]) -> None:
    """Show what was found in the book."""
    await book(pilot)
    await pilot.press("slash", *"lanterns")
    await wait_until(pilot, shows(pilot, "1 of"), "a place")


async def renaming(pilot: Pilot[None]) -> None:
    """Show the question for a title."""
    await ask(pilot, LONG)
    await pilot.press("f9")
    await wait_until(pilot, lambda: isinstance(pilot.app.screen, AskText), "a dialog")


async def picking_a_chapter(pilot: Pilot[None]) -> None:
    """Show the chapters that a question can be about."""
    await ask(pilot, LONG)
    await pilot.press("alt+s")
    await wait_until(pilot, shows(pilot, "0 %  CHAPTER 1"), "the chapters")


async def picking_a_name(pilot: Pilot[None]) -> None:
    """Show the names that a question can be about."""
    await ask(pilot, LONG)
    await pilot.press("alt+w")
    await wait_until(pilot, shows(pilot, "Perrin"), "the names")


async def deleting(pilot: Pilot[None]) -> None:
    """Show the question before a chat is deleted."""
    await ask(pilot, LONG)
    await pilot.press("f8")
    await wait_until(pilot, lambda: isinstance(pilot.app.screen, Confirm), "a dialog")


async def limiting(pilot: Pilot[None]) -> None:
    """Show where the limit of the chat's knowledge is asked for."""
    await ask(pilot, LONG)
    await pilot.press("ctrl+l")
    await wait_until(pilot, lambda: isinstance(pilot.app.screen, AskLimit), "a dialog")
    await wait_until(pilot, shows(pilot, "CHAPTER 2"), "the places")


async def pricing(pilot: Pilot[None]) -> None:
    """Show what a limit takes, or that it takes a new chat."""
    await limiting(pilot)
    await pilot.press(*"chapter", "space", "1", "enter")
    await wait_until(pilot, lambda: isinstance(pilot.app.screen, GoOn), "an offer")
    await wait_until(pilot, lambda: isinstance(pilot.app.focused, Button), "its buttons")


async def limited(pilot: Pilot[None]) -> None:
    """Show a chat that knows the book up to a place, in the book."""
    await pricing(pilot)
    await pilot.press("enter")
    await wait_until(pilot, shows(pilot, "up to: CHAPTER 1"), "the limit")
    await pilot.press("ctrl+b")
    await wait_until(pilot, shows(pilot, "CHAPTER 1"), "the book")


async def library(pilot: Pilot[None]) -> None:
    """Show the library with a book."""
    await ask(pilot, LONG)
    await pilot.press("ctrl+o")
    await wait_until(pilot, lambda: isinstance(pilot.app.screen, LibraryScreen), "the library")
    await wait_until(pilot, lambda: pilot.app.screen.query_one(BookTable).row_count == 1, "its books")


async def opening(pilot: Pilot[None]) -> None:
    """Show where a file is chosen."""
    await library(pilot)
    await pilot.press("o")
    await wait_until(pilot, lambda: isinstance(pilot.app.screen, OpenFile), "a dialog")
    await wait_until(pilot, shows(pilot, "lanterns.txt"), "the files")


async def carded(pilot: Pilot[None]) -> None:
    """Show a card with long lines."""
    chat = await ask(pilot, LONG)
    await pilot.press("ctrl+b")
    await wait_until(pilot, shows(pilot, "CHAPTER 1"), "the book")
    await pilot.press("ctrl+b")
    chat.book.folder.book_path.unlink()
    chat.book._document = None
    await pilot.press("ctrl+b")
    await wait_until(pilot, lambda: bool(chat.query(ErrorCard)), "a card")


async def helped(pilot: Pilot[None]) -> None:
    """Show the help."""
    await chat_of(pilot)
    await pilot.press("f1")
    await wait_until(pilot, shows(pilot, "The question"), "help")


CHAT = [empty, answered, chats, book, contents, finding, renaming, deleting, picking_a_chapter, picking_a_name]
LIMITS = [limiting, pricing, limited]
SCENES = [*CHAT, *LIMITS, library, opening, carded, helped]
every_scene = pytest.mark.parametrize("scene", [pytest.param(scene, id=scene.__name__) for scene in SCENES])


def nothing_past_the_edge(pilot: Pilot[None], size: tuple[int, int]) -> None:
    """Check that what is in sight lies inside of what it stands in, and that rows of ours are written to fit."""
    screen = pilot.app.screen
    for strip in screen._compositor.render_strips():
        assert "\x1b" not in strip.text
    for widget in screen.walk_children(Widget):
        parent = widget.parent
        if isinstance(widget, (TitleBar, StatusBar)) and widget.region:  # Textual would cut a row that is too long
            row = widget.render()
            assert isinstance(row, Content)
            assert row.cell_length <= widget.content_size.width <= size[0], f"{widget}: {row.plain}"
        if not widget.region or not isinstance(parent, Widget) or isinstance(parent, Footer):
            continue  # a footer is scrolled sideways, and the palette stands at its end
        assert widget.region.right <= parent.region.right, f"{widget} past {parent}"
        if not parent.is_scrollable and parent.region:
            inside = any(isinstance(node, Widget) and node.is_scrollable for node in parent.ancestors_with_self)
            assert inside or widget.region.bottom <= parent.region.bottom, f"{widget} below {parent}"


@every_scene
@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
def test_nothing_is_drawn_past_the_edge(tmp_path: Path, scene: Scene, size: tuple[int, int]) -> None:
    """On every screen at every size each widget lies inside of what it stands in, and no row is written too long."""

    async def drive(pilot: Pilot[None]) -> None:
        await scene(pilot)
        await pilot.pause()
        nothing_past_the_edge(pilot, size)

    run(Desktop(tmp_path), drive, size=size, open_meter=FixedMeter)


@pytest.mark.parametrize("name", ["港の灯火" * 12, "a\x1b[31mred\x07"], ids=["wide", "escape"])
@pytest.mark.parametrize("scene", [answered, chats, book, library], ids=lambda scene: scene.__name__)
def test_any_title_is_drawn_inside_of_the_edge(tmp_path: Path, scene: Scene, name: str) -> None:
    """A title in characters of two cells is cut where it ends, and one with control characters moves no cursor."""
    size = SIZES[0]

    async def drive(pilot: Pilot[None]) -> None:
        await scene(pilot)
        await pilot.pause()
        nothing_past_the_edge(pilot, size)

    run(Desktop(tmp_path, name=f"{name}.txt"), drive, size=size, open_meter=FixedMeter)


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
def test_nothing_is_drawn_past_the_edge_while_reading(tmp_path: Path, size: tuple[int, int]) -> None:
    """While a book is read, and after that was stopped, everything is inside of the terminal."""
    gate = Gate()
    gate.hold(6)

    async def drive(pilot: Pilot[None]) -> None:
        await wait_until(pilot, shows(pilot, "320 / 986 tokens"), "progress")
        nothing_past_the_edge(pilot, size)
        await pilot.press("escape")
        gate.release()
        await wait_until(pilot, shows(pilot, "Stopped at token"), "the end of the reading")
        nothing_past_the_edge(pilot, size)

    backend = FakeBackend(FakeScript(answers=ANSWERS, batch_s=1.0), sleep=gate)
    run(Desktop(tmp_path, backend), drive, size=size, open_meter=FixedMeter)


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
def test_the_welcome_says_what_was_found(tmp_path: Path, size: tuple[int, int]) -> None:
    """A newcomer sees all the lines about the machine and what to begin with, at every size."""
    found = (
        Fact("GPU", "Some Card 24, 24.0 GB of VRAM"),
        Fact("models", "none yet", "cagchat models get some-model"),
        Fact("what fits", "up to a book of 700,000 tokens, with Some-Model-35B Q3_K_M"),
    )

    async def drive(pilot: Pilot[None]) -> None:
        await wait_until(pilot, shows(pilot, "none yet"), "what was found")
        shown = " ".join(text_of(pilot).split())
        for text in ("Some Card 24", "700,000 tokens", "models get some-model", "Try the story"):
            assert text in shown
        nothing_past_the_edge(pilot, size)

    run(Desktop(tmp_path), drive, library=True, size=size, found=lambda *_: found)


@every_scene
def test_every_action_is_in_the_palette(tmp_path: Path, scene: Scene) -> None:
    """Each action with a name of the screen and of every widget of ours in sight is a command, if it can be done."""

    async def drive(pilot: Pilot[None]) -> None:
        await scene(pilot)
        screen = pilot.app.screen
        offered = {command.title for command in pilot.app.get_system_commands(screen)}
        for node in (screen, *in_sight(screen)):
            for binding in vars(type(node)).get("BINDINGS", ()):
                assert isinstance(binding, Binding)
                assert not can(node, binding) or binding.description in offered, f"{node}: {binding.description}"
                assert binding.id, f"{node}: {binding.description} has no id, so that its key cannot be changed"

    run(Desktop(tmp_path), drive, size=(140, 40))


@every_scene
def test_what_has_the_focus_is_explained(tmp_path: Path, scene: Scene) -> None:
    """F1 explains every widget of every screen that can have the focus."""

    async def drive(pilot: Pilot[None]) -> None:
        await scene(pilot)
        if isinstance(pilot.app.screen, HelpScreen):
            await pilot.press("f1")
            await wait_until(pilot, lambda: not isinstance(pilot.app.screen, HelpScreen), "no help")
        screen = pilot.app.screen
        for widget in screen.focus_chain:
            screen.set_focus(widget)
            await pilot.press("f1")
            await wait_until(pilot, lambda: isinstance(pilot.app.screen, HelpScreen), "help")
            shown = pilot.app.screen
            assert isinstance(shown, HelpScreen)
            assert shown.text.startswith("## "), f"{widget} has no help"
            assert shown.keys, f"{widget} has no keys"
            await pilot.press("escape")
            await wait_until(pilot, lambda: pilot.app.screen is screen, "no help")
            assert screen.focused is widget

    run(Desktop(tmp_path), drive, size=(140, 40))


@every_scene
def test_no_color_is_honoured(tmp_path: Path, scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """With NO_COLOR every cell is grey, and the screen says the same in letters."""
    monkeypatch.setenv("NO_COLOR", "1")

    async def drive(pilot: Pilot[None]) -> None:
        await scene(pilot)
        assert pilot.app.no_color
        strips = pilot.app.screen._compositor.render_strips()
        filters = pilot.app._filters
        for strip in strips:
            for line_filter in filters:
                strip = strip.apply_filter(line_filter, pilot.app.screen.background_colors[1])
            for segment in strip:
                for color in (segment.style.color, segment.style.bgcolor) if segment.style else ():
                    if color is not None and color.type is ColorType.TRUECOLOR and color.triplet is not None:
                        assert len(set(color.triplet)) == 1, f"{segment.text!r} is coloured"

    run(Desktop(tmp_path), drive)

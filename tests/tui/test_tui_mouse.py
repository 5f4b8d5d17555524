"""Everything by mouse: what is done with keys elsewhere is done with clicks here."""

from __future__ import annotations

from pathlib import Path

import pytest
from textual.events import MouseMove
from textual.pilot import Pilot
from textual.widgets import Input, OptionList

from cagchat.engine.backend import FakeBackend
from cagchat.engine.fake import FakeScript
from cagchat.tui.book_text import GUTTER, BookText
from cagchat.tui.dialogs import AskText
from cagchat.tui.library_screen import LibraryScreen
from cagchat.tui.open_file import OpenFile
from cagchat.tui.reader import ReaderPane
from cagchat.tui.status_bar import StatusBar
from tests.tui.pilot import ANSWERS, WIDE, Desktop, Gate, ask, chat_of, idle, run, shows, text_of, wait_until

LANTERNS = "How many lanterns were there?"


async def click(pilot: Pilot[None], text: str, *, last: bool = True) -> None:
    """Click on a text that the screen shows, where it stands last or first."""
    await wait_until(pilot, shows(pilot, text), text)
    rows = text_of(pilot).splitlines()
    found = [(row.index(text), y) for y, row in enumerate(rows) if text in row]
    await pilot.click(offset=found[-1 if last else 0])


def test_a_question_is_sent_by_a_click(tmp_path: Path) -> None:
    """The word on the prompt's border sends what is written."""

    async def drive(pilot: Pilot[None]) -> None:
        chat = await chat_of(pilot)
        chat.prompt.write(LANTERNS)
        await click(pilot, "send")
        await wait_until(pilot, lambda: bool(chat.transcript.turns), "a question")
        await idle(pilot, chat)

    run(Desktop(tmp_path), drive)


def test_an_answer_is_stopped_by_a_click(tmp_path: Path) -> None:
    """A click on the status line stops what runs, and keeps it."""
    gate = Gate()
    desktop = Desktop(tmp_path, FakeBackend(FakeScript(answers=ANSWERS, token_s=1.0), sleep=gate))

    async def drive(pilot: Pilot[None]) -> None:
        gate.hold(30)
        chat = await ask(pilot, "Tell me everything", wait=False)
        await wait_until(pilot, gate.waiting.is_set, "an answer half said")
        await pilot.click(StatusBar)
        await wait_until(pilot, shows(pilot, "◌ stopping"), "a stop")
        gate.release()
        await idle(pilot, chat)
        assert "Stopped here." in text_of(pilot)

    run(desktop, drive)


def test_a_turn_is_copied_edited_and_answered_again_by_clicks(tmp_path: Path) -> None:
    """The words below an answer do for that turn what the keys do for the last one."""

    async def drive(pilot: Pilot[None]) -> None:
        chat = await ask(pilot, LANTERNS)
        await ask(pilot, "And who lit them?")
        await click(pilot, "copy", last=False)
        await wait_until(pilot, lambda: pilot.app.clipboard == ANSWERS["lanterns"], "a copy")
        await click(pilot, "edit", last=False)
        await wait_until(pilot, lambda: chat.prompt.text == LANTERNS, "the question")
        assert chat.editing == 1
        await pilot.press("escape")
        await click(pilot, "again", last=False)
        await wait_until(pilot, lambda: len(chat.transcript.turns) == 1, "the first turn alone")
        await idle(pilot, chat)
        assert [turn.answer for turn in chat.transcript.turns] == [ANSWERS["lanterns"]]

    run(Desktop(tmp_path), drive)


def test_a_chat_is_continued_by_a_click(tmp_path: Path) -> None:
    """A click on a chat of the list goes on with it."""

    async def drive(pilot: Pilot[None]) -> None:
        chat = await ask(pilot, LANTERNS)
        await pilot.press("ctrl+n")
        await ask(pilot, "Who is Perrin?")
        await wait_until(pilot, shows(pilot, "● Who is Perrin?"), "both chats")
        await pilot.pause()
        await click(pilot, "How many lanterns")
        await wait_until(pilot, lambda: [turn.question for turn in chat.transcript.turns] == [LANTERNS], "the chat")

    run(Desktop(tmp_path), drive, size=(140, 40))


@pytest.mark.parametrize(("button", "title"), [("ok", "The quay"), ("cancel", LANTERNS)])
def test_a_dialog_is_answered_by_a_click(tmp_path: Path, button: str, title: str) -> None:
    """The dialog for a title has a button for each of its keys."""
    desktop = Desktop(tmp_path)

    async def drive(pilot: Pilot[None]) -> None:
        chat = await ask(pilot, LANTERNS)
        await pilot.press("f9")
        await wait_until(pilot, lambda: isinstance(pilot.app.screen, AskText), "a dialog")
        pilot.app.screen.query_one(Input).value = "The quay"
        await pilot.click(f"#{button}")
        await wait_until(pilot, lambda: pilot.app.screen is chat, "the chat")
        await pilot.pause()

    run(desktop, drive)
    assert desktop.sessions.list()[0].title == title


def test_a_file_is_opened_by_clicks(tmp_path: Path) -> None:
    """In the library a file is chosen with nothing but the mouse."""
    desktop = Desktop(tmp_path)

    async def drive(pilot: Pilot[None]) -> None:
        await wait_until(pilot, lambda: isinstance(pilot.app.screen, LibraryScreen), "the library")
        await wait_until(pilot, shows(pilot, "processor"), "what was found")
        await pilot.pause()
        await click(pilot, "Open a file", last=False)
        await wait_until(pilot, lambda: isinstance(pilot.app.screen, OpenFile), "a dialog")
        await click(pilot, "lanterns.txt", last=False)
        await chat_of(pilot)

    run(desktop, drive, library=True)


def test_the_palette_is_a_click_away(tmp_path: Path) -> None:
    """The footer's last word opens the palette, in which every action can be clicked."""

    async def drive(pilot: Pilot[None]) -> None:
        chat = await ask(pilot, LANTERNS)
        await click(pilot, "palette")
        await pilot.press(*"New chat")
        await click(pilot, "Begin another chat about this book")
        await wait_until(pilot, lambda: not chat.transcript.turns, "a new chat")

    run(Desktop(tmp_path), drive)


def test_contents_are_a_click_away(tmp_path: Path) -> None:
    """A click on the reader's first line shows the contents, and one on a chapter goes there."""

    async def drive(pilot: Pilot[None]) -> None:
        chat = await chat_of(pilot)
        await pilot.press("ctrl+b")
        await click(pilot, "CHAPTER 1 · 0.0 %")
        pane = chat.query_one(ReaderPane)
        await wait_until(pilot, lambda: pane.query_one(OptionList).display, "the contents")
        await pilot.pause()
        await click(pilot, "CHAPTER 2")
        await wait_until(pilot, lambda: pane.position == pane.document.text.index("CHAPTER 2"), "the chapter")

    run(Desktop(tmp_path), drive)


async def drag(pilot: Pilot[None], widget: BookText, start: tuple[int, int], end: tuple[int, int]) -> None:
    """Press the button at a place of a widget, move to another one and let go."""
    await pilot.mouse_down(widget, offset=start)
    await pilot._post_mouse_events([MouseMove], widget, offset=end, button=1)
    await pilot.mouse_up(widget, offset=end)
    await pilot.pause()


def test_the_books_text_is_selected_and_copied(tmp_path: Path) -> None:
    """What the mouse went over in the reader is reversed, and Ctrl+C copies it as it stands in the book."""
    text = (
        "CHAPTER 1\n\n"
        + "The ferry to Aldermouth left at nine, and she was\nnot on it, because nobody had woken her. " * 5
    )

    async def drive(pilot: Pilot[None]) -> None:
        chat = await chat_of(pilot)
        await pilot.press("ctrl+b")
        await wait_until(pilot, shows(pilot, "CHAPTER 1"), "the book")
        book = chat.query_one(BookText)
        await drag(pilot, book, (GUTTER + 4, 2), (GUTTER + 9, 3))
        source = chat.book.document.text
        layout = book._layout
        assert layout is not None
        expected = source[layout.rows[2] + 4 : layout.rows[3] + 10]  # what is under the pointer counts
        reversed_text = [s.text for s in book.render_line(2) if s.style and s.style.reverse]
        assert source[layout.rows[2] + 4 :].startswith("".join(reversed_text).split("\n")[0][:20])
        await pilot.press("ctrl+c")
        await wait_until(pilot, lambda: pilot.app.clipboard == expected, repr(expected))
        assert expected.startswith("ferry to")

    run(Desktop(tmp_path, text=text), drive, size=WIDE)


def test_a_double_click_selects_no_more_than_the_screen(tmp_path: Path) -> None:
    """Selecting all of a book by accident copies what is in sight, not a million words."""

    async def drive(pilot: Pilot[None]) -> None:
        chat = await chat_of(pilot)
        await pilot.press("ctrl+b")
        await wait_until(pilot, shows(pilot, "CHAPTER 1"), "the book")
        book = chat.query_one(BookText)
        await pilot.click(book, offset=(GUTTER + 4, 2), times=2)
        await pilot.pause()
        start, end = book.on_screen()
        assert pilot.app.screen.get_selected_text() == chat.book.document.text[start:end].rstrip()

    run(Desktop(tmp_path), drive)

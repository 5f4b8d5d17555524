"""The screen on which a book is read, with an engine that is held at its batches."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from textual.message import Message
from textual.pilot import Pilot
from textual.screen import Screen
from textual.widgets import ProgressBar

from cagchat.documents.password import PasswordNeeded
from cagchat.documents.source import Source
from cagchat.engine.backend import FakeBackend
from cagchat.engine.fake import FakeScript
from cagchat.events import Notice, Planned, PrepareEvent
from cagchat.library import Library, Options
from cagchat.tui.book_table import BookTable
from cagchat.tui.chat_screen import ChatScreen
from cagchat.tui.dialogs import AskText
from cagchat.tui.error_card import ErrorCard
from cagchat.tui.library_screen import BookChosen, LibraryScreen
from cagchat.tui.messages import Happened
from cagchat.tui.open_file import OpenFile
from cagchat.tui.preparing_screen import PreparingScreen, about, plan
from cagchat.tui.speed_chart import SpeedChart
from tests.reading_cases import chapters, write_book
from tests.tui.pilot import (
    ANSWERS,
    NARROW,
    WIDE,
    Desktop,
    FixedMeter,
    Gate,
    ask,
    chat_of,
    run,
    shows,
    text_of,
    wait_until,
)


def notices(pilot: Pilot[None]) -> str:
    """Return what the reader was told in passing."""
    return " ".join(notice.message for notice in pilot.app._notifications)


def held(home: Path) -> tuple[Desktop, Gate]:
    """Return a desktop whose engine is held at its sixth batch."""
    gate = Gate()
    gate.hold(6)
    return Desktop(home, FakeBackend(FakeScript(answers=ANSWERS, batch_s=1.0), sleep=gate)), gate


@pytest.mark.parametrize("size", [WIDE, NARROW])
def test_the_plan_and_the_progress_are_shown(tmp_path: Path, size: tuple[int, int]) -> None:
    """While a book is read its tokens, model, context, progress and chapter are on the screen; then comes the chat."""
    desktop, gate = held(tmp_path)

    async def drive(pilot: Pilot[None]) -> None:
        await wait_until(pilot, shows(pilot, "320 / 986 tokens"), "progress")
        for text in ("Reading Lanterns", "tokens    986", "model     fake", "context", "f16", "CHAPTER 1"):
            assert text in text_of(pilot)
        assert pilot.app.screen.query_one(ProgressBar).progress == 320
        assert pilot.app.screen.query_one(SpeedChart).speeds
        gate.release()
        await chat_of(pilot)

    run(desktop, drive, size=size)


def test_control_characters_of_a_files_name_are_not_shown(tmp_path: Path) -> None:
    """A name that holds an escape sequence cannot reach the terminal: not before the book is parsed nor later."""
    gate = Gate()
    gate.hold(6)
    desktop = Desktop(tmp_path, FakeBackend(FakeScript(batch_s=1.0), sleep=gate), name="a\x1b[31mred\x07.txt")
    seen: list[str] = []

    async def drive(pilot: Pilot[None]) -> None:
        await wait_until(pilot, gate.waiting.is_set, "the reading")
        screen = pilot.app.screen
        assert isinstance(screen, PreparingScreen)
        assert screen._job is not None
        assert "a [31mred .txt" in text_of(pilot)
        screen.post_message(Happened(screen._job, Notice("left out: a\x1b[31m.txt")))
        await wait_until(pilot, shows(pilot, "left out: a"), "a note")
        seen.append(text_of(pilot))
        gate.release()
        await chat_of(pilot)
        await wait_until(pilot, shows(pilot, "A [31mred"), "the title")
        seen.append(text_of(pilot))

    run(desktop, drive)
    assert all(character.isprintable() or character == "\n" for text in seen for character in text)


def test_the_title_shows_the_percentage_and_the_bell_rings_at_the_end(tmp_path: Path) -> None:
    """The terminal's title follows the reading and names the book at its end, when the bell rings once."""
    desktop, gate = held(tmp_path)
    app = desktop.app()
    titles: list[str] = []
    rung: list[bool] = []
    app.name_terminal = titles.append  # type: ignore[method-assign,assignment]  # a test has no terminal to name
    app.bell = lambda: rung.append(True)  # type: ignore[method-assign]  # nor one that rings

    async def drive(pilot: Pilot[None]) -> None:
        await wait_until(pilot, shows(pilot, "320 / 986 tokens"), "progress")
        assert titles[-1] == "32 % lanterns.txt"
        assert not rung
        gate.release()
        await chat_of(pilot)

    run(desktop, drive, running=app)
    assert titles[-1] == "Lanterns"
    assert rung == [True]


def test_the_plan_says_what_is_known() -> None:
    """Memory, disk and time have a line each when they are known, and none when they are not."""
    known = Planned("Lanterns", 986, 17408, "fake", "f16")
    assert [text.split()[0] for text in plan(known)] == ["tokens", "model", "context"]
    more = replace(known, memory_bytes=1_200_000_000, disk_bytes=75_000_000, estimated_s=720.0)
    assert plan(more)[3:] == ["memory    1.2 GB", "disk      75 MB", "time      about 12 minutes"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.2, "about 10 seconds"),
        (41, "about 40 seconds"),
        (58, "about a minute"),
        (719, "about 12 minutes"),
        (3599, "about 1 h 00 min"),
        (7900, "about 2 h 10 min"),
    ],
)
def test_an_estimate_is_no_finer_than_it_can_be(seconds: float, text: str) -> None:
    """Seconds are told in tens, then minutes, then tens of minutes."""
    assert about(seconds) == text


@pytest.mark.parametrize("size", [WIDE, NARROW])
def test_the_plan_is_on_the_screen_before_the_wait(tmp_path: Path, size: tuple[int, int]) -> None:
    """All of the plan and its reasons can be seen while the book is read, the memory used now too."""
    desktop, gate = held(tmp_path)

    async def drive(pilot: Pilot[None]) -> None:
        await wait_until(pilot, shows(pilot, "320 / 986 tokens"), "progress")
        event = Planned("Lanterns", 986, 17408, "fake", "q8_0", 1_200_000_000, 75_000_000, 720.0, ("It fits.",))
        preparing = pilot.app.screen
        assert isinstance(preparing, PreparingScreen)
        preparing._show(event)
        for text in ("1.2 GB", "75 MB", "about 12 minutes", "RAM ▓▓▓░░░░░ 6.0/16 GB"):
            await wait_until(pilot, shows(pilot, text), text)
        preparing.query_one("#plan").scroll_end(animate=False)
        await wait_until(pilot, shows(pilot, "· It fits."), "the reason")
        gate.release()

    run(desktop, drive, size=size, open_meter=FixedMeter)


def test_esc_stops_the_reading_and_enter_goes_on(tmp_path: Path) -> None:
    """Esc ends the reading and says what is kept; Enter goes on at that token."""
    desktop, gate = held(tmp_path)

    async def drive(pilot: Pilot[None]) -> None:
        await wait_until(pilot, gate.waiting.is_set, "a reading")
        await pilot.press("escape")
        gate.release()
        await wait_until(pilot, shows(pilot, "Stopped at token"), "the end of the reading")
        assert "384 are kept" in text_of(pilot)
        assert isinstance(pilot.app.screen, PreparingScreen)
        gate.hold(2)
        await pilot.press("enter")
        await wait_until(pilot, shows(pilot, "Going on at token 384 of 986."), "the reading that goes on")
        gate.release()
        await chat_of(pilot)

    run(desktop, drive)


def test_leaving_in_the_middle_keeps_what_was_read(tmp_path: Path) -> None:
    """Quitting while a book is read saves where it was, and says how to go on."""
    desktop, gate = held(tmp_path)

    async def drive(pilot: Pilot[None]) -> None:
        await wait_until(pilot, gate.waiting.is_set, "a reading")
        await pilot.press("ctrl+q")
        await wait_until(pilot, lambda: not pilot.app.is_running, "the end")
        gate.release()

    app = run(desktop, drive)
    assert app.farewell() == f"Go on with: cagchat open {shlex.quote(str(desktop.book))}"
    (folder,) = desktop.library.states.all()
    assert folder.manifest().position == 384


def test_a_book_that_is_not_there_is_a_card(tmp_path: Path) -> None:
    """A missing file is a card on the screen, from which the library can be reached."""
    desktop = Desktop(tmp_path)

    async def drive(pilot: Pilot[None]) -> None:
        await wait_until(pilot, lambda: bool(pilot.app.screen.query(ErrorCard)), "a card")
        assert "nowhere.txt" in text_of(pilot)
        assert "Traceback" not in text_of(pilot)
        await pilot.press("ctrl+o")
        await wait_until(pilot, lambda: isinstance(pilot.app.screen, LibraryScreen), "the library")

    run(desktop, drive, book=tmp_path / "nowhere.txt")


def test_a_chat_that_is_not_there_is_a_card(tmp_path: Path) -> None:
    """When the chat to continue cannot be found, the book opens with a new chat and a card that says so."""
    desktop = Desktop(tmp_path)

    async def drive(pilot: Pilot[None]) -> None:
        chat = await chat_of(pilot)
        await wait_until(pilot, lambda: bool(chat.query(ErrorCard)), "a card")
        assert chat.session is None

    run(desktop, drive, choose=lambda book: desktop.sessions.find("nobody"))


def test_another_book_chosen_as_the_first_becomes_ready_is_the_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is still told of a book in whose place another was chosen is not believed."""
    desktop = Desktop(tmp_path)
    second = write_book(tmp_path, chapters(3), "second.txt")
    post = PreparingScreen.post_message
    told: list[Message] = []

    def choose_before(screen: PreparingScreen, message: Message) -> bool:
        if isinstance(message, PreparingScreen.BookReady) and not told:
            told.append(message)
            screen.app.post_message(BookChosen(second))
        return post(screen, message)

    monkeypatch.setattr(PreparingScreen, "post_message", choose_before)

    async def drive(pilot: Pilot[None]) -> None:
        chat = await chat_of(pilot)
        assert told
        assert chat.book.manifest.book.path == str(second)
        await ask(pilot, "How many lanterns were there?")

    run(desktop, drive)
    (session,) = desktop.sessions.list()
    assert session.book_title == "Second"


def test_a_book_that_becomes_ready_takes_nothing_away(tmp_path: Path) -> None:
    """What is open over the reading, and what is typed there, stays; the chat comes when it is left."""
    desktop, gate = held(tmp_path)

    async def drive(pilot: Pilot[None]) -> None:
        await wait_until(pilot, gate.waiting.is_set, "the reading")
        await pilot.press("ctrl+o")
        await wait_until(pilot, lambda: isinstance(pilot.app.screen, LibraryScreen), "the library")
        await wait_until(pilot, lambda: bool(pilot.app.screen.query(BookTable)), "its books")
        await pilot.press("o")
        await wait_until(pilot, lambda: isinstance(pilot.app.screen, OpenFile), "a dialog")
        await pilot.press(*"half a ")
        gate.release()
        await wait_until(pilot, lambda: "Lanterns is ready." in notices(pilot), "a notice")
        await pilot.press(*"path")
        assert isinstance(pilot.app.screen, OpenFile)
        assert pilot.app.screen.typed == "half a path"
        await pilot.press("escape")
        assert isinstance(pilot.app.screen, LibraryScreen)
        await pilot.press("escape")
        chat = await chat_of(pilot)
        assert chat.prompt.text == ""

    run(desktop, drive)


def test_a_book_deleted_while_it_is_open_changes_nothing(tmp_path: Path) -> None:
    """The chat goes on when the file of its book has gone."""
    desktop = Desktop(tmp_path)

    async def drive(pilot: Pilot[None]) -> None:
        chat = await chat_of(pilot)
        desktop.book.unlink()
        chat.prompt.write("How many lanterns?")
        await pilot.press("enter")
        await wait_until(pilot, shows(pilot, "forty-one"), "an answer")
        assert isinstance(pilot.app.screen, ChatScreen)

    run(desktop, drive)


class LockedLibrary:
    """A library whose book opens with one password."""

    def __init__(self, library: Library) -> None:
        self._library = library
        self.tried: list[str] = []

    def prepare(self, wanted: Path | Source, options: Options | None = None) -> Iterator[PrepareEvent]:
        password = options.password if options else ""
        self.tried.append(password)
        if password != "sesame":
            raise PasswordNeeded("lanterns.pdf is locked with a password.", "Give it with `--password`.")
        return self._library.prepare(wanted, options)

    def stop(self) -> None:
        self._library.stop()


def is_new_question(screen: Screen[object], asked: list[Screen[object]]) -> bool:
    """Tell whether a question is on the screen that was not asked yet."""
    return isinstance(screen, AskText) and screen.is_mounted and screen not in asked


def test_a_locked_book_asks_for_its_password(tmp_path: Path) -> None:
    """The password is asked for, a wrong one again, and the right one opens the book; it is never on the screen."""
    desktop = Desktop(tmp_path)
    locked = LockedLibrary(desktop.library)
    desktop.library = locked  # type: ignore[assignment]  # has all that the desk calls

    async def drive(pilot: Pilot[None]) -> None:
        asked: list[Screen[object]] = []
        for password in ("wrong", "sesame"):
            await wait_until(pilot, lambda: is_new_question(pilot.app.screen, asked), "the question")
            asked.append(pilot.app.screen)
            await wait_until(pilot, shows(pilot, "locked with a password"), "what is locked")
            await pilot.press(*password)
            assert password not in text_of(pilot)
            await pilot.press("enter")
        await chat_of(pilot)

    run(desktop, drive)
    assert locked.tried == ["", "wrong", "sesame"]


def test_without_the_password_the_book_stays_closed(tmp_path: Path) -> None:
    """Esc in the question shows why the book is not open."""
    desktop = Desktop(tmp_path)
    desktop.library = LockedLibrary(desktop.library)  # type: ignore[assignment]  # has all that the desk calls

    async def drive(pilot: Pilot[None]) -> None:
        await wait_until(pilot, lambda: isinstance(pilot.app.screen, AskText), "the question")
        await pilot.press("escape")
        await wait_until(pilot, lambda: bool(pilot.app.screen.query(ErrorCard)), "a card")
        assert "could not be opened" in text_of(pilot)

    run(desktop, drive)

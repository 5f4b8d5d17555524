"""The app around its screens: palette, help, themes, keys of one's own, the library and the reader pane."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from textual.binding import Binding
from textual.pilot import Pilot

from cagchat.documents import gather
from cagchat.errors import ConfigError
from cagchat.files import private_folder
from cagchat.remembered import Remembered
from cagchat.tui.app import CagchatApp
from cagchat.tui.book_table import BookTable
from cagchat.tui.chat_screen import ChatScreen
from cagchat.tui.keys import is_key
from cagchat.tui.library_screen import BookChosen, LibraryScreen
from cagchat.tui.palette import can
from cagchat.tui.reader import ReaderPane
from tests.reading_cases import chapters, write_book
from tests.tui.pilot import NARROW, WIDE, Desktop, ask, chat_of, idle, run, shows, text_of, wait_until

LANTERNS = "How many lanterns were there?"


def write_keys(desktop: Desktop, text: str) -> Path:
    """Write the reader's own keys."""
    path = private_folder(desktop.locations.config) / "keys.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_the_palette_has_every_action_of_the_chat(tmp_path: Path) -> None:
    """Each action of the chat that can be done is offered by the palette, with its key."""

    async def drive(pilot: Pilot[None]) -> None:
        chat = await ask(pilot, LANTERNS)
        offered = {command.title: command.help for command in pilot.app.get_system_commands(chat)}
        for binding in ChatScreen.BINDINGS:
            assert isinstance(binding, Binding)
            assert (binding.description in offered) == can(chat, binding)
        assert offered["Again"] == "Answer the last question anew (^r)"
        assert "Theme" in offered

    run(Desktop(tmp_path), drive)


def test_an_action_runs_from_the_palette(tmp_path: Path) -> None:
    """What is chosen in the palette is done on the screen below it."""

    async def drive(pilot: Pilot[None]) -> None:
        chat = await ask(pilot, LANTERNS)
        await pilot.press("ctrl+p")
        await pilot.press(*"New chat")
        await wait_until(pilot, shows(pilot, "New chat"), "the palette")
        await pilot.press("enter", "enter")
        await wait_until(pilot, lambda: not chat.transcript.turns, "a new chat")

    run(Desktop(tmp_path), drive)


@pytest.mark.parametrize("size", [WIDE, NARROW])
def test_f1_explains_what_has_the_focus(tmp_path: Path, size: tuple[int, int]) -> None:
    """F1 shows the help of the focused widget, and takes it away again."""

    async def drive(pilot: Pilot[None]) -> None:
        chat = await chat_of(pilot)
        await pilot.press("f1")
        await wait_until(pilot, shows(pilot, "The question"), "help")
        await pilot.press("f1")
        await wait_until(pilot, lambda: pilot.app.screen is chat, "no help")
        assert chat.focused is chat.prompt

    run(Desktop(tmp_path), drive, size=size)


def test_the_help_is_read_to_its_end_by_keys(tmp_path: Path) -> None:
    """On a small terminal the help is scrolled: the keys of the chat come first, those of the app are reached."""

    async def drive(pilot: Pilot[None]) -> None:
        await chat_of(pilot)
        await pilot.press("f1")
        await wait_until(pilot, shows(pilot, "The question"), "help")
        assert "Quit" not in text_of(pilot)
        await pilot.press("end")
        await wait_until(pilot, shows(pilot, "^q"), "the last keys")

    run(Desktop(tmp_path), drive, size=NARROW)


def test_a_theme_is_remembered(tmp_path: Path) -> None:
    """The theme that was chosen is on at the next start, and the reader's configuration is left alone."""
    desktop = Desktop(tmp_path)

    async def choose(pilot: Pilot[None]) -> None:
        await chat_of(pilot)
        pilot.app.theme = "nord"
        await pilot.pause()

    async def look(pilot: Pilot[None]) -> None:
        await chat_of(pilot)
        assert pilot.app.theme == "nord"

    run(desktop, choose)
    run(desktop, look)
    assert not desktop.locations.config_file.exists()


def test_keys_can_be_changed(tmp_path: Path) -> None:
    """A key of keys.toml takes the place of the built-in one."""
    desktop = Desktop(tmp_path)
    write_keys(desktop, '[keys]\n"chat.new" = "f10"\n')

    async def drive(pilot: Pilot[None]) -> None:
        chat = await ask(pilot, LANTERNS)
        await pilot.press("ctrl+n")
        await pilot.pause()
        assert chat.transcript.turns
        await pilot.press("f10")
        await wait_until(pilot, lambda: not chat.transcript.turns, "a new chat")

    run(desktop, drive)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[keys]\n"chat.agian" = "f9"\n', "chat.agian"),
        ('[keys]\n"chat.again" = 9\n', "chat.again = 9"),
        ('[keys]\n"chat.again" = "not a key"\n', "not a key"),
        ('[keys]\n"chat.again" = "ctrl+bananas"\n', "ctrl+bananas"),
        ('[keys]\n"chat.again" = "control+r"\n', "control+r"),
        ('[keys]\n"chat.again" = "f99"\n', "f99"),
        ("keys = 3\n", "something other than"),
        ("[keys\n", "cannot be used"),
        (f"keys = {'[' * 5000}", "cannot be used"),
    ],
)
def test_wrong_keys_are_refused_at_the_start(tmp_path: Path, text: str, said: str) -> None:
    """A keys.toml that cannot be used is one clear error with its path, before the screen is taken."""
    desktop = Desktop(tmp_path)
    path = write_keys(desktop, text)
    with pytest.raises(ConfigError) as refused:
        desktop.app()
    assert str(path) in refused.value.message
    assert said in refused.value.message
    assert refused.value.hint


@pytest.mark.parametrize(
    "key", ["f5", "ctrl+r", "shift+f1", "?", "question_mark", "+", "pageup", "é", "ctrl+shift+left"]
)
def test_keys_that_there_are_are_taken(key: str) -> None:
    """Letters, signs, named keys and all of them with modifiers can be bound."""
    assert is_key(key)


def test_a_misspelt_action_is_told_the_nearest(tmp_path: Path) -> None:
    """The hint names the action that was probably meant."""
    desktop = Desktop(tmp_path)
    write_keys(desktop, '[keys]\n"chat.agian" = "f9"\n')
    with pytest.raises(ConfigError) as refused:
        desktop.app()
    assert refused.value.hint == "Did you mean chat.again?"


def test_a_book_is_opened_from_the_library(tmp_path: Path) -> None:
    """Without a book the library is shown; a book that is chosen there is opened, and Ctrl+O goes there and back."""
    desktop = Desktop(tmp_path)

    async def drive(pilot: Pilot[None]) -> None:
        await wait_until(pilot, lambda: isinstance(pilot.app.screen, LibraryScreen), "the library")
        pilot.app.screen.post_message(BookChosen(desktop.book))
        chat = await chat_of(pilot)
        for way_back in ("ctrl+o", "escape"):
            await pilot.press("ctrl+o")
            await wait_until(pilot, lambda: isinstance(pilot.app.screen, LibraryScreen), "the library")
            await wait_until(pilot, shows(pilot, "Lanterns"), "its books")
            await pilot.press(way_back)
            await wait_until(pilot, lambda: pilot.app.screen is chat, "the chat")

    run(desktop, drive, library=True)


def test_another_book_takes_the_place_of_the_open_one(tmp_path: Path) -> None:
    """A second book chosen in the library is opened with a chat of its own."""
    desktop = Desktop(tmp_path)
    other = tmp_path / "other.txt"
    other.write_text("CHAPTER 1\n\nThe sea was calm.\n", encoding="utf-8")

    async def drive(pilot: Pilot[None]) -> None:
        first = await ask(pilot, LANTERNS)
        await pilot.press("ctrl+o")
        await wait_until(pilot, lambda: isinstance(pilot.app.screen, LibraryScreen), "the library")
        pilot.app.screen.post_message(BookChosen(other))
        await wait_until(
            pilot, lambda: isinstance(pilot.app.screen, ChatScreen) and pilot.app.screen is not first, "another chat"
        )
        second = await ask(pilot, "How was the sea?")
        assert second.book.manifest.book.path == str(other)
        assert len(second.transcript.turns) == 1

    run(desktop, drive)


@pytest.mark.parametrize("size", [WIDE, NARROW, (140, 40)])
def test_the_book_opens_beside_the_chat(tmp_path: Path, size: tuple[int, int]) -> None:
    """Ctrl+B shows the book's text and takes it away, and the prompt has the focus again."""

    async def drive(pilot: Pilot[None]) -> None:
        chat = await chat_of(pilot)
        await pilot.press("ctrl+b")
        await wait_until(pilot, shows(pilot, "CHAPTER 1"), "the book")
        await pilot.press("ctrl+b")
        await wait_until(pilot, lambda: not chat.query(ReaderPane), "no book")
        assert chat.focused is chat.prompt

    run(Desktop(tmp_path), drive, size=size)


def test_a_place_and_its_bookmarks_are_remembered(tmp_path: Path) -> None:
    """The reader pane opens where it was left, with its bookmarks."""
    desktop = Desktop(tmp_path)

    async def drive(pilot: Pilot[None]) -> None:
        chat = await chat_of(pilot)
        await pilot.press("ctrl+b")
        await wait_until(pilot, shows(pilot, "CHAPTER 1"), "the book")
        await pilot.press("down", "down", "b")
        await wait_until(pilot, lambda: bool(chat.query_one(ReaderPane).bookmarks), "a bookmark")

    run(desktop, drive, size=NARROW)
    digest = desktop.library.states.all()[0].manifest().book.digest
    place = Remembered.under(desktop.locations).place(digest)
    assert place.position > 0
    assert len(place.bookmarks) == 1


def test_nothing_the_model_or_the_book_says_is_markup(tmp_path: Path) -> None:
    """Brackets and control characters in a question, a title or an answer are shown, not obeyed."""
    desktop = Desktop(tmp_path, name="[red]x.txt")

    async def drive(pilot: Pilot[None]) -> None:
        chat = await ask(pilot, "[bold]lanterns[/nonsense] \x1b]2;x\x07?")
        await idle(pilot, chat)
        assert "[bold]lanterns[/nonsense]" in text_of(pilot)

    run(desktop, drive)


def test_a_defect_is_kept_for_the_outer_border(tmp_path: Path) -> None:
    """An error of our own in the desk's thread ends the app without a traceback on the terminal."""
    desktop = Desktop(tmp_path)

    async def drive(pilot: Pilot[None]) -> None:
        await ask(pilot, LANTERNS, wait=False)
        await wait_until(pilot, lambda: not pilot.app.is_running, "the end")

    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("ours")

    desktop.sessions.begin_turn = broken  # type: ignore[method-assign,assignment]  # a defect where nobody expects one
    app = desktop.app()
    with pytest.raises(ZeroDivisionError):
        run(desktop, drive, running=app)
    assert isinstance(app.defect, ZeroDivisionError)


@pytest.mark.parametrize("book", ["several files", "stdin", "a file that has gone"])
def test_the_library_opens_what_was_read(tmp_path: Path, book: str) -> None:
    """A book of several files, of stdin, or of a file that has gone is opened again by Enter in the library."""
    desktop = Desktop(tmp_path)
    match book:
        case "several files":
            source = gather([desktop.book, write_book(tmp_path, chapters(2), "second.txt")])
        case "stdin":
            source = gather(["-"], stdin=io.BytesIO(chapters(2).encode()))
        case _:
            source = gather([desktop.book])
    app = CagchatApp(desktop, source, answering=desktop.answering, story=desktop.book, folder=tmp_path)

    async def read(pilot: Pilot[None]) -> None:
        await chat_of(pilot)

    async def again(pilot: Pilot[None]) -> None:
        await wait_until(pilot, shows(pilot, "ready"), "the book")
        await pilot.press("enter")
        chat = await chat_of(pilot)
        assert [chat.book.folder] == desktop.library.states.all()
        assert not chat.book.just_read

    run(desktop, read, running=app)
    if book == "a file that has gone":
        desktop.book.unlink()
    run(desktop, again, library=True)


def test_a_book_deleted_in_the_library_is_forgotten(tmp_path: Path) -> None:
    """Deleted before anything was asked, a book leaves no title, no place and no unsent question behind."""
    desktop = Desktop(tmp_path)
    ui = desktop.locations.data / "ui.json"

    async def draft(pilot: Pilot[None]) -> None:
        chat = await chat_of(pilot)
        chat.prompt.write("brindlewock")
        await wait_until(pilot, shows(pilot, "brindlewock"), "what was typed")

    run(desktop, draft)
    assert b"brindlewock" in ui.read_bytes()

    async def delete(pilot: Pilot[None]) -> None:
        await wait_until(pilot, lambda: bool(pilot.app.screen.query(BookTable)), "the library")
        table = pilot.app.screen.query_one(BookTable)
        await wait_until(pilot, lambda: table.row_count == 1 and table.has_focus, "the book in the list")
        await pilot.press("d")
        await wait_until(pilot, shows(pilot, "Delete the state of"), "the question")
        await pilot.press("y")
        await wait_until(pilot, lambda: b"brindlewock" not in ui.read_bytes(), "the end of the draft")

    run(desktop, delete, library=True)
    assert Remembered.under(desktop.locations).read().get("books") == {}
    assert list((desktop.locations.cache / "documents").iterdir()) == []

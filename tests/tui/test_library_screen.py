"""The library screen: what it lists at every width, and what its keys do."""

from __future__ import annotations

import asyncio
import errno
import re
import threading
from collections.abc import Callable, Coroutine
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock
from rich.cells import cell_len
from textual.app import App
from textual.pilot import Pilot
from textual.widgets import Input, OptionList, Static

from cagchat.errors import StorageError
from cagchat.hardware.detect import Hardware
from cagchat.hardware.gpu import Gpu, NoGpu
from cagchat.hardware.memory import Ram
from cagchat.plan.planner import Planner
from cagchat.recorded import Recorded
from cagchat.sessions.session import Session
from cagchat.states.manifest import StateFile
from cagchat.states.store import StateFolder, States
from cagchat.tui.book_table import BookTable, Filter
from cagchat.tui.cells import cut
from cagchat.tui.found import Fact, look_around
from cagchat.tui.library_screen import BookChosen, LibraryScreen, ReadingWanted
from cagchat.tui.open_file import OpenFile, completions
from cagchat.tui.shelf import read_shelf
from cagchat.tui.shelf_columns import fitting, matching
from tests.reading_cases import SETTINGS, chapters, library_of, locations, opening, write_book
from tests.tui.pilot import Desktop, chat_of, run, shows, text_of, wait_until

SIZES = [(60, 20), (100, 30), (200, 60)]
TITLES = ("Aldermouth", "Lanterns", "The Ledger", "Thaw")
FACTS = (Fact("processor", "a small one, 2 cores"), Fact("model", "There is no model.", "Name one with --model PATH."))
STORY = Path("story.md")
BARE = Hardware((), NoGpu("The card has no driver.", "Install it."), Ram(64 << 30, 8 << 30, 16 << 30), "Some CPU", 1)

Drive = Callable[[Pilot[None], "Host"], Coroutine[Any, Any, None]]


def file_of(book: Path | Recorded) -> Path:
    """Return the file of a book that was chosen."""
    return book if isinstance(book, Path) else Path(book.manifest.book.path)


class Host(App[None]):
    """Shows a library and notes what it posts."""

    def __init__(self, library: LibraryScreen) -> None:
        super().__init__()
        self.library = library
        self.chosen: list[Path] = []
        self.to_read: list[Path] = []

    def on_mount(self) -> None:
        self.push_screen(self.library)

    def on_book_chosen(self, message: BookChosen) -> None:
        self.chosen.append(file_of(message.book))

    def on_reading_wanted(self, message: ReadingWanted) -> None:
        self.to_read.append(file_of(message.book))

    @property
    def said(self) -> list[str]:
        """What it was notified of: severity, title and text."""
        return [f"{n.severity}: {n.title}: {n.message}" for n in self._notifications]


def read_book(home: Path, title: str) -> StateFolder:
    """Read a short book with the engine without a model and return its state."""
    path = write_book(home, f"# {title}\n\n{chapters(2)}", f"{title}.md")
    with opening(library_of(home), path) as book:
        return book.folder


def shelf_of_four(home: Path) -> dict[str, StateFolder]:
    """Read four books; one is ready, one partly read, one outdated, and of one the manifest is damaged."""
    found = {title: read_book(home, title) for title in TITLES}
    partly = found["Lanterns"].manifest()
    assert partly.state is not None
    blob = replace(partly.state.blob, n_tokens=round(0.41 * partly.n_tokens))
    checkpoint = StateFile(f"checkpoint-{blob.n_tokens}.bin", blob)
    found["Lanterns"].write_manifest(replace(partly, state=None, checkpoint=checkpoint))
    old = found["The Ledger"].manifest()
    found["The Ledger"].write_manifest(replace(old, key=replace(old.key, prompt_version=0)))
    found["Thaw"].manifest_path.write_bytes(b"{}")
    return found


def chat_about(folder: StateFolder, title: str, updated_at: float) -> Session:
    """Return a chat about the book of a state."""
    book = folder.manifest().book
    return Session(title, title, book.digest, book.title, book.path, "fake", 0.0, updated_at, 1)


def screen(home: Path, **work: Any) -> LibraryScreen:
    """Return a library over what is under `home`."""
    work.setdefault("look", lambda locations, settings: FACTS)
    return LibraryScreen(locations(home), SETTINGS, STORY, folder=home, **work)


def drive(library: LibraryScreen, steps: Drive, size: tuple[int, int] = (100, 30)) -> Host:
    """Show a library and drive it."""
    host = Host(library)

    async def go() -> None:
        async with host.run_test(size=size) as pilot:
            await steps(pilot, host)

    asyncio.run(go())
    return host


async def listed(pilot: Pilot[None], title: str) -> BookTable:
    """Wait until a book is listed and put the bar on it."""
    await wait_until(pilot, shows(pilot, title), f"{title} in the list")
    table = pilot.app.screen.query_one(BookTable)
    rows = [str(table.get_row_at(row)[0]) for row in range(table.row_count)]
    table.move_cursor(row=rows.index(title))
    await pilot.pause()
    return table


# -- what is listed ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", SIZES)
def test_every_book_is_listed_with_its_standing(tmp_path: Path, size: tuple[int, int]) -> None:
    """Every book and what it is good for is on the screen, at every size."""
    found = shelf_of_four(tmp_path)

    async def steps(pilot: Pilot[None], host: Host) -> None:
        for text in (*TITLES[:3], found["Thaw"].name, "ready", "partly read, 41 %"):
            await wait_until(pilot, shows(pilot, text), text)
        assert text_of(pilot).count("needs reading again") >= 2

    drive(screen(tmp_path), steps, size)


def test_a_book_being_read_names_its_reader(tmp_path: Path) -> None:
    """While another process holds a book, its number is shown, and nothing can be done with the state."""
    folder = read_book(tmp_path, "Aldermouth")
    folder.holder_path.write_text("4711")

    async def steps(pilot: Pilot[None], host: Host) -> None:
        await listed(pilot, "Aldermouth")
        assert "being read by process 4711" in text_of(pilot)
        await pilot.press("v", "d", "r")
        await wait_until(pilot, lambda: len(host.said) == 3)
        assert all("4711" in said for said in host.said)
        assert host.to_read == []

    with FileLock(folder.lock_path):
        drive(screen(tmp_path), steps)
    assert folder.exists()


@pytest.mark.parametrize("width", [20, 40, 60, 80, 100, 140, 200])
def test_columns_never_exceed_the_width(tmp_path: Path, width: int) -> None:
    """The columns together are as wide as there is room at most, and the title is always among them."""
    shelf_of_four(tmp_path)
    entries = read_shelf(locations(tmp_path), SETTINGS, tuple).entries
    columns = fitting(entries, width)
    assert columns[0][0].name == "Title"
    assert sum(cells + 2 for _, cells in columns) <= width


def test_columns_go_by_their_weight(tmp_path: Path) -> None:
    """A narrower screen shows a beginning of the columns of a wider one, the status longest."""
    shelf_of_four(tmp_path)
    entries = read_shelf(locations(tmp_path), SETTINGS, tuple).entries
    kept = [[column.name for column, _ in fitting(entries, width)] for width in (40, 60, 80, 100, 160)]
    assert all(wide[: len(narrow)] == narrow for narrow, wide in pairwise(kept))
    assert kept[1][:2] == ["Title", "Status"]
    assert kept[-1] == ["Title", "Status", "Tokens", "Size", "Model", "Last chat"]


def test_the_last_chat_is_the_newest_one(tmp_path: Path) -> None:
    """A book shows the chat that was used last, whatever the order in which chats are given."""
    folder = read_book(tmp_path, "Aldermouth")
    chats = [chat_about(folder, "the newer one", 2e9), chat_about(folder, "the older one", 1e9)]
    shelf = read_shelf(locations(tmp_path), SETTINGS, lambda: chats)
    assert [entry.chat and entry.chat.title for entry in shelf.entries] == ["the newer one"]


def test_disk_use_stands_against_the_budget(tmp_path: Path) -> None:
    """The first line says what the states take, the budget, and when it is exceeded."""
    read_book(tmp_path, "Aldermouth")
    shelf = read_shelf(locations(tmp_path), replace(SETTINGS, disk_budget_gb=0), tuple)
    assert shelf.used_bytes == shelf.entries[0].standing.size_bytes > 0
    assert shelf.line.endswith("used of 0 kB, over the budget")


@pytest.mark.parametrize(("query", "found"), [("lant", 1), ("ALDER ready", 1), ("thé lédger", 1), ("zzz", 0), ("", 4)])
def test_every_word_of_a_filter_must_match(tmp_path: Path, query: str, found: int) -> None:
    """A filter finds books by parts of words, whatever their case and accents."""
    shelf_of_four(tmp_path)
    assert len(matching(read_shelf(locations(tmp_path), SETTINGS, tuple).entries, query)) == found


@pytest.mark.parametrize("text", ["", "short", "exactly10!", "longer than ten", "本を読む人の本を読む", "a本本本"])
def test_a_cut_text_fits(text: str) -> None:
    """A text is cut by cells, not characters, and left alone when it fits."""
    assert all(cell_len(cut(text, cells)) <= max(0, cells) for cells in range(-1, 11))
    assert cut(text, 30) == text


def test_control_characters_of_a_title_are_not_shown(tmp_path: Path) -> None:
    """A title that holds an escape sequence cannot reach the terminal."""
    folder = read_book(tmp_path, "Aldermouth")
    manifest = folder.manifest()
    folder.write_manifest(replace(manifest, book=replace(manifest.book, title="\x1b[31mred\nrow", author="\x07")))
    [entry] = read_shelf(locations(tmp_path), SETTINGS, tuple).entries
    assert entry.title == "[31mred row"


# -- keys --------------------------------------------------------------------------------------------------------------


def test_enter_opens_the_book_under_the_bar(tmp_path: Path) -> None:
    """Enter posts the path of the book's file."""
    shelf_of_four(tmp_path)

    async def steps(pilot: Pilot[None], host: Host) -> None:
        await listed(pilot, "The Ledger")
        await pilot.press("enter")
        await wait_until(pilot, lambda: host.chosen == [tmp_path / "The Ledger.md"])

    drive(screen(tmp_path), steps)


def test_a_click_on_the_bar_opens_too(tmp_path: Path) -> None:
    """A first click moves the bar to a book and a second one opens it."""
    shelf_of_four(tmp_path)

    async def steps(pilot: Pilot[None], host: Host) -> None:
        await listed(pilot, "The Ledger")
        row = text_of(pilot).splitlines().index(next(x for x in text_of(pilot).splitlines() if "Lanterns" in x))
        await pilot.click(offset=(5, row))
        assert host.chosen == []
        await pilot.click(offset=(5, row))
        await wait_until(pilot, lambda: host.chosen == [tmp_path / "Lanterns.md"])

    drive(screen(tmp_path), steps)


@pytest.mark.parametrize("title", ["Lanterns", "The Ledger"])
def test_r_reads_what_is_not_ready(tmp_path: Path, title: str) -> None:
    """The key to read posts the path of a book that is partly read or outdated."""
    shelf_of_four(tmp_path)

    async def steps(pilot: Pilot[None], host: Host) -> None:
        await listed(pilot, title)
        await pilot.press("r")
        await wait_until(pilot, lambda: host.to_read == [tmp_path / f"{title}.md"])

    drive(screen(tmp_path), steps)


def test_r_on_a_ready_book_says_so(tmp_path: Path) -> None:
    """A book that is ready is not read again; a notification says how to open it."""
    read_book(tmp_path, "Aldermouth")

    async def steps(pilot: Pilot[None], host: Host) -> None:
        await listed(pilot, "Aldermouth")
        await pilot.press("r")
        await wait_until(pilot, lambda: "Enter opens it" in "".join(host.said))
        assert host.to_read == []

    drive(screen(tmp_path), steps)


def test_a_damaged_state_says_how_to_open_its_book(tmp_path: Path) -> None:
    """Where the manifest cannot be read, no path is guessed: the notification says what to do."""
    found = shelf_of_four(tmp_path)

    async def steps(pilot: Pilot[None], host: Host) -> None:
        await listed(pilot, found["Thaw"].name)
        await pilot.press("enter")
        await wait_until(pilot, lambda: "Press o" in "".join(host.said))
        assert host.chosen == []

    drive(screen(tmp_path), steps)


def test_verify_finds_a_changed_byte(tmp_path: Path) -> None:
    """Verifying says that a state is sound, and after one byte was changed that it is damaged."""
    folder = read_book(tmp_path, "Aldermouth")
    state = folder.manifest().state
    assert state is not None

    async def steps(pilot: Pilot[None], host: Host) -> None:
        await listed(pilot, "Aldermouth")
        await pilot.press("v")
        await wait_until(pilot, lambda: "Aldermouth: Every byte of its state" in "".join(host.said))
        content = bytearray((folder.path / state.name).read_bytes())
        content[-1] ^= 1
        (folder.path / state.name).write_bytes(content)
        await pilot.press("v")
        await wait_until(pilot, lambda: any("error: Aldermouth is damaged" in said for said in host.said))

    drive(screen(tmp_path), steps)


def test_only_one_thing_is_done_at_a_time(tmp_path: Path) -> None:
    """While a state is being verified the screen goes on, and another verification is refused."""
    read_book(tmp_path, "Aldermouth")

    gate = threading.Event()

    def check(folder: StateFolder) -> tuple[str, ...]:
        gate.wait(20)
        return ()

    async def steps(pilot: Pilot[None], host: Host) -> None:
        await listed(pilot, "Aldermouth")
        await pilot.press("v")
        await wait_until(pilot, shows(pilot, "Checking every byte of Aldermouth"))
        await pilot.press("v")
        await wait_until(pilot, lambda: "One thing at a time" in "".join(host.said))
        gate.set()
        await wait_until(pilot, lambda: "as it was written" in "".join(host.said))

    drive(screen(tmp_path, check=check), steps)


def test_an_error_beside_it_does_not_end_what_is_done(tmp_path: Path) -> None:
    """While a state is verified a library that cannot be looked through is told, and no second verification begins."""
    read_book(tmp_path, "Aldermouth")
    gate, broken, checked = threading.Event(), False, list[str]()

    def check(folder: StateFolder) -> tuple[str, ...]:
        checked.append(folder.name)
        gate.wait(20)
        return ()

    def chats() -> list[Session]:
        if broken:
            raise StorageError("The chats cannot be read.", "Look at the disk.")
        return []

    async def steps(pilot: Pilot[None], host: Host) -> None:
        nonlocal broken
        await listed(pilot, "Aldermouth")
        await pilot.press("v")
        await wait_until(pilot, lambda: len(checked) == 1)
        broken = True
        await pilot.press("f5")
        await wait_until(pilot, lambda: "cannot be read" in "".join(host.said))
        assert "Checking every byte of Aldermouth" in text_of(pilot)
        await pilot.press("v")
        await wait_until(pilot, lambda: "One thing at a time" in "".join(host.said))
        gate.set()
        await wait_until(pilot, lambda: "as it was written" in "".join(host.said))
        assert len(checked) == 1

    drive(screen(tmp_path, check=check, chats=chats), steps)


@pytest.mark.parametrize("refused", [False, True])
def test_a_deletion_ends_as_promised_after_the_library_was_left(tmp_path: Path, refused: bool) -> None:
    """Who leaves the library during a deletion hears how it went, and the place in the book goes with it."""
    folder, gone, gate = read_book(tmp_path, "Aldermouth"), list[str](), threading.Event()
    digest = folder.manifest().book.digest

    def delete(states: States, folder: StateFolder, leaving: Callable[[], object]) -> int:
        gate.wait(20)
        if refused:
            raise StorageError("The folder cannot be written.", "Make it writable.")
        return states.delete(folder, leaving)

    async def steps(pilot: Pilot[None], host: Host) -> None:
        await listed(pilot, "Aldermouth")
        await pilot.press("d")
        await wait_until(pilot, shows(pilot, "Delete the state"))
        await pilot.press("y")
        await wait_until(pilot, shows(pilot, "Deleting Aldermouth"))
        host.pop_screen()
        await wait_until(pilot, lambda: not host.library.is_attached)
        gate.set()
        text = "error: That failed: The folder" if refused else "Its state is deleted"
        await wait_until(pilot, lambda: text in "".join(host.said))
        await pilot.pause()

    drive(screen(tmp_path, delete=delete, forget=gone.append), steps)
    assert gone == ([] if refused else [digest])


def test_delete_asks_first(tmp_path: Path) -> None:
    """Nothing is deleted when the question is answered with Esc, n or Enter; the book's file stays in any case.

    What was set aside of the book is spoken of and goes too.
    """
    read_book(tmp_path, "Aldermouth").set_aside("why")
    folder = read_book(tmp_path, "Aldermouth")

    async def steps(pilot: Pilot[None], host: Host) -> None:
        for answer in ("escape", "n", "enter"):
            await listed(pilot, "Aldermouth")
            await pilot.press("d")
            await wait_until(pilot, shows(pilot, "Delete the state of Aldermouth"))
            assert " and what was set aside of it (1, 11 kB)? " in str(host.screen.query_one(Static).content)
            await pilot.press(answer)
            await wait_until(pilot, lambda: host.screen is host.library)
            assert folder.exists()
        await pilot.press("d")
        await wait_until(pilot, shows(pilot, "Delete the state of Aldermouth"))
        await pilot.press("y")
        await wait_until(pilot, lambda: "Its state is deleted" in "".join(host.said))
        await wait_until(pilot, shows(pilot, "a small one, 2 cores"), "the welcome of an empty library")

    drive(screen(tmp_path), steps)
    assert not folder.path.exists()
    assert States(locations(tmp_path).states).aside() == []
    assert (tmp_path / "Aldermouth.md").exists()


def test_a_deletion_ends_as_promised_after_the_app_was_left(tmp_path: Path) -> None:
    """The program waits for it, and the place in the book goes with it though no app hears how it went."""
    folder, gone, gate = read_book(tmp_path, "Aldermouth"), list[str](), threading.Event()
    digest, deleting, closed = folder.manifest().book.digest, list[threading.Thread](), False

    def chats() -> list[Session]:
        if closed:
            raise StorageError("The chats are closed.", "Open them.")
        return []

    def delete(states: States, folder: StateFolder, leaving: Callable[[], object]) -> int:
        deleting.append(threading.current_thread())
        gate.wait(20)
        return states.delete(folder, leaving)

    async def steps(pilot: Pilot[None], host: Host) -> None:
        await listed(pilot, "Aldermouth")
        await pilot.press("d")
        await wait_until(pilot, shows(pilot, "Delete the state"))
        await pilot.press("y")
        await wait_until(pilot, lambda: bool(deleting))
        host.exit()

    drive(screen(tmp_path, chats=chats, delete=delete, forget=gone.append), steps)
    closed = True
    (thread,) = deleting
    assert not thread.daemon
    gate.set()
    thread.join()
    assert not folder.path.exists()
    assert gone == [digest]


@pytest.mark.parametrize("chats", ["none", "one", "unreadable"])
def test_delete_forgets_a_book_of_which_nothing_is_left(tmp_path: Path, chats: str) -> None:
    """The title leaves the cache; the place is forgotten unless a chat is about the book, or may be."""
    folder, gone = read_book(tmp_path, "Aldermouth"), list[str]()
    digest, broken = folder.manifest().book.digest, False
    talk = [chat_about(folder, "a chat", 1.0)] if chats == "one" else []

    def list_chats() -> list[Session]:
        if broken:
            raise StorageError("The chats cannot be read.", "Look at the disk.")
        return talk

    async def steps(pilot: Pilot[None], host: Host) -> None:
        nonlocal broken
        await listed(pilot, "Aldermouth")
        broken = chats == "unreadable"
        await pilot.press("d")
        await wait_until(pilot, shows(pilot, "Delete the state of Aldermouth"))
        await pilot.press("y")
        await wait_until(pilot, lambda: "Its state is deleted" in "".join(host.said))

    drive(screen(tmp_path, chats=list_chats, forget=gone.append), steps)
    assert list((tmp_path / "cache" / "documents").iterdir()) == []
    assert gone == ([digest] if chats == "none" else [])


def test_a_refused_deletion_is_told_and_takes_nothing(tmp_path: Path) -> None:
    """An error while deleting becomes a notification; what was set aside of the book and its title stay."""
    read_book(tmp_path, "Aldermouth").set_aside("why")
    read_book(tmp_path, "Aldermouth")
    titles = sorted((tmp_path / "cache" / "documents").iterdir())
    assert titles

    def delete(states: States, folder: StateFolder, leaving: Callable[[], object]) -> int:
        raise StorageError("The folder cannot be written.", "Make it writable.")

    async def steps(pilot: Pilot[None], host: Host) -> None:
        await listed(pilot, "Aldermouth")
        await pilot.press("delete")
        await wait_until(pilot, shows(pilot, "Delete the state"))
        await pilot.press("y")
        await wait_until(pilot, lambda: "cannot be written.\nMake it writable." in "".join(host.said))

    drive(screen(tmp_path, delete=delete), steps)
    assert len(States(locations(tmp_path).states).aside()) == 1
    assert sorted((tmp_path / "cache" / "documents").iterdir()) == titles


def test_filter_narrows_while_it_is_typed(tmp_path: Path) -> None:
    """Typing in the filter leaves the books that match, Enter goes to them, and Esc shows all again."""
    shelf_of_four(tmp_path)

    async def steps(pilot: Pilot[None], host: Host) -> None:
        table = await listed(pilot, "Aldermouth")
        await pilot.press("slash", *"lant")
        await wait_until(pilot, lambda: table.row_count == 1)
        await pilot.press("enter")
        assert table.has_focus
        await pilot.press("slash", "escape")
        await wait_until(pilot, lambda: table.row_count == 4)
        assert host.library.query_one(Filter).value == ""

    drive(screen(tmp_path), steps)


def test_esc_among_the_books_shows_all_of_them(tmp_path: Path) -> None:
    """Where a filter is set it is cleared, as the line below says; only without one Esc goes back."""

    async def steps(pilot: Pilot[None]) -> None:
        await chat_of(pilot)
        await pilot.press("ctrl+o")
        await wait_until(pilot, lambda: isinstance(pilot.app.focused, BookTable))
        library = pilot.app.screen
        table = library.query_one(BookTable)
        await pilot.press("slash", *"zzz", "enter")
        await wait_until(pilot, shows(pilot, "Esc shows all"))
        assert pilot.app.focused is table
        await pilot.press("escape")
        await wait_until(pilot, lambda: table.row_count == 1)
        assert pilot.app.screen is library
        await pilot.press("escape")
        await wait_until(pilot, lambda: pilot.app.screen is not library)

    run(Desktop(tmp_path), steps)


def test_a_resize_keeps_the_bar_on_its_book(tmp_path: Path) -> None:
    """After the terminal became narrower or wider the bar is on the same book."""
    shelf_of_four(tmp_path)

    async def steps(pilot: Pilot[None], host: Host) -> None:
        table = await listed(pilot, "The Ledger")
        for size in (*SIZES, (20, 6)):
            await pilot.resize_terminal(*size)
            await pilot.pause()
            assert str(table.get_row_at(table.cursor_row)[0]).startswith("The")

    drive(screen(tmp_path), steps)


def test_the_list_is_read_again_on_return(tmp_path: Path) -> None:
    """A book that was read while another screen was up is listed when the library comes back."""
    read_book(tmp_path, "Aldermouth")

    async def steps(pilot: Pilot[None], host: Host) -> None:
        await listed(pilot, "Aldermouth")
        await pilot.press("o")
        await wait_until(pilot, lambda: isinstance(host.screen, OpenFile))
        read_book(tmp_path, "Thaw")
        await pilot.press("escape")
        await wait_until(pilot, shows(pilot, "Thaw"))

    drive(screen(tmp_path), steps)


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (StorageError("The chats cannot be read.", "Look at the disk."), "The chats cannot be read.\nLook at"),
        (PermissionError(errno.EACCES, "no", "/no/such"), "/no/such cannot be written: Permission denied."),
    ],
)
def test_an_unreadable_library_is_a_notification(tmp_path: Path, error: Exception, text: str) -> None:
    """An error while the library is looked through is told, and the screen goes on."""

    def chats() -> list[Session]:
        raise error

    async def steps(pilot: Pilot[None], host: Host) -> None:
        await wait_until(pilot, lambda: text in "".join(host.said))

    drive(screen(tmp_path, chats=chats), steps)


# -- an empty library --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", SIZES)
def test_an_empty_library_welcomes(tmp_path: Path, size: tuple[int, int]) -> None:
    """Without a book the screen says what was found, what to do where something is missing, and offers a beginning."""

    async def steps(pilot: Pilot[None], host: Host) -> None:
        for text in ("a small one, 2 cores", "→ Name one with --model PATH.", "Try the story", "Open a file"):
            await wait_until(pilot, shows(pilot, text), text)

    drive(screen(tmp_path), steps, size)


@pytest.mark.parametrize("way", ["s", "enter", "click"])
def test_the_story_is_one_key_away(tmp_path: Path, way: str) -> None:
    """A key, Enter on the welcome, or the mouse opens the story."""

    async def steps(pilot: Pilot[None], host: Host) -> None:
        await wait_until(pilot, shows(pilot, "→ Name one"))
        await pilot.pause()
        await wait_until(pilot, shows(pilot, "Try the story"))
        await (pilot.click("#story") if way == "click" else pilot.press(way))
        await wait_until(pilot, lambda: host.chosen == [STORY])

    drive(screen(tmp_path), steps)


def planner(home: Path, hardware: Hardware) -> Planner:
    """Return a planner of a machine without any model."""
    return Planner(
        locations(home),
        hardware=lambda: hardware,
        can_offload=lambda: False,
        read_ram=lambda: hardware.ram,
        disk_free=lambda folder: 10**12,
        places=tuple,
    )


def test_what_is_found_names_the_missing_model(tmp_path: Path) -> None:
    """Looking around without the model that is set says so, with a hint."""
    settings = replace(SETTINGS, model="/no/such.gguf")
    facts = {fact.about: fact for fact in look_around(locations(tmp_path), settings, planner(tmp_path, BARE))}
    assert "/no/such.gguf" in facts["models"].text
    assert facts["models"].mend
    assert str(tmp_path) in facts["saved in"].text


def test_what_is_found_tells_what_fits(tmp_path: Path) -> None:
    """A newcomer reads processor, the container's memory, why there is no GPU, and how long a book can be."""
    facts = {fact.about: fact for fact in look_around(locations(tmp_path), SETTINGS, planner(tmp_path, BARE))}
    assert facts["processor"].text == "Some CPU, 1 core"
    assert facts["memory"].text == "17.2 GB, the limit of this container (the machine has 68.7 GB)"
    assert facts["GPU"].text == "none: The card has no driver."
    assert facts["GPU"].mend == "Install it."
    assert re.fullmatch(r"up to a book of [\d,]+ tokens, with \S.+", facts["what fits"].text)


def test_a_gpu_that_lies_idle_is_told_with_its_mend(tmp_path: Path) -> None:
    """A card that this build of llama.cpp leaves idle is named with its memory, and how to use it follows."""
    hardware = Hardware((Gpu("Some Card", 24 << 30, 20 << 30),), None, Ram(64 << 30, 32 << 30), "Some CPU", 8)
    facts = list(look_around(locations(tmp_path), SETTINGS, planner(tmp_path, hardware)))
    texts = [fact.text for fact in facts]
    assert "Some Card, 25.8 GB of VRAM" in texts
    following = facts[texts.index("Some Card, 25.8 GB of VRAM") + 1]
    assert "Some Card" in following.text


# -- opening another file ----------------------------------------------------------------------------------------------


def test_completions_list_folders_first(tmp_path: Path) -> None:
    """A typed beginning goes on with folders, then files; hidden names only when their dot was typed."""
    (tmp_path / "novels").mkdir()
    for name in ("Notes.txt", "novel.txt", ".nothing", "other.txt"):
        (tmp_path / name).write_text("x")
    assert completions("no", tmp_path) == ["novels/", "Notes.txt", "novel.txt"]
    assert completions(".", tmp_path) == [".nothing"]
    assert completions("novels/", tmp_path) == []
    assert completions("nowhere/at", tmp_path) == []
    assert completions("~nobody-at-all/x\0", tmp_path) == []


def test_tab_completes_and_enter_opens(tmp_path: Path) -> None:
    """In the dialogue Tab takes the first name, Enter opens a file, and a missing one is said to be missing."""
    (tmp_path / "novels").mkdir()
    (tmp_path / "novels" / "harbour.txt").write_text("x")

    async def steps(pilot: Pilot[None], host: Host) -> None:
        await wait_until(pilot, shows(pilot, "a small one, 2 cores"))
        await pilot.press("o")
        await wait_until(pilot, lambda: isinstance(host.screen, OpenFile))
        line, names = host.screen.query_one(Input), host.screen.query_one(OptionList)
        await pilot.press("n", "o", "p", "e", "enter")
        await wait_until(pilot, shows(pilot, "There is no file at"))
        await pilot.press("backspace", "backspace")
        await wait_until(pilot, lambda: names.option_count == 1)
        await pilot.press("tab")
        assert line.value == "novels/"
        await wait_until(pilot, shows(pilot, "harbour.txt"))
        await pilot.press("tab", "enter")
        await wait_until(pilot, lambda: host.chosen == [tmp_path / "novels" / "harbour.txt"])

    drive(screen(tmp_path), steps)


def test_a_file_can_be_chosen_from_the_list(tmp_path: Path) -> None:
    """Down goes into the list, Enter looks into a folder there and opens a file."""
    (tmp_path / "novels").mkdir()
    (tmp_path / "novels" / "harbour.txt").write_text("x")

    async def steps(pilot: Pilot[None], host: Host) -> None:
        await wait_until(pilot, shows(pilot, "a small one, 2 cores"))
        await pilot.press("o")
        await wait_until(pilot, shows(pilot, "novels/"))
        await pilot.press("down", "enter")
        await wait_until(pilot, shows(pilot, "novels/harbour.txt"))
        await pilot.press("down", "enter")
        await wait_until(pilot, lambda: host.chosen == [tmp_path / "novels" / "harbour.txt"])

    drive(screen(tmp_path), steps)


def test_tab_waits_for_the_names_of_what_is_typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A Tab that comes before the folder was read completes what is typed by then, not by the names of before."""
    for name in ("alpha.txt", "beta.txt"):
        (tmp_path / name).write_text("x")
    gate = threading.Event()

    def slowly(text: str, folder: Path) -> list[str]:
        if text:
            gate.wait(20)
        return completions(text, folder)

    monkeypatch.setattr("cagchat.tui.open_file.completions", slowly)

    async def steps(pilot: Pilot[None], host: Host) -> None:
        await wait_until(pilot, shows(pilot, "→ Name one"))
        await pilot.press("o")
        await wait_until(pilot, shows(pilot, "alpha.txt"))
        line = host.screen.query_one(Input)
        await pilot.press("b", "tab")
        await pilot.pause()
        assert line.value == "b"
        gate.set()
        await wait_until(pilot, lambda: line.value == "beta.txt")

    drive(screen(tmp_path), steps)


def test_a_choice_from_a_list_that_has_changed_is_dropped(tmp_path: Path) -> None:
    """A choice that arrives when the list is another one opens nothing, and the dialogue goes on."""
    for name in ("alpha.txt", "beta.txt"):
        (tmp_path / name).write_text("x")

    async def steps(pilot: Pilot[None], host: Host) -> None:
        await wait_until(pilot, shows(pilot, "→ Name one"))
        await pilot.press("o")
        await wait_until(pilot, shows(pilot, "beta.txt"))
        names = host.screen.query_one(OptionList)
        late = [OptionList.OptionSelected(names, names.get_option_at_index(at), at) for at in (0, 1)]
        await pilot.press("b")
        await wait_until(pilot, lambda: names.option_count == 1)
        for choice in late:
            names.post_message(choice)
        await pilot.pause()
        assert isinstance(host.screen, OpenFile)
        assert host.chosen == []

    drive(screen(tmp_path), steps)


def test_leaving_waits_for_nothing(tmp_path: Path) -> None:
    """The app ends while a state is still being verified."""
    read_book(tmp_path, "Aldermouth")
    gate = threading.Event()

    def check(folder: StateFolder) -> tuple[str, ...]:
        gate.wait(20)
        return ()

    async def steps(pilot: Pilot[None], host: Host) -> None:
        await listed(pilot, "Aldermouth")
        await pilot.press("v")
        await wait_until(pilot, shows(pilot, "Checking"))

    drive(screen(tmp_path, check=check), steps)
    assert not gate.is_set()
    gate.set()


@pytest.mark.parametrize("way", ["key", "click"])
def test_a_folder_is_opened_as_one_book(tmp_path: Path, way: str) -> None:
    """A folder that is written is taken whole, by key or mouse; Enter looks into it."""
    parts = tmp_path / "parts"
    parts.mkdir()
    (parts / "one.txt").write_text("one")

    async def steps(pilot: Pilot[None], host: Host) -> None:
        await wait_until(pilot, shows(pilot, "→ Name one"))
        await pilot.press("o")
        await wait_until(pilot, lambda: isinstance(host.screen, OpenFile))
        host.screen.query_one(Input).value = str(parts)
        await pilot.press("enter")
        await wait_until(pilot, shows(pilot, "one.txt"))
        await (pilot.click("#take-folder") if way == "click" else pilot.press("ctrl+o"))
        await wait_until(pilot, lambda: host.chosen != [])
        assert [path.resolve() for path in host.chosen] == [parts.resolve()]

    drive(screen(tmp_path), steps)

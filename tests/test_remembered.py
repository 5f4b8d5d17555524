"""What the app remembers: choices, places in books, and what is left of a damaged file."""

from __future__ import annotations

import errno
import fcntl
import json
import os
from collections.abc import Callable
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from filelock import FileLock

from cagchat import remembered as module
from cagchat.files import write_bytes
from cagchat.remembered import MAX_ASIDE, MAX_BOOKMARKS, MAX_BOOKS, MAX_BYTES, Place, Remembered
from tests.reading_cases import locations


def test_a_theme_is_there_in_the_next_run(tmp_path: Path) -> None:
    """The theme that was chosen is found by another object on the same file; before it is empty."""
    file = tmp_path / "data" / "ui.json"
    assert Remembered(file).theme == ""
    Remembered(file).theme = "nord"
    assert Remembered(file).theme == "nord"


def test_a_place_is_there_in_the_next_run(tmp_path: Path) -> None:
    """A position and bookmarks that were saved are found again, for that book only."""
    first = Remembered.under(locations(tmp_path))
    first.remember("b00c", Place(120, (5, 77)))
    assert first.place("b00c") == Place(120, (5, 77))
    assert first.save()
    second = Remembered.under(locations(tmp_path))
    assert second.place("b00c") == Place(120, (5, 77))
    assert second.place("0ther") == Place()


def test_a_place_is_written_by_save_only(tmp_path: Path) -> None:
    """Noting a place writes nothing, so that scrolling costs no disk."""
    file = tmp_path / "ui.json"
    Remembered(file).remember("b00c", Place(1))
    assert not file.exists()


def test_the_file_is_private(tmp_path: Path) -> None:
    """Which books are read is nobody else's business: the file is 0600."""
    Remembered(tmp_path / "ui.json").theme = "nord"
    assert (tmp_path / "ui.json").stat().st_mode & 0o777 == 0o600


def test_two_windows_keep_each_other_s_changes(tmp_path: Path) -> None:
    """Saving changes only what was changed here, whatever another window wrote meanwhile."""
    file = tmp_path / "ui.json"
    one, other = Remembered(file), Remembered(file)
    one.remember("b00c", Place(1))
    other.remember("d00d", Place(2))
    assert one.save()
    other.theme = "nord"
    assert other.save()
    last = Remembered(file)
    assert (last.place("b00c"), last.place("d00d"), last.theme) == (Place(1), Place(2), "nord")


def beside(work: Callable[[], object]) -> None:
    """Do something in a thread, for which a lock that this one holds is another's, as for another process."""
    thread = Thread(target=work)
    thread.start()
    thread.join()


def test_what_two_windows_save_at_once_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A window that saves while another one is about to write loses nothing of either: it waits, or has not saved."""
    file = tmp_path / "ui.json"
    one, other = Remembered(file), Remembered(file)
    one.remember("b00c", Place(1))
    other.remember("d00d", Place(2))
    other.remember("e00e", Place(3))
    saved = []

    def meanwhile(path: Path, content: bytes) -> None:
        monkeypatch.setattr(module, "write_bytes", write_bytes)
        beside(lambda: saved.append(other.save()))
        write_bytes(path, content)

    monkeypatch.setattr(module, "write_bytes", meanwhile)
    monkeypatch.setattr(module, "WAIT_S", 0.02)
    assert one.save()
    assert saved == [False]
    assert other.save()
    last = Remembered(file)
    assert [last.place(digest) for digest in ("b00c", "d00d", "e00e")] == [Place(1), Place(2), Place(3)]


def test_a_lock_that_is_not_had_is_a_save_that_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While another window holds the lock nothing is written, nothing is raised, and what was noted stays noted."""
    file = tmp_path / "ui.json"
    window = Remembered(file)
    window.theme = "nord"
    window.remember("b00c", Place(7))
    assert window.save()
    before = file.read_bytes()
    monkeypatch.setattr(module, "WAIT_S", 0.02)
    with FileLock(tmp_path / "ui.json.lock"):
        outcomes: list[bool] = []

        def refused() -> None:
            window.remember("d00d", Place(8))
            window.theme = "light"
            outcomes.extend((window.save(), Remembered(file).forget("b00c")))

        beside(refused)
        assert outcomes == [False, False]
        assert file.read_bytes() == before
        assert window.place("d00d") == Place(8)
    assert window.save()
    assert (Remembered(file).theme, Remembered(file).place("d00d")) == ("nord", Place(8))


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_disk_without_locks_takes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Where locks are refused no place is written, as no book is read there; nothing is raised."""

    def refuse(fd: int, operation: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refuse)
    window = Remembered(tmp_path / "ui.json")
    window.theme = "nord"
    window.remember("b00c", Place(7))
    assert not window.save()
    assert window.place("b00c") == Place(7)
    assert not (tmp_path / "ui.json").exists()


def test_the_lock_is_private(tmp_path: Path) -> None:
    """What stands beside the file is the lock alone, 0600 and empty."""
    Remembered(tmp_path / "ui.json").theme = "nord"
    (lock,) = (path for path in tmp_path.iterdir() if path.name != "ui.json")
    assert (lock.name, lock.stat().st_mode & 0o777, lock.read_bytes()) == ("ui.json.lock", 0o600, b"")


def kept_aside(folder: Path) -> list[bytes]:
    """Return what was set aside, in order."""
    return [path.read_bytes() for path in sorted(folder.glob("ui.json.damaged-*"))]


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"\xff\xfe", b"[" * 100_000, b'{"theme": 3, "books": []}', b" " * (MAX_BYTES + 1)],
    ids=["empty", "cut", "list", "binary", "deep", "types", "large"],
)
def test_a_damaged_file_is_set_aside(tmp_path: Path, content: bytes) -> None:
    """A file that is not what was written counts as empty, and the next change of a place keeps it beside the new."""
    file = tmp_path / "ui.json"
    file.write_bytes(content)
    remembered = Remembered(file)
    assert (remembered.theme, remembered.place("b00c")) == ("", Place())
    remembered.remember("b00c", Place(4))
    assert file.read_bytes() == content
    assert remembered.save()
    remembered.theme = "nord"
    again = Remembered(file)
    assert (again.theme, again.place("b00c")) == ("nord", Place(4))
    assert kept_aside(tmp_path) == [content]


def test_any_flipped_bit_loses_nothing(tmp_path: Path) -> None:
    """Wherever a bit flips: after the next change all that was in the file is there, or the file is beside it."""
    file = tmp_path / "ui.json"
    first = Remembered(file)
    first.theme = "nord"
    first.remember("b00c", Place(120, (5, 77), "Who"))
    assert first.save()
    good = file.read_bytes()
    for number in range(0, len(good) * 8, 7):  # each of the eight, in turn
        flipped = bytearray(good)
        flipped[number // 8] ^= 1 << number % 8
        file.write_bytes(flipped)
        later = Remembered(file)
        later.remember("0ther", Place(9))
        assert later.save()
        now = Remembered(file)
        assert now.place("0ther") == Place(9)
        if kept_aside(tmp_path) != [bytes(flipped)]:
            assert (now.theme, now.place("b00c")) == ("nord", Place(120, (5, 77), "Who")), bytes(flipped)
        for path in tmp_path.glob("ui.json.damaged-*"):
            path.unlink()


def test_each_damaged_file_has_a_name_of_its_own(tmp_path: Path) -> None:
    """A second damaged file does not replace the first, and both are private as they were."""
    file = tmp_path / "ui.json"
    for content in (b"{1", b"{2"):
        file.write_bytes(content)
        Remembered(file).theme = "nord"
    assert kept_aside(tmp_path) == [b"{1", b"{2"]


def refusing(file: Path, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Let every opening of a file for reading fail with an I/O error, until it is undone."""
    opened = Path.open

    def refuse(path: Path, *arguments: Any, **options: Any) -> Any:
        if path == file:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return opened(path, *arguments, **options)

    monkeypatch.setattr(Path, "open", refuse)
    return monkeypatch


def test_a_file_that_cannot_be_read_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the disk does not give the file, nothing replaces it, and what was noted waits for the next time."""
    file = tmp_path / "ui.json"
    first = Remembered(file)
    first.theme = "nord"
    first.remember("b00c", Place(120, (5, 77), "Who"))
    assert first.save()
    before = file.read_bytes()
    second = Remembered(file)
    with monkeypatch.context() as patch:
        refusing(file, patch)
        assert second.place("b00c") == Place()
        second.remember("b00c", Place(7, (9,)))
        second.remember("0ther", Place(1))
        second.theme = "light"
        assert not second.save()
        assert not Remembered(file).forget("b00c")
    assert file.read_bytes() == before
    assert second.save()
    last = Remembered(file)
    assert (last.theme, last.place("0ther")) == ("nord", Place(1))
    assert last.place("b00c") == Place(7, (5, 9, 77), "Who"), "what was not seen is not replaced"
    assert kept_aside(tmp_path) == []


def test_the_latest_that_was_put_aside_is_kept(tmp_path: Path) -> None:
    """Questions that were put aside come back in their order, the oldest cut where there is no room for all."""
    file = tmp_path / "ui.json"
    first = Remembered(file)
    first.remember("b00c", Place(1, (), "", ("one", "two")))
    first.remember("0ther", Place(1, (), "", ("gone", "x" * MAX_ASIDE, "last")))
    assert first.save()
    last = Remembered(file)
    assert last.place("b00c").aside == ("one", "two")
    assert last.place("0ther").aside == ("x" * (MAX_ASIDE - 4), "last")


@pytest.mark.parametrize("aside", [7, "text", [1, None], {}])
def test_what_is_no_list_of_texts_was_not_put_aside(tmp_path: Path, aside: object) -> None:
    """A file of an earlier version has none; what else stands there takes nothing of the place away."""
    file = tmp_path / "ui.json"
    file.write_text(json.dumps({"books": {"b00c": {"position": 9, "aside": aside}, "old": {"position": 8}}}))
    assert Remembered(file).place("b00c") == Place(9)
    assert Remembered(file).place("old") == Place(8)


def test_what_is_forgotten_is_not_set_aside(tmp_path: Path) -> None:
    """Forgetting a book in a file with another damaged entry leaves no copy of the file, and the entry as it is."""
    file = tmp_path / "ui.json"
    file.write_text(json.dumps({"books": {"bad": {"position": -1}, "b00c": {"position": 9, "draft": "Secret"}}}))
    assert Remembered(file).forget("b00c")
    assert kept_aside(tmp_path) == []
    assert Remembered(file).read() == {"books": {"bad": {"position": -1}}}


@pytest.mark.parametrize(
    "sheet",
    [None, 7, {}, {"position": -1}, {"position": "4"}, {"position": True}, {"position": 2**80}, {"bookmarks": [1]}],
)
def test_a_damaged_place_costs_only_itself(tmp_path: Path, sheet: object) -> None:
    """One book's damaged entry is ignored, the others' stay."""
    file = tmp_path / "ui.json"
    good = {"position": 9, "bookmarks": [30, "x", -1, 20, 20]}
    file.write_text(json.dumps({"books": {"bad": sheet, "good": good}}))
    assert Remembered(file).place("bad") == Place()
    assert Remembered(file).place("good") == Place(9, (20, 30))


def test_the_file_stays_small(tmp_path: Path) -> None:
    """Of too many books those noted first are forgotten, and of a book's bookmarks the last ones."""
    file = tmp_path / "ui.json"
    remembered = Remembered(file)
    for number in range(MAX_BOOKS + 3):
        remembered.remember(f"{number:064x}", Place(number + 1, tuple(range(MAX_BOOKMARKS + 9))))
    assert remembered.save()
    assert file.stat().st_size < MAX_BYTES
    last = Remembered(file)
    assert last.place(f"{2:064x}") == Place()
    assert last.place(f"{3:064x}").position == 4
    assert len(last.place(f"{MAX_BOOKS:064x}").bookmarks) == MAX_BOOKMARKS


def test_a_place_that_is_noted_again_is_the_newest(tmp_path: Path) -> None:
    """A book that is read again is not the first to be forgotten."""
    file = tmp_path / "ui.json"
    remembered = Remembered(file)
    for number in range(MAX_BOOKS):
        remembered.remember(str(number), Place(1))
    assert remembered.save()
    remembered.remember("0", Place(2))
    remembered.remember("new", Place(3))
    assert remembered.save()
    assert (Remembered(file).place("0"), Remembered(file).place("1")) == (Place(2), Place())


def test_a_disk_that_refuses_is_no_error(tmp_path: Path) -> None:
    """Where the file cannot be written, nothing is raised and the run goes on with what it knows."""
    (tmp_path / "data").write_text("not a folder")
    remembered = Remembered(tmp_path / "data" / "ui.json")
    remembered.theme = "nord"
    remembered.remember("b00c", Place(5))
    assert not remembered.save()
    assert remembered.place("b00c") == Place(5)


def test_other_choices_stay(tmp_path: Path) -> None:
    """A choice under any name is kept beside the places, and saving places keeps it."""
    file = tmp_path / "ui.json"
    remembered = Remembered(file)
    remembered.keep("panes", ["chats"])
    remembered.remember("b00c", Place(5))
    assert remembered.save()
    assert Remembered(file).read()["panes"] == ["chats"]


def test_a_place_at_the_beginning_is_not_written(tmp_path: Path) -> None:
    """Who went back to the beginning and left nothing there leaves no entry of the book."""
    remembered = Remembered(tmp_path / "ui.json")
    remembered.remember("b00c", Place(7))
    assert remembered.save()
    remembered.remember("b00c", Place())
    assert remembered.save()
    assert remembered.read() == {"books": {}}
    assert not remembered.knows("b00c")


def test_a_place_is_forgotten(tmp_path: Path) -> None:
    """What is forgotten is gone from the disk and is not written later; other books and choices stay."""
    remembered = Remembered(tmp_path / "ui.json")
    remembered.theme = "nord"
    remembered.remember("b00c", Place(7, (1,), "Who"))
    remembered.remember("0ther", Place(9))
    assert remembered.save()
    remembered.remember("b00c", Place(8))
    assert remembered.knows("b00c")
    assert remembered.forget("b00c")
    assert not remembered.knows("b00c")
    assert remembered.save()
    again = Remembered(tmp_path / "ui.json")
    assert (again.place("b00c"), again.place("0ther"), again.theme) == (Place(), Place(9), "nord")
    assert again.forget("b00c")

"""An open book's state is not deleted: by whom it is seen, and when it can be deleted again."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from cagchat.cli.main import main
from cagchat.errors import UsageError
from cagchat.library import Library
from cagchat.states.in_use import Hold, alone, is_open
from cagchat.states.pruning import removable, remove
from tests.reading_cases import (
    Program,
    book_tokens_evaluated,
    fake,
    library_of,
    locations,
    opened,
    opening,
    write_book,
)

# A program that opens a book and waits to be killed.
OPENER = """
import sys, time
from pathlib import Path
from tests.reading_cases import library_of, opened
book, _ = opened(library_of(Path(sys.argv[1])), Path(sys.argv[2]))
print("open", flush=True)
time.sleep(600)
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def book(tmp_path: Path) -> Path:
    return write_book(tmp_path)


@pytest.fixture
def elsewhere(home: Path, book: Path) -> Iterator[Program]:
    """Have the book open in another process."""
    with Program("-c", OPENER, str(home), str(book)) as program:
        program.line_with("open")
        yield program


def kill(program: Program) -> None:
    program.process.send_signal(signal.SIGKILL)
    program.process.wait()


def test_a_book_open_in_another_process_is_not_deleted(home: Path, elsewhere: Program) -> None:
    """Deleting is refused in one sentence and nothing is left of the try; with the process the refusal goes."""
    states = library_of(home).states
    (folder,) = states.all()
    before = sorted(states.root.glob("*/*"))
    with pytest.raises(UsageError, match="is open in a chat") as caught:
        states.delete(folder)
    assert caught.value.hint
    assert sorted(states.root.glob("*/*")) == before
    kill(elsewhere)
    states.delete(folder)
    assert list(states.root.iterdir()) == []


def test_prune_leaves_what_is_open(
    home: Path, elsewhere: Program, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A state that is open is neither chosen nor deleted, whatever the budget, and its name is said."""
    monkeypatch.setenv("CAGCHAT_HOME", str(home))
    (folder,) = library_of(home).states.all()
    assert main(["library", "prune", "--budget", "0", "-y"]) == 0
    assert f"{folder.name} is open in a chat and stays." in capsys.readouterr().err
    assert folder.exists()
    kill(elsewhere)
    assert main(["library", "prune", "--budget", "0", "-y"]) == 0
    assert "stays" not in capsys.readouterr().err
    assert not folder.exists()


def test_what_is_opened_after_it_was_chosen_stays(home: Path, book: Path) -> None:
    """A state that was chosen to go and is opened before it goes is left."""
    library = library_of(home)
    with opening(library, book) as ready:
        folder = ready.folder
    chosen = [removal for removal in removable(library.states, budget_bytes=0) if removal.kind == "state"]
    assert [removal.path for removal in chosen] == [folder.path]
    with opening(library, book):
        assert remove(library.states, chosen, lambda removal, size: None) == 0
    assert folder.exists()


@pytest.mark.parametrize("read_before", [False, True], ids=["read", "restored"])
def test_a_closed_book_can_be_deleted(read_before: bool, home: Path, book: Path) -> None:
    """From its opening to its closing a book is open, in this process too; a second closing does no harm."""
    library = library_of(home)
    if read_before:
        opened(library, book)[0].close()
    ready, _ = opened(library, book)
    assert is_open(ready.folder.path)
    with pytest.raises(UsageError, match="is open in a chat"):
        library.states.delete(ready.folder)
    ready.close()
    ready.close()
    assert not is_open(ready.folder.path)
    library.states.delete(ready.folder)
    assert library.states.all() == []


def test_a_book_that_is_open_twice_is_open_until_both_are_closed(home: Path, book: Path) -> None:
    """Any number of chats may have a book open; the last to close it lets it go."""
    library = library_of(home)
    first, second = (opened(library, book)[0] for _ in range(2))
    assert book_tokens_evaluated(second) == 0
    first.close()
    assert is_open(second.folder.path)
    second.close()
    assert not is_open(second.folder.path)


def test_an_opening_that_ends_early_holds_nothing(home: Path, book: Path) -> None:
    """An opening that is abandoned, or whose state is damaged, leaves nothing open."""
    library = library_of(home)
    with opening(library, book) as ready:
        folder = ready.folder
    events = library.prepare(book)
    next(events)
    assert is_open(folder.path)
    del events
    assert not is_open(folder.path)
    folder.book_path.write_text("Something else.", encoding="utf-8")
    again, _ = opened(library, book)
    (aside,) = library.states.aside()
    assert not is_open(aside.path)
    again.close()


def test_an_opening_waits_for_who_looks(tmp_path: Path) -> None:
    """Who asks at the same moment whether a book is open does not keep it from being held."""
    asking = alone(tmp_path)
    asking.__enter__()
    naps: list[float] = []

    def sleep(seconds: float) -> None:
        naps.append(seconds)
        if len(naps) == 3:
            asking.__exit__(None, None, None)

    hold = Hold(tmp_path, sleep)
    assert len(naps) == 3
    assert is_open(tmp_path)
    hold.release()
    assert not is_open(tmp_path)


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP])
def test_without_locks_a_book_opens(home: Path, book: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Where the file system refuses locks, opening what was read goes on without."""
    library: Library = library_of(home, fake())
    opened(library, book)[0].close()

    def flock(fd: int, operation: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", flock)
    with opening(library, book) as ready:
        assert book_tokens_evaluated(ready) == 0
        assert not is_open(ready.folder.path)


def test_a_folder_that_is_gone_is_not_open(home: Path) -> None:
    """Nothing is held of a folder that is not there."""
    missing = locations(home).states / "missing"
    Hold(missing).release()
    assert not is_open(missing)

"""Full, small, unwritable and read-only disks: said in a sentence, and nothing that was there is lost."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cagchat.engine.fake import FakeScript
from cagchat.engine.protocol import BOOK
from cagchat.errors import StorageError
from cagchat.events import Notice, PrepareEvent
from cagchat.library import Library
from tests.library.saved import EAGER, rewrite, sealed
from tests.reading_cases import (
    SETTINGS,
    Watched,
    book_tokens_evaluated,
    chapters,
    fake,
    library_of,
    of_type,
    opened,
    partials,
    write_book,
)


class FullDisk:
    """Refuses one write under a folder, the one with the number given, as a full disk would; counts them all."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, home: Path, number: int, code: int = errno.ENOSPC) -> None:
        self.writes = 0
        self._number = number
        self._code = code
        real_open, real_mkdir, real_allocate = os.open, os.mkdir, os.posix_fallocate

        def open_file(path: Any, flags: int, *arguments: Any, **options: Any) -> int:
            if flags & os.O_CREAT and str(path).startswith(str(home)):
                self._count()
            return real_open(path, flags, *arguments, **options)

        def make_folder(path: Any, *arguments: Any, **options: Any) -> None:
            if str(path).startswith(str(home)):
                self._count()
            real_mkdir(path, *arguments, **options)

        def allocate(*arguments: Any) -> None:
            self._count()
            real_allocate(*arguments)

        monkeypatch.setattr(os, "open", open_file)
        monkeypatch.setattr(os, "mkdir", make_folder)
        monkeypatch.setattr(os, "posix_fallocate", allocate)

    def _count(self) -> None:
        self.writes += 1
        if self.writes == self._number:
            raise OSError(self._code, os.strerror(self._code))


def complaints_of(library: Library, book: Path) -> list[str]:
    """Prepare a book; return the error that ended it, or what was said on the way."""
    try:
        _, events = opened(library, book)
    except StorageError as error:
        return [error.message]
    return [notice.text for notice in of_type(events, Notice)]


def survives_a_full_disk(prepare_once: Callable[[Path], Library], home: Path, book: Path) -> tuple[int, int]:
    """Refuse the first write, then the second and so on, until none is left; return how many were and how many hurt.

    Each time there is one storage error, or the book is ready; and afterwards a normal opening works.
    """
    refused = errors = 0
    while True:
        place = home / f"{refused} writes"
        library = prepare_once(place)
        with pytest.MonkeyPatch.context() as monkeypatch:
            disk = FullDisk(monkeypatch, place, refused + 1)
            complaints = complaints_of(library, book)
        assert len(complaints) <= 1, complaints
        errors += any("disk that holds" in complaint for complaint in complaints)
        if disk.writes <= refused:
            return refused, errors
        refused += 1
        ready, _ = opened(library_of(place), book)
        assert ready.manifest.state is not None
        assert partials(place) == []


def test_full_disk_while_reading(home: Path, book: Path) -> None:
    """Whichever write of a first opening meets a full disk, it is said once, and a later opening succeeds."""
    refused, errors = survives_a_full_disk(lambda place: library_of(place, settings=EAGER), home, book)
    assert refused > errors > 3


def test_full_disk_while_restoring(home: Path, book: Path) -> None:
    """A saved book opens on a full disk."""

    def read_before(place: Path) -> Library:
        library = library_of(place)
        sealed(library, book)
        return library

    _, errors = survives_a_full_disk(read_before, home, book)
    assert errors == 0


def test_unsaved_book_can_be_asked(home: Path, book: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the disk does not take the state, that is said and the book is open nevertheless."""
    library = library_of(home)

    def refuse(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(os, "posix_fallocate", refuse)
    ready, events = opened(library, book)
    assert any("could not be saved" in notice.text for notice in of_type(events, Notice))
    assert ready.manifest.state is None
    assert ready.engine.length(BOOK) == ready.n_tokens


def test_small_disk_is_refused_before_the_wait(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that cannot take the finished state is refused after two batches, with both sizes."""
    backend = Watched(fake(FakeScript(batch_s=0.02)))
    library = library_of(home, backend, replace(SETTINGS, batch=16))
    monkeypatch.setattr(library.states, "free_bytes", lambda: 9_000)
    events: list[PrepareEvent] = []
    with pytest.raises(StorageError, match=r"will take \d+ kB.*9 kB\s+free"):
        events.extend(library.prepare(write_book(tmp_path, chapters(20))))
    assert sum(span.count for span in backend.engines[-1].take_spans()) < 2_000


@pytest.mark.parametrize("code", [errno.EROFS, errno.EACCES])
def test_unwritable_data_folder(code: int, home: Path, book: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A data folder that cannot be written is one error with a hint, before anything is read."""

    def refuse(path: object, *arguments: object, **options: object) -> None:
        raise OSError(code, os.strerror(code))

    backend = Watched(fake())
    library = library_of(home, backend)
    monkeypatch.setattr(os, "mkdir", refuse)
    with pytest.raises(StorageError, match="cannot be written") as caught:
        opened(library, book)
    assert "CAGCHAT_HOME" in caught.value.hint
    assert backend.engines == []


def test_data_folder_that_is_a_file(home: Path, book: Path) -> None:
    """A file where the data folder should be is one error with a hint."""
    home.mkdir()
    (home / "data").write_text("not a folder")
    with pytest.raises(StorageError, match="data"):
        opened(library_of(home), book)


def test_saved_book_opens_from_a_read_only_folder(home: Path, book: Path) -> None:
    """A state in a folder that cannot be written is restored all the same."""
    library = library_of(home)
    rewrite(sealed(library, book), build="another build")
    with pytest.MonkeyPatch.context() as monkeypatch:
        disk = FullDisk(monkeypatch, home, 1, errno.EROFS)
        ready, _ = opened(library, book)
    assert disk.writes > 0
    assert book_tokens_evaluated(ready) == 0

"""Books as their states record them: opened again from their files, or from the text that is kept of them."""

from __future__ import annotations

import io
import shlex
from pathlib import Path

import pytest

from cagchat.documents import Source, gather
from cagchat.errors import StateDamaged
from cagchat.events import Notice
from cagchat.identities import Identities
from cagchat.recorded import Recorded
from tests.reading_cases import chapters, library_of, locations, of_type, opened, opening, write_book


def read(home: Path, source: Source) -> Recorded:
    """Read a book with the engine without a model."""
    with opening(library_of(home), source) as book:
        return Recorded(book.folder, book.manifest)


def two_files(home: Path) -> tuple[Path, Path]:
    """Write a book of two files, in whose names stands what paths are divided by."""
    first = write_book(home, chapters(1), "Quay: part 1.txt")
    return first, write_book(home, chapters(2), "Quay: part 2.txt")


def source(home: Path, recorded: Recorded) -> Source:
    """Return what a recorded book is opened from."""
    return recorded.source(Identities.under(locations(home)))


def reopened(home: Path, recorded: Recorded) -> bool:
    """Open a recorded book; tell whether it was that state, of which nothing was read."""
    with opening(library_of(home), source(home, recorded)) as book:
        return book.folder == recorded.folder and not book.just_read


def test_several_files_are_gathered_again(tmp_path: Path) -> None:
    """A book of several files is opened from them, and a command line gets them one by one."""
    paths = two_files(tmp_path)
    recorded = read(tmp_path, gather(paths))
    assert [file.name for file in source(tmp_path, recorded).files] == [str(path) for path in paths]
    assert reopened(tmp_path, recorded)
    assert shlex.split(recorded.again("t")) == [str(path) for path in paths]


@pytest.mark.parametrize("gone", ["one of two", "both", "the only one", "stdin"])
def test_the_text_in_the_state_stands_in_for_what_has_gone(tmp_path: Path, gone: str) -> None:
    """Without its files a book is opened from its text, as the same book; a command line gets its title."""
    paths = two_files(tmp_path)
    match gone:
        case "stdin":
            recorded = read(tmp_path, gather(["-"], stdin=io.BytesIO(chapters(3).encode())))
        case "the only one":
            recorded = read(tmp_path, gather([paths[0]]))
        case _:
            recorded = read(tmp_path, gather(paths))
    for path in paths[: 1 if gone in ("one of two", "the only one") else 2]:
        path.unlink()
    assert source(tmp_path, recorded).name == recorded.manifest.book.path
    assert reopened(tmp_path, recorded)
    assert recorded.label == recorded.manifest.book.title
    assert shlex.split(recorded.again("The Quay")) == ["The Quay"]


def test_a_text_that_was_damaged_does_not_stand_in(tmp_path: Path) -> None:
    """Another text in the state would be another book: it is refused."""
    recorded = read(tmp_path, gather(["-"], stdin=io.BytesIO(chapters(3).encode())))
    recorded.folder.book_path.write_text("Another text.")
    with pytest.raises(StateDamaged, match="damaged"):
        source(tmp_path, recorded)


@pytest.mark.parametrize("is_known", [True, False])
def test_a_file_that_holds_another_book_now_is_not_taken_for_it(tmp_path: Path, is_known: bool) -> None:
    """What was read is opened, from its own text, and it is said; by its path the other book is read."""
    path = write_book(tmp_path, chapters(3), "download.txt")
    recorded = read(tmp_path, gather([path]))
    path.write_text(chapters(2, 3))
    if is_known:
        assert read(tmp_path, gather([path])).folder != recorded.folder
    assert reopened(tmp_path, recorded)
    book, events = opened(library_of(tmp_path), recorded)
    book.close()
    (notice,) = of_type(events, Notice)
    assert "download.txt has changed since" in notice.text
    with opening(library_of(tmp_path), gather([path])) as other:
        assert other.folder != recorded.folder
        assert other.just_read is not is_known


def test_a_text_is_not_cleaned_a_second_time(tmp_path: Path) -> None:
    """What a loader left in stays in: a Markdown book with a frame that the loader of plain texts takes off."""
    framed = f"# Lanterns\n\n*** START OF THE PROJECT GUTENBERG EBOOK LANTERNS ***\n\n{chapters(3)}"
    path = write_book(tmp_path, framed, "lamps.md")
    recorded = read(tmp_path, gather([path]))
    path.unlink()
    assert reopened(tmp_path, recorded)
    assert source(tmp_path, recorded).document == recorded.manifest.book.document(recorded.folder.book_path.read_text())

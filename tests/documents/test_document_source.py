"""Reading a book's bytes, and why that may fail."""

from __future__ import annotations

import errno
import io
import os
from pathlib import Path
from typing import NoReturn

import pytest

from cagchat.documents.source import File, Source, read, read_stdin
from cagchat.errors import BookError


def refusal(path: Path, max_bytes: int = 1 << 20) -> BookError:
    """Return the error that reading `path` raises."""
    with pytest.raises(BookError) as caught:
        read(path, max_bytes=max_bytes)
    return caught.value


def test_a_file_is_read_whole(tmp_path: Path) -> None:
    """The bytes come back as they are."""
    path = tmp_path / "book.txt"
    path.write_bytes(b"one\r\ntwo\x00")
    assert read(path) == b"one\r\ntwo\x00"


def test_a_file_of_the_largest_size_is_read(tmp_path: Path) -> None:
    """The bound itself is allowed."""
    path = tmp_path / "book.txt"
    path.write_bytes(b"x" * 100)
    assert len(read(path, max_bytes=100)) == 100


def test_a_missing_file_suggests_its_neighbour(tmp_path: Path) -> None:
    """A mistyped name is answered with the nearest one in the folder, whatever its capitals."""
    (tmp_path / "Lighthouse.txt").write_text("x")
    error = refusal(tmp_path / "lighthuose.txt")
    assert error.message == f"There is no file {tmp_path / 'lighthuose.txt'}."
    assert str(tmp_path / "Lighthouse.txt") in error.hint


def test_a_missing_file_without_a_neighbour_points_at_the_folder(tmp_path: Path) -> None:
    """Where nothing is near, the hint shows how to look."""
    assert (
        refusal(tmp_path / "lighthouse.txt").hint
        == f"`ls {tmp_path}` shows what is there, `cagchat library` what has been read."
    )


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    """The folder is what is missing, so the message says so."""
    assert f"no folder {tmp_path / 'gone'}" in refusal(tmp_path / "gone" / "book.txt").message


def test_a_path_through_a_file_is_missing(tmp_path: Path) -> None:
    """A file cannot be a folder."""
    (tmp_path / "book.txt").write_text("x")
    assert "no folder" in refusal(tmp_path / "book.txt" / "chapter").message


def test_a_folder_is_refused(tmp_path: Path) -> None:
    """A folder is called one."""
    assert refusal(tmp_path).message == f"{tmp_path} is a folder, not a book."


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    """Nothing can be asked about nothing."""
    path = tmp_path / "book.txt"
    path.touch()
    assert refusal(path).message == f"{path} is empty."


def test_a_pipe_is_refused_without_waiting_for_a_writer(tmp_path: Path) -> None:
    """A named pipe is recognised before it is opened."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    assert refusal(path).message == f"{path} is a pipe, not a book."


def test_a_device_is_refused() -> None:
    """A device has no end."""
    assert refusal(Path("/dev/zero")).message == "/dev/zero is a device, not a book."


def test_a_file_past_the_bound_is_refused(tmp_path: Path) -> None:
    """The bound is said in the message."""
    path = tmp_path / "dump.txt"
    path.write_bytes(b"x" * ((1 << 20) + 1))
    assert refusal(path).message == f"{path} is larger than 1 MiB, which no book is."


def test_two_gigabytes_of_one_line_are_refused_unread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The size is looked at before the content is read."""
    path = tmp_path / "line.txt"
    path.touch()
    os.truncate(path, 2 << 30)
    monkeypatch.delattr(Path, "open")
    with pytest.raises(BookError, match="larger than 256 MiB"):
        read(path)


def test_a_name_with_a_nul_is_refused() -> None:
    """A name that no file can have is an error of the book, not a traceback."""
    assert "is not a file name" in refusal(Path("bo\0ok.txt")).message


@pytest.mark.parametrize(
    ("number", "sentence"), [(errno.EACCES, "cannot be read: you have no permission"), (errno.EIO, "cannot be read: ")]
)
def test_an_unreadable_file_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, sentence: str
) -> None:
    """What the operating system refuses is said in one sentence with a hint."""

    def refuse(self: Path, mode: str) -> NoReturn:
        raise OSError(number, os.strerror(number))

    path = tmp_path / "book.txt"
    path.write_text("x")
    monkeypatch.setattr(Path, "open", refuse)
    error = refusal(path)
    assert sentence in error.message
    assert error.hint


def test_stdin_is_read_to_its_end() -> None:
    """Everything that was sent is the book."""
    assert read_stdin(io.BytesIO(b"one\ntwo")) == b"one\ntwo"


def test_an_empty_stdin_is_refused() -> None:
    """Nothing that was sent is no book."""
    with pytest.raises(BookError, match="Nothing came through stdin"):
        read_stdin(io.BytesIO())


def test_an_endless_stdin_is_refused() -> None:
    """No more is read than the bound and one byte."""
    stream = io.BytesIO(b"x" * (3 << 20))
    with pytest.raises(BookError, match="stdin is larger than 1 MiB"):
        read_stdin(stream, max_bytes=1 << 20)
    assert stream.tell() == (1 << 20) + 1


def test_a_renamed_copy_has_the_same_fingerprint() -> None:
    """A single file is known by its bytes."""
    first, second = (Source((name,), (File(name, b"text"),)) for name in ("/a/one.txt", "/b/two.TXT"))
    assert first.fingerprint() == second.fingerprint()


@pytest.mark.parametrize(
    "other",
    [
        Source(("x",), (File("a.txt", b"text!"), File("b.txt", b"more")), "Title"),
        Source(("x",), (File("a.md", b"text"), File("b.txt", b"more")), "Title"),
        Source(("x",), (File("c.txt", b"text"), File("b.txt", b"more")), "Title"),
        Source(("x",), (File("b.txt", b"more"), File("a.txt", b"text")), "Title"),
        Source(("x",), (File("a.txt", b"textmore"), File("b.txt", b"")), "Title"),
        Source(("x",), (File("a.txt", b"text"), File("b.txt", b"more")), "Another"),
        Source(("x",), (File("a.txt", b"text"),)),
        Source(("x",), (File("a.md", b"text"),)),
    ],
)
def test_what_parsing_depends_on_changes_the_fingerprint(other: Source) -> None:
    """Bytes, names, order and title of several files each make another book."""
    book = Source(("x",), (File("a.txt", b"text"), File("b.txt", b"more")), "Title")
    assert other.fingerprint() != book.fingerprint()


@pytest.mark.parametrize(
    ("places", "words"),
    [
        (("/a/tower.txt",), "/a/tower.txt"),
        (("/a/b c.txt", "/a/d.txt"), "'/a/b c.txt' /a/d.txt"),
        (("/a/Dune: Messiah.txt",), "'/a/Dune: Messiah.txt'"),
        (("-",), "'The Tower'"),
    ],
)
def test_a_book_says_how_to_name_it_again(places: tuple[str, ...], words: str) -> None:
    """A command line gets the paths, whatever is in them, or the title of what came through stdin."""
    assert Source(places, (File("x", b"x"),)).again("The Tower") == words


def test_a_book_has_a_label_before_it_is_parsed() -> None:
    """Several files have their title, one file its name."""
    files = (File("/a/tower.txt", b"x"),)
    assert (Source(("x",), files).label, Source(("x",), files * 2, "Towers").label) == ("tower.txt", "Towers")
    assert Source(("x",), (File("/a/t\x1b[1mower\n.txt", b"x"),)).label == "t [1mower .txt"

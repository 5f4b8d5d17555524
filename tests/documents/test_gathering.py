"""Files, folders and stdin as one book."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pytest

from cagchat.documents.gathering import gather, natural
from cagchat.documents.source import Source
from cagchat.errors import BookError


def folder_of(root: Path, **files: bytes) -> Path:
    """Write files, whose names have "_" for a dot and "__" for a slash, and return their folder."""
    folder = root / "The Light"
    folder.mkdir()
    for name, content in files.items():
        path = folder / name.replace("__", "/").replace("_", ".")
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
    return folder


def names(source: Source) -> list[str]:
    return [Path(file.name).name for file in source.files]


def test_one_file_is_itself(tmp_path: Path) -> None:
    """A single file has no title of a collection, and leads back to itself."""
    path = tmp_path / "book.txt"
    path.write_bytes(b"text")
    source = gather([str(path)])
    assert (source.name, source.title, names(source), source.notes) == (str(path), "", ["book.txt"], ())


def test_a_relative_path_is_kept_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What leads back to a book does so from any folder; messages show what was typed."""
    (tmp_path / "book.txt").write_bytes(b"text")
    monkeypatch.chdir(tmp_path)
    source = gather(["book.txt"])
    assert (source.name, source.files[0].name) == (str(tmp_path / "book.txt"), "book.txt")


def test_stdin_is_a_file_called_stdin() -> None:
    """The name "-" reads what is sent."""
    source = gather(["-"], stdin=io.BytesIO(b"text"))
    assert (source.name, source.files[0].name, source.files[0].content) == ("-", "stdin", b"text")


def test_a_file_called_dash_is_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A path is never stdin."""
    (tmp_path / "-").write_bytes(b"text")
    monkeypatch.chdir(tmp_path)
    assert gather(["./-"]).files[0].content == b"text"


def test_a_folder_is_read_in_the_order_of_readers(tmp_path: Path) -> None:
    """Chapter 2 comes before chapter 10, whatever the case, and folders have their place among files."""
    folder = folder_of(
        tmp_path,
        chapter10_txt=b"ten",
        Chapter2_txt=b"two",
        chapter1_txt=b"one",
        chapter3__b_txt=b"b",
        chapter3__a_txt=b"a",
    )
    source = gather([folder])
    assert names(source) == ["chapter1.txt", "Chapter2.txt", "a.txt", "b.txt", "chapter10.txt"]
    assert source.title == "The Light"


def test_what_is_no_book_is_left_out_and_named(tmp_path: Path) -> None:
    """Pictures, styles, empty and binary files of a folder are not in the book, and a note names them."""
    folder = folder_of(
        tmp_path,
        a_txt=b"text",
        b_png=b"\x89PNG\r\n\x1a\n",
        c_css=b"p {}",
        d_txt=b"",
        e_txt=b"\0\1\2\3" * 50,
        f_mobi=b"x",
    )
    (folder / "f.mobi").write_bytes(b"\0" * 60 + b"BOOKMOBI")
    source = gather([folder])
    assert names(source) == ["a.txt"]
    assert source.notes == (
        "5 files were left out, because no book can be read from them: b.png, c.css, d.txt, e.txt, f.mobi.",
    )


def test_a_file_of_blanks_is_left_out(tmp_path: Path) -> None:
    """One empty part takes nothing from the others."""
    source = gather([folder_of(tmp_path, a_txt=b"text", b_txt=b" \n\t\n")])
    assert names(source) == ["a.txt"]
    assert source.notes == ("1 file was left out, because no book can be read from it: b.txt.",)


def test_stdin_that_is_closed_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """A shell can close it."""
    monkeypatch.setattr("sys.stdin", None)
    with pytest.raises(BookError, match="stdin is closed"):
        gather(["-"])


def test_many_names_are_not_listed(tmp_path: Path) -> None:
    """The note names five files and counts all."""
    folder = folder_of(tmp_path, a_txt=b"text", **{f"b{number}_css": b"p {}" for number in range(40)})
    (note,) = gather([folder]).notes
    assert note.startswith("40 files were left out")
    assert note.endswith("b0.css, b1.css, b2.css, b3.css, b4.css and 35 more.")


def test_hidden_files_are_not_seen(tmp_path: Path) -> None:
    """Names that begin with a dot are neither read nor mentioned."""
    folder = folder_of(tmp_path, a_txt=b"text", _hidden_txt=b"secret", _git__config=b"x")
    source = gather([folder])
    assert (names(source), source.notes) == (["a.txt"], ())


def test_linked_folders_are_not_entered(tmp_path: Path) -> None:
    """A folder that leads back into itself ends."""
    folder = folder_of(tmp_path, a_txt=b"text")
    (folder / "again").symlink_to(folder)
    assert names(gather([folder])) == ["a.txt"]


def test_a_pipe_in_a_folder_is_not_waited_for(tmp_path: Path) -> None:
    """What is no regular file is passed over."""
    folder = folder_of(tmp_path, a_txt=b"text")
    os.mkfifo(folder / "b.txt")
    assert names(gather([folder])) == ["a.txt"]


def test_a_folder_without_a_book_is_refused(tmp_path: Path) -> None:
    """The hint lists what can be opened."""
    with pytest.raises(BookError, match="is a folder without a book in it") as caught:
        gather([folder_of(tmp_path, a_png=b"\x89PNG\r\n\x1a\n")])
    assert ".epub" in caught.value.hint


def test_a_home_is_no_book(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Too many files are refused before any is read."""
    monkeypatch.setattr("cagchat.documents.gathering.MAX_FILES", 3)
    with pytest.raises(BookError, match="holds more than 3 files"):
        gather([folder_of(tmp_path, a_txt=b"1", b_txt=b"2", c_txt=b"3", d_txt=b"4")])


@pytest.mark.parametrize("apart", [False, True])
def test_files_are_bounded_together(apart: bool, tmp_path: Path) -> None:
    """The bound is on the whole book, not on each file of it."""
    folder = folder_of(tmp_path, a_txt=b"x" * (1 << 20), b_txt=b"y")
    given = sorted(folder.iterdir()) if apart else [folder]
    with pytest.raises(BookError, match="larger than 1 MiB"):
        gather(given, max_bytes=1 << 20)


def test_a_named_file_is_not_left_out(tmp_path: Path) -> None:
    """What is missing among several files is an error."""
    (tmp_path / "a.txt").write_bytes(b"text")
    with pytest.raises(BookError, match="There is no file"):
        gather([tmp_path / "a.txt", tmp_path / "b.txt"])


@pytest.mark.parametrize(
    ("files", "title"),
    [
        (("moby-dick-1.txt", "moby-dick-2.txt"), "Moby Dick"),
        (("Tower (part 1).txt", "Tower (part 2).txt"), "Tower"),
        (("storm.txt", "story.txt"), "Storm and 1 more"),
        (("part1.txt", "part2.txt"), "Part1 and 1 more"),
        (("a.txt", "b.txt", "c.txt"), "A and 2 more"),
    ],
)
def test_several_files_are_called_by_what_their_names_share(files: tuple[str, ...], title: str, tmp_path: Path) -> None:
    """The title is the words that all names begin with, without the words and numbers that count."""
    paths = [tmp_path / name for name in files]
    for path in paths:
        path.write_bytes(path.name.encode())
    source = gather(paths)
    assert source.title == title
    assert source.name == os.pathsep.join(map(str, paths))


@pytest.mark.parametrize(
    ("before", "after"), [("2", "10"), ("a2b", "a10a"), ("Part 9", "part 10"), ("1", "a"), ("", "a"), ("a", "a1")]
)
def test_natural_order(before: str, after: str) -> None:
    """Numbers inside names are compared as numbers, letters without their case."""
    assert natural(before) < natural(after)


@pytest.mark.parametrize("name", ["", "  "])
def test_an_empty_name_is_not_the_present_folder(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that is empty or blank is refused, whatever lies in the folder where the program was started."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notes.txt").write_text("Private notes.")
    with pytest.raises(BookError, match="empty name"):
        gather([name])


@pytest.mark.parametrize("name", ["x" * 300, f"{'x' * 300}/book.txt", "x/" * 3000])
def test_a_name_longer_than_files_have_is_a_missing_file(name: str) -> None:
    """What the system refuses to look for is said to be missing."""
    with pytest.raises(BookError, match="There is no file") as caught:
        gather([name])
    assert caught.value.hint

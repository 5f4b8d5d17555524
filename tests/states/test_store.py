"""The folders of saved states: named, found, set aside, deleted, counted."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from array import array
from collections import namedtuple
from dataclasses import replace
from pathlib import Path

import pytest
from filelock import FileLock
from hypothesis import given
from hypothesis import strategies as st

from cagchat.errors import StateDamaged, StateError, StorageError, UsageError
from cagchat.states.store import ASIDE, DELETING, SLUG_LENGTH, StateFolder, States, digest_of, fold, slug, token_bytes
from tests.states.test_manifest import BEGUN

TOKENS = array("i", [1, -1, 258, 2**31 - 1])


@pytest.fixture
def states(tmp_path: Path) -> States:
    return States(tmp_path / "states")


def saved(states: States, title: str, path: str = "", identity: str = "") -> StateFolder:
    """Make a state folder for a book as a reading would."""
    folder = states.folder(title, identity or title)
    folder.create("The text.", TOKENS)
    folder.write_manifest(replace(BEGUN, book=replace(BEGUN.book, title=title, path=path)))
    return folder


# -- naming ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("title", "name"),
    [
        ("The Ferry to Aldermouth", "the-ferry-to-aldermouth"),
        ("Fährmann, Élan & Co.", "fahrmann-elan-co"),
        ("../../etc/passwd", "etc-passwd"),
        ("好书", "book"),
        ("", "book"),
        ("x" * 100, "x" * SLUG_LENGTH),
        ("y" * (SLUG_LENGTH - 1) + " z", "y" * (SLUG_LENGTH - 1)),
    ],
)
def test_titles_become_folder_names(title: str, name: str) -> None:
    """A title becomes ASCII letters, digits and dashes, and never nothing."""
    assert slug(title) == name


@given(st.text())
def test_any_title_becomes_a_safe_name(title: str) -> None:
    """No title makes a name that leaves the folder, hides, or looks like one that was set aside."""
    name = slug(title)
    assert name
    assert len(name) <= SLUG_LENGTH
    assert set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")


def test_identity_tells_folders_apart(states: States) -> None:
    """The same title with another identity is another folder; the same identity is the same one."""
    one, other = states.folder("A Book", "model 1"), states.folder("A Book", "model 2")
    assert one != other
    assert one == states.folder("A Book", "model 1")
    assert one.path.parent == states.root


@given(st.text(max_size=30))
def test_folding_twice_is_folding_once(text: str) -> None:
    """A folded text is its own folded form."""
    assert fold(fold(text)) == fold(text)


# -- contents ----------------------------------------------------------------------------------------------------------


def test_text_and_tokens_come_back(states: States) -> None:
    """A folder gives back the text and the token ids that it was made with."""
    folder = states.folder("A Book", "x")
    folder.create("Zeile 1\nZeile 2 — 好\n", TOKENS)
    assert folder.text() == "Zeile 1\nZeile 2 — 好\n"
    assert folder.tokens() == TOKENS


def test_a_folder_exists_with_its_manifest(states: States) -> None:
    """Text and tokens alone, from a process that died there, are not a state yet."""
    folder = states.folder("A Book", "x")
    folder.create("Text.", TOKENS)
    assert not folder.exists()
    folder.write_manifest(BEGUN)
    assert folder.exists()
    assert folder.manifest() == BEGUN


def test_everything_in_it_is_private(states: States) -> None:
    """Folders and files are their owner's only, whatever the umask."""
    before = os.umask(0)
    try:
        folder = saved(states, "A Book")
        folder.touch(0.0)
    finally:
        os.umask(before)
    assert {path.stat().st_mode & 0o777 for path in (states.root, folder.path)} == {0o700}
    assert {path.stat().st_mode & 0o777 for path in folder.path.iterdir()} == {0o600}


def test_tokens_are_little_endian() -> None:
    """Token ids are 32-bit little-endian integers on disk."""
    assert token_bytes(array("i", [1, -2])) == b"\x01\0\0\0\xfe\xff\xff\xff"


def test_tokens_are_the_same_on_another_processor(states: States, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a big-endian machine bytes are swapped both ways, and the caller's tokens stay as they are."""
    monkeypatch.setattr(sys, "byteorder", "big")
    tokens = array("i", [1])
    folder = states.folder("A Book", "x")
    folder.create("Text.", tokens)
    assert folder.tokens_path.read_bytes() == b"\0\0\0\x01"
    assert folder.tokens() == tokens == array("i", [1])


def test_digests_tell_tokens_apart() -> None:
    """Other ids, another order and another length are another digest."""
    lists: tuple[list[int], ...] = ([1, 2], [2, 1], [1, 2, 0], [1], [])
    assert len({digest_of(array("i", ids)) for ids in lists}) == len(lists)


def test_cut_tokens_are_damaged(states: States) -> None:
    """A token file that ends within a number, or is missing, is `StateDamaged`."""
    folder = saved(states, "A Book")
    folder.tokens_path.write_bytes(token_bytes(TOKENS)[:-1])
    with pytest.raises(StateDamaged, match="cut short"):
        folder.tokens()
    folder.tokens_path.unlink()
    with pytest.raises(StateDamaged, match="cannot be read"):
        folder.tokens()


@pytest.mark.parametrize("content", [None, b"\xff\xfe"])
def test_unreadable_text_is_damaged(states: States, content: bytes | None) -> None:
    """A book text that is missing or not UTF-8 is `StateDamaged`."""
    folder = saved(states, "A Book")
    folder.book_path.unlink()
    if content is not None:
        folder.book_path.write_bytes(content)
    with pytest.raises(StateDamaged, match=r"book\.txt"):
        folder.text()


def test_size_counts_every_file(states: States) -> None:
    """A folder's size is the sum of its files."""
    folder = saved(states, "A Book")
    before = folder.size_bytes()
    (folder.path / "state-1.bin").write_bytes(bytes(1000))
    assert folder.size_bytes() == before + 1000


def test_a_folder_that_is_gone_has_no_size(states: States) -> None:
    """A folder that another process deleted takes nothing and was never used."""
    folder = states.folder("A Book", "x")
    assert folder.size_bytes() == 0
    assert folder.used_at() == 0


def test_superseded_files_are_dropped(states: States) -> None:
    """State files that are not kept are deleted; everything else in the folder stays."""
    folder = saved(states, "A Book")
    names = ["state-9.bin", "checkpoint-5.bin", "boundary-3.bin", "boundary-4.bin", "notes.bin", "state-9.damaged"]
    for name in names:
        (folder.path / name).touch()
    folder.drop_files({"state-9.bin", "boundary-4.bin"})
    left = {path.name for path in folder.path.iterdir()}
    assert left == {"manifest.json", "book.txt", "tokens.bin", "state-9.bin", "boundary-4.bin"} | set(names[4:])


def test_files_of_dead_writers_are_dropped(states: States) -> None:
    """What a process that died was writing is deleted; what a running one writes is not."""
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    folder = saved(states, "A Book")
    dead = folder.path / f"state-9.bin.{child.pid}.partial"
    running = folder.path / f"state-9.bin.{os.getpid()}.partial"
    dead.touch()
    running.touch()
    folder.drop_files(set())
    assert (dead.exists(), running.exists()) == (False, True)


# -- listing and finding -----------------------------------------------------------------------------------------------


def test_nothing_is_listed_before_the_first_book(states: States) -> None:
    """A library that does not exist yet is empty."""
    assert states.all() == states.aside() == []


def test_the_last_used_is_listed_first(states: States) -> None:
    """States are in the order of their use."""
    folders = [saved(states, title) for title in ("One", "Two", "Three")]
    for folder, used in zip(folders, (20.0, 30.0, 10.0), strict=True):
        folder.touch(0.0)
        os.utime(folder.path / "used", (used, used))
    assert [folder.name for folder in states.all()] == [folders[i].name for i in (1, 0, 2)]


@pytest.mark.parametrize("now", [0.0, 1000.0, 1000.0 - 86400])
def test_the_order_of_use_does_not_hang_on_the_clock(states: States, now: float) -> None:
    """What is used while the clock stands still, or after it was put back, counts as used last all the same."""
    folders = [saved(states, title) for title in ("One", "Two", "Three")]
    for folder in (*folders, folders[0]):
        states.touch(folder, 1000.0)
    for folder in (folders[1], folders[2]):
        states.touch(folder, now)
        assert states.all()[0] == folder
    assert [folder.name for folder in states.all()] == [folders[i].name for i in (2, 1, 0)]


def test_only_state_folders_are_listed(states: States) -> None:
    """Locks, folders set aside and folders being deleted are not states."""
    folder = saved(states, "A Book")
    folder.lock_path.touch()
    (states.root / f"{DELETING}x").mkdir()
    (states.root / f"other{ASIDE}1").mkdir()
    assert states.all() == [folder]
    assert [found.name for found in states.aside()] == [f"other{ASIDE}1"]


@pytest.mark.parametrize(
    "name",
    ["The Ferry to Aldermouth", "the ferry to ALDERMOUTH", "The  Ferry to Aldermouth ", "The Ferry", "the fer", "Thé F"]
    + ["the-ferry", "/books/ferry.txt"],
)
def test_a_book_is_found(states: States, name: str) -> None:
    """Title, its beginning in any case, folder name or path find the one book that they mean."""
    folder = saved(states, "The Ferry to Aldermouth", "/books/ferry.txt")
    saved(states, "Another Book", "/books/another.txt")
    assert states.find(name) == folder
    assert states.find(folder.name) == folder


def test_a_relative_path_is_found(states: States, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A path is taken from where the program was started."""
    monkeypatch.chdir(tmp_path)
    folder = saved(states, "A Book", str(tmp_path / "a.txt"))
    assert states.find("a.txt") == folder


def test_a_whole_title_wins_over_a_beginning(states: States) -> None:
    """A title that another one begins with can still be named."""
    short, _ = saved(states, "Ferry"), saved(states, "Ferry Tales")
    assert states.find("ferry") == short


def test_several_books_are_listed(states: States) -> None:
    """A name that fits several is refused with the names that are unique."""
    folders = [saved(states, "A Book", identity=identity) for identity in ("one", "two")]
    with pytest.raises(StateError, match="could be several") as caught:
        states.find("A Book")
    assert all(folder.name in caught.value.message for folder in folders)


@pytest.mark.parametrize("name", ["Moonlight", "~no-such-user/book.txt", "/nowhere/book.txt"])
def test_an_unknown_book_is_said(states: States, name: str) -> None:
    """A name that fits none is refused with a command that lists what there is, or reads one."""
    with pytest.raises(StateError, match=name) as caught:
        states.find(name)
    assert "cagchat read" in caught.value.hint
    saved(states, "A Book")
    with pytest.raises(StateError, match=name) as caught:
        states.find(name)
    assert "cagchat library" in caught.value.hint


@pytest.mark.parametrize("name", ["", " ", "\t\n", "\u0301"])
def test_an_empty_name_means_no_book(states: States, name: str) -> None:
    """What every name begins with names nothing, also where there is one book only."""
    saved(states, "A Book")
    for find in (states.find, states.find_book):
        with pytest.raises(StateError, match="empty name"):
            find(name)


def test_states_of_one_text_are_one_book(states: States) -> None:
    """A book that was read in two ways is one book, for which its last used state stands; a name of neither is none."""
    older, newer = (saved(states, "A Book", identity=identity) for identity in ("one", "two"))
    for used_at, folder in enumerate((older, newer), start=1):
        folder.touch(used_at)
    assert states.find_book("a b") == newer
    assert states.find_book(older.name) == older
    assert states.find_book("Another") is None


def test_two_books_of_one_title_are_not_one(states: States) -> None:
    """Of different texts none is taken for the other."""
    saved(states, "A Book")
    other = saved(states, "A Book", identity="two")
    other.write_manifest(replace(other.manifest(), book=replace(other.manifest().book, digest="another")))
    with pytest.raises(StateError, match="could be several"):
        states.find_book("A Book")


def test_a_damaged_state_stands_for_no_book_but_its_own(states: States) -> None:
    """A state whose manifest cannot be read is passed over where another is sound, and found where it is alone."""
    sound, damaged = saved(states, "A Book", identity="one"), saved(states, "A Book", identity="two")
    damaged.manifest_path.write_bytes(b"damaged")
    assert states.find_book("a-book") == sound
    assert states.find_book(damaged.name) == damaged


def test_a_damaged_state_is_found_by_its_folder(states: States) -> None:
    """A state whose manifest cannot be read has no title, but can be named to delete it."""
    folder = saved(states, "A Book")
    folder.manifest_path.write_bytes(b"damaged")
    assert states.find(folder.name) == folder


# -- setting aside and deleting ----------------------------------------------------------------------------------------


def test_nothing_is_lost_when_set_aside(states: States) -> None:
    """A folder that is set aside keeps its files under another name, with the reason; each time another one."""
    targets = []
    for _ in range(2):
        folder = saved(states, "A Book")
        targets.append(folder.set_aside("It was damaged."))
    assert not folder.path.exists()
    assert len(set(targets)) == 2
    for target in targets:
        assert (target / "reason.txt").read_text() == "It was damaged.\n"
        assert (target / "manifest.json").exists()
    assert [found.path for found in states.aside()] == targets
    assert states.all() == []


def test_reason_comes_before_the_new_name(states: States, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that is killed while it sets a folder aside leaves none aside whose reason nobody knows."""
    folder = saved(states, "A Book")

    def die(*arguments: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(Path, "rename", die)
        folder.set_aside("It was damaged.")
    assert (folder.path / "reason.txt").read_text() == "It was damaged.\n"


def test_setting_aside_what_is_gone_is_said(states: States) -> None:
    """A folder that cannot be renamed is a `StorageError`."""
    with pytest.raises(StorageError):
        states.folder("A Book", "x").set_aside("reason")


def test_deleting_deletes_everything(states: States) -> None:
    """A deleted state leaves no file behind, not even its lock, and says how many bytes that freed."""
    folder = saved(states, "A Book")
    size = folder.size_bytes()
    assert states.delete(folder) == size
    assert list(states.root.iterdir()) == []


def test_deleting_deletes_the_number_of_a_dead_reader(states: States) -> None:
    """What a reader that was killed has written beside its lock goes too."""
    folder = saved(states, "A Book")
    folder.holder_path.write_text("99999999")
    states.delete(folder)
    assert list(states.root.iterdir()) == []


def test_a_book_that_is_being_read_is_not_deleted(states: States) -> None:
    """While another process holds the lock nothing is deleted, and the command says so."""
    folder = saved(states, "A Book")
    with FileLock(folder.lock_path), pytest.raises(UsageError, match="another process"):
        states.delete(folder)
    assert folder.exists()
    states.delete(folder)
    assert not folder.exists()


def test_deleting_what_is_gone_is_said(states: States) -> None:
    """A folder that another process deleted is an error that says so; the other's lock and files stay as they are."""
    states.root.mkdir()
    with pytest.raises(StateError, match="was deleted by another process"):
        states.delete(states.folder("A Book", "x"))


def test_what_cannot_be_deleted_is_said(states: States, monkeypatch: pytest.MonkeyPatch) -> None:
    """A deletion of which a file stays is a `StorageError`, and it is finished when files can be deleted again."""
    folder = saved(states, "A Book")
    with monkeypatch.context() as patch:
        patch.setattr(os, "unlink", refuse)
        with pytest.raises(StorageError):
            states.delete(folder)
    states.finish_deleting()
    # What the check of locks could not delete is a leftover once this process has ended.
    assert {path.suffix for path in states.root.iterdir()} == {".lock", ".partial"}


def test_a_lock_that_cannot_be_made_is_said(states: States, monkeypatch: pytest.MonkeyPatch) -> None:
    """Deleting where no lock can be made is a `StorageError`, and everything stays."""
    folder = saved(states, "A Book")
    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(StorageError, match="cannot be written"):
        states.delete(folder)
    assert folder.exists()


def refuse(*arguments: object, **options: object) -> None:
    """Refuse as a file system does that cannot be written."""
    raise OSError(errno.EROFS, os.strerror(errno.EROFS))


def test_a_folder_that_cannot_be_listed_is_said(states: States, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the system does not list the states, that is a `StorageError` with their folder."""
    saved(states, "A Book")
    monkeypatch.setattr(os, "listdir", refuse)
    with pytest.raises(StorageError, match="cannot be read"):
        states.all()


def test_an_old_file_that_stays_harms_nobody(states: States, monkeypatch: pytest.MonkeyPatch) -> None:
    """State files that cannot be deleted now are left for the next time."""
    folder = saved(states, "A Book")
    (folder.path / "checkpoint-12.bin").touch()
    with monkeypatch.context() as patch:
        patch.setattr(os, "unlink", refuse)
        folder.drop_files(set())
    assert (folder.path / "checkpoint-12.bin").exists()
    folder.drop_files(set())
    assert not (folder.path / "checkpoint-12.bin").exists()


def test_a_state_without_its_manifest_is_not_nothing(states: States) -> None:
    """A folder that lost its manifest but holds a state exists: it has to be set aside, not written over."""
    folder = saved(states, "A Book")
    folder.manifest_path.unlink()
    assert not folder.exists()
    (folder.path / "state-12.bin").touch()
    assert folder.exists()


@pytest.mark.parametrize(
    ("tokens", "words"),
    [([1, -1, 258], "holds 3 tokens where 4 were written"), ([1, -1, 259, 7], "its token ids are not")],
)
def test_other_tokens_are_damage(states: States, tokens: list[int], words: str) -> None:
    """Token ids are compared with the manifest's count and digest: a difference in either is damage."""
    folder = saved(states, "A Book")
    manifest = replace(BEGUN, key=replace(BEGUN.key, token_ids=digest_of(TOKENS), n_tokens=len(TOKENS)))
    assert folder.checked_tokens(manifest) == TOKENS
    folder.tokens_path.write_bytes(token_bytes(array("i", tokens)))
    with pytest.raises(StateDamaged, match=f"{folder.tokens_path}.*{words}"):
        folder.checked_tokens(manifest)


def test_an_interrupted_deletion_is_finished(states: States) -> None:
    """What a killed process was deleting is deleted the next time."""
    folder = saved(states, "A Book")
    folder.path.rename(states.root / f"{DELETING}{folder.name}")
    states.finish_deleting()
    assert list(states.root.iterdir()) == []


def test_an_interrupted_deletion_does_not_stop_the_next(states: States) -> None:
    """A book that was read again after its deletion was interrupted can be deleted again."""
    folder = saved(states, "A Book")
    folder.path.rename(states.root / f"{DELETING}{folder.name}")
    states.delete(saved(states, "A Book"))
    assert list(states.root.iterdir()) == []


def test_free_space_is_the_disks(states: States, monkeypatch: pytest.MonkeyPatch) -> None:
    """The free bytes are those of the disk under the states, which are made for it if need be."""
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10, 3, 7))
    assert states.free_bytes() == 7
    assert states.root.is_dir()

"""What is remembered of a book's files: found again by their bytes, never believed when it changed, and forgotten."""

from __future__ import annotations

from pathlib import Path

import pytest

from cagchat.documents import Source, gather
from cagchat.identities import Identities, Identity
from cagchat.locations import Locations
from tests.reading_cases import locations, write_book

LAMP, TOWER = Identity("The Lamp", "aa" * 32), Identity("The Tower", "bb" * 32)


@pytest.fixture
def identities(tmp_path: Path) -> Identities:
    return Identities.under(locations(tmp_path / "home"))


@pytest.fixture
def source(tmp_path: Path) -> Source:
    return gather([write_book(tmp_path, "One.")])


@pytest.fixture
def other(tmp_path: Path) -> Source:
    return gather([write_book(tmp_path, "Two.", "other.txt")])


def test_found_by_the_bytes(identities: Identities, source: Source, other: Source, tmp_path: Path) -> None:
    """A copy of the file under another name is the same book; other bytes are not known."""
    assert identities.find(source) is None
    identities.keep(source, LAMP)
    assert identities.find(gather([write_book(tmp_path, "One.", "copy.txt")])) == LAMP
    assert identities.find(other) is None


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b'{"title": "The Lamp"}', b"[" * 100_000, b"\xff"])
def test_damage_is_not_known(identities: Identities, source: Source, content: bytes) -> None:
    """What cannot be read, or lacks a part, counts as not there, and `keep` mends it."""
    identities.keep(source, LAMP)
    (sheet,) = identities.folder.iterdir()
    sheet.write_bytes(content)
    assert identities.find(source) is None
    identities.keep(source, LAMP)
    assert identities.find(source) == LAMP


def test_forgetting(identities: Identities, source: Source, other: Source) -> None:
    """Only what is named stays; what cannot be read goes too."""
    identities.keep(source, LAMP)
    identities.keep(other, TOWER)
    (identities.folder / "damaged-1.json").write_bytes(b"{")
    identities.keep_only({TOWER.digest, "cc"})
    assert (identities.find(source), identities.find(other)) == (None, TOWER)
    assert len(list(identities.folder.iterdir())) == 1


def test_forgetting_where_nothing_is(identities: Identities) -> None:
    """Without a folder there is nothing to forget, and none is made."""
    identities.keep_only(set())
    assert not identities.folder.exists()


def test_a_disk_that_takes_nothing(source: Source, tmp_path: Path) -> None:
    """Where the cache folder cannot be made, nothing is remembered, and nothing fails."""
    (tmp_path / "cache").write_text("in the way")
    identities = Identities.under(Locations(tmp_path, tmp_path, tmp_path / "cache"))
    identities.keep(source, LAMP)
    assert identities.find(source) is None
    identities.keep_only(set())

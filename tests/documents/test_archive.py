"""Reading ZIP archives: what comes out, and what is refused before it comes out."""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Mapping
from random import Random

import pytest

from cagchat.documents.archive import Archive, Limits
from cagchat.errors import BookError


def packed(members: Mapping[str, bytes | str], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """Return a ZIP archive of these members."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as file:
        for name, content in members.items():
            file.writestr(name, content)
    return buffer.getvalue()


def test_members_come_out_as_they_went_in() -> None:
    """Packed and stored members are read whole, folders are no members."""
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        archive = Archive(packed({"a/": b"", "a/b.txt": b"one", "c.txt": bytes(3_000_000)}, method), "x.zip")
        assert archive.names == ("a/b.txt", "c.txt")
        assert (archive.read("a/b.txt"), len(archive.read("c.txt"))) == (b"one", 3_000_000)


@pytest.mark.parametrize("asked", ["OPS/Caf\u00e9.xhtml", "ops/cafe\u0301.XHTML", "/OPS/Caf\u00e9.xhtml"])
def test_names_are_found_in_another_spelling(asked: str) -> None:
    """Case, Unicode form, backslashes and leading slashes make no difference."""
    assert Archive(packed({"./OPS\\Cafe\u0301.xhtml": b"x"}), "x.zip").read(asked) == b"x"


def test_an_exact_name_is_preferred() -> None:
    """Names that differ in case only stay apart."""
    archive = Archive(packed({"A.txt": b"upper", "a.txt": b"lower"}), "x.zip")
    assert (archive.read("A.txt"), archive.read("a.txt")) == (b"upper", b"lower")


def test_of_two_members_with_one_name_the_later_counts() -> None:
    """Duplicates are no error."""
    with pytest.warns(UserWarning, match="Duplicate name"):
        content = packed_twice("a.txt", b"old", b"new")
    assert Archive(content, "x.zip").read("a.txt") == b"new"


def packed_twice(name: str, first: bytes, second: bytes) -> bytes:
    """Return an archive in which a name stands twice."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr(name, first)
        file.writestr(name, second)
    return buffer.getvalue()


def test_names_that_lead_outside_are_only_names() -> None:
    """A traversal name is a key like any other: the file it points to is not there."""
    archive = Archive(packed({"../../etc/passwd": b"inside"}), "x.zip")
    assert archive.read("../../etc/passwd") == b"inside"
    assert archive.find("/etc/passwd") is None


def test_a_member_past_its_size_is_refused_before_it_is_unpacked() -> None:
    """The declared size is believed when it is too large."""
    archive = Archive(packed({"a": bytes(2 << 20)}), "x.zip", Limits(member_bytes=1 << 20))
    with pytest.raises(BookError, match="a of 2 MiB"):
        archive.read("a")


def test_a_bomb_is_refused_by_its_ratio() -> None:
    """Zeros that shrink a thousandfold are no text."""
    with pytest.raises(BookError, match="200 times"):
        Archive(packed({"a": bytes(20 << 20)}), "x.zip").read("a")


def test_a_declared_size_that_is_too_small_is_found_out() -> None:
    """A member that is larger than declared does not come out at all."""
    content = packed({"a": bytes(range(256)) * 4000})
    size = struct.pack("<L", 1_024_000)
    assert content.count(size) == 2
    with pytest.raises(BookError, match="cannot be unpacked"):
        Archive(content.replace(size, struct.pack("<L", 10)), "x.zip").read("a")


def test_all_that_is_unpacked_counts_together() -> None:
    """Many members of an allowed size are stopped as well as one that is too large."""
    members = {str(index): bytes(1 << 20) for index in range(5)}
    archive = Archive(packed(members), "x.zip", Limits(total_bytes=3 << 20))
    with pytest.raises(BookError, match="more than 3 MiB"):
        for name in members:
            archive.read(name)


def test_too_many_members_are_refused_before_they_are_listed() -> None:
    """The number of entries is counted in the bytes."""
    content = packed({str(index): b"" for index in range(30)})
    with pytest.raises(BookError, match="30 files"):
        Archive(content, "x.zip", Limits(members=29))


def test_encrypted_members_are_refused_by_name() -> None:
    """A ZIP password is named as the reason."""
    content = bytearray(packed({"secret.txt": b"x"}))
    content[6] |= 1
    content[content.index(b"PK\x01\x02") + 8] |= 1
    with pytest.raises(BookError, match=r"locked: secret\.txt"):
        Archive(bytes(content), "x.zip").read("secret.txt")


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_compressions_are_refused(method: int) -> None:
    """Only what book formats allow is unpacked: the others have no bound on what one read returns."""
    with pytest.raises(BookError, match="method"):
        Archive(packed({"a": b"x" * 1000}, method), "x.zip").read("a")


def test_a_member_without_a_name_is_no_trap() -> None:
    """A name of no characters is a name: fuzzing found that the standard library stumbles over it."""
    content = bytearray(packed({"a": b"x", "b": b"y"}))
    entry = content.index(b"PK\x01\x02")
    del content[entry + 46]
    content[entry + 28] = 0
    end = content.index(b"PK\x05\x06")
    content[end + 12] -= 1
    assert Archive(bytes(content), "x.zip").names == ("", "b")


def test_a_missing_member_is_named() -> None:
    """The message says what is missing from what."""
    with pytest.raises(BookError, match=r"x\.zip is not complete: b is missing"):
        Archive(packed({"a": b""}), "x.zip").read("b")


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"PK\x05\x06" + bytes(18 * 3), b"no archive at all"])
def test_what_is_no_archive_is_refused(content: bytes) -> None:
    """Anything without a table of contents is damaged, or holds nothing."""
    with pytest.raises(BookError):
        Archive(content, "x.zip").read("a")


def test_damage_is_one_error_or_none() -> None:
    """Four thousand archives with bytes changed, cut out or doubled are read or refused, and never crash."""
    random = Random(5)
    good = packed({"a.txt": b"one two three " * 20, "b/c.txt": b"four"}) + packed({"d": b"x"}, zipfile.ZIP_STORED)
    outcomes = {"read": 0, "refused": 0}
    for _ in range(4000):
        try:
            archive = Archive(damaged(good, random), "x.zip")
            for name in archive.names:
                archive.read(name)
        except BookError:
            outcomes["refused"] += 1
        else:
            outcomes["read"] += 1
    print(outcomes)
    assert min(outcomes.values()) > 100


def damaged(content: bytes, random: Random) -> bytes:
    """Return the bytes with one to four changes."""
    damaged = bytearray(content)
    for _ in range(random.randint(1, 4)):
        place = random.randrange(len(damaged))
        match random.randrange(4):
            case 0:
                damaged[place] = random.randrange(256)
            case 1:
                del damaged[place : place + random.randint(1, 8)]
            case 2:
                damaged[place:place] = damaged[place : place + random.randint(1, 8)]
            case _:
                damaged[place] ^= 1 << random.randrange(8)
    return bytes(damaged)

"""The checksums of chats: written with every change, missed by no flipped bit, and what is sound goes on."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cagchat.sessions.schema import FIRST, migrate, open_database
from cagchat.sessions.seals import count_broken, numbered, seal_of, teach
from cagchat.sessions.store import Sessions

ANSWER = "Old Perrin kept it under a loose board."


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "sessions.sqlite"


def chat_of(path: Path, answers: int = 3) -> str:
    """Make a chat in which each answer names its number; return its id."""
    with Sessions(path) as sessions:
        chat = sessions.create(book_digest="d", book_title="Lanterns", book_path="/lanterns.txt", model="m").id
        for number in range(1, answers + 1):
            sessions.begin_turn(chat, f"Question {number}?")
            sessions.update_answer(chat, number, "Old", "")
            sessions.finish_turn(
                chat, number, answer=f"{number}. {ANSWER}", thinking="", tokens=[number], status="done", proof={}
            )
        return chat


def replace_in(path: Path, old: bytes, new: bytes) -> None:
    """Change bytes of a file."""
    content = path.read_bytes()
    assert old in content
    path.write_bytes(content.replace(old, new))


def test_every_change_is_sealed(path: Path) -> None:
    """After a chat grew, was renamed and asked again in part, every row has the checksum of what it holds."""
    chat = chat_of(path)
    with Sessions(path) as sessions:
        sessions.rename(chat, "Under the board")
        sessions.begin_turn(chat, "Another question?", instead_of=2)
    connection = open_database(path).connection
    assert count_broken(connection) == 0
    connection.close()


def test_a_deleted_chat_leaves_no_seal(path: Path) -> None:
    """A chat that is deleted takes its checksums along."""
    chat = chat_of(path)
    with Sessions(path) as sessions:
        sessions.delete(chat)
    connection = open_database(path).connection
    assert connection.execute("SELECT table_name FROM seals").fetchall() == [("sqlite_schema",)]
    connection.close()


@pytest.mark.parametrize(
    ("old", "new"), [(b"2. Old Perrin", b"2. Old Perron"), (b"2. Old Perrin", b"2. Old Perr\xe9n"), (b"{}", b"{]")]
)
def test_a_changed_answer_is_set_aside(path: Path, old: bytes, new: bytes) -> None:
    """A changed byte of a turn is found on opening; the file is kept as it is and said to be damaged."""
    chat_of(path)
    replace_in(path, old, new)
    harmed = path.read_bytes()
    with Sessions(path) as sessions:
        assert "damaged" in sessions.notice
        assert str(path) in sessions.notice
    assert path.with_name("sessions.sqlite.damaged-1").read_bytes() == harmed


def test_what_is_sound_goes_on(path: Path) -> None:
    """Sound turns go over into the new file, numbered without a gap, and the chat can be continued."""
    chat = chat_of(path)
    replace_in(path, b"2. Old Perrin", b"2. Old Perron")
    with Sessions(path) as sessions:
        assert "went over into it: 2." in sessions.notice
        assert [(turn.number, turn.answer[:2], list(turn.tokens)) for turn in sessions.turns(chat)] == [
            (1, "1.", [1]),
            (2, "3.", [3]),
        ]
        assert sessions.begin_turn(chat, "And then?") == 3
    with Sessions(path) as sessions:
        assert sessions.notice == ""


def test_a_lost_row_is_missed(path: Path) -> None:
    """A turn that is not there any more, though nobody deleted it, counts as damage."""
    chat_of(path)
    connection = sqlite3.connect(path)
    (trigger,) = connection.execute("SELECT sql FROM sqlite_schema WHERE name = 'turns_deleted_seal'").fetchone()
    connection.execute("DROP TRIGGER turns_deleted_seal")
    connection.execute("DELETE FROM turns WHERE number = 2")
    connection.execute(trigger)
    connection.commit()
    assert count_broken_in(connection) == 1
    connection.close()


def count_broken_in(connection: sqlite3.Connection) -> int:
    """Count on a connection that was not opened by the program."""
    teach(connection)
    return count_broken(connection)


class Meddled(sqlite3.Connection):
    """A connection that waits, once it has begun to read turns, until another one has written a turn."""

    meddle: Callable[[], object] | None = None

    def execute(self, sql: str, *values: Any) -> sqlite3.Cursor:
        cursor = super().execute(sql, *values)
        if "FROM turns" in sql and self.meddle is not None:
            meddle, self.meddle = self.meddle, None
            meddle()
        return cursor


def test_what_is_written_meanwhile_is_no_damage(path: Path) -> None:
    """A turn that another process writes while rows are compared with their checksums is not taken for damage."""
    chat = chat_of(path)
    with Sessions(path) as sessions:
        connection = sqlite3.connect(path, isolation_level=None, factory=Meddled)
        connection.meddle = lambda: sessions.begin_turn(chat, "And now?")
        assert count_broken_in(connection) == 0
        assert connection.meddle is None
        assert len(sessions.turns(chat)) == 4
        connection.close()


def test_a_damaged_index_is_built_anew(path: Path) -> None:
    """When the index that searches chats is damaged, all turns go over into a file that finds them."""
    chat = chat_of(path)
    connection = sqlite3.connect(path)
    connection.execute("UPDATE search_data SET block = x'00' WHERE id > 10")
    connection.commit()
    connection.close()
    with Sessions(path) as sessions:
        assert "went over into it: 3." in sessions.notice
        assert {hit.turn_number for hit in sessions.search("board")} == {1, 2, 3}
        assert len(sessions.turns(chat)) == 3


def test_a_damaged_trigger_is_found(path: Path) -> None:
    """A changed byte in a trigger, which only a later write would meet, is found on opening, and no turn is lost."""
    chat = chat_of(path)
    replace_in(path, b"WHERE row = new.row", b"WHERE rov = new.row")
    with Sessions(path) as sessions:
        assert "went over into it: 3." in sessions.notice
        answered = sessions.begin_turn(chat, "And then?")
        assert answered == 4


def test_a_schema_that_says_nothing_is_set_aside(path: Path) -> None:
    """A schema that SQLite cannot even quote in its message is damage like any other."""
    chat_of(path)
    replace_in(path, b"question TEXT NOT NULL", b"question TEXT N\xccT NULL")
    with Sessions(path) as sessions:
        assert "malformed" in sessions.notice
        assert sessions.list() == []


def test_an_old_file_is_sealed(path: Path) -> None:
    """A database of the first version gets the checksums of what it holds, and keeps it."""
    connection = sqlite3.connect(path, isolation_level=None)
    migrate(connection, path, (FIRST,))
    connection.execute("INSERT INTO sessions VALUES ('a', 'Title', 0, '', '', '', '', 1.5, 2.5)")
    connection.close()
    opened = open_database(path)
    assert opened.notice == ""
    assert count_broken(opened.connection) == 0
    assert opened.connection.execute("SELECT title FROM sessions").fetchone() == ("Title",)
    opened.connection.close()


def test_an_empty_file_is_said(path: Path) -> None:
    """A file of no bytes where chats should be is said to be empty; one that is not there yet is no matter."""
    open_database(path).connection.close()
    path.write_bytes(b"")
    opened = open_database(path)
    opened.connection.close()
    assert "nothing in" in opened.notice


def test_values_do_not_run_together() -> None:
    """The same bytes divided otherwise, and a number for its text, have other checksums."""
    seals = {seal_of(b"ab", b"c"), seal_of(b"a", b"bc"), seal_of(b"abc"), seal_of(b"1", 2), seal_of(b"1", None)}
    assert len(seals) == 5


def test_history_keeps_its_numbers() -> None:
    """Turns that were superseded keep their numbers, current ones are counted, those of unknown chats are left out."""
    turns = [("a", 3, 1, "x"), ("a", 1, 0, "y"), ("b", 1, 1, "z"), ("a", 10, 1, "w")]
    assert numbered(turns, {"a"}) == [("a", 1, 0, "y"), ("a", 1, 1, "x"), ("a", 2, 1, "w")]

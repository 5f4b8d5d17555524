"""The database file: made private, migrated, refused when newer, set aside when damaged."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from cagchat.errors import CagchatError, SessionError, StorageError
from cagchat.sessions.refusals import refusal, sqlite_errors
from cagchat.sessions.schema import MIGRATIONS, migrate, open_database, user_version


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "sessions.sqlite"


def filled(path: Path) -> None:
    """Make a database of several pages at `path`, all of them in the file itself."""
    connection = open_database(path).connection
    values = [(f"id{n}", "t" * 900) for n in range(200)]
    connection.executemany("INSERT INTO sessions VALUES (?, ?, 0, '', '', '', '', 0.0, 0.0)", values)
    connection.close()


def test_pragmas(path: Path) -> None:
    """A new database is journaled ahead, checks foreign keys, overwrites what is deleted and has all migrations."""
    connection = open_database(path).connection
    values = [
        connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("journal_mode", "foreign_keys", "secure_delete")
    ]
    assert values == ["wal", 1, 1]
    assert user_version(connection) == len(MIGRATIONS)
    connection.close()


def test_begun_in_one_step(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that is killed while it begins the file leaves none, and the next one has nothing to complain of."""

    def die(*arguments: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr("cagchat.files.publish", die)
        open_database(path)
    assert not path.exists()
    opened = open_database(path)
    assert opened.notice == ""
    opened.connection.close()


def test_strict_tables(path: Path) -> None:
    """Every table of ours is STRICT."""
    connection = open_database(path).connection
    strict = dict(connection.execute("SELECT name, strict FROM pragma_table_list WHERE type = 'table'"))
    connection.close()
    assert strict["sessions"] == strict["turns"] == 1


def test_private(path: Path) -> None:
    """The database, its journal and its lock are readable by their owner only, also when the file was not."""
    open_database(path).connection.close()
    path.chmod(0o644)
    connection = open_database(path).connection
    connection.execute("INSERT INTO sessions VALUES ('a', '', 0, '', '', '', '', 0.0, 0.0)")
    modes = {file.name: file.stat().st_mode & 0o777 for file in path.parent.iterdir()}
    connection.close()
    assert f"{path.name}-wal" in modes
    assert set(modes.values()) == {0o600}


def test_newer_refused(path: Path) -> None:
    """A database of a newer version is refused with both versions and left as it was."""
    open_database(path).connection.close()
    raw = sqlite3.connect(path)
    raw.execute("PRAGMA user_version = 99")
    raw.close()
    before = path.read_bytes()
    with pytest.raises(SessionError, match=f"99, this one knows {len(MIGRATIONS)}"):
        open_database(path)
    assert path.read_bytes() == before


def test_migrations_in_order(path: Path) -> None:
    """A database gets only the migrations it lacks, in order."""
    connection = sqlite3.connect(path, isolation_level=None)
    first, second = ("CREATE TABLE a (x) ",), ("ALTER TABLE a ADD COLUMN y",)
    migrate(connection, path, (first,))
    migrate(connection, path, (first, second))
    assert user_version(connection) == 2
    assert [row[1] for row in connection.execute("PRAGMA table_info(a)")] == ["x", "y"]
    connection.close()


def test_failed_migration(path: Path) -> None:
    """A migration that fails leaves the database and its version as they were."""
    connection = sqlite3.connect(path, isolation_level=None)
    with pytest.raises(sqlite3.OperationalError):
        migrate(connection, path, (("CREATE TABLE a (x)", "CREATE TABLE a (x)"),))
    assert user_version(connection) == 0
    assert connection.execute("SELECT count(*) FROM sqlite_schema").fetchone() == (0,)
    connection.close()


def test_foreign_file_set_aside(path: Path) -> None:
    """A file that is no database is renamed, untouched, and the notice names it."""
    path.write_bytes(b"this was never a database, " * 40)
    opened = open_database(path)
    opened.connection.close()
    aside = path.with_name("sessions.sqlite.damaged-1")
    assert aside.read_bytes() == b"this was never a database, " * 40
    assert str(aside) in opened.notice
    assert "not a database" in opened.notice


@pytest.mark.parametrize("harm", ["cut", "overwritten"])
def test_damaged_set_aside(path: Path, harm: str) -> None:
    """A database that lost its end or some pages is set aside, and a new one begun with what can still be read."""
    filled(path)
    content = path.read_bytes()
    half = len(content) // 2 // 4096 * 4096
    damaged = content[:half] if harm == "cut" else content[:half] + b"\xaa" * 8192 + content[half + 8192 :]
    path.write_bytes(damaged)
    opened = open_database(path)
    assert opened.notice
    assert opened.connection.execute("SELECT count(*) FROM sessions").fetchone()[0] < 200
    opened.connection.close()
    assert path.with_name("sessions.sqlite.damaged-1").read_bytes() == damaged


def test_every_damaged_file_kept(path: Path) -> None:
    """A second damaged file gets the next number and does not replace the first."""
    for n in (1, 2):
        path.write_bytes(b"nonsense %d" % n * 100)
        open_database(path).connection.close()
    kept = [path.with_name(f"sessions.sqlite.damaged-{n}").read_bytes()[:10] for n in (1, 2)]
    assert kept == [b"nonsense 1", b"nonsense 2"]


def test_journal_goes_along(path: Path) -> None:
    """The journal of a damaged database is set aside with it, so that it is not replayed into the new one."""
    path.write_bytes(b"nonsense" * 1024)
    path.with_name("sessions.sqlite-wal").write_bytes(b"frames")
    open_database(path).connection.close()
    assert path.with_name("sessions.sqlite.damaged-1-wal").read_bytes() == b"frames"


def test_sound_file_no_notice(path: Path) -> None:
    """Opening a sound database says nothing and keeps its content."""
    filled(path)
    opened = open_database(path)
    assert opened.notice == ""
    assert opened.connection.execute("SELECT count(*) FROM sessions").fetchone() == (200,)
    opened.connection.close()


def test_folder_in_its_place(path: Path) -> None:
    """A folder where the file should be is an error that names it."""
    path.mkdir()
    with pytest.raises(StorageError, match=r"sessions\.sqlite"):
        open_database(path)


def test_full_disk(path: Path) -> None:
    """A database that cannot grow is reported as a full disk."""
    connection = open_database(path).connection
    connection.execute("PRAGMA max_page_count = 1")
    with pytest.raises(StorageError, match="full"), sqlite_errors(path):
        connection.execute("INSERT INTO sessions VALUES ('a', ?, 0, '', '', '', '', 0.0, 0.0)", ("t" * 10**6,))
    connection.close()


@pytest.mark.parametrize(
    ("code", "kind", "words"),
    [
        (sqlite3.SQLITE_FULL, StorageError, "full"),
        (sqlite3.SQLITE_READONLY, StorageError, "cannot be written"),
        (sqlite3.SQLITE_CANTOPEN, StorageError, "cannot be written"),
        (sqlite3.SQLITE_IOERR, StorageError, "cannot be written"),
        (sqlite3.SQLITE_BUSY, SessionError, "in use"),
        (sqlite3.SQLITE_CORRUPT, StorageError, "damaged"),
        (sqlite3.SQLITE_ERROR, SessionError, "cannot be used"),
    ],
)
def test_refusals(path: Path, code: int, kind: type[CagchatError], words: str) -> None:
    """Each refusal of SQLite becomes a sentence with the path or its folder, and a hint."""
    error = refusal(code, "reason", path)
    assert type(error) is kind
    assert words in error.message
    assert str(path.parent) in error.message
    assert error.hint


def test_misuse_is_not_disguised(path: Path) -> None:
    """An error of our own making, such as using a closed connection, stays what it is."""
    connection = open_database(path).connection
    connection.close()
    with pytest.raises(sqlite3.ProgrammingError), sqlite_errors(path):
        connection.execute("SELECT 1")

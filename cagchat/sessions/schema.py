"""The database of chats: its tables, how they grew, and what becomes of a file that is newer or damaged."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from cagchat.errors import SessionError
from cagchat.files import private_folder, storage_errors, write_bytes
from cagchat.sessions import seals, soundness
from cagchat.sessions.aside import MARK
from cagchat.sessions.refusals import DAMAGED, primary_code, sqlite_errors

Migration = Sequence[str]

FIRST: Migration = (
    """
    CREATE TABLE sessions (
        id TEXT NOT NULL PRIMARY KEY,
        title TEXT NOT NULL,
        renamed INTEGER NOT NULL CHECK (renamed IN (0, 1)),
        book_digest TEXT NOT NULL,
        book_title TEXT NOT NULL,
        book_path TEXT NOT NULL,
        model TEXT NOT NULL,
        created_at REAL NOT NULL,
        updated_at REAL NOT NULL
    ) STRICT
    """,
    "CREATE INDEX sessions_of_book ON sessions (book_digest, updated_at)",
    # `current` 0 is history: a turn that was edited or asked again. `pid` and `launch` say who writes a running turn.
    """
    CREATE TABLE turns (
        row INTEGER PRIMARY KEY,
        session_id TEXT NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
        number INTEGER NOT NULL CHECK (number >= 1),
        current INTEGER NOT NULL DEFAULT 1 CHECK (current IN (0, 1)),
        question TEXT NOT NULL,
        answer TEXT NOT NULL DEFAULT '',
        thinking TEXT NOT NULL DEFAULT '',
        tokens BLOB NOT NULL DEFAULT x'',
        status TEXT NOT NULL CHECK (status IN ('running', 'done', 'stopped', 'failed')),
        error TEXT NOT NULL DEFAULT '',
        proof TEXT NOT NULL DEFAULT '{}',
        pid INTEGER NOT NULL,
        launch TEXT NOT NULL,
        created_at REAL NOT NULL
    ) STRICT
    """,
    "CREATE INDEX turns_of_session ON turns (session_id, number)",
    "CREATE UNIQUE INDEX current_turns ON turns (session_id, number) WHERE current = 1",
    "CREATE INDEX running_turns ON turns (pid) WHERE status = 'running'",
    # What is searched: current turns, and the answer only once it is complete. An answer that streams in is rewritten
    # with every fragment, before it is shown, and indexing it each time would cost more than writing it.
    """
    CREATE VIEW searchable (row, question, answer) AS
    SELECT row, question, iif(status = 'running', '', answer) FROM turns WHERE current = 1
    """,
    """
    CREATE VIRTUAL TABLE search USING fts5 (
        question, answer,
        content = 'searchable', content_rowid = 'row', tokenize = 'porter unicode61 remove_diacritics 2'
    )
    """,
    """
    CREATE TRIGGER turn_added AFTER INSERT ON turns WHEN new.current BEGIN
        INSERT INTO search (rowid, question, answer)
        VALUES (new.row, new.question, iif(new.status = 'running', '', new.answer));
    END
    """,
    """
    CREATE TRIGGER turn_deleted AFTER DELETE ON turns WHEN old.current BEGIN
        INSERT INTO search (search, rowid, question, answer)
        VALUES ('delete', old.row, old.question, iif(old.status = 'running', '', old.answer));
    END
    """,
    # Fires for statements that set these columns, which those that only grow a running answer do not.
    """
    CREATE TRIGGER turn_changed AFTER UPDATE OF status, current, question ON turns WHEN old.current BEGIN
        INSERT INTO search (search, rowid, question, answer)
        VALUES ('delete', old.row, old.question, iif(old.status = 'running', '', old.answer));
        INSERT INTO search (rowid, question, answer)
        SELECT row, question, answer FROM searchable WHERE row = new.row;
    END
    """,
)

MIGRATIONS: tuple[Migration, ...] = (FIRST, seals.migration())
SEALED = 2  # the version from which on rows have checksums
BUSY_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class Opened:
    """A database ready for use; `notice` is a sentence for the user when a damaged file was set aside, else empty.

    `checked` is the note of when the whole file was last checked.
    """

    connection: sqlite3.Connection
    notice: str
    checked: soundness.Note


def open_database(
    path: Path, *, busy_timeout_s: float = BUSY_TIMEOUT_S, clock: Callable[[], float] = time.time
) -> Opened:
    """Open the database at `path`, made or brought up to date where needed, and checked unless it is known to be sound.

    Raises `SessionError` for a file of a newer version and `StorageError` where it cannot be written.
    """
    from filelock import FileLock

    private_folder(path.parent)
    # One process at a time: two that find the same damage must not set aside each other's new file.
    with (
        storage_errors(path),
        FileLock(path.with_name(f"{path.name}.lock"), timeout=60, mode=0o600),
        sqlite_errors(path),
    ):
        empty = path.exists()  # until it is read
        checked = soundness.last_check(path, clock())
        connection = connect(path, busy_timeout_s)
        notice = ""
        rows: dict[str, list[seals.Row]] = {}
        try:
            if reason := "" if checked else damage(connection) or search_damage(connection):
                soundness.withdraw(path)
                rows = seals.sound_rows(connection)
                # Renamed while it is open: closing it deletes the journal that stands beside its name.
                aside = set_aside(path)
                connection.close()
                notice = (
                    f"The chats in {path} were damaged ({reason}); they are kept in {aside} and a new file was begun."
                )
                connection = connect(path, busy_timeout_s)
            elif empty and user_version(connection) == 0:
                notice = f"There was nothing in {path}, the file of the chats; it is begun anew."
            migrate(connection, path)
            if rows and (n_turns := seals.carry_over(rows, connection)):
                notice += f" Turns that were sound and went over into it: {n_turns:,}."
            for pragma in ("journal_mode = WAL", "foreign_keys = ON", "secure_delete = ON"):
                connection.execute(f"PRAGMA {pragma}").close()
        except BaseException:
            connection.close()
            raise
        checked = checked or soundness.begin(path, clock())
    return Opened(connection, notice, checked)


def connect(path: Path, busy_timeout_s: float) -> sqlite3.Connection:
    """Open `path`, made readable by its owner only. Transactions are begun explicitly."""
    if not path.exists():
        # In one step: a program killed meanwhile must not leave a file that looks as if it had lost its chats.
        write_bytes(path, begun(path))
    elif path.stat().st_mode & 0o077:
        path.chmod(0o600)
    # Threads of one program share the connection; `store.Sessions` lets in one at a time.
    connection = sqlite3.connect(path, timeout=busy_timeout_s, isolation_level=None, check_same_thread=False)
    seals.teach(connection)
    return connection


def begun(path: Path) -> bytes:
    """Return a database without chats, for the file at `path`."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        seals.teach(connection)
        migrate(connection, path)
        return connection.serialize()


def damage(connection: sqlite3.Connection) -> str:
    """Return what is wrong with the file's structure or its rows, or an empty string; nothing is written."""
    seals.teach(connection)
    try:
        # The whole check, not the quick one: an index that is not what its table is would hide turns.
        ((verdict,),) = connection.execute("PRAGMA integrity_check(1)").fetchall()
        if verdict != "ok":
            return " ".join(str(verdict).split())
        broken = seals.count_broken(connection) if user_version(connection) >= SEALED else 0
    except UnicodeDecodeError:  # the message would quote the schema as it lies on the disk
        return "malformed database schema"
    except sqlite3.DatabaseError as error:
        # Its own statements are sound: what makes an error of them is the schema.
        if primary_code(error) in (*DAMAGED, sqlite3.SQLITE_ERROR):
            return str(error)
        raise
    return f"records that are not what was written: {broken:,}" if broken else ""


def search_damage(connection: sqlite3.Connection) -> str:
    """Return what is wrong with the index that searches chats, or an empty string. FTS5 asks for it as a write."""
    try:
        if user_version(connection):
            connection.execute("INSERT INTO search (search) VALUES ('integrity-check')")
    except sqlite3.DatabaseError as error:
        if primary_code(error) in DAMAGED:
            return str(error)
        raise
    return ""


def set_aside(path: Path) -> Path:
    """Rename the database and its journal to the first free name *.damaged-N and return it."""
    names = (path.with_name(f"{path.name}{MARK}{n}") for n in count(1))
    aside = next(name for name in names if not any(beside(name, end).exists() for end in ("", "-wal", "-shm")))
    # The journal first: one left behind would be replayed into the new file.
    for end in ("-wal", "-shm", ""):
        if beside(path, end).exists():
            beside(path, end).rename(beside(aside, end))
    return aside


def beside(path: Path, end: str) -> Path:
    """Return the file that SQLite keeps next to `path` under this ending."""
    return path.with_name(path.name + end)


def migrate(connection: sqlite3.Connection, path: Path, migrations: Sequence[Migration] = MIGRATIONS) -> None:
    """Apply the migrations this database lacks, in one transaction."""
    known = len(migrations)
    if (version := user_version(connection)) == known:
        return
    if version > known:
        raise SessionError(
            f"The chats in {path} were written by a newer cagchat: their format is {version}, this one knows {known}.",
            "Update cagchat, or set CAGCHAT_HOME to another folder.",
        )
    connection.execute("BEGIN IMMEDIATE")
    try:
        for migration in migrations[version:]:
            for statement in migration:
                connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {known}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def user_version(connection: sqlite3.Connection) -> int:
    """Return how many migrations the database has had."""
    ((version,),) = connection.execute("PRAGMA user_version").fetchall()
    return int(version)

"""The chats on this disk: begun, grown a turn at a time, found again, deleted."""

from __future__ import annotations

import json
import os
import sqlite3
import sys
import threading
import time
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from cagchat.errors import SessionError
from cagchat.files import process_runs
from cagchat.sessions import seals, soundness
from cagchat.sessions.naming import LAST, UNTITLED, match, new_id, one_line, short_title
from cagchat.sessions.refusals import refusal, sqlite_errors
from cagchat.sessions.schema import BUSY_TIMEOUT_S, open_database
from cagchat.sessions.session import Hit, Session, Status, Turn

# `list` is a method below, so that annotations inside the class need names of their own.
SessionList = list[Session]
TurnList = list[Turn]
HitList = list[Hit]

# Tells this run of the program from an earlier one that had the same process number, as every run in a container has.
LAUNCH = os.urandom(8).hex()
ID_ATTEMPTS = 16
SNIPPET_WORDS = 20
TICK_S = 0.001  # between two uses while the clock stands still or was put back
# Kept inside a turn's proof: a column of its own would take every seal of every row to be written anew.
TOKENIZER = "tokenizer"
DIED = "The program ended before the answer did."

SESSION = """
    SELECT id, title, book_digest, book_title, book_path, model, created_at, updated_at,
        (SELECT count(*) FROM turns WHERE session_id = sessions.id AND current = 1) AS n_turns
    FROM sessions
"""
TURNS = f"""
    SELECT coalesce(seals.seal = {seals.expression("turns", "turns")}, 0), number, question, answer, thinking, tokens,
        status, error, proof, created_at
    FROM turns LEFT JOIN seals ON seals.table_name = 'turns' AND seals.row = turns.rowid
"""
NEWEST_FIRST = "ORDER BY updated_at DESC, rowid DESC"
SESSION_COLUMNS = 9


class Sessions:
    """The chats in one SQLite file, which other processes may use at the same time.

    Safe to share between threads; a process has one of these for a file, because the locks on it are the process's.
    `notice` is a sentence for the user when a damaged file was set aside, else empty.
    Every method raises `StorageError` or `SessionError` when the file refuses.
    """

    def __init__(
        self,
        path: Path,
        *,
        clock: Callable[[], float] = time.time,
        new_id: Callable[[], str] = new_id,
        pid: Callable[[], int] = os.getpid,
        launch: str = LAUNCH,
        runs: Callable[[int], bool] = process_runs,
        busy_timeout_s: float = BUSY_TIMEOUT_S,
    ) -> None:
        self.path = path
        self._clock = clock
        self._new_id = new_id
        self._pid = pid
        self._launch = launch
        self._runs = runs
        self._busy_timeout_s = busy_timeout_s
        self._lock = threading.RLock()
        self._closed = False
        self.notice = self._open()

    def _open(self) -> str:
        """Connect to the file, and return what there is to say of it."""
        opened = open_database(self.path, busy_timeout_s=self._busy_timeout_s, clock=self._clock)
        self._connection = opened.connection
        self._checked: soundness.Note | None = opened.checked  # None once the file is in doubt, or closed
        self._inode = soundness.inode_of(self.path)
        return opened.notice

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file, and note that it is sound if no error said otherwise. Calling it twice is harmless."""
        with self._lock:
            self._closed = True
            with self._reading() as db:
                db.close()
            if self._checked is not None:
                soundness.complete(self.path, self._checked, self._inode)
                self._checked = None

    def create(self, *, book_digest: str, book_title: str, book_path: str, model: str, title: str = "") -> Session:
        """Begin a chat. Without a title it takes one from its first question."""
        now = self._clock()
        name = one_line(storable(title))
        with self._writing() as db:
            session_id = self._free_id(db)
            db.execute(
                "INSERT INTO sessions VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    session_id,
                    name or UNTITLED,
                    bool(name),
                    book_digest,
                    storable(book_title),
                    storable(book_path),
                    storable(model),
                    now,
                    now,
                ),
            )
            touch(db, session_id, now)
            return session_of(db, session_id)

    def find(self, name: str) -> Session:
        """Return the session a user means: by id, title, the beginning of either, or "last".

        Raises `SessionError` with the candidates when no session or several fit.
        """
        if name.strip().casefold() == LAST:
            with self._reading() as db:
                rows = db.execute(f"{SESSION} {NEWEST_FIRST} LIMIT 1").fetchall()
            return match(name, [Session(*row) for row in rows])
        return match(name, self.list())

    def get(self, session_id: str) -> Session:
        """Return the session with this id. Raises `SessionError` when there is none."""
        with self._reading() as db:
            return session_of(db, session_id)

    def latest(self, book_digest: str) -> Session | None:
        """Return the last used session about a book."""
        with self._reading() as db:
            row = db.execute(f"{SESSION} WHERE book_digest = ? {NEWEST_FIRST} LIMIT 1", (book_digest,)).fetchone()
        return Session(*row) if row else None

    def list(self, book_digest: str | None = None) -> SessionList:
        """Return the sessions about a book, or all of them, the last used first."""
        where, values = ("", ()) if book_digest is None else ("WHERE book_digest = ?", (book_digest,))
        with self._reading() as db:
            return [Session(*row) for row in db.execute(f"{SESSION} {where} {NEWEST_FIRST}", values)]

    def turns(self, session_id: str) -> TurnList:
        """Return the current turns in order; turns that were edited or asked again are not among them.

        Raises `StorageError` when one of them is not what was written.
        """
        with self._reading() as db:
            session_of(db, session_id)
            rows = db.execute(f"{TURNS} WHERE session_id = ? AND current = 1 ORDER BY number", (session_id,)).fetchall()
            if broken := sum(not sound for sound, *_ in rows):
                self._doubt()
                raise refusal(sqlite3.SQLITE_CORRUPT, f"records that are not what was written: {broken:,}", self.path)
            return [turn_of_row(row) for _, *row in rows]

    def rows(self, session_id: str) -> dict[int, int]:
        """Return which row each current turn is, by its number: another window's turns are other rows."""
        with self._reading() as db:
            found = db.execute("SELECT number, row FROM turns WHERE session_id = ? AND current = 1", (session_id,))
            return dict(found.fetchall())

    def begin_turn(
        self,
        session_id: str,
        question: str,
        proof: Mapping[str, object] | None = None,
        *,
        instead_of: int | None = None,
    ) -> int:
        """Record a question before its answer starts and return the turn's number.

        `proof` is what is known of it already, as how far the chat knows the book: it stays when the program dies. The
        first question becomes the session's title, unless the user gave it one. With `instead_of`, that turn and all
        after it become history in the same step, so that no kill leaves a chat without either.
        """
        question = storable(question)
        now = self._clock()
        with self._writing() as db:
            session_of(db, session_id)
            if instead_of is not None:
                db.execute(
                    "UPDATE turns SET current = 0 WHERE session_id = ? AND number >= ? AND current = 1",
                    (session_id, instead_of),
                )
            number = session_of(db, session_id).n_turns + 1
            db.execute(
                "INSERT INTO turns (session_id, number, question, status, proof, pid, launch, created_at) "
                "VALUES (?, ?, ?, 'running', ?, ?, ?, ?)",
                (session_id, number, question, json.dumps(dict(proof or {})), self._pid(), self._launch, now),
            )
            if number == 1:
                db.execute(
                    "UPDATE sessions SET title = ? WHERE id = ? AND renamed = 0", (short_title(question), session_id)
                )
            touch(db, session_id, now)
        return number

    def update_answer(self, session_id: str, number: int, answer: str, thinking: str) -> None:
        """Keep what was generated so far, without waiting for the disk: a crash of the program loses none of it.

        Raises `SessionError` when the turn is not the one that this program began: another window has asked again.
        """
        with self._writing(sync="NORMAL") as db:
            changed = db.execute(
                "UPDATE turns SET answer = ?, thinking = ? "
                "WHERE session_id = ? AND number = ? AND current = 1 AND status = 'running' AND pid = ? AND launch = ?",
                (storable(answer), storable(thinking), session_id, number, self._pid(), self._launch),
            ).rowcount
            if not changed:
                raise gone(session_id, number, "is no longer being answered")

    def finish_turn(
        self,
        session_id: str,
        number: int,
        *,
        answer: str,
        thinking: str,
        tokens: Sequence[int],
        status: Status,
        proof: Mapping[str, object],
        error: str = "",
        tokenizer: str = "",
    ) -> None:
        """Record how a turn ended. `tokens` is exactly what it added to the KV cache, `proof` must be JSON.

        Raises `SessionError` when the turn is not the one that this program began.
        """
        values = (
            storable(answer),
            storable(thinking),
            blob_of_tokens(tokens),
            status,
            storable(error),
            json.dumps(dict(proof) | ({TOKENIZER: tokenizer} if tokenizer else {})),
        )
        with self._writing() as db:
            changed = db.execute(
                "UPDATE turns SET answer = ?, thinking = ?, tokens = ?, status = ?, error = ?, proof = ? "
                "WHERE session_id = ? AND number = ? AND current = 1 AND pid = ? AND launch = ?",
                (*values, session_id, number, self._pid(), self._launch),
            ).rowcount
            if not changed:
                raise gone(session_id, number, "is no longer part of it")
            touch(db, session_id, self._clock())

    def rename(self, session_id: str, title: str) -> None:
        """Give the session a title that no question replaces."""
        name = one_line(storable(title))
        if not name:
            raise SessionError(f"Chat {session_id} cannot have an empty title.", "Give it at least one visible letter.")
        with self._writing() as db:
            session_of(db, session_id)
            db.execute("UPDATE sessions SET title = ?, renamed = 1 WHERE id = ?", (name, session_id))

    def delete(self, session_id: str) -> None:
        """Delete the session, its turns and its history, and overwrite them in the file."""
        with self._writing() as db:
            session_of(db, session_id)
            db.execute("DELETE FROM sessions WHERE id = ?", (session_id,))
            # A deleted word stays in the index until its segments happen to be merged.
            db.execute("INSERT INTO search (search) VALUES ('rebuild')")
        with self._reading() as db:
            # Empties the journal, which still has the pages as they were; put off when another process reads.
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)").close()

    def search(
        self, query: str, limit: int = 20, *, book_digest: str | None = None, marks: tuple[str, str] = ("**", "**")
    ) -> HitList:
        """Return the current turns that hold all words of `query`, best first, matches in the snippet between `marks`.

        Of chats about one book when its digest is given. Words match by their stem and without accents; nothing in
        `query` is an operator.
        """
        expression = match_expression(query)
        if not expression:
            return []
        with self._reading() as db:
            rows = db.execute(
                f"""
                SELECT session.*, turns.number, snippet(search, -1, ?1, ?2, '…', ?3)
                FROM search
                JOIN turns ON turns.row = search.rowid
                JOIN ({SESSION}) AS session ON session.id = turns.session_id
                WHERE search MATCH ?4 AND (?5 IS NULL OR session.book_digest = ?5)
                ORDER BY search.rank, turns.row DESC LIMIT ?6
                """,
                (*marks, SNIPPET_WORDS, expression, book_digest, limit),
            )
            return [Hit(Session(*row[:SESSION_COLUMNS]), *row[SESSION_COLUMNS:]) for row in rows]

    def recover(self) -> int:
        """Mark as stopped the turns that a program left running when it died, text kept; return how many they were."""
        with self._writing() as db:
            rows = db.execute("SELECT row, pid, launch FROM turns WHERE status = 'running'").fetchall()
            dead = [row for row, pid, launch in rows if not self._alive(pid, launch)]
            db.executemany(
                "UPDATE turns SET status = 'stopped', error = ? WHERE row = ?", [(DIED, row) for row in dead]
            )
        return len(dead)

    def _alive(self, pid: int, launch: str) -> bool:
        """Tell whether the program that began a turn still runs."""
        return launch == self._launch if pid == self._pid() else self._runs(pid)

    def _free_id(self, db: sqlite3.Connection) -> str:
        """Draw ids until one is not taken."""
        for _ in range(ID_ATTEMPTS):
            session_id = self._new_id()
            if not db.execute("SELECT 1 FROM sessions WHERE id = ?", (session_id,)).fetchone():
                return session_id
        raise SessionError(f"{ID_ATTEMPTS} new chat ids in a row were taken.", "Delete chats you no longer need.")

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        with self._lock, sqlite_errors(self.path):
            try:
                self._follow()
                yield self._connection
            except sqlite3.Error:
                self._doubt()
                raise

    def _follow(self) -> None:
        """Go over to the file that has the name now, when another process set ours aside as damaged.

        What we wrote on into that one nobody would carry over, and `library prune` deletes it.
        """
        now = soundness.inode_of(self.path)
        if now not in (0, self._inode) and not self._closed:  # 0: it is gone, which is no other file
            ours = self._connection
            self._open()
            ours.close()

    def _doubt(self) -> None:
        """Let the next start check the whole file."""
        self._checked = None
        soundness.withdraw(self.path)

    @contextmanager
    def _writing(self, sync: Literal["FULL", "NORMAL"] = "FULL") -> Iterator[sqlite3.Connection]:
        """Hold the write lock from the first statement, so that what was read stays true; roll back on any error."""
        with self._reading() as db:
            db.execute(f"PRAGMA synchronous = {sync}")
            db.execute("BEGIN IMMEDIATE")
            try:
                yield db
                db.execute("COMMIT")
            except BaseException:
                # SQLite has already rolled back by itself after some errors, a full disk among them.
                if db.in_transaction:
                    db.execute("ROLLBACK")
                raise


def session_of(db: sqlite3.Connection, session_id: str) -> Session:
    """Return the session with this id, or raise `SessionError`."""
    row = db.execute(f"{SESSION} WHERE id = ?", (session_id,)).fetchone()
    if row is None:
        raise SessionError(f"There is no chat {session_id}.", "It may have been deleted in another window.")
    return Session(*row)


def gone(session_id: str, number: int, what: str) -> SessionError:
    """Describe a turn that another window changed meanwhile."""
    return SessionError(
        f"Turn {number} of chat {session_id} {what}.",
        "It was changed or deleted in another window; open the chat again.",
    )


def touch(db: sqlite3.Connection, session_id: str, now: float) -> None:
    """Make the session the last used one, also when the clock stands still or was put back."""
    db.execute(
        "UPDATE sessions SET "
        "updated_at = max(?1, coalesce((SELECT max(updated_at) FROM sessions WHERE id <> ?2), 0) + ?3) WHERE id = ?2",
        (now, session_id, TICK_S),
    )


def turn_of_row(row: Sequence[Any]) -> Turn:
    """Return the turn in a row of `TURNS`, without its first column."""
    number, question, answer, thinking, tokens, status, error, noted, created_at = row
    proof = json.loads(noted)
    tokenizer = str(proof.pop(TOKENIZER, ""))
    return Turn(number, question, answer, thinking, tokens_of_blob(tokens), status, error, proof, created_at, tokenizer)


def blob_of_tokens(tokens: Sequence[int]) -> bytes:
    """Return the token ids as 32-bit integers, little endian."""
    return swapped(array("i", tokens)).tobytes()


def tokens_of_blob(blob: bytes) -> array[int]:
    """Return the token ids in a blob of 32-bit integers, little endian."""
    tokens = array("i")
    tokens.frombytes(blob)
    return swapped(tokens)


def swapped(tokens: array[int], byteorder: str = sys.byteorder) -> array[int]:
    """Turn native integers into little endian ones, or back, in place."""
    if byteorder == "big":
        tokens.byteswap()
    return tokens


def storable(text: str) -> str:
    """Return the text with what UTF-8 cannot hold (halves of surrogate pairs) and NUL replaced."""
    return text.encode("utf-8", "replace").decode().replace("\0", "\N{REPLACEMENT CHARACTER}")


def match_expression(query: str) -> str:
    """Return an FTS5 expression that finds all words of a user's text; empty when it has none."""
    words = [word for word in storable(query).split() if any(c.isalnum() for c in word)]
    return " ".join('"' + word.replace('"', '""') + '"' for word in words)

"""A checksum of every row of the chats: SQLite keeps none, so a flipped bit in an answer or in token ids would be read.

Triggers write the seal of a row that changes, with a function that every connection of ours has.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

import xxhash

Row = tuple[object, ...]

FUNCTION = "seal_of"

COLUMNS = {
    "sessions": (
        "id",
        "title",
        "renamed",
        "book_digest",
        "book_title",
        "book_path",
        "model",
        "created_at",
        "updated_at",
    ),
    "turns": (
        "session_id",
        "number",
        "current",
        "question",
        "answer",
        "thinking",
        "tokens",
        "status",
        "error",
        "proof",
        "pid",
        "launch",
        "created_at",
    ),
}
SCHEMA = f"""
    SELECT {FUNCTION}(CAST(group_concat(line, char(10)) AS BLOB))
    FROM (SELECT type || ' ' || name || ' ' || tbl_name || ' ' || coalesce(sql, '') AS line FROM sqlite_schema
        ORDER BY type, name)
"""
# The last statement of each migration: a bit in a trigger's text would let every later write fail.
SEAL_SCHEMA = (
    f"INSERT INTO seals VALUES ('sqlite_schema', 0, ({SCHEMA})) ON CONFLICT DO UPDATE SET seal = excluded.seal"
)

NUMBERS = ("renamed", "created_at", "updated_at", "number", "current", "pid")  # all other columns are bytes


def teach(connection: sqlite3.Connection) -> None:
    """Give a connection the function that the triggers call."""
    connection.create_function(FUNCTION, -1, seal_of, deterministic=True)


def seal_of(*values: bytes | float | None) -> str:
    """Return the checksum of a row's values, hexadecimal."""
    digest = xxhash.xxh3_64()
    for value in values:
        content = value if isinstance(value, bytes) else repr(value).encode()
        digest.update(b"%d:" % len(content))
        digest.update(content)
    return str(digest.hexdigest())


def expression(table: str, row: str) -> str:
    """Return the SQL of the checksum of a row of a table; texts go as they lie on the disk, be they UTF-8 or not."""
    values = (f"{row}.{name}" if name in NUMBERS else f"CAST({row}.{name} AS BLOB)" for name in COLUMNS[table])
    return f"{FUNCTION}({', '.join(values)})"


def migration() -> tuple[str, ...]:
    """Return the statements that seal what there is, and from then on every row that is added or changed."""
    statements = [
        """
        CREATE TABLE seals (
            table_name TEXT NOT NULL, row INTEGER NOT NULL, seal TEXT NOT NULL, PRIMARY KEY (table_name, row)
        ) STRICT, WITHOUT ROWID
        """
    ]
    for table, columns in COLUMNS.items():
        seal = f"""
            INSERT INTO seals VALUES ('{table}', new.rowid, {expression(table, "new")})
            ON CONFLICT DO UPDATE SET seal = excluded.seal;
        """
        statements += [
            f"INSERT INTO seals SELECT '{table}', {table}.rowid, {expression(table, table)} FROM {table}",
            f"CREATE TRIGGER {table}_added_seal AFTER INSERT ON {table} BEGIN {seal} END",
            f"CREATE TRIGGER {table}_changed_seal AFTER UPDATE OF {', '.join(columns)} ON {table} BEGIN {seal} END",
            f"""
            CREATE TRIGGER {table}_deleted_seal AFTER DELETE ON {table} BEGIN
                DELETE FROM seals WHERE table_name = '{table}' AND row = old.rowid;
            END
            """,
        ]
    return (*statements, SEAL_SCHEMA)


def count_broken(connection: sqlite3.Connection) -> int:
    """Return how many rows, the schema taken for one, are not what was written, or are gone."""
    connection.execute("BEGIN")  # what another process writes meanwhile must not look like a row without its seal
    try:
        (schema,) = connection.execute("SELECT max(seal) FROM seals WHERE table_name = 'sqlite_schema'").fetchone()
        changed = connection.execute(SCHEMA).fetchone() != (schema,)
        return int(changed) + sum(_count_broken_of(connection, table) for table in COLUMNS)
    finally:
        connection.execute("ROLLBACK")


def sound_rows(connection: sqlite3.Connection) -> dict[str, list[Row]]:
    """Return the rows of each table that are what was written, as far as a damaged file lets itself be read."""
    found: dict[str, list[Row]] = {}
    for table, columns in COLUMNS.items():
        rows = found.setdefault(table, [])
        try:
            for row in connection.execute(f"SELECT {', '.join(columns)} FROM ({_judged(table)}) WHERE sound"):
                rows.append(row)
        except (sqlite3.Error, UnicodeDecodeError):  # the latter from a message that quotes a damaged schema
            continue  # with the rows before the damage
    return found


def carry_over(rows: dict[str, list[Row]], connection: sqlite3.Connection) -> int:
    """Write sound rows of a damaged file into a new one and return how many turns these are.

    Turns are numbered anew, so that there is no gap where one is missing.
    """
    places = ", ".join("?" * len(COLUMNS["turns"]))
    turns = numbered(rows["turns"], {row[0] for row in rows["sessions"]})
    connection.execute("BEGIN IMMEDIATE")
    connection.executemany("INSERT INTO sessions VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", rows["sessions"])
    connection.executemany(f"INSERT INTO turns ({', '.join(COLUMNS['turns'])}) VALUES ({places})", turns)
    connection.execute("COMMIT")
    return len(turns)


def numbered(turns: Sequence[Row], sessions: set[object]) -> list[Row]:
    """Return the turns of known sessions in order; the current ones of each are numbered from 1 on."""
    counts: dict[object, int] = {}
    found = []
    for session, number, current, *rest in sorted(turns, key=lambda turn: (str(turn[0]), str(turn[1]).zfill(20))):
        if session in sessions:
            if current:
                number = counts[session] = counts.get(session, 0) + 1
            found.append((session, number, current, *rest))
    return found


def _count_broken_of(connection: sqlite3.Connection, table: str) -> int:
    ((unsound, sound),) = connection.execute(
        f"SELECT count(*) FILTER (WHERE NOT sound), count(*) FILTER (WHERE sound) FROM ({_judged(table)})"
    )
    ((written,),) = connection.execute("SELECT count(*) FROM seals WHERE table_name = ?", (table,))
    return int(max(unsound, written - sound))


def _judged(table: str) -> str:
    """Return the query of a table's rows, none by way of an index, with whether each is what was written."""
    return f"""
        SELECT {table}.*, coalesce(seals.seal = {expression(table, table)}, 0) AS sound
        FROM {table} NOT INDEXED LEFT JOIN seals ON seals.table_name = '{table}' AND seals.row = {table}.rowid
        ORDER BY {table}.rowid
    """

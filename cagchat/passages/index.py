"""The full-text index of one book: SQLite FTS5 over its paragraphs, kept in one private file or in memory only.

FTS5 is asked for its vocabulary and for where a word stands, and never given a query: its syntax cannot be reached by
what a question says. The index holds no text, only words and their places.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Sequence
from hashlib import sha256
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from types import TracebackType
from typing import Self

from cagchat.documents.document import Document
from cagchat.errors import StorageError
from cagchat.files import write_bytes
from cagchat.passages.languages import language_of
from cagchat.passages.paragraphs import Paragraph, paragraphs
from cagchat.passages.words import plain, spaced

VERSION = 1  # raise it when paragraphs, tokenizers or tables change: indexes of other versions are built again
MAGIC = b"cagchat passages\n"
MAX_CHARACTERS = 20_000_000  # six times War and Peace; what follows is not searched
MAX_FILE_BYTES = 256 << 20

# A word of the book is folded as in the question: case and accents go, and English words lose their endings.
TOKENIZERS = {True: "porter unicode61 remove_diacritics 2", False: "unicode61 remove_diacritics 2"}

TABLES = """
    CREATE TABLE book (version INTEGER NOT NULL, digest TEXT NOT NULL, language TEXT NOT NULL) STRICT;
    CREATE TABLE paragraphs (
        number INTEGER PRIMARY KEY, start INTEGER NOT NULL, end INTEGER NOT NULL, section INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE vocabulary (word TEXT PRIMARY KEY, paragraphs INTEGER NOT NULL) STRICT, WITHOUT ROWID;
    CREATE VIRTUAL TABLE words USING fts5 (title, text, content = '', columnsize = 0, tokenize = '{tokenizer}');
    CREATE VIRTUAL TABLE temp.word_rows USING fts5vocab (main, words, row);
"""
# Words of a question go through the same tokenizer; in memory, for what is asked is nobody's business.
READING = """
    PRAGMA temp_store = MEMORY;
    CREATE VIRTUAL TABLE temp.word_instances USING fts5vocab (main, words, instance);
    CREATE VIRTUAL TABLE temp.asked USING fts5 (word, columnsize = 0, tokenize = '{tokenizer}');
    CREATE VIRTUAL TABLE temp.asked_instances USING fts5vocab (temp, asked, instance);
"""

Instance = tuple[int, bool, int]  # paragraph, whether in its section's title, which word of it


class PassageIndex:
    """A book and where its words are. Safe to share between threads.

    `notice` is a sentence for the user when the index could not be kept on disk or does not reach the book's end, else
    empty; `take_notice` gives it to whoever shows it.
    """

    def __init__(self, document: Document, connection: sqlite3.Connection, notice: str = "") -> None:
        """Take over a connection to an index of this document."""
        self._told = False
        self.document = document
        self.notice = notice
        self._connection = connection
        self._lock = threading.RLock()
        self.language = str(connection.execute("SELECT language FROM book").fetchone()[0])
        connection.executescript(READING.format(tokenizer=TOKENIZERS[self.language == "en"]))
        rows = connection.execute("SELECT start, end, section FROM paragraphs ORDER BY number")
        self.paragraphs = tuple(Paragraph(*row) for row in rows)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def take_notice(self) -> str:
        """Return the notice once, and an empty string from then on, so that it is shown once a run."""
        with self._lock:
            taken, self._told = "" if self._told else self.notice, True
        return taken

    def close(self) -> None:
        """Free the index. Calling it twice is harmless."""
        with self._lock:
            self._connection.close()

    def stems(self, texts: Sequence[str]) -> list[tuple[str, ...]]:
        """Return what the index makes of each text: its words as the vocabulary has them, in order."""
        with self._lock:
            rows = enumerate(spaced(plain(text)) for text in texts)
            self._connection.executemany("INSERT INTO temp.asked (rowid, word) VALUES (?, ?)", rows)
            try:
                found = self._connection.execute("SELECT doc, term FROM temp.asked_instances ORDER BY doc, offset")
                stems = {number: tuple(term for _, term in group) for number, group in groupby(found, itemgetter(0))}
            finally:
                self._connection.rollback()
        return [stems.get(number, ()) for number in range(len(texts))]

    def frequency(self, word: str) -> int:
        """Return how many paragraphs have a word of the vocabulary, or stand under a title that has it."""
        with self._lock:
            row = self._connection.execute("SELECT paragraphs FROM vocabulary WHERE word = ?", (word,)).fetchone()
        return int(row[0]) if row else 0

    def beginning(self, prefix: str, longest: int) -> list[str]:
        """Return the words of the vocabulary that begin with a prefix and have no more characters than `longest`."""
        with self._lock:
            rows = self._connection.execute(
                "SELECT word FROM vocabulary WHERE word >= ? AND word < ? AND length(word) <= ?",
                (prefix, prefix + "\U0010ffff", longest),
            )
            return [word for (word,) in rows]

    def vocabulary(self, shortest: int, longest: int) -> list[str]:
        """Return the words of the vocabulary whose length in characters lies between two."""
        with self._lock:
            rows = self._connection.execute(
                "SELECT word FROM vocabulary WHERE length(word) BETWEEN ? AND ?", (shortest, longest)
            )
            return [word for (word,) in rows]

    def instances(self, word: str) -> list[Instance]:
        """Return every place of a word of the vocabulary, in no order."""
        with self._lock:
            rows = self._connection.execute(
                "SELECT doc, col = 'title', offset FROM temp.word_instances WHERE term = ?", (word,)
            )
            return [(number, bool(in_title), offset) for number, in_title, offset in rows]


def open_index(document: Document, path: Path | None = None) -> PassageIndex:
    """Return the index of a document: the one kept at `path` if it is whole and of this text, else built and kept.

    Without a path it is built in memory and forgotten. A disk that refuses costs the next start some time, nothing
    more. Processes that build at once each write a whole file, and the last one stays.
    """
    if path is not None and (kept := _kept(document, path)) is not None:
        return PassageIndex(document, kept, _reach(document))
    connection = build(document)
    notice = _reach(document)
    if path is not None:
        try:
            write_bytes(path, sealed(connection.serialize()))
        except StorageError as error:
            notice = f"{notice} The book's index is not kept: {error.message}".strip()
    return PassageIndex(document, connection, notice)


def build(document: Document) -> sqlite3.Connection:
    """Return a new index in memory."""
    connection = _memory()
    language = language_of(document.language, document.text)
    found = paragraphs(document, MAX_CHARACTERS)
    connection.executescript(TABLES.format(tokenizer=TOKENIZERS[language == "en"]))
    with connection:
        connection.execute("INSERT INTO book VALUES (?, ?, ?)", (VERSION, document.digest, language))
        connection.executemany(
            "INSERT INTO paragraphs VALUES (?, ?, ?, ?)",
            ((number, item.start, item.end, item.section) for number, item in enumerate(found)),
        )
        titles = [spaced(plain(section.title)) for section in document.sections]
        connection.executemany(
            "INSERT INTO words (rowid, title, text) VALUES (?, ?, ?)",
            (
                (number, titles[item.section], spaced(plain(document.text[item.start : item.end])))
                for number, item in enumerate(found)
            ),
        )
        connection.execute("INSERT INTO vocabulary SELECT term, doc FROM temp.word_rows")
    return connection


def sealed(content: bytes) -> bytes:
    """Return the file that holds an index: a mark, a checksum of what follows, the database."""
    return MAGIC + sha256(content).digest() + content


def unsealed(file: bytes) -> bytes | None:
    """Return the database in a file; None when a byte of it is not what was written."""
    checksum, content = file[len(MAGIC) :][:32], file[len(MAGIC) + 32 :]
    return content if file.startswith(MAGIC) and sha256(content).digest() == checksum else None


def _kept(document: Document, path: Path) -> sqlite3.Connection | None:
    """Return the index in a file; None when there is none, or it is damaged, or of another text or version."""
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            return None
        content = unsealed(path.read_bytes())
    except OSError:
        return None
    if not content:
        return None
    connection = _memory()
    try:
        connection.deserialize(content)
        book = connection.execute("SELECT version, digest FROM book").fetchone()
    except sqlite3.Error:
        connection.close()
        return None
    if book != (VERSION, document.digest):
        connection.close()
        return None
    return connection


def _memory() -> sqlite3.Connection:
    return sqlite3.connect(":memory:", check_same_thread=False)


def _reach(document: Document) -> str:
    if len(document.text) <= MAX_CHARACTERS:
        return ""
    return f"Passages are looked for in the first {MAX_CHARACTERS:,} of the book's {len(document.text):,} characters."

"""What the library says of a book: in the columns of its table, below it, and to the filter."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from rich.cells import cell_len
from rich.text import Text

from cagchat.sessions.naming import one_line
from cagchat.states.store import fold
from cagchat.tui.cells import cut
from cagchat.tui.shelf import Entry
from cagchat.units import size

GAP = 2  # cells that the table adds to each column


@dataclass(frozen=True, slots=True)
class Column:
    """A column of the table: what it says of a book, and between which widths it may be."""

    name: str
    text: Callable[[Entry], str]
    least: int
    most: int
    right: bool = False

    def wanted(self, entries: Sequence[Entry]) -> int:
        """Return the width at which nothing of these books is cut, within the limit."""
        return min(self.most, max([cell_len(self.name), *(cell_len(self.text(entry)) for entry in entries)]))


def status_text(entry: Entry) -> str:
    """Return what the state is good for."""
    return one_line(entry.standing.text)


def tokens_text(entry: Entry) -> str:
    """Return the size of the book in tokens."""
    manifest = entry.standing.manifest
    return f"{manifest.n_tokens:,}" if manifest else ""


def size_text(entry: Entry) -> str:
    """Return the size of the state on disk."""
    return size(entry.standing.size_bytes)


def model_text(entry: Entry) -> str:
    """Return the model that read the book, and how its cache is stored."""
    manifest = entry.standing.manifest
    return one_line(f"{manifest.model_name} {manifest.key.kv_type}") if manifest else ""


def chat_text(entry: Entry) -> str:
    """Return when the last chat was, and its title."""
    return f"{moment(entry.chat.updated_at)} {one_line(entry.chat.title)}" if entry.chat else ""


def moment(seconds: float) -> str:
    """Return a time as a reader's clock and calendar show it."""
    return f"{datetime.fromtimestamp(seconds).astimezone():%Y-%m-%d %H:%M}"


# In the order in which they stand; where there is no room the last ones go first, the title never.
TITLE = Column("Title", lambda entry: entry.title, 20, 60)
COLUMNS = (
    Column("Status", status_text, 19, 60),
    Column("Tokens", tokens_text, 11, 11, right=True),
    Column("Size", size_text, 8, 8, right=True),
    Column("Model", model_text, 14, 40),
    Column("Last chat", chat_text, 17, 60),
)


def fitting(entries: Sequence[Entry], width: int) -> list[tuple[Column, int]]:
    """Return the columns that fit into a width at their least, with their own widths; what is left goes to the first.

    The table is never wider than `width` while that is 3 or more.
    """
    taken = [(column, column.wanted(entries)) for column in (TITLE, *COLUMNS)]
    least = [min(column.least, wanted) for column, wanted in taken]
    while len(least) > 1 and sum(least) + GAP * len(least) > width:
        least.pop()
    least[0] = max(1, min(least[0], width - GAP)) if len(least) == 1 else least[0]
    spare = max(0, width - sum(least) - GAP * len(least))
    columns = []
    for (column, wanted), cells in zip(taken, least, strict=False):
        more = min(spare, max(0, wanted - cells))
        spare -= more
        columns.append((column, cells + more))
    return columns


def matching(entries: Iterable[Entry], query: str) -> list[Entry]:
    """Return the books of which every word of a query is in the title, author, model, status or last chat."""
    words = fold(query).split()
    return [entry for entry in entries if all(word in fold(searched(entry)) for word in words)]


def searched(entry: Entry) -> str:
    """Return everything about a book that a filter looks at."""
    author = entry.standing.manifest.book.author if entry.standing.manifest else ""
    return " ".join((entry.title, author, model_text(entry), status_text(entry), chat_text(entry)))


def details(entry: Entry) -> str:
    """Return what the table may have no room for: author, the whole status, the last chat, and the file."""
    manifest, path = entry.standing.manifest, entry.path or entry.standing.folder.path
    author = one_line(manifest.book.author) if manifest else ""
    figures = " tokens, ".join(filter(None, (tokens_text(entry), size_text(entry))))
    lines = (
        (entry.title, author),
        (status_text(entry), figures),
        (f"last chat {chat_text(entry)}" if entry.chat else "", one_line(str(path))),
    )
    return "\n".join(" · ".join(filter(None, line)) for line in lines)


def cell(column: Column, cells: int, entry: Entry) -> Text:
    """Return what a column says of a book, in so many cells."""
    return Text(cut(column.text(entry), cells), justify="right" if column.right else "left", no_wrap=True)

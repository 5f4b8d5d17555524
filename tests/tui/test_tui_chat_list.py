"""What the list of chats shows of each: a title on one row, a passage below it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from rich.cells import cell_len

from cagchat.sessions.session import Session
from cagchat.sessions.store import Sessions
from cagchat.tui.chat_list import Row, label
from cagchat.tui.chat_search import HITS, find_chats, plain, repeats

WIDTH = 25
LONG = "What was the number of the clause that let them pass without toll?"


def session(home: Path, title: str) -> Session:
    """Return a chat of this title."""
    store = Sessions(home / "sessions.db")
    try:
        made = store.create(book_digest="d", book_title="t", book_path="p", model="m", title="x")
    finally:
        store.close()
    return replace(made, title=title)


def test_a_title_takes_one_row_and_its_passage_hangs_below(tmp_path: Path) -> None:
    """A long title ends in an ellipsis; every row of the passage begins below the title, dim, and fits."""
    shown = label(Row(session(tmp_path, LONG), "the household goods of those removed from Little Senn"), WIDTH, True)
    title, *passage = shown.plain.split("\n")
    assert title.startswith("● What was")
    assert title.endswith("…")
    assert passage
    assert all(row.startswith("  ") and row[2] != " " for row in passage)
    assert max(map(cell_len, (title, *passage))) <= WIDTH
    assert [span.style for span in shown.spans] == ["dim"]


def test_what_the_title_says_is_not_said_twice(tmp_path: Path) -> None:
    """A passage that repeats the title is left out; of a title that is cut the rest stands below."""
    assert repeats(LONG, LONG)
    assert repeats(LONG, "…number of the clause that let them…")
    assert not repeats(LONG, "Clause ninety-three.")
    short = label(Row(session(tmp_path, "Who is Osk?"), "Who is Osk?", by_title=True), WIDTH, False)
    assert short.plain == "  Who is Osk?"
    cut = label(Row(session(tmp_path, LONG), LONG, by_title=True), WIDTH, False).plain
    assert cut.split("\n")[0].endswith("…")
    assert " ".join(cut.replace("\n", " ").split()).endswith("without toll?")


def test_a_chat_is_found_beside_many_hits_in_other_books(tmp_path: Path) -> None:
    """The search of a book's chats finds a word in them when chats about other books hold it hundreds of times."""
    store = Sessions(tmp_path / "sessions.db")
    try:
        mine = store.create(book_digest="mine", book_title="t", book_path="p", model="m", title="x")
        other = store.create(book_digest="other", book_title="t", book_path="p", model="m")
        store.begin_turn(mine.id, "And what of the long voyage of that whale?")
        for _ in range(HITS + 1):
            store.begin_turn(other.id, "Whale whale?")
        assert [row.session.id for row in find_chats(store, "mine", "whale")] == [mine.id]
    finally:
        store.close()


def test_a_passage_has_no_markup() -> None:
    """Markdown's signs are taken away; words keep what is inside them."""
    assert plain("It was **Aldous** `snake_case` and\n> *so*\n# On | 1 |") == "It was Aldous snake_case and so On 1"

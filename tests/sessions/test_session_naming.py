"""Ids, first titles, and which chat a name means."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cagchat.errors import SessionError
from cagchat.sessions.naming import ID_CHARACTERS, TITLE_LENGTH, UNTITLED, match, new_id, short_title
from cagchat.sessions.session import Session


def chat(session_id: str, title: str) -> Session:
    return Session(session_id, title, "", "", "", "", 0.0, 0.0, 0)


CHATS = [
    chat("abcd2345", "The harbour at night"),
    chat("abxy2345", "The Harbour"),
    chat("efgh2345", "Ahab and the sea"),
    chat("ijkm2345", "zab"),
    chat("npqr2345", "The Harbour at noon"),
    chat("stuv2345", "Last words"),
]


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("abcd2345", "abcd2345"),
        ("ABCD2345", "abcd2345"),
        ("efg", "efgh2345"),
        ("The Harbour", "abxy2345"),
        ("ahab", "efgh2345"),
        ("the harbour at ni", "abcd2345"),
        ("zab", "ijkm2345"),
        ("last", "abcd2345"),
        ("last w", "stuv2345"),
        (" Ahab and the sea ", "efgh2345"),
    ],
)
def test_match(name: str, found: str) -> None:
    """A name means a chat by its id, the beginning of its id, its title or the beginning of its title."""
    assert match(name, CHATS).id == found


@pytest.mark.parametrize(("name", "listed"), [("ab", ["abcd2345", "abxy2345"]), ("the harb", ["abcd2345", "npqr2345"])])
def test_ambiguous(name: str, listed: list[str]) -> None:
    """A name that fits several chats is refused with their ids."""
    with pytest.raises(SessionError, match="fits") as caught:
        match(name, CHATS)
    assert all(session_id in caught.value.hint for session_id in listed)
    assert "efgh2345" not in caught.value.hint


def test_unknown_lists_all() -> None:
    """A name that fits none is refused with the chats there are."""
    with pytest.raises(SessionError, match='No chat is called "zebra"') as caught:
        match("zebra", CHATS)
    assert all(session.id in caught.value.hint for session in CHATS)


def test_many_candidates() -> None:
    """A long list of candidates ends in the number of those not shown."""
    with pytest.raises(SessionError) as caught:
        match("zebra", [chat(f"id{n:06}", "x") for n in range(50)])
    assert caught.value.hint.endswith("and 42 more.")


@pytest.mark.parametrize("name", ["", "  "])
def test_empty_name(name: str) -> None:
    """An empty name is refused although every title begins with it."""
    with pytest.raises(SessionError, match="empty"):
        match(name, CHATS[:1])


def test_no_chats() -> None:
    """Without a chat, the hint says how to begin one."""
    with pytest.raises(SessionError, match="no chats yet") as caught:
        match("last", [])
    assert "cagchat open" in caught.value.hint


@given(st.text())
def test_short_title_bounds(question: str) -> None:
    """Any question gives one printable line of bounded length that is not empty."""
    title = short_title(question)
    assert 0 < len(title) <= TITLE_LENGTH
    assert title.isprintable()


def test_short_title_whole_words() -> None:
    """A long question is cut after a whole word."""
    question = "Why does the keeper of the lighthouse never answer the letters that the ferry brings?"
    title = short_title(question)
    assert title == "Why does the keeper of the lighthouse never answer the…"


def test_short_title_one_word() -> None:
    """A question without spaces is cut inside."""
    assert short_title("x" * 200) == "x" * (TITLE_LENGTH - 1) + "…"


def test_short_title_empty() -> None:
    """A question of nothing visible has the title of a new chat."""
    assert short_title("\n\t\x1b") == UNTITLED


def test_new_ids() -> None:
    """Ids have eight characters of the set and do not repeat."""
    ids = {new_id() for _ in range(500)}
    assert len(ids) == 500
    assert all(len(i) == 8 and set(i) <= set(ID_CHARACTERS) for i in ids)
    assert len(set(ID_CHARACTERS)) == 32

"""The chats on disk: turns, titles, search, deletion, two programs at once."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from array import array
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cagchat.errors import SessionError
from cagchat.limits.limit import Limit, last_limit
from cagchat.sessions import soundness
from cagchat.sessions.session import Session, Status
from cagchat.sessions.store import (
    DIED,
    Sessions,
    blob_of_tokens,
    match_expression,
    storable,
    swapped,
    tokens_of_blob,
)


def ticking() -> Callable[[], float]:
    """Return a clock that is one second later at each look."""
    ticks = count(1000)
    return lambda: float(next(ticks))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "sessions.sqlite"


@pytest.fixture
def sessions(path: Path) -> Iterator[Sessions]:
    with Sessions(path, clock=ticking()) as opened:
        yield opened


def begin(sessions: Sessions, *, book: str = "b1", title: str = "") -> Session:
    return sessions.create(book_digest=book, book_title="The Lamp", book_path="/books/l.txt", model="tiny", title=title)


def answered(
    sessions: Sessions,
    session: Session,
    question: str,
    answer: str,
    status: Status = "done",
    error: str = "",
    *,
    instead_of: int | None = None,
) -> int:
    number = sessions.begin_turn(session.id, question, instead_of=instead_of)
    sessions.finish_turn(
        session.id,
        number,
        answer=answer,
        thinking="hm",
        tokens=array("i", [7, number]),
        status=status,
        proof={"reused": 5},
        error=error,
    )
    return number


@pytest.mark.parametrize("later", [0.0, -86_400.0, 5.0])
def test_the_order_of_use_does_not_hang_on_the_clock(path: Path, later: float) -> None:
    """The chat that was used last is the first, also when the clock stands still or was put back meanwhile."""
    now = 1e9
    with Sessions(path, clock=lambda: now) as sessions:
        chats = [begin(sessions) for _ in range(3)]
        now += later
        for chat in (chats[1], chats[0]):
            answered(sessions, chat, "Who lit it?", "Ann.")
            assert sessions.list()[0].id == chat.id
        chats.append(begin(sessions))
        assert [chat.id for chat in sessions.list()] == [chats[i].id for i in (3, 0, 1, 2)]


def test_turn_round_trip(sessions: Sessions) -> None:
    """A finished turn comes back with every field as it was given."""
    session = begin(sessions)
    answered(sessions, session, "Who lit it?", "Ann – at six.", "failed", "no room")
    (turn,) = sessions.turns(session.id)
    assert (turn.number, turn.question, turn.answer, turn.thinking) == (1, "Who lit it?", "Ann – at six.", "hm")
    assert (turn.tokens, turn.status, turn.error) == (array("i", [7, 1]), "failed", "no room")
    assert turn.proof == {"reused": 5}


def test_survives_reopening(path: Path) -> None:
    """What one program wrote, the next one reads."""
    with Sessions(path) as sessions:
        session = begin(sessions)
        answered(sessions, session, "Who?", "Ann.")
    with Sessions(path) as sessions:
        assert sessions.latest("b1") == sessions.find(session.id)
        assert [turn.answer for turn in sessions.turns(session.id)] == ["Ann."]


def test_question_recorded_first(sessions: Sessions) -> None:
    """A question is on disk, marked as running, before anything was answered."""
    session = begin(sessions)
    assert sessions.begin_turn(session.id, "Who?") == 1
    (turn,) = sessions.turns(session.id)
    assert (turn.question, turn.answer, turn.status, len(turn.tokens)) == ("Who?", "", "running", 0)


def test_streaming_kept(sessions: Sessions) -> None:
    """What was generated so far can be read while the turn runs."""
    session = begin(sessions)
    number = sessions.begin_turn(session.id, "Who?")
    sessions.update_answer(session.id, number, "An", "let me")
    (turn,) = sessions.turns(session.id)
    assert (turn.answer, turn.thinking, turn.status) == ("An", "let me", "running")


def test_update_after_the_end(sessions: Sessions) -> None:
    """A late update of a finished turn is refused and changes nothing."""
    session = begin(sessions)
    answered(sessions, session, "Who?", "Ann.")
    with pytest.raises(SessionError, match="Turn 1"):
        sessions.update_answer(session.id, 1, "late", "")
    assert sessions.turns(session.id)[0].answer == "Ann."


def test_finish_without_a_turn(sessions: Sessions) -> None:
    """Finishing a turn that is not there is refused."""
    session = begin(sessions)
    with pytest.raises(SessionError, match="Turn 3"):
        sessions.finish_turn(session.id, 3, answer="", thinking="", tokens=[], status="done", proof={})


def test_title_from_first_question(sessions: Sessions) -> None:
    """The first question, and no later one, becomes the title."""
    session = begin(sessions)
    answered(sessions, session, "Who lit\nthe lamp?", "Ann.")
    answered(sessions, session, "And why?", "It was dark.")
    assert sessions.find(session.id).title == "Who lit the lamp?"


@pytest.mark.parametrize("when", ["created", "renamed"])
def test_given_title_stays(sessions: Sessions, when: str) -> None:
    """A title that the user gave is not replaced by the first question."""
    session = begin(sessions, title="Mine" if when == "created" else "")
    if when == "renamed":
        sessions.rename(session.id, " Mine\n")
    answered(sessions, session, "Who?", "Ann.")
    assert sessions.find(session.id).title == "Mine"


def test_empty_title(sessions: Sessions) -> None:
    """A chat cannot be renamed to nothing."""
    with pytest.raises(SessionError, match="empty title"):
        sessions.rename(begin(sessions).id, " \n")


def test_supersede_renumbers(sessions: Sessions) -> None:
    """After an edit, the numbers of the current turns are 1 to n without a gap."""
    session = begin(sessions)
    for n in range(1, 5):
        answered(sessions, session, f"q{n}", f"a{n}")
    assert answered(sessions, session, "edited", "anew", instead_of=2) == 2
    assert [(turn.number, turn.question) for turn in sessions.turns(session.id)] == [(1, "q1"), (2, "edited")]
    assert sessions.find(session.id).n_turns == 2


def test_a_question_takes_the_place_of_another_in_one_step(sessions: Sessions) -> None:
    """What fails when the new question is recorded leaves the old one where it was."""
    session = begin(sessions)
    answered(sessions, session, "q1", "a1")
    with pytest.raises(TypeError):
        sessions.begin_turn(session.id, "edited", {"no JSON": object()}, instead_of=1)
    assert [(turn.number, turn.question) for turn in sessions.turns(session.id)] == [(1, "q1")]


def test_rows_tell_one_turn_from_another_with_its_number(sessions: Sessions) -> None:
    """A turn keeps its row while it is answered; one that is asked in its place has another."""
    session = begin(sessions)
    answered(sessions, session, "q1", "a1")
    number = sessions.begin_turn(session.id, "q2")
    before = sessions.rows(session.id)
    sessions.finish_turn(session.id, number, answer="a2", thinking="", tokens=[], status="done", proof={})
    assert sessions.rows(session.id) == before
    answered(sessions, session, "edited", "anew", instead_of=2)
    after = sessions.rows(session.id)
    assert after.keys() == before.keys() == {1, 2}
    assert [after[n] == before[n] for n in (1, 2)] == [True, False]


def test_only_who_began_a_turn_ends_it(sessions: Sessions, path: Path) -> None:
    """Another program, or this one after a restart, cannot write into a turn that it did not begin."""
    session = begin(sessions)
    number = sessions.begin_turn(session.id, "Who?")
    with Sessions(path, launch="another") as other:
        with pytest.raises(SessionError, match="no longer being answered"):
            other.update_answer(session.id, number, "Ben", "")
        with pytest.raises(SessionError, match="no longer part"):
            other.finish_turn(session.id, number, answer="Ben", thinking="", tokens=[], status="done", proof={})
    sessions.update_answer(session.id, number, "Ann", "")
    assert [turn.answer for turn in sessions.turns(session.id)] == ["Ann"]


def test_a_file_that_another_process_set_aside_is_not_written_on(sessions: Sessions, path: Path) -> None:
    """Who has the chats open goes over to the new file: what is asked from then on is not deleted with the old one."""
    session = begin(sessions)
    answered(sessions, session, "q1", "Under a loose board.")
    with sessions._reading() as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)").close()
    at = path.read_bytes().rindex(b"Under a loose board.")
    with path.open("r+b") as file:
        file.seek(at)
        file.write(b"Above")
    soundness.withdraw(path)
    with Sessions(path) as other:
        assert "were damaged" in other.notice
        answered(sessions, session, "q2", "In the kitchen.")
        assert [(turn.question, turn.answer) for turn in other.turns(session.id)] == [("q2", "In the kitchen.")]
    for left in path.parent.glob("*.damaged-*"):
        left.unlink()
    answered(sessions, session, "q3", "Yes.")
    assert [turn.question for turn in sessions.turns(session.id)] == ["q2", "q3"]


def test_superseded_kept(sessions: Sessions, path: Path) -> None:
    """Superseded turns stay in the file as history."""
    session = begin(sessions)
    answered(sessions, session, "old", "old answer")
    answered(sessions, session, "new", "new answer", instead_of=1)
    raw = sqlite3.connect(path)
    rows = raw.execute("SELECT question, current FROM turns ORDER BY row").fetchall()
    raw.close()
    assert rows == [("old", 0), ("new", 1)]


def test_last_used_first(sessions: Sessions) -> None:
    """A turn makes its chat the last used one, for the list, for "last" and for its book."""
    first, second, other = begin(sessions), begin(sessions), begin(sessions, book="b2")
    answered(sessions, first, "Who?", "Ann.")
    assert [s.id for s in sessions.list()] == [first.id, other.id, second.id]
    assert [s.id for s in sessions.list("b1")] == [first.id, second.id]
    assert sessions.find("last").id == first.id
    latest = sessions.latest("b2")
    assert latest is not None
    assert latest.id == other.id
    assert sessions.latest("b3") is None


def test_taken_id(path: Path) -> None:
    """An id that is taken is drawn again."""
    ids = iter(["aaaaaaaa", "aaaaaaaa", "bbbbbbbb"])
    with Sessions(path, new_id=lambda: next(ids)) as sessions:
        assert [begin(sessions).id, begin(sessions).id] == ["aaaaaaaa", "bbbbbbbb"]


def test_no_free_id(path: Path) -> None:
    """A generator of one id ends in an error, not in a loop."""
    with Sessions(path, new_id=lambda: "aaaaaaaa") as sessions:
        begin(sessions)
        with pytest.raises(SessionError, match="ids"):
            begin(sessions)


@pytest.mark.parametrize(
    "use",
    [
        lambda s: s.turns("zzzzzzzz"),
        lambda s: s.begin_turn("zzzzzzzz", "?"),
        lambda s: s.begin_turn("zzzzzzzz", "?", instead_of=1),
        lambda s: s.rename("zzzzzzzz", "x"),
        lambda s: s.delete("zzzzzzzz"),
    ],
)
def test_unknown_session(sessions: Sessions, use: Callable[[Sessions], object]) -> None:
    """Every method names the id of a chat that is not there."""
    with pytest.raises(SessionError, match="zzzzzzzz"):
        use(sessions)


def test_delete(sessions: Sessions) -> None:
    """A deleted chat is found by no method, and others stay."""
    gone, kept = begin(sessions), begin(sessions)
    for session in (gone, kept):
        answered(sessions, session, "Which harbour?", "Rotterdam.")
    sessions.delete(gone.id)
    assert [s.id for s in sessions.list()] == [kept.id]
    assert [hit.session.id for hit in sessions.search("harbour")] == [kept.id]


def test_delete_erases(sessions: Sessions, path: Path) -> None:
    """No word of a deleted chat, history included, is left in any file of the database."""
    kept, gone = begin(sessions), begin(sessions)
    answered(sessions, kept, "ordinary", "words")
    for n in range(20):
        answered(sessions, gone, f"xylophonic {n}", "quizzaciously " * 300)
    answered(sessions, gone, "xylophonic", "quizzaciously", instead_of=10)
    sessions.delete(gone.id)
    for file in path.parent.iterdir():
        content = file.read_bytes()
        assert b"xylophon" not in content
        assert b"quizzac" not in content


def test_search_finds_both(sessions: Sessions) -> None:
    """Questions and answers are searched, by stem, without case or accents, with the match marked."""
    session = begin(sessions)
    answered(sessions, session, "Where is the café?", "Beside two lighthouses.")
    (hit,) = sessions.search("LIGHTHOUSE", marks=("<", ">"))
    assert (hit.session.id, hit.turn_number, hit.snippet) == (session.id, 1, "Beside two <lighthouses>.")
    (hit,) = sessions.search("cafe")
    assert hit.snippet == "Where is the **café**?"


def test_search_all_words(sessions: Sessions) -> None:
    """Only turns that hold all words are found."""
    session = begin(sessions)
    answered(sessions, session, "red boat", "yes")
    answered(sessions, session, "red house", "no")
    assert [hit.turn_number for hit in sessions.search("house red")] == [2]


def test_search_current_only(sessions: Sessions) -> None:
    """Neither superseded turns nor the words of an answer before it is complete are found."""
    session = begin(sessions)
    answered(sessions, session, "obsolete", "x")
    number = sessions.begin_turn(session.id, "present", instead_of=1)
    sessions.update_answer(session.id, number, "fleeting", "")
    assert [bool(sessions.search(word)) for word in ("obsolete", "present", "fleeting")] == [False, True, False]


def test_search_limit(sessions: Sessions) -> None:
    """No more hits than asked for come back."""
    session = begin(sessions)
    for _ in range(5):
        answered(sessions, session, "again", "x")
    assert len(sessions.search("again", limit=3)) == 3


def test_a_search_in_one_book_is_not_crowded_out_by_others(sessions: Sessions) -> None:
    """With a book's digest only chats about it are looked at, however many better hits other books have."""
    mine, other = begin(sessions, book="b1"), begin(sessions, book="b2")
    answered(sessions, mine, "And what of the long voyage of that whale?", "It went on for years.")
    for _ in range(5):
        answered(sessions, other, "Whale whale?", "Whale.")
    assert [hit.session.id for hit in sessions.search("whale", limit=3)] == [other.id] * 3
    assert [hit.session.id for hit in sessions.search("whale", limit=3, book_digest="b1")] == [mine.id]
    assert sessions.search("whale", book_digest="b3") == []


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.text(st.characters(), max_size=30)
    | st.sampled_from(['"', "a OR", "NEAR(a b", "a*", "-a", "a:b", "^a", "(", "\0a"])
)
def test_search_never_a_syntax_error(sessions: Sessions, query: str) -> None:
    """Any text can be searched for."""
    assert sessions.search(query) == []


def test_operators_are_words() -> None:
    """FTS5 operators and quotes in a query are text; punctuation alone is dropped."""
    assert match_expression('cat OR "dog - ?') == '"cat" "OR" """dog"'


def test_index_in_step(sessions: Sessions, path: Path) -> None:
    """After every kind of change, the index agrees with the turns."""
    session, other = begin(sessions), begin(sessions)
    for n in range(3):
        answered(sessions, session, f"question {n}", f"answer {n}")
    sessions.finish_turn(session.id, 3, answer="corrected", thinking="", tokens=[], status="done", proof={})
    sessions.update_answer(session.id, sessions.begin_turn(session.id, "running", instead_of=2), "so far", "")
    answered(sessions, other, "bye", "bye")
    answered(sessions, other, "hello", "hello", instead_of=1)
    raw = sqlite3.connect(path)
    raw.execute("INSERT INTO search (search, rank) VALUES ('integrity-check', 1)")
    raw.close()
    sessions.delete(session.id)
    raw = sqlite3.connect(path)
    raw.execute("INSERT INTO search (search, rank) VALUES ('integrity-check', 1)")
    raw.close()


def test_recover_stops_the_dead(path: Path) -> None:
    """A turn whose program died becomes stopped, with its text and a reason, and can be searched."""
    with Sessions(path, pid=lambda: 71) as sessions:
        session = begin(sessions)
        sessions.update_answer(session.id, sessions.begin_turn(session.id, "Who?"), "Ann, who", "")
    with Sessions(path, pid=lambda: 72, runs=lambda pid: False) as sessions:
        assert sessions.recover() == 1
        (turn,) = sessions.turns(session.id)
        assert (turn.status, turn.answer, turn.error) == ("stopped", "Ann, who", DIED)
        assert len(sessions.search("ann")) == 1
        assert sessions.recover() == 0


def test_recover_keeps_what_was_known(path: Path) -> None:
    """What was noted with a question, as how far the chat knows the book, is there when its program died."""
    with Sessions(path, pid=lambda: 71) as sessions:
        session = begin(sessions)
        sessions.begin_turn(session.id, "Who?", Limit(12, "CHAPTER 1").noted())
    with Sessions(path, pid=lambda: 72, runs=lambda pid: False) as sessions:
        assert sessions.recover() == 1
        assert last_limit(sessions.turns(session.id)) == Limit(12, "CHAPTER 1")


def test_recover_spares_the_living(path: Path) -> None:
    """A turn whose program still runs is left alone."""
    with Sessions(path, pid=lambda: 71) as sessions:
        session = begin(sessions)
        sessions.begin_turn(session.id, "Who?")
    with Sessions(path, pid=lambda: 72, runs=lambda pid: pid == 71) as sessions:
        assert sessions.recover() == 0
        assert sessions.turns(session.id)[0].status == "running"


def test_recover_same_number(path: Path) -> None:
    """A program with the number of the one that died stops its turns, but not its own."""
    with Sessions(path, pid=lambda: 1, launch="earlier") as sessions:
        session = begin(sessions)
        sessions.begin_turn(session.id, "Who?")
    with Sessions(path, pid=lambda: 1, launch="now", runs=lambda pid: True) as sessions:
        sessions.begin_turn(session.id, "And now?")
        assert sessions.recover() == 1
        assert [turn.status for turn in sessions.turns(session.id)] == ["stopped", "running"]


CHILD = """
import sys
from pathlib import Path
from cagchat.sessions.store import Sessions

with Sessions(Path(sys.argv[1])) as sessions:
    session = sessions.find("last")
    sessions.update_answer(session.id, sessions.begin_turn(session.id, "from the child"), "half an ans", "")
    print("begun", flush=True)
    sys.stdin.read()
"""


def test_recover_after_a_kill(sessions: Sessions, path: Path) -> None:
    """A real program's turn runs on while it lives and is recovered once it was killed."""
    session = begin(sessions)
    command = [sys.executable, "-c", CHILD, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "begun\n"
        assert sessions.recover() == 0
        child.kill()
    assert sessions.recover() == 1
    (turn,) = sessions.turns(session.id)
    assert (turn.status, turn.answer) == ("stopped", "half an ans")


WRITER = """
import sys
from pathlib import Path
from cagchat.sessions.store import Sessions

with Sessions(Path(sys.argv[1])) as sessions:
    session = sessions.create(book_digest="b", book_title="", book_path="", model="")
    for n in range(25):
        number = sessions.begin_turn(session.id, f"q{n}")
        sessions.update_answer(session.id, number, "part", "")
        sessions.finish_turn(session.id, number, answer="all", thinking="", tokens=[n], status="done", proof={})
"""


def test_two_writers(path: Path) -> None:
    """Two programs that begin the file and write at once both keep all of their turns."""
    command = [sys.executable, "-c", WRITER, str(path)]
    writers = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    assert [writer.communicate()[1] for writer in writers] == ["", ""]
    with Sessions(path) as sessions:
        assert [[turn.status for turn in sessions.turns(s.id)] for s in sessions.list()] == [["done"] * 25] * 2


def test_locked_file(path: Path) -> None:
    """A file that another program holds locked gives an error that says so, and works again afterwards."""
    with Sessions(path, busy_timeout_s=0.0) as sessions:
        holder = sqlite3.connect(path, isolation_level=None)
        holder.execute("BEGIN IMMEDIATE")
        with pytest.raises(SessionError, match="in use"):
            begin(sessions)
        holder.close()
        begin(sessions)


def test_failed_write_rolls_back(sessions: Sessions) -> None:
    """A write that fails inside leaves nothing of itself and the store usable."""
    session = begin(sessions)
    number = sessions.begin_turn(session.id, "Who?")
    with pytest.raises(SessionError):
        sessions.finish_turn(
            session.id,
            number,
            answer="x",
            thinking="",
            tokens=[],
            status="finished",  # type: ignore[arg-type]  # what the table refuses is the point
            proof={},
        )
    assert sessions.turns(session.id)[0].status == "running"
    answered(sessions, session, "Still there?", "Yes.")


@given(st.lists(st.integers(-(2**31), 2**31 - 1)))
def test_tokens_round_trip(tokens: list[int]) -> None:
    """Token ids come back from their blob, four bytes each."""
    blob = blob_of_tokens(tokens)
    assert len(blob) == 4 * len(tokens)
    assert list(tokens_of_blob(blob)) == tokens


def test_blob_order() -> None:
    """The lowest byte comes first, and a big endian machine swaps."""
    assert blob_of_tokens([0x01020304]) == b"\4\3\2\1"
    assert list(swapped(array("i", [0x01020304]), "big")) == [0x04030201]


def test_unstorable_text(sessions: Sessions) -> None:
    """Half a surrogate pair or a NUL in a question is replaced, not refused."""
    session = begin(sessions)
    answered(sessions, session, "a\udc80b\0c", "x")
    assert sessions.turns(session.id)[0].question == storable("a\udc80b\0c") == "a?b\N{REPLACEMENT CHARACTER}c"

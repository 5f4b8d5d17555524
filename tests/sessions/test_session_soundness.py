"""A file of chats that is known to be sound is not checked again, and nothing else is taken for one."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from cagchat.errors import StorageError
from cagchat.sessions import schema, soundness
from cagchat.sessions.store import Sessions

ROOT = Path(__file__).resolve().parents[2]
NOW = 1_700_000_000.0
DAY_S = 24 * 3600.0


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file with a chat of two turns, closed as it should be."""
    path = tmp_path / "chats" / "sessions.sqlite"
    with opened(path) as sessions:
        ask(sessions, "Who kept the ledger?")
        ask(sessions, "And the dog?")
    return path


@pytest.fixture
def checks(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What every whole check says, in order."""
    said: list[str] = []
    damage: Callable[[sqlite3.Connection], str] = schema.damage

    def watched(connection: sqlite3.Connection) -> str:
        said.append(damage(connection))
        return said[-1]

    monkeypatch.setattr(schema, "damage", watched)
    return said


def opened(path: Path, now: float = NOW) -> Sessions:
    return Sessions(path, clock=lambda: now)


def ask(sessions: Sessions, question: str) -> None:
    """Record a turn in the one chat of the file."""
    found = sessions.list()
    session = found[0] if found else sessions.create(book_digest="b00c", book_title="B", book_path="/b", model="m")
    number = sessions.begin_turn(session.id, question)
    sessions.update_answer(session.id, number, "Old", "")
    sessions.finish_turn(
        session.id, number, answer="Old Perrin.", thinking="", tokens=[1, 2], status="done", proof={"evaluated": 7}
    )


def questions(sessions: Sessions) -> list[str]:
    return [turn.question for session in sessions.list() for turn in sessions.turns(session.id)]


def test_a_sound_file_is_not_checked_again(path: Path, checks: list[str]) -> None:
    """Opened, written to and closed by us, a file needs no check, again and again."""
    for number in range(3):
        with opened(path) as sessions:
            ask(sessions, f"Question {number}?")
    with opened(path) as sessions:
        assert len(questions(sessions)) == 5
    assert checks == []


def test_the_note_is_private_and_renewed_only_when_needed(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only its owner can read it, and who only looks at the chats writes nothing."""
    assert soundness.note_of(path).stat().st_mode & 0o777 == 0o600
    written: list[Path] = []
    monkeypatch.setattr(soundness, "write_bytes", lambda file, content: written.append(file))
    with opened(path) as sessions:
        questions(sessions)
    assert written == []


def test_any_flipped_bit_is_seen(path: Path, checks: list[str]) -> None:
    """A bit that flips anywhere in the file, with its times as they were, is checked and never taken for sound."""
    good, status = path.read_bytes(), path.stat()
    for place in range(24, len(good), len(good) // 40):
        bad = bytearray(good)
        bad[place] ^= 1 << place % 8
        path.write_bytes(bad)
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
        assert soundness.last_check(path, NOW) is None
    path.write_bytes(good.replace(b"ledger", b"lodger"))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    with opened(path) as sessions:
        assert "damaged" in sessions.notice
    assert len(checks) == 1
    assert checks[0]


def test_a_file_that_was_begun_anew_is_noted_as_it_is(path: Path, checks: list[str]) -> None:
    """After a damaged file was set aside, the note is about the new one."""
    path.write_bytes(path.read_bytes().replace(b"ledger", b"lodger"))
    opened(path).close()
    opened(path).close()
    assert len(checks) == 1


@pytest.mark.parametrize("later_s", [-1.0, DAY_S, 30 * DAY_S])
def test_a_note_is_believed_for_a_day(path: Path, checks: list[str], later_s: float) -> None:
    """A day after the last check, or with a clock that was put back, the file is checked again, and then no more."""
    opened(path, NOW + DAY_S - 1).close()
    assert checks == []
    opened(path, NOW + later_s).close()
    assert checks == [""]
    opened(path, NOW + later_s + 60).close()
    assert checks == [""]


def test_a_file_with_a_journal_is_checked(path: Path, checks: list[str]) -> None:
    """What a program that was killed has left is checked at the next start."""
    code = (
        "import os, signal, sys\nfrom pathlib import Path\nfrom cagchat.sessions.store import Sessions\n"
        f"sessions = Sessions(Path({str(path)!r}))\nsessions.begin_turn(sessions.list()[0].id, 'Killed?')\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    killed = subprocess.run([sys.executable, "-c", code], check=False, cwd=ROOT)
    assert killed.returncode == -signal.SIGKILL
    with opened(path) as sessions:
        assert questions(sessions)[-1] == "Killed?"
    assert checks == [""]


def test_a_file_that_others_have_open_is_not_noted(path: Path, checks: list[str]) -> None:
    """While another program has the file open, closing it notes nothing; the last one does."""
    before = soundness.read(path)
    with closing(sqlite3.connect(path)) as other:
        other.execute("SELECT count(*) FROM turns").fetchall()
        with opened(path) as sessions:
            ask(sessions, "Meanwhile?")
        assert soundness.journalled(path)
        assert soundness.read(path) == before
        opened(path).close()
        assert checks == [""]
    opened(path).close()
    assert checks == ["", ""]
    opened(path).close()
    assert checks == ["", ""]


def test_an_error_puts_the_file_in_doubt(path: Path, checks: list[str]) -> None:
    """After any error of the database the next start checks the file."""
    with opened(path) as sessions:
        sessions._connection.execute("DROP TABLE search")  # what no program of ours does
        with pytest.raises(Exception, match="no such table"):
            sessions.search("ledger")
    with opened(path) as sessions:
        assert "damaged" in sessions.notice
    assert len(checks) == 1


def test_a_row_that_changed_while_the_file_was_open_is_not_read(path: Path, checks: list[str]) -> None:
    """A turn that is not what was written is an error where it is read, and the next start sets the file aside."""
    with opened(path) as sessions:
        changed_in_place(path, "dog", "cat")
        with pytest.raises(StorageError, match="not what was written: 1"):
            questions(sessions)
    with opened(path) as sessions:
        assert "damaged" in sessions.notice
        assert questions(sessions) == ["Who kept the ledger?"]
    assert len(checks) == 1


def test_a_doubt_of_one_program_holds_for_all(path: Path, checks: list[str]) -> None:
    """Where a program met damage, no other that had the file open meanwhile can call it sound again."""
    other = opened(path)
    with opened(path) as sessions:
        changed_in_place(path, "dog", "cat")
        with pytest.raises(StorageError, match="not what was written"):
            questions(sessions)
    other.close()
    assert soundness.read(path) is None
    opened(path).close()
    assert len(checks) == 1
    assert checks[0]


def test_another_file_of_the_name_is_not_noted(path: Path, checks: list[str]) -> None:
    """A file that was put in the place of the open one is checked."""
    bad = path.read_bytes().replace(b"dog", b"cat")
    with opened(path):
        path.rename(path.with_name("away"))
        path.write_bytes(bad)
    with opened(path) as sessions:
        assert "damaged" in sessions.notice
    assert len(checks) == 1


def test_a_program_that_ended_without_closing_has_noted_nothing(path: Path, checks: list[str]) -> None:
    """While the file is open the note is about nothing, so that it cannot be believed after a kill."""
    soundness.withdraw(path)
    with opened(path):
        note = soundness.read(path)
        assert note == soundness.Note(NOW)
        assert soundness.last_check(path, NOW) is None
    assert soundness.last_check(path, NOW) is not None
    assert checks == [""]


def changed_in_place(path: Path, old: str, new: str) -> None:
    """Change bytes of a file from another process, for this one would lose its locks."""
    code = (
        "import sys; path, *words = sys.argv[1:]; old, new = map(str.encode, words)\n"
        "content = open(path, 'rb').read(); open(path, 'r+b').write(content.replace(old, new))"
    )
    subprocess.run([sys.executable, "-c", code, str(path), old, new], check=True)


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"[" * 100_000, b"\xff", b'{"format": 2}', b'{"format": 1, "checked_at": 0, "digest": 7}'],
    ids=["empty", "cut", "list", "deep", "binary", "other", "types"],
)
def test_a_damaged_note_is_none(path: Path, checks: list[str], content: bytes) -> None:
    """A note that is not what was written lets the file be checked, and is written anew."""
    soundness.note_of(path).write_bytes(content)
    opened(path).close()
    assert checks == [""]
    opened(path).close()
    assert checks == [""]


def test_a_note_that_cannot_be_written_costs_a_check(path: Path, checks: list[str]) -> None:
    """Where the disk does not take the note, nothing is raised, and the next start checks."""
    soundness.note_of(path).unlink()
    soundness.note_of(path).mkdir()
    for _ in range(2):
        with opened(path) as sessions:
            assert len(questions(sessions)) == 2
    assert checks == ["", ""]

"""`cagchat sessions`: list, show, search, export, rename and rm on a real database."""

from __future__ import annotations

import io
import json
import stat
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from cagchat.cli.main import main
from cagchat.engine.protocol import CHAT, Span, Transfer
from cagchat.exporting import proof_line
from cagchat.files import private_folder
from cagchat.limits.limit import Limit
from cagchat.locations import locate
from cagchat.proof import Proof, prove
from cagchat.sessions.session import Session, Status
from cagchat.sessions.store import Sessions

PROOF = prove(
    [Span(CHAT, 1200, 44)],
    n_book=1200,
    generated=30,
    history=0,
    restored=Transfer(2_000_000, 0.05),
    first_token_s=0.2,
    decode_s=1.0,
    position=1244,
    n_context=4096,
)


class Terminal(io.StringIO):
    """A stdin at which somebody types."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CAGCHAT_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    private_folder(locate().data)
    return tmp_path


def chat(
    question: str = "Who slept until noon?",
    answer: str = "The keeper slept until noon.",
    book: str = "The Lamp",
    status: Status = "done",
    proof: Proof = PROOF,
) -> Session:
    """Record a chat of one turn."""
    with Sessions(locate().sessions_db) as sessions:
        path = f"/books/{book}.txt"
        session = sessions.create(book_digest=f"digest of {book}", book_title=book, book_path=path, model="tiny")
        number = sessions.begin_turn(session.id, question)
        sessions.finish_turn(
            session.id, number, answer=answer, thinking="", tokens=[1], status=status, proof=proof.as_dict()
        )
        return sessions.find(session.id)


def test_list_has_a_line_a_chat(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each chat is one line of cells between tabs, the last used first."""
    first, second = chat(), chat("What tore?", book="The Rope")
    assert main(["sessions"]) == 0
    rows = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert [row[:4] for row in rows] == [
        [second.id, "What tore?", "The Rope", "1"],
        [first.id, "Who slept until noon?", "The Lamp", "1"],
    ]


def test_list_on_a_terminal_is_a_table(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a terminal the cells stand under headers."""
    session = chat()
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert main(["sessions", "list"]) == 0
    out = capsys.readouterr().out
    assert "Last used" in out.splitlines()[0]
    assert session.id in out


@pytest.mark.parametrize("name", ["the rope", "The R", "/books/The Rope.txt"])
def test_list_of_one_book(home: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    """A book's title in any case, its beginning and its file choose the chats about it."""
    chat()
    wanted = chat(book="The Rope")
    assert main(["sessions", "list", name, "--json"]) == 0
    assert [session["id"] for session in json.loads(capsys.readouterr().out)] == [wanted.id]


@pytest.mark.parametrize("name", ["The Sea", "~no-such-user"])
def test_list_of_an_unknown_book_is_bad_input(home: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    """A book that nobody talked about ends with 1."""
    chat()
    assert main(["sessions", "list", name]) == 1
    assert f"There is no chat about {name}." in capsys.readouterr().err


def test_no_chats_is_no_error(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without chats stdout stays empty."""
    assert main(["sessions"]) == 0
    assert capsys.readouterr().out == ""


def test_show_gives_the_proof_line_of_each_answer(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Below an answer stands the line that stood there when it was given."""
    session = chat()
    assert main(["sessions", "show", session.id]) == 0
    out = capsys.readouterr().out
    assert out.endswith(f"The keeper slept until noon.\n{PROOF.line()}\n")


def test_show_says_how_an_answer_ended(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An answer that was stopped says so."""
    chat(status="stopped")
    assert main(["sessions", "show", "last"]) == 0
    assert "(stopped)" in capsys.readouterr().out


def test_show_lets_no_control_character_through(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What a model wrote cannot move the cursor."""
    chat(answer="red \x1b[31m\rnot")
    assert main(["sessions", "show", "last"]) == 0
    assert "red [31mnot" in capsys.readouterr().out


def test_proof_that_was_read_again_is_loud() -> None:
    """A recorded failure to reuse the book is as loud as it was."""
    assert "BOOK TOKENS READ AGAIN" in proof_line(replace(PROOF, book_evaluated=5).as_dict())


def test_proof_of_another_version_is_shown_key_by_key() -> None:
    """A record without the present fields is not lost."""
    assert proof_line({"book_tokens": 1200, "novelty": True}) == "book tokens 1,200, novelty yes"


def test_proof_that_is_empty_is_no_line() -> None:
    """A turn without a proof has no line."""
    assert proof_line({}) == ""


def test_search_finds_turns_by_their_words(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A hit is a line with chat, turn, title and the passage."""
    session = chat()
    chat("What tore?", "The rope tore.", book="The Rope")
    assert main(["sessions", "search", "sleeping", "keeper"]) == 0
    assert capsys.readouterr().out == ""
    assert main(["sessions", "search", "keeper", "slept"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert line.split("\t") == [session.id, "1", session.title, "The **keeper** **slept** until noon."]


def test_search_as_json(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With --json a hit names its chat and turn."""
    session = chat()
    assert main(["sessions", "search", "noon", "--json"]) == 0
    (hit,) = json.loads(capsys.readouterr().out)
    assert (hit["id"], hit["turn"]) == (session.id, 1)


def test_export_as_markdown_holds_the_proof(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Markdown goes to stdout, with the proof line in words."""
    session = chat()
    assert main(["sessions", "export", session.id]) == 0
    out = capsys.readouterr().out
    assert out.startswith("# Who slept until noon?\n")
    assert f"*Proof: {PROOF.line()}*" in out


def test_export_as_json_to_a_file(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file is written readable by its owner only, and stdout stays empty."""
    chat()
    path = home / "chat.json"
    assert main(["sessions", "export", "last", "--format", "json", "-o", str(path)]) == 0
    assert capsys.readouterr().out == ""
    assert json.loads(path.read_text(encoding="utf-8"))["turns"][0]["proof"] == PROOF.as_dict()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_export_replaces_a_file_only_when_told_to(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file that is there, a book perhaps, stays as it is until somebody says otherwise."""
    chat()
    path = home / "novel.txt"
    path.write_text("A book.", encoding="utf-8")
    assert main(["sessions", "export", "last", "-o", str(path)]) == 2
    assert "whether to replace a file that is there" in capsys.readouterr().err
    assert path.read_text(encoding="utf-8") == "A book."
    assert main(["sessions", "export", "last", "-o", str(path), "-y"]) == 0
    assert path.read_text(encoding="utf-8").startswith("# ")


@pytest.mark.parametrize("limit", ["0", "-5", "many", "1000000001", "9" * 30, "9" * 5000])
def test_a_search_shows_at_least_one_turn(limit: str, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A number of hits below one, or beyond what a database counts, is wrong usage."""
    with pytest.raises(SystemExit) as ended:
        main(["sessions", "search", "noon", "--limit", limit])
    assert ended.value.code == 2
    assert "not a whole number from 1 to 1,000,000,000" in capsys.readouterr().err


def test_a_limit_is_told_with_the_proof() -> None:
    """Who reads the chat later sees how far it knew the book, also when the answer is complete."""
    limit = Limit(100, "the end of Chapter 1")
    line = proof_line(PROOF.as_dict() | limit.noted())
    assert line == f"{PROOF.line()}, known up to the end of Chapter 1"


def test_export_into_a_missing_folder_is_bad_input(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file that cannot be written is named, with a hint about files."""
    chat()
    assert main(["sessions", "export", "last", "-o", str(home / "no" / "chat.md")]) == 1
    err = capsys.readouterr().err
    assert str(home / "no" / "chat.md") in err
    assert "Name a file" in err


def test_export_never_replaces_a_folder_or_device(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What is no file is refused as wrong usage."""
    chat()
    assert main(["sessions", "export", "last", "-o", str(home)]) == 2
    assert "is not a file" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["x" * 5000, "x/" * 3000, "~no-such-user/chat.md"])
def test_export_to_a_name_that_cannot_be_is_bad_input(
    name: str, home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name that is too long, or in the home folder of nobody, is one line with a hint about files."""
    chat()
    monkeypatch.chdir(home)
    assert main(["sessions", "export", "last", "-o", name]) == 1
    err = capsys.readouterr().err
    assert "cannot be written" in err
    assert "Name a file" in err


def test_export_never_replaces_a_link_in_a_circle(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A link that leads back to itself is no file, and is refused as wrong usage."""
    chat()
    (home / "chat.md").symlink_to(home / "chat.md")
    assert main(["sessions", "export", "last", "-o", str(home / "chat.md")]) == 2
    assert "is not a file" in capsys.readouterr().err
    assert (home / "chat.md").is_symlink()


def test_rename_joins_the_words(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A title needs no quotes."""
    session = chat()
    assert main(["sessions", "rename", session.id, "The", "long", "sleep"]) == 0
    assert "The long sleep" in capsys.readouterr().out
    with Sessions(locate().sessions_db) as sessions:
        assert sessions.find(session.id).title == "The long sleep"


def remaining() -> list[str]:
    with Sessions(locate().sessions_db) as sessions:
        return [session.id for session in sessions.list()]


def test_rm_deletes_what_is_named(home: Path) -> None:
    """With -y the named chats go, named twice or once, and others stay."""
    first, second, third = chat(), chat(), chat()
    assert main(["sessions", "rm", first.id, third.id, first.id, "-y"]) == 0
    assert remaining() == [second.id]


def test_rm_of_an_unknown_chat_deletes_nothing(home: Path) -> None:
    """One wrong name among several stops before the first is deleted."""
    session = chat()
    assert main(["sessions", "rm", session.id, "no such chat", "-y"]) == 1
    assert remaining() == [session.id]


def test_rm_says_where_else_chats_may_stand(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Deleting a chat names the damaged files that may hold it too, and what deletes them, where there are such."""
    assert main(["sessions", "rm", chat().id, "-y"]) == 0
    assert "prune" not in capsys.readouterr().err
    path = locate().sessions_db
    path.with_name(f"{path.name}.damaged-1").write_bytes(b"damaged")
    assert main(["sessions", "rm", chat().id, "-y"]) == 0
    err = capsys.readouterr().err
    assert f"{path.name}.damaged-1" in err
    assert "cagchat library prune" in err


def test_rm_without_a_terminal_needs_yes(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Where nobody can be asked, nothing is deleted."""
    session = chat()
    assert main(["sessions", "rm", session.id]) == 2
    assert "-y" in capsys.readouterr().err
    assert remaining() == [session.id]


@pytest.mark.parametrize(("typed", "code"), [("yes\n", 0), ("\n", 1)])
def test_rm_on_a_terminal_asks(home: Path, monkeypatch: pytest.MonkeyPatch, typed: str, code: int) -> None:
    """Only a yes deletes."""
    session = chat()
    monkeypatch.setattr(sys, "stdin", Terminal(typed))
    assert main(["sessions", "rm", session.id]) == code
    assert remaining() == ([session.id] if code else [])


def test_an_answer_that_is_not_utf_8_is_no_yes(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever bytes a terminal sends, they are an answer."""
    session = chat()
    stdin = io.TextIOWrapper(io.BytesIO(b"\xe9\n"), encoding="utf-8", errors="strict")
    monkeypatch.setattr(stdin, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stdin", stdin)
    assert main(["sessions", "rm", session.id]) == 1
    assert "Nothing was deleted." in capsys.readouterr().err
    assert remaining() == [session.id]


def test_unknown_chat_is_bad_input(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A chat that is not there ends with 1, and the hint lists those that are."""
    session = chat()
    assert main(["sessions", "show", "nothing"]) == 1
    assert session.id in capsys.readouterr().err

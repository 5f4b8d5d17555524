"""`cagchat completion`: scripts that shells accept, and completions as a shell asks for them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from cagchat.bench.synth import write_model
from cagchat.cli.completion import SHELLS, book_names, chat_names, state_names
from cagchat.cli.main import main
from cagchat.files import private_folder
from cagchat.locations import locate
from cagchat.sessions.store import Sessions
from cagchat.states.store import States

PROGRAM = "import sys; from cagchat.cli.main import main; sys.exit(main())"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CAGCHAT_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def completions(line: str, folder: Path) -> list[str]:
    """Ask the program as the shell's script does."""
    answer = folder / "completions"
    environ = os.environ | {
        "_ARGCOMPLETE": "1",
        "_ARGCOMPLETE_IFS": "\n",
        "_ARGCOMPLETE_STDOUT_FILENAME": str(answer),
        "_ARGCOMPLETE_SUPPRESS_SPACE": "1",
        "COMP_LINE": line,
        "COMP_POINT": str(len(line)),
    }
    done = subprocess.run([sys.executable, "-c", PROGRAM], env=environ, capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr.decode()
    return answer.read_text().split("\n")


def begun(title: str) -> str:
    """Begin a chat and return its id."""
    private_folder(locate().data)
    with Sessions(locate().sessions_db) as sessions:
        return sessions.create(book_digest="d", book_title="b", book_path="p", model="m", title=title).id


def read_lamp(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    book = home / "lamp.md"
    book.write_text("# The Lamp\n\nThe keeper lit the lamp at dusk. Nobody saw the ship that passed.\n")
    assert main(["read", str(book), "--fake"]) == 0
    capsys.readouterr()


@pytest.mark.parametrize("shell", SHELLS)
def test_script_is_accepted_by_its_shell(capsys: pytest.CaptureFixture[str], shell: str) -> None:
    """The script is about cagchat, and its shell finds no error in it where that shell is installed."""
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert "cagchat" in script
    if path := shutil.which(shell):
        subprocess.run([path, "-n"], input=script.encode(), check=True, timeout=60)


def test_unknown_shell_is_wrong_usage() -> None:
    """Only shells that there is a script for are taken."""
    with pytest.raises(SystemExit) as caught:
        main(["completion", "dash"])
    assert caught.value.code == 2


def test_help_says_how_to_install(capsys: pytest.CaptureFixture[str]) -> None:
    """The help holds a line for each shell."""
    with pytest.raises(SystemExit):
        main(["completion", "--help"])
    out = capsys.readouterr().out
    assert all(f"cagchat completion {shell}" in out for shell in SHELLS)


def test_command_is_completed(home: Path) -> None:
    """The program completes the beginning of a command."""
    assert completions("cagchat se", home) == ["sessions"]


def test_title_is_completed(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The program completes a book by its title, quoted for the shell."""
    read_lamp(home, capsys)
    assert completions("cagchat ask The", home) == ["The\\ Lamp"]


@pytest.mark.parametrize("typed", ["the l", "THE"])
def test_title_is_completed_in_any_case(home: Path, capsys: pytest.CaptureFixture[str], typed: str) -> None:
    """A title is found by its beginning in any case, and so it is completed."""
    read_lamp(home, capsys)
    assert completions(f"cagchat ask '{typed}", home) == ["The Lamp"]
    assert state_names(typed) == ["The Lamp"]


@pytest.mark.parametrize("command", ["ask lamp.md --session", "open lamp.md --session", "sessions show", "sessions rm"])
def test_chat_is_completed(home: Path, command: str) -> None:
    """The program completes a chat by its id and by its title, wherever one is named; no file is offered for it."""
    (home / "who.txt").touch()
    chat = begun("Who lit it?")
    assert completions(f"cagchat {command} {chat}"[:-2], home) == [chat]
    assert completions(f"cagchat {command} who", home) == ["Who\\ lit\\ it\\?"]


def test_choice_is_completed(home: Path) -> None:
    """The value of a flag that takes one of a few is completed by those that begin as it does."""
    assert completions("cagchat ask lamp.md --kv q", home) == ["q8_0", "q4_0"]


@pytest.mark.parametrize("words", ["ask", "ask who.txt --with", "bench device"])
def test_home_folder_is_completed(home: Path, monkeypatch: pytest.MonkeyPatch, words: str) -> None:
    """Below "~" the files of the home folder are offered, and "~" stays as it was typed."""
    monkeypatch.setenv("HOME", str(home))
    (home / "lamp.md").touch()
    assert completions(f"cagchat {words} ~/la", home) == ["~/lamp.md"]


def test_model_is_completed(home: Path) -> None:
    """The value of --model is completed by the names of models that are on this disk."""
    write_model(private_folder(locate().models) / "Tiny-Q8_0.gguf", "qwen3", layers=1)
    assert "Tiny-Q8_0" in completions("cagchat ask book.txt --model Tin", home)


def test_books_are_titles_and_files(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A book is a title that was read or a path; hidden files are offered only when asked for."""
    read_lamp(home, capsys)
    (home / "notes").mkdir()
    (home / ".hidden").touch()
    assert book_names("") == ["The Lamp", "home/", "lamp.md", "notes/"]
    assert book_names(".h") == [".hidden"]
    assert book_names(f"{home}/la") == [f"{home}/lamp.md"]


def test_states_are_titles_and_folders(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A state is named by its book's title or its folder, one that stands aside by its folder only."""
    read_lamp(home, capsys)
    (folder,) = States(locate().states).all()
    assert state_names("") == ["The Lamp", folder.name]
    aside = folder.set_aside("why")
    assert state_names("") == [aside.name]


def test_chats_are_ids_with_their_titles() -> None:
    """A chat is named by its id and explained by its title, or named by its title and explained by its id."""
    chat = begun("Ä long sleep")
    assert chat_names("") == {chat: "Ä long sleep"}
    assert chat_names(chat[:2]) == {chat: "Ä long sleep"}
    assert chat_names("a LONG") == {"Ä long sleep": chat}
    assert chat_names("no such beginning") == {}


def test_a_chat_among_many_is_found_by_its_title(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many were used since, a chat whose title begins as typed is offered."""
    monkeypatch.setattr("cagchat.cli.completion.CHATS_OFFERED", 3)
    chat = begun("The first")
    for _ in range(4):
        begun("Another")
    assert chat_names("The fi") == {"The first": chat}
    assert len(chat_names("")) == 3


@pytest.mark.parametrize("names", [state_names, chat_names])
def test_nothing_there_is_nothing_to_complete(home: Path, names: Callable[[str], object]) -> None:
    """Without folders nothing is offered, nothing is made and nothing fails."""
    assert not names("")
    assert not (home / "home").exists()


def test_damaged_chats_are_left_alone() -> None:
    """A key press never sets a damaged file aside."""
    path = locate().sessions_db
    private_folder(path.parent)
    path.write_bytes(b"no database" * 1000)
    assert chat_names("") == {}
    assert [file.name for file in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("prefix", ["no/such/folder/x", "\0", "~nobody/x"])
def test_impossible_paths_are_nothing(prefix: str) -> None:
    """A path that leads nowhere has no completion."""
    assert book_names(prefix) == []

"""The app as a person meets it: the real program in a real terminal, keys in and screen text out, by tmux."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cagchat.demo import story_path
from tests.waiting import has_ended, wait_until

ROOT = Path(__file__).resolve().parents[2]
QUESTION = "What is the name of the lake?"
ANSWER = "The lake is called Senn Water."


class Terminal:
    """A terminal of its own in tmux, with a shell in it that waits for a line once a command has ended."""

    def __init__(self, home: Path, columns: int, rows: int) -> None:
        assert shutil.which("tmux"), "This test drives a real terminal: install tmux (apt-get install tmux)."
        self._size = ("-x", str(columns), "-y", str(rows))
        self._home = home
        self._started = 0

    @property
    def _socket(self) -> str:
        """A server of its own for each command: the last one may still be ending."""
        return str(self._home / f"tmux-{self._started}")

    def _tmux(self, *words: str) -> str:
        command = ["tmux", "-S", self._socket, "-f", os.devnull, *words]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    def start(self, *arguments: str) -> None:
        """Run a command of ours in it; its exit code is written below what it leaves on the screen."""
        self._started += 1
        words = [sys.executable, "-m", "cagchat", *arguments]
        # Without the size that the tests' own terminal may have left in the environment.
        environment = ["env", "-u", "COLUMNS", "-u", "LINES", f"CAGCHAT_HOME={self._home}"]
        line = f"{shlex.join(environment)} {shlex.join(words)}; echo ended with $?; read line"
        self._tmux("new-session", "-d", *self._size, "-c", str(ROOT), f"sh -c {shlex.quote(line)}")

    def keys(self, *names: str) -> None:
        """Press keys by their tmux names."""
        self._tmux("send-keys", *names)

    def type(self, text: str) -> None:
        """Type a text."""
        self._tmux("send-keys", "-l", text)

    def screen(self) -> str:
        """Return what is on the screen."""
        return self._tmux("capture-pane", "-p", "-J")

    def until(self, text: str) -> str:
        """Wait until the screen shows a text, and return the screen."""
        shown = [""]

        def there() -> bool:
            shown[0] = self.screen()
            return text in shown[0]

        try:
            wait_until(there, repr(text))
        except AssertionError as late:
            raise AssertionError(f"{late}. The screen:\n{shown[0]}") from None
        return shown[0]

    def program(self) -> int:
        """Return the process that runs in it, which is its shell's child."""
        shell = self._tmux("display-message", "-p", "#{pane_pid}").strip()
        return int(Path(f"/proc/{shell}/task/{shell}/children").read_text().split()[0])

    def end(self) -> None:
        """End tmux and what runs in it."""
        subprocess.run(["tmux", "-S", self._socket, "kill-server"], check=False, capture_output=True)


@pytest.fixture(params=[(80, 24), (60, 20), (200, 60)], ids=["80x24", "60x20", "200x60"])
def terminal(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Terminal]:
    terminal = Terminal(tmp_path, *request.param)
    yield terminal
    terminal.end()


def test_a_book_is_opened_asked_left_and_opened_again(terminal: Terminal) -> None:
    """The story is read and asked; opened with the line that was left, it has its chat and answers without reading."""
    with story_path() as story:
        terminal.start("open", str(story), "--fake")
        terminal.until("ask about the book")
        terminal.type(QUESTION)
        terminal.until(QUESTION)
        terminal.keys("Enter")
        terminal.until(ANSWER)
        terminal.until("read once")
        terminal.keys("C-q")
        left = terminal.until("ended with 0")
        assert "Traceback" not in left
        found = re.search(r"^Go on with: cagchat open .* --session (\w+)", left, re.MULTILINE)
        assert found, left
        terminal.end()
        terminal.start("open", str(story), "--fake", "--session", found[1])
        terminal.until(ANSWER)
        terminal.type("And again?")
        terminal.keys("Enter")
        terminal.until("✔ 13,173 reused")
        terminal.keys("C-q")
        terminal.until("ended with 0")


def test_a_plain_chat_is_line_by_line(tmp_path: Path) -> None:
    """With --plain the book is asked on the terminal's own lines, and the chat can be gone on with."""
    terminal = Terminal(tmp_path, 100, 40)
    try:
        with story_path() as story:
            terminal.start("open", str(story), "--fake", "--plain")
            terminal.until("/help shows the commands")
            terminal.type(QUESTION)
            terminal.keys("Enter")
            terminal.until(ANSWER)
            terminal.until("tok/s")
            terminal.keys("C-d")
            assert "--session" in terminal.until("ended with 0")
    finally:
        terminal.end()


def test_without_a_book_the_library_is_shown(terminal: Terminal) -> None:
    """Bare `cagchat` on a terminal is the library with its welcome, and ends with exit code 0."""
    terminal.start()
    terminal.until("Library")
    terminal.until("story")
    terminal.keys("C-q")
    assert "Traceback" not in terminal.until("ended with 0")


def test_closing_the_window_keeps_what_was_being_written(tmp_path: Path) -> None:
    """The draft and the place in the book are there again, and nothing runs on without a window."""
    terminal = Terminal(tmp_path, 100, 40)
    try:
        with story_path() as story:
            terminal.start("open", str(story), "--fake")
            terminal.until("ask about the book")
            terminal.type("half a question")
            terminal.until("half a question")
            terminal.keys("C-b")
            terminal.until("0.0 %")
            terminal.keys("PageDown")
            wait_until(lambda: "0.0 %" not in terminal.screen(), "another page")
            pid = terminal.program()
            terminal.end()
            wait_until(lambda: has_ended(pid), "the program's end")
            terminal.start("open", str(story), "--fake")
            terminal.until("half a question")
            terminal.keys("C-b")
            terminal.until("%")
            assert "0.0 %" not in terminal.screen()
    finally:
        terminal.end()


def test_a_program_told_to_end_leaves_in_order(tmp_path: Path) -> None:
    """The terminal is given back, the draft is kept, and the exit code is that of the signal."""
    terminal = Terminal(tmp_path, 100, 40)
    try:
        with story_path() as story:
            terminal.start("open", str(story), "--fake")
            terminal.until("ask about the book")
            terminal.type("half a question")
            terminal.until("half a question")
            os.kill(terminal.program(), signal.SIGTERM)
            left = terminal.until("ended with 143")
            assert "Go on with: cagchat open" in left
            terminal.end()
            terminal.start("open", str(story), "--fake")
            terminal.until("half a question")
    finally:
        terminal.end()

"""Leaving in the middle of anything: at once, with everything kept, and a line that says how to go on."""

from __future__ import annotations

import shlex
import threading
from pathlib import Path

import pytest
from textual.pilot import Pilot

from cagchat.documents import gather
from cagchat.engine.backend import FakeBackend, Notify
from cagchat.engine.fake import FakeEngine, FakeScript
from cagchat.engine.protocol import Blob, Engine, EngineSettings, Transfer
from cagchat.tui.app import CagchatApp
from cagchat.tui.book_table import BookTable
from cagchat.tui.chat_screen import ChatScreen
from cagchat.tui.dialogs import AskText, Confirm
from cagchat.tui.preparing_screen import PreparingScreen
from tests.reading_cases import chapters
from tests.tui.pilot import ANSWERS, DEADLINE_S, Desktop, Gate, ask, chat_of, run, shows, wait_until

LANTERNS = "How many lanterns were there?"


def gated(home: Path) -> tuple[Desktop, Gate]:
    """Return a desktop whose engine can be held while it answers."""
    gate = Gate()
    return Desktop(home, FakeBackend(FakeScript(answers=ANSWERS, token_s=1.0), sleep=gate)), gate


async def left(pilot: Pilot[None]) -> None:
    """Press the key to leave and wait for the end of the screen."""
    await pilot.press("ctrl+q")
    await wait_until(pilot, lambda: not pilot.app.is_running, "the end")


@pytest.mark.parametrize(("key", "dialog"), [("f9", AskText), ("f8", Confirm)])
def test_leaving_in_a_dialog_changes_nothing(tmp_path: Path, key: str, dialog: type[AskText | Confirm]) -> None:
    """The key to leave works in a dialog too; what was asked there is not done."""
    desktop = Desktop(tmp_path)

    async def drive(pilot: Pilot[None]) -> None:
        await ask(pilot, LANTERNS)
        await pilot.press(key)
        await wait_until(pilot, lambda: isinstance(pilot.app.screen, dialog), "a dialog")
        await left(pilot)

    app = run(desktop, drive)
    (session,) = desktop.sessions.list()
    assert session.title == LANTERNS
    assert app.farewell().endswith(f"--session {session.id}")


class SlowRestore(FakeBackend):
    """Makes engines that wait at the beginning of a restore."""

    def __init__(self) -> None:
        super().__init__(FakeScript(answers=ANSWERS))
        self.restoring = threading.Event()
        self.go_on = threading.Event()

    def open_engine(self, settings: EngineSettings, notify: Notify) -> Engine:
        return SlowEngine(settings, FakeScript(answers=ANSWERS), self)


class SlowEngine(FakeEngine):
    """An engine whose restore waits."""

    def __init__(self, settings: EngineSettings, script: FakeScript, plan: SlowRestore) -> None:
        super().__init__(settings, script)
        self._plan = plan

    def restore(self, sequence: int, path: Path, blob: Blob) -> Transfer:
        self._plan.restoring.set()
        self._plan.go_on.wait(DEADLINE_S)
        return super().restore(sequence, path, blob)


def test_leaving_in_a_restore_does_not_wait_for_it(tmp_path: Path) -> None:
    """A book that is being restored keeps nobody; its state is as it was, and the line names the book."""

    async def look(pilot: Pilot[None]) -> None:
        await chat_of(pilot)

    run(Desktop(tmp_path), look)
    backend = SlowRestore()
    desktop = Desktop(tmp_path, backend)
    (folder,) = desktop.library.states.all()
    before = folder.manifest()

    async def drive(pilot: Pilot[None]) -> None:
        await wait_until(pilot, backend.restoring.is_set, "a restore")
        assert isinstance(pilot.app.screen, PreparingScreen)
        await left(pilot)

    app = run(desktop, drive)
    assert not backend.go_on.is_set()
    backend.go_on.set()
    assert app.farewell() == f"Go on with: cagchat open {shlex.quote(str(desktop.book))}"
    assert folder.manifest().state == before.state


@pytest.mark.parametrize("name", ["lanterns.txt", "Dune: Messiah.txt", 'the "quay" $HOME `x`.txt'])
@pytest.mark.parametrize("gathered", [False, True])
def test_the_line_that_says_how_to_go_on_names_the_book(tmp_path: Path, name: str, gathered: bool) -> None:
    """Whatever is in a file's name, a shell makes that file of the command's words, and of nothing else."""
    desktop = Desktop(tmp_path, name=name)
    app = CagchatApp(
        desktop,
        gather([desktop.book]) if gathered else desktop.book,
        answering=desktop.answering,
        story=desktop.book,
        folder=tmp_path,
    )

    async def drive(pilot: Pilot[None]) -> None:
        await chat_of(pilot)

    line = run(desktop, drive, running=app).farewell()
    assert shlex.split(line.partition("Go on with: ")[2]) == ["cagchat", "open", str(desktop.book)]


def test_a_question_that_was_not_sent_is_kept(tmp_path: Path) -> None:
    """What stood in the prompt when the app was left stands there again, and is gone once it was sent."""
    desktop = Desktop(tmp_path)

    async def write(pilot: Pilot[None]) -> None:
        await chat_of(pilot)
        await pilot.press(*"half a ")
        await left(pilot)

    async def find(pilot: Pilot[None]) -> None:
        chat = await chat_of(pilot)
        assert chat.prompt.text == "half a "
        await pilot.press(*"question", "enter")
        await wait_until(pilot, lambda: bool(chat.transcript.turns), "a question")
        await wait_until(pilot, lambda: not chat.busy, "an answer")

    async def look(pilot: Pilot[None]) -> None:
        chat = await chat_of(pilot)
        assert chat.prompt.text == ""

    for drive in (write, find, look):
        run(desktop, drive)
    assert [chat.title for chat in desktop.sessions.list()] == ["half a question"]


def test_what_was_put_aside_is_kept(tmp_path: Path) -> None:
    """A question that another took the prompt from is recalled the next time, until it is sent."""
    desktop = Desktop(tmp_path, text=chapters(4))

    async def write(pilot: Pilot[None]) -> None:
        chat = await chat_of(pilot)
        chat.prompt.write(LANTERNS)
        await pilot.press("alt+s")
        await wait_until(pilot, shows(pilot, "CHAPTER 1"), "the chapters")
        await pilot.press("enter")
        await wait_until(pilot, lambda: chat.prompt.text.startswith("Summarise"), "another question")
        await left(pilot)

    async def send(pilot: Pilot[None]) -> None:
        chat = await chat_of(pilot)
        assert chat.prompt.text.startswith("Summarise")
        chat.prompt.move_cursor((0, 0))
        await pilot.press("up")
        assert chat.prompt.text == LANTERNS
        await pilot.press("enter")
        await wait_until(pilot, lambda: bool(chat.transcript.turns) and not chat.busy, "an answer")
        await left(pilot)

    async def look(pilot: Pilot[None]) -> None:
        chat = await chat_of(pilot)
        assert not chat.prompt.text
        await pilot.press("up", *["ctrl+home", "up"] * 2)
        assert chat.prompt.text.startswith("Summarise"), (
            "what stood there when the other one was sent, and nothing else"
        )

    for drive in (write, send, look):
        run(Desktop(tmp_path, text=desktop.text), drive)


def test_esc_never_leaves(tmp_path: Path) -> None:
    """However often Esc is pressed on the chat, the app runs and what is written stays."""
    gate = Gate()

    async def drive(pilot: Pilot[None]) -> None:
        chat = await ask(pilot, LANTERNS)
        chat.prompt.write("And who lit them?")
        await pilot.press("ctrl+b", *["escape"] * 5, "ctrl+t", *["escape"] * 5)
        await pilot.pause()
        assert pilot.app.is_running
        assert pilot.app.screen is chat
        assert chat.prompt.text == "And who lit them?"
        gate.release()

    run(Desktop(tmp_path, FakeBackend(FakeScript(answers=ANSWERS), sleep=gate)), drive)


async def waiting_for_the_desk(pilot: Pilot[None], gate: Gate) -> ChatScreen:
    """Send a question in a new chat while the engine still has to end the answer of another one."""
    gate.hold(30)
    chat = await ask(pilot, "Tell me everything", wait=False)
    await wait_until(pilot, gate.waiting.is_set, "an answer half said")
    await pilot.press("ctrl+n")
    chat.prompt.write(LANTERNS)
    await pilot.press("enter")
    await wait_until(pilot, lambda: len(chat.transcript.views) == 1, "a question that waits for the desk")
    return chat


def test_a_question_whose_chat_is_left_before_its_turn_is_recalled(tmp_path: Path) -> None:
    """What never got into a record can be recalled in the next chat, beside what is being written there."""
    desktop, gate = gated(tmp_path)

    async def drive(pilot: Pilot[None]) -> None:
        chat = await waiting_for_the_desk(pilot, gate)
        await pilot.press("ctrl+n", *"And?")
        gate.release()
        await wait_until(pilot, lambda: bool(pilot.app._notifications), "a word about it")
        assert chat.prompt.text == "And?"
        await pilot.press("up")
        assert chat.prompt.text == LANTERNS
        assert not chat.transcript.views

    run(desktop, drive)
    assert [chat.title for chat in desktop.sessions.list()] == ["Tell me everything"]


@pytest.mark.parametrize("keys", [["ctrl+q"], ["ctrl+n", "ctrl+q"], ["ctrl+o", "enter"]])
def test_a_question_whose_book_is_left_before_its_turn_is_the_draft(tmp_path: Path, keys: list[str]) -> None:
    """Who leaves the app, or opens a book, finds the question that was never asked in the prompt."""
    desktop, gate = gated(tmp_path)

    async def drive(pilot: Pilot[None]) -> None:
        chat = await waiting_for_the_desk(pilot, gate)
        for key in keys:
            await pilot.press(key)
            if key == "ctrl+o":
                await wait_until(pilot, lambda: isinstance(pilot.app.focused, BookTable), "the books")
        if "ctrl+q" not in keys:
            await wait_until(pilot, lambda: not chat.is_attached, "the end of the chat")
        gate.release()

    async def look(pilot: Pilot[None]) -> None:
        chat = await chat_of(pilot)
        assert chat.prompt.text == LANTERNS

    run(desktop, drive)
    run(Desktop(tmp_path), look)
    assert LANTERNS not in [chat.title for chat in desktop.sessions.list()]

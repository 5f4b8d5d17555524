"""What goes wrong outside of the app: a card or a sentence on the screen, never a traceback, and the chat goes on."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest
from textual.pilot import Pilot
from textual.widgets import Input

from cagchat.engine.backend import FakeBackend, Notify
from cagchat.engine.fake import FakeEngine, FakeScript
from cagchat.engine.protocol import Blob, Engine, EngineSettings, Finish, Piece, Progress, Sampling, Tokens, Transfer
from cagchat.errors import EngineDied, EngineError, StorageError
from cagchat.limits.limit import Limit
from cagchat.tui.app import CagchatApp
from cagchat.tui.chat_screen import ChatScreen
from cagchat.tui.error_card import ErrorCard
from cagchat.tui.preparing_screen import PreparingScreen
from cagchat.tui.turn_view import TurnActions
from tests.tui.pilot import ANSWERING, ANSWERS, Desktop, ask, chat_of, idle, run, shows, text_of, wait_until

LANTERNS = "How many lanterns were there?"
CUDA = "CUDA error: the launch timed out and was terminated"


def lost_gpu() -> EngineDied:
    """Return what is raised when the driver takes the GPU away."""
    died = EngineDied("The engine's process ended (SIGABRT).", "Ask again: it is started anew and the book restored.")
    died.log_lines = ("ggml_cuda_error: device 0", CUDA)
    return died


def full_disk() -> OSError:
    """Return what the system says when nothing more fits."""
    return OSError(errno.ENOSPC, "No space left on device", "/somewhere/state.bin")


class Faulty(FakeBackend):
    """Makes engines that raise `fault` once: when they read, answer or save."""

    def __init__(self, where: str, fault: Callable[[], Exception]) -> None:
        super().__init__(FakeScript(answers=ANSWERS))
        self.where = where
        self.fault = fault

    def open_engine(self, settings: EngineSettings, notify: Notify) -> Engine:
        return FaultyEngine(settings, FakeScript(answers=ANSWERS), self)

    def strike(self, where: str) -> None:
        """Raise the fault if it is for this place and did not come before."""
        if where == self.where:
            self.where = ""
            raise self.fault()


class FaultyEngine(FakeEngine):
    """An engine without a model that fails on request."""

    def __init__(self, settings: EngineSettings, script: FakeScript, plan: Faulty) -> None:
        super().__init__(settings, script)
        self._plan = plan

    def evaluate(self, sequence: int, tokens: Tokens) -> Iterator[Progress]:
        for progress in super().evaluate(sequence, tokens):
            yield progress
            self._plan.strike("reading")

    def generate(
        self, sequence: int, tokens: Tokens, sampling: Sampling, *, max_tokens: int
    ) -> Iterator[Piece | Finish]:
        for number, item in enumerate(super().generate(sequence, tokens, sampling, max_tokens=max_tokens)):
            if number == 5:
                self._plan.strike("answering")
            yield item

    def save(self, sequence: int, path: Path) -> tuple[Blob, Transfer]:
        self._plan.strike("saving")
        return super().save(sequence, path)


async def carded(pilot: Pilot[None], text: str) -> None:
    """Wait for a card with a text on it."""
    await wait_until(pilot, lambda: any(text in str(card.content) for card in pilot.app.screen.query(ErrorCard)), text)
    assert "Traceback" not in text_of(pilot)


@pytest.mark.parametrize(
    ("fault", "text"), [(lost_gpu, CUDA), (lambda: EngineError(CUDA, "Ask again."), CUDA), (full_disk, "is full")]
)
def test_a_fault_while_answering_is_a_card(tmp_path: Path, fault: Callable[[], Exception], text: str) -> None:
    """A lost GPU and a full disk in the middle of an answer are cards; the next question is answered, and says so."""
    desktop = Desktop(tmp_path, Faulty("answering", fault))

    async def drive(pilot: Pilot[None]) -> None:
        chat = await ask(pilot, LANTERNS)
        await carded(pilot, text)
        chat.prompt.write(LANTERNS)
        await pilot.press("enter")
        await wait_until(pilot, lambda: chat.transcript.turns[-1].answer == ANSWERS["lanterns"], "an answer")

    assert run(desktop, drive).defect is None


@pytest.mark.parametrize(
    ("where", "fault", "text"),
    [("reading", lost_gpu, CUDA), ("reading", full_disk, "is full"), ("saving", full_disk, "is full")],
)
def test_a_fault_while_reading_is_a_card(tmp_path: Path, where: str, fault: Callable[[], Exception], text: str) -> None:
    """A lost GPU and a full disk while a book is read are cards, and Enter reads on."""
    desktop = Desktop(tmp_path, Faulty(where, fault))

    async def drive(pilot: Pilot[None]) -> None:
        await carded(pilot, text)
        assert isinstance(pilot.app.screen, PreparingScreen)
        await pilot.press("enter")
        await ask(pilot, LANTERNS)

    assert run(desktop, drive).defect is None


def test_a_book_deleted_while_it_is_chosen_is_a_card(tmp_path: Path) -> None:
    """A book whose file has gone since the library listed it is a card, from which the library is reached."""
    desktop = Desktop(tmp_path)
    desktop.book.unlink()

    async def drive(pilot: Pilot[None]) -> None:
        await carded(pilot, desktop.book.name)
        await pilot.press("ctrl+o")
        await wait_until(pilot, shows(pilot, "Library"), "the library")

    assert run(desktop, drive).defect is None


def delete(text: Path) -> None:
    """Delete a book's text."""
    text.unlink()


def overwrite(text: Path) -> None:
    """Write other bytes in the place of a book's text."""
    text.write_text("something else")


@pytest.mark.parametrize(("lose", "told"), [(delete, "cannot be read"), (overwrite, "damaged")])
@pytest.mark.parametrize("key", ["ctrl+b", "ctrl+l", "alt+s", "alt+w"])
def test_a_text_that_has_gone_is_a_card(tmp_path: Path, key: str, lose: Callable[[Path], None], told: str) -> None:
    """When the book's text is gone or another one, whatever needs it is a card, and the chat goes on."""
    desktop = Desktop(tmp_path)

    async def drive(pilot: Pilot[None]) -> None:
        chat = await chat_of(pilot)
        lose(chat.book.folder.book_path)
        await pilot.press(key)
        await carded(pilot, told)
        assert pilot.app.screen is chat

    assert run(desktop, drive).defect is None


def test_a_limit_in_a_text_that_has_gone_is_a_card(tmp_path: Path) -> None:
    """A chat with a limit cannot be let know the whole book while the text cannot be read; a card says so."""

    async def drive(pilot: Pilot[None]) -> None:
        chat = await chat_of(pilot)
        await chat.go_to(None, Limit(500, "there"))
        await wait_until(pilot, shows(pilot, "up to: there"), "the limit")
        chat.book._document = None
        chat.book.folder.book_path.unlink()
        await pilot.press("alt+l")
        await carded(pilot, "cannot be read")

    assert run(Desktop(tmp_path), drive).defect is None


@pytest.mark.parametrize("key", ["f4", "f5"])
def test_an_export_that_is_refused_is_a_card(tmp_path: Path, key: str) -> None:
    """An export into a folder that has gone is a card."""
    desktop = Desktop(tmp_path)
    folder = tmp_path / "gone"
    app = CagchatApp(desktop, desktop.book, answering=ANSWERING, story=desktop.book, folder=folder)

    async def drive(pilot: Pilot[None]) -> None:
        await ask(pilot, LANTERNS)
        await pilot.press(key)
        await carded(pilot, "cannot be written")

    assert run(desktop, drive, running=app).defect is None


def refuse(*_: object, **__: object) -> None:
    """Refuse as the record of chats does on a full disk."""
    raise StorageError("The disk that holds the chats is full.", "Free some space.")


@pytest.mark.parametrize("call", ["begin_turn", "finish_turn", "create"])
def test_a_record_that_refuses_is_a_card(tmp_path: Path, call: str) -> None:
    """When a question or an answer cannot be recorded, a card says why; the question is not lost."""
    desktop = Desktop(tmp_path)

    async def drive(pilot: Pilot[None]) -> None:
        chat = await chat_of(pilot)
        setattr(desktop.sessions, call, refuse)
        chat.prompt.write(LANTERNS)
        await pilot.press("enter")
        await carded(pilot, "is full")
        await idle(pilot, chat)
        kept = [turn.question for turn in chat.transcript.turns]
        assert LANTERNS in (chat.prompt.text, *kept)

    assert run(desktop, drive).defect is None


@pytest.mark.parametrize("call", ["list", "search"])
def test_a_search_that_is_refused_is_told(tmp_path: Path, call: str) -> None:
    """When the chats cannot be searched, the reason is told and the list is empty."""
    desktop = Desktop(tmp_path)

    async def drive(pilot: Pilot[None]) -> None:
        chat = await ask(pilot, LANTERNS)
        await pilot.press("ctrl+t")
        setattr(desktop.sessions, call, refuse)
        chat.chats.query_one(Input).value = "forty"
        await wait_until(pilot, lambda: any("is full" in n.title for n in pilot.app._notifications), "a notification")

    assert run(desktop, drive).defect is None


def test_turns_that_cannot_be_read_are_a_card(tmp_path: Path) -> None:
    """A chat whose turns cannot be read is a card instead of its turns."""
    desktop = Desktop(tmp_path)

    async def drive(pilot: Pilot[None]) -> None:
        chat = await ask(pilot, LANTERNS)
        desktop.sessions.turns = refuse  # type: ignore[method-assign,assignment]  # a disk that fails now
        await chat.go_to(desktop.sessions.list()[0])
        await carded(pilot, "is full")

    assert run(desktop, drive).defect is None


@pytest.mark.parametrize(
    ("editor", "text"),
    [("no-such-editor", "cannot be started"), ("false", "ended with code 1"), ('"open', "No closing quotation")],
)
def test_an_editor_that_fails_is_a_card(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, editor: str, text: str
) -> None:
    """An editor that is missing, fails or is not well named is a card, and the question stays in the prompt."""
    monkeypatch.setenv("VISUAL", editor)
    monkeypatch.setattr(CagchatApp, "suspend", lambda app: nullcontext())  # a test has no terminal to lend
    desktop = Desktop(tmp_path)

    async def drive(pilot: Pilot[None]) -> None:
        chat = await chat_of(pilot)
        chat.prompt.write(LANTERNS)
        await pilot.press("ctrl+e")
        await carded(pilot, text)
        assert chat.prompt.text == LANTERNS
        assert isinstance(pilot.app.screen, ChatScreen)

    assert run(desktop, drive).defect is None


def test_what_was_written_in_the_editor_is_in_the_prompt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl+E opens the question in $EDITOR and takes back what it left."""
    script = tmp_path / "editor"
    script.write_text('#!/bin/sh\necho "And who lit them?" >> "$1"\n')
    script.chmod(0o700)
    monkeypatch.setenv("VISUAL", str(script))
    monkeypatch.setattr(CagchatApp, "suspend", lambda app: nullcontext())  # a test has no terminal to lend

    async def drive(pilot: Pilot[None]) -> None:
        chat = await chat_of(pilot)
        chat.prompt.write(f"{LANTERNS}\n")
        await pilot.press("ctrl+e")
        await wait_until(pilot, lambda: chat.prompt.text == f"{LANTERNS}\nAnd who lit them?", "the question")

    run(Desktop(tmp_path), drive)


def test_an_answer_that_failed_says_so_once_and_the_next_what_it_restored(tmp_path: Path) -> None:
    """The card stands in its turn, above what can be done with it; what was read back stands above the next answer."""

    async def drive(pilot: Pilot[None]) -> None:
        chat = await ask(pilot, LANTERNS)
        assert "forty-one" in text_of(pilot)
        desktop.backend.where = "answering"  # type: ignore[attr-defined]  # it is the faulty one
        await ask(pilot, "And how many then?")
        await wait_until(pilot, shows(pilot, "SIGABRT"), "a card")
        assert text_of(pilot).count("SIGABRT") == 1
        failed = chat.transcript.views[-1]
        assert [type(child) for child in failed.children][-2:] == [ErrorCard, TurnActions]
        await ask(pilot, LANTERNS)
        await wait_until(pilot, shows(pilot, "Restored"), "what was restored")
        rows = [row.strip() for row in text_of(pilot).splitlines()]
        noted = next(at for at, row in enumerate(rows) if row.startswith("Restored"))
        answered = max(at for at, row in enumerate(rows) if "forty-one" in row)
        asked = max(at for at, row in enumerate(rows) if row.startswith("❯"))
        assert asked < noted < answered

    desktop = Desktop(tmp_path, Faulty("", lost_gpu))
    run(desktop, drive, size=(100, 50))

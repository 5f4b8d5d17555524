"""The chat screen, driven with keys on an engine without a model."""

from __future__ import annotations

import asyncio
import os
import shlex
import signal
import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from textual.app import App
from textual.pilot import Pilot
from textual.widgets import Collapsible, Input, OptionList

from cagchat.engine.backend import FakeBackend
from cagchat.engine.fake import FakeScript
from cagchat.exporting import as_markdown
from cagchat.sessions import seals
from cagchat.sessions.session import Hit, Turn
from cagchat.tui.chat_list import MOST_ROWS, ChatList
from cagchat.tui.dialogs import AskText, Confirm
from cagchat.tui.error_card import ErrorCard
from cagchat.tui.transcript import FIRST_MOUNTED
from cagchat.tui.turn_view import TurnView
from tests.reading_cases import Watched
from tests.tui.pilot import (
    ANSWERS,
    DEADLINE_S,
    NARROW,
    Desktop,
    Gate,
    ask,
    chat_of,
    idle,
    run,
    shows,
    text_of,
    wait_until,
)

LANTERNS = "How many lanterns were there?"
ANSWER = ANSWERS["lanterns"]


def gated(home: Path) -> tuple[Desktop, Gate]:
    """Return a desktop whose engine can be held while it answers."""
    gate = Gate()
    return Desktop(home, FakeBackend(FakeScript(answers=ANSWERS, token_s=1.0), sleep=gate)), gate


def turns_of(desktop: Desktop) -> list[Turn]:
    """Return what the newest chat's record holds."""
    return desktop.sessions.turns(desktop.sessions.list()[0].id)


def test_a_question_is_answered_with_its_proof(tmp_path: Path) -> None:
    """A book that was never read is read, and a question gets its answer and a proof."""

    async def drive(pilot: Pilot[None]) -> None:
        chat = await ask(pilot, LANTERNS)
        assert [turn.answer for turn in chat.transcript.turns] == [ANSWER]
        assert "forty-one lanterns" in text_of(pilot)
        assert "book tokens read" in text_of(pilot)

    run(Desktop(tmp_path), drive)


def test_esc_stops_an_answer_and_keeps_it(tmp_path: Path) -> None:
    """Esc ends the answer; what was said stays on the screen and in the record, and nothing that is typed is lost."""
    desktop, gate = gated(tmp_path)

    async def drive(pilot: Pilot[None]) -> None:
        gate.hold(30)
        chat = await ask(pilot, "Tell me everything", wait=False)
        await wait_until(pilot, gate.waiting.is_set, "an answer half said")
        await pilot.press("n", "e", "x", "t", "escape")
        gate.release()
        await idle(pilot, chat)
        assert chat.prompt.text == "next"
        assert "Stopped here." in text_of(pilot)
        await pilot.press("escape")
        assert chat.prompt.text == "next"

    run(desktop, drive)
    (turn,) = turns_of(desktop)
    assert turn.status == "stopped"
    assert turn.answer
    assert ANSWERS["everything"].startswith(turn.answer)


def test_a_question_that_was_stopped_before_it_began_is_back_in_the_prompt(tmp_path: Path) -> None:
    """What never got into the record is not lost: it stands in the prompt, and the transcript is without it."""
    desktop, gate = gated(tmp_path)

    async def drive(pilot: Pilot[None]) -> None:
        gate.hold(30)
        chat = await ask(pilot, "Tell me everything", wait=False)
        await wait_until(pilot, gate.waiting.is_set, "an answer half said")
        await pilot.press("ctrl+n")
        chat.prompt.write(LANTERNS)
        await pilot.press("enter")
        await wait_until(pilot, lambda: len(chat.transcript.views) == 1, "a question that waits for the desk")
        await pilot.press("escape")
        gate.release()
        await idle(pilot, chat)
        await wait_until(pilot, lambda: chat.prompt.text == LANTERNS, "the question")
        assert not chat.transcript.turns

    run(desktop, drive)


def test_a_question_while_answering_is_kept_in_the_prompt(tmp_path: Path) -> None:
    """Enter during an answer sends nothing and loses nothing."""
    desktop, gate = gated(tmp_path)

    async def drive(pilot: Pilot[None]) -> None:
        gate.hold(5)
        chat = await ask(pilot, LANTERNS, wait=False)
        await wait_until(pilot, gate.waiting.is_set, "an answer half said")
        chat.prompt.write("And who lit them?")
        await pilot.press("enter")
        assert chat.prompt.text == "And who lit them?"
        gate.release()
        await idle(pilot, chat)

    run(desktop, drive)
    assert [turn.question for turn in turns_of(desktop)] == [LANTERNS]


def test_an_answer_is_made_again(tmp_path: Path) -> None:
    """Ctrl+R answers the last question anew in its place, without reading the book."""

    async def drive(pilot: Pilot[None]) -> None:
        chat = await ask(pilot, LANTERNS)
        await pilot.press("ctrl+r")
        await idle(pilot, chat)
        assert [turn.number for turn in chat.transcript.turns] == [1]
        assert len(chat.transcript.views) == 1
        assert "tokens reused" in text_of(pilot)

    run(Desktop(tmp_path), drive)


def test_a_question_is_edited(tmp_path: Path) -> None:
    """F2 takes questions back into the prompt, one before the other; what follows the edited one is replaced."""
    desktop = Desktop(tmp_path)

    async def drive(pilot: Pilot[None]) -> None:
        chat = await ask(pilot, "Who is Perrin?")
        await ask(pilot, "What is on her cuff?")
        await pilot.press("f2")
        assert chat.prompt.text == "What is on her cuff?"
        await pilot.press("f2")
        assert chat.prompt.text == "Who is Perrin?"
        chat.prompt.write(LANTERNS)
        await pilot.press("enter")
        await idle(pilot, chat)
        assert [turn.question for turn in chat.transcript.turns] == [LANTERNS]
        assert len(chat.transcript.views) == 1
        assert chat.editing is None

    run(desktop, drive)
    assert [turn.question for turn in turns_of(desktop)] == [LANTERNS]


def command(app: App[None], title: str) -> Callable[[], object]:
    """Return what the palette runs under a title."""
    return next(each.callback for each in app.get_system_commands(app.screen) if each.title == title)


@pytest.mark.parametrize("drawing", ["add_thinking", "note", "finish"])
def test_a_new_chat_begins_while_an_answer_is_drawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, drawing: str
) -> None:
    """The palette's New chat in the middle of drawing what came leaves an empty chat, of which nothing is told."""
    thought = FakeScript(answers={"ferry": "<think>\nIt left at nine.\n</think>\n\nNo."})
    draw = getattr(TurnView, drawing)
    begun: list[bool] = []

    async def drawn(view: TurnView, *given: object) -> None:
        if not begun:
            begun.append(True)
            view.app.call_later(command(view.app, "New chat"))
            for _ in range(50):
                await asyncio.sleep(0)  # drawing takes a while
        await draw(view, *given)

    async def drive(pilot: Pilot[None]) -> None:
        chat = await ask(pilot, LANTERNS)
        monkeypatch.setattr(TurnView, drawing, drawn)
        monkeypatch.setattr("cagchat.tui.answering.note_on", lambda event: "noted" if drawing == "note" else "")
        chat.prompt.write("Did the ferry leave?")
        await pilot.press("enter")
        await wait_until(pilot, lambda: bool(begun) and not chat.transcript.turns, "an empty chat")
        await pilot.pause()
        assert chat.session is None
        assert not chat.busy
        assert "reused" not in text_of(pilot)

    assert run(Desktop(tmp_path, FakeBackend(thought)), drive).defect is None


def test_a_chat_left_while_its_answer_settles_tells_nothing_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A chat that is left while its stopped answer is drawn is left: the new one has no turn, no figures and no job."""
    desktop, gate = gated(tmp_path)
    finish = TurnView.finish
    settling, go_on = asyncio.Event(), asyncio.Event()

    async def slow(view: TurnView, *given: Any) -> None:
        settling.set()
        await go_on.wait()
        await finish(view, *given)

    async def drive(pilot: Pilot[None]) -> None:
        gate.hold(5)
        chat = await ask(pilot, LANTERNS, wait=False)
        await wait_until(pilot, gate.waiting.is_set, "an answer half said")
        monkeypatch.setattr(TurnView, "finish", slow)
        await pilot.press("escape")
        gate.release()
        await settling.wait()
        assert chat.busy
        await chat.go_to(None)
        go_on.set()
        await wait_until(pilot, shows(pilot, "● ready"), "the new chat")
        await pilot.pause()
        assert chat.session is None
        assert not chat.transcript.turns
        monkeypatch.setattr(TurnView, "finish", finish)
        await ask(pilot, LANTERNS)
        assert [turn.question for turn in chat.transcript.turns] == [LANTERNS]

    assert run(desktop, drive).defect is None
    assert len(desktop.sessions.list()) == 2


def test_esc_leaves_editing_and_keeps_the_text(tmp_path: Path) -> None:
    """Esc while a question is edited makes it a new one and clears nothing."""

    async def drive(pilot: Pilot[None]) -> None:
        chat = await ask(pilot, LANTERNS)
        await pilot.press("f2", "escape")
        assert chat.editing is None
        assert chat.prompt.text == LANTERNS

    run(Desktop(tmp_path), drive)


def test_a_chat_is_continued_after_reopening(tmp_path: Path) -> None:
    """After leaving, the same book opens without being read, and the chat goes on where it was."""
    first = Desktop(tmp_path)

    async def one(pilot: Pilot[None]) -> None:
        await ask(pilot, LANTERNS)

    app = run(first, one)
    (session,) = first.sessions.list()
    assert app.farewell() == f"Go on with: cagchat open {shlex.quote(str(first.book))} --session {session.id}"
    first.sessions.close()
    second = Desktop(tmp_path)

    async def two(pilot: Pilot[None]) -> None:
        chat = await chat_of(pilot)
        assert [turn.question for turn in chat.transcript.turns] == [LANTERNS]
        await ask(pilot, "Who is Perrin?")
        assert "tokens reused" in text_of(pilot)
        assert "READ AGAIN" not in text_of(pilot)

    run(second, two, choose=lambda book: session)
    assert [turn.number for turn in turns_of(second)] == [1, 2]


def test_an_engine_that_dies_is_a_card_and_the_chat_goes_on(tmp_path: Path) -> None:
    """When the engine's process is killed, a card says so, and the next question is answered by a new one."""
    watched = Watched(FakeBackend(FakeScript(answers=ANSWERS), own_process=True))

    async def drive(pilot: Pilot[None]) -> None:
        chat = await chat_of(pilot)
        os.kill(watched.pid(), signal.SIGKILL)
        await ask(pilot, LANTERNS)
        assert "SIGKILL" in str(chat.query_one(ErrorCard).content)
        assert "Traceback" not in text_of(pilot)
        await ask(pilot, LANTERNS)
        assert chat.transcript.turns[-1].answer == ANSWER
        assert "READ AGAIN" not in text_of(pilot)

    run(Desktop(tmp_path, watched), drive)
    watched.engines[-1].close()


def test_thoughts_are_folded(tmp_path: Path) -> None:
    """What the model thinks stands folded above its answer, and unfolds."""
    thought = "<think>\nForty and one.\n</think>\n\nForty-one."
    desktop = Desktop(tmp_path, FakeBackend(FakeScript(answers={"lanterns": thought})))

    async def drive(pilot: Pilot[None]) -> None:
        chat = await ask(pilot, LANTERNS)
        assert chat.transcript.turns[0].answer == "Forty-one."
        assert "Forty and one." not in text_of(pilot)
        chat.query_one(Collapsible).collapsed = False
        await wait_until(pilot, shows(pilot, "Forty and one."), "the thought")

    run(desktop, drive)


def test_questions_are_recalled_at_the_edges(tmp_path: Path) -> None:
    """Up on the first line recalls earlier questions, down on the last comes back to what was being written."""

    async def drive(pilot: Pilot[None]) -> None:
        chat = await ask(pilot, LANTERNS)
        await pilot.press("d", "r", "up")
        assert chat.prompt.text == LANTERNS
        await pilot.press("down")
        assert chat.prompt.text == "dr"

    run(Desktop(tmp_path), drive)


@pytest.mark.parametrize("key", ["shift+enter", "ctrl+j"])
def test_a_question_can_have_several_lines(tmp_path: Path, key: str) -> None:
    """Shift+Enter and Ctrl+J begin a new line and send nothing."""

    async def drive(pilot: Pilot[None]) -> None:
        chat = await chat_of(pilot)
        await pilot.press("a", key, "b")
        assert chat.prompt.text == "a\nb"
        assert not chat.busy

    run(Desktop(tmp_path), drive)


def test_the_source_of_an_answer_is_copied(tmp_path: Path) -> None:
    """F3 copies the answer as the model wrote it, not as the screen shows it."""

    async def drive(pilot: Pilot[None]) -> None:
        await ask(pilot, LANTERNS)
        await pilot.press("f3")
        assert pilot.app.clipboard == ANSWER

    run(Desktop(tmp_path), drive)


@pytest.mark.parametrize(("key", "suffix"), [("f4", "md"), ("f5", "json")])
def test_a_chat_is_exported(tmp_path: Path, key: str, suffix: str) -> None:
    """F4 and F5 write the chat to a file of its own and say where."""
    desktop = Desktop(tmp_path)

    async def drive(pilot: Pilot[None]) -> None:
        await ask(pilot, LANTERNS)
        await pilot.press(key)
        await pilot.pause()

    run(desktop, drive)
    path = tmp_path / f"chat-{desktop.sessions.list()[0].id}.{suffix}"
    assert ANSWER in path.read_text(encoding="utf-8")


def test_an_export_is_that_of_the_record(tmp_path: Path) -> None:
    """It has the title that the chat got since it was begun, and is what the command line exports."""
    desktop = Desktop(tmp_path)

    async def drive(pilot: Pilot[None]) -> None:
        await ask(pilot, LANTERNS)
        (session,) = desktop.sessions.list()
        desktop.sessions.rename(session.id, "The quay")
        await pilot.press("f4")
        await wait_until(pilot, lambda: bool(list(tmp_path.glob("chat-*.md"))), "the file")

    run(desktop, drive)
    (session,), (path,) = desktop.sessions.list(), tmp_path.glob("chat-*.md")
    written = path.read_text(encoding="utf-8")
    assert written.startswith("# The quay\n")
    assert written == as_markdown(session, desktop.sessions.turns(session.id))


def test_an_export_replaces_no_file(tmp_path: Path) -> None:
    """What was exported before may have been edited since: the next one has a name of its own."""
    desktop = Desktop(tmp_path)

    async def drive(pilot: Pilot[None]) -> None:
        chat = await ask(pilot, LANTERNS)
        assert chat.session is not None
        (tmp_path / f"chat-{chat.session.id}.md").write_text("my notes")
        for number in (2, 3):
            await pilot.press("f4")
            path = tmp_path / f"chat-{chat.session.id} {number}.md"
            await wait_until(pilot, path.exists, f"file {number}")
            assert ANSWER in path.read_text(encoding="utf-8")
        assert (tmp_path / f"chat-{chat.session.id}.md").read_text() == "my notes"

    run(desktop, drive)


def test_chats_are_searched_and_continued(tmp_path: Path) -> None:
    """The list finds a chat by a word of its answer, and Enter goes on with it."""

    async def drive(pilot: Pilot[None]) -> None:
        chat = await ask(pilot, LANTERNS)
        await pilot.press("ctrl+n")
        await ask(pilot, "Who is Perrin?")
        listed = chat.chats.query_one(OptionList)
        await wait_until(pilot, lambda: listed.option_count == 3, "two chats")
        await pilot.press("ctrl+t")
        chat.chats.query_one(Input).focus()
        await pilot.press(*"forty")
        await wait_until(pilot, lambda: listed.option_count == 2, "one chat found")
        await pilot.press("enter", "enter")
        await wait_until(pilot, lambda: [t.question for t in chat.transcript.turns] == [LANTERNS], "the chat")
        assert chat.focused is chat.prompt

    run(Desktop(tmp_path), drive, size=(140, 30))


def test_the_screen_goes_on_while_chats_are_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is typed stands there at once; after a search only the latest words are looked for, then Enter is taken."""
    desktop = Desktop(tmp_path)
    gate, searched, search = threading.Event(), list[str](), desktop.sessions.search

    def slowly(query: str, *details: Any, **named: Any) -> list[Hit]:
        searched.append(query)
        gate.wait(DEADLINE_S)
        return search(query, *details, **named)

    monkeypatch.setattr(desktop.sessions, "search", slowly)

    async def drive(pilot: Pilot[None]) -> None:
        chat = await ask(pilot, LANTERNS)
        await pilot.press("ctrl+n")
        await ask(pilot, "Who is Perrin?")
        listed, line = chat.chats.query_one(OptionList), chat.chats.query_one(Input)
        await wait_until(pilot, lambda: listed.option_count == 3, "two chats")
        line.focus()
        await pilot.press("f")
        await wait_until(pilot, lambda: searched == ["f"], "a search")
        await pilot.press(*"orty", "enter")
        assert line.value == "forty"
        assert line.has_focus
        gate.set()
        await wait_until(pilot, lambda: listed.has_focus, "the list")
        assert searched == ["f", "forty"]
        found = chat.chats.highlighted
        assert found is not None
        assert found.title == LANTERNS

    run(desktop, drive, size=(140, 30))


def test_only_the_latest_of_many_chats_are_listed(tmp_path: Path) -> None:
    """Of more chats than anybody looks through the latest are listed, and the search finds the others."""
    desktop = Desktop(tmp_path)

    async def drive(pilot: Pilot[None]) -> None:
        chat = await ask(pilot, LANTERNS)
        digest = chat.book.manifest.book.digest
        for number in range(MOST_ROWS):
            desktop.sessions.create(
                book_digest=digest, book_title="b", book_path="p", model="m", title=f"chat {number}"
            )
        chat.chats.refill()
        listed = chat.chats.query_one(OptionList)
        await wait_until(pilot, lambda: listed.option_count == MOST_ROWS + 2, "the latest")
        assert listed.get_option_at_index(MOST_ROWS + 1).disabled
        chat.chats.query_one(Input).value = "forty"
        await wait_until(pilot, lambda: listed.option_count == 2, "one chat found")

    run(desktop, drive, size=(140, 30))


@pytest.mark.parametrize("key", ["f9", "f8"])
def test_the_screen_goes_on_while_another_process_writes_chats(tmp_path: Path, key: str) -> None:
    """Renaming and deleting wait for the record beside the screen, which takes keys and shows the change later."""
    desktop = Desktop(tmp_path)

    async def drive(pilot: Pilot[None]) -> None:
        chat = await ask(pilot, LANTERNS)
        listed = chat.chats.query_one(OptionList)
        await wait_until(pilot, lambda: listed.option_count == 2, "the chat")
        with closing(sqlite3.connect(desktop.locations.sessions_db, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            await pilot.press(key)
            await wait_until(pilot, lambda: pilot.app.screen is not chat, "a dialog")
            await pilot.press(*("end", "x", "enter") if key == "f9" else "y")
            await wait_until(pilot, lambda: pilot.app.screen is chat, "the chat")
            await pilot.press(*"And?")
            assert chat.prompt.text == "And?"
            assert other.execute("SELECT title FROM sessions").fetchall() == [(LANTERNS,)]
            other.execute("ROLLBACK")
        if key == "f9":
            await wait_until(pilot, lambda: desktop.sessions.list()[0].title == f"{LANTERNS}x", "the new title")
        else:
            await wait_until(pilot, lambda: listed.option_count == 1, "no chat")
        assert not chat.query(ErrorCard)

    run(desktop, drive, size=(140, 30))


def test_the_bar_stays_on_its_chat(tmp_path: Path) -> None:
    """When another chat moves to the top of the list, the bar is on the one it was on."""

    async def drive(pilot: Pilot[None]) -> None:
        chat = await ask(pilot, LANTERNS)
        for question in ("Who is Perrin?", "And the ferry?"):
            await pilot.press("ctrl+n")
            await ask(pilot, question)
        listed = chat.chats.query_one(OptionList)
        await wait_until(pilot, lambda: listed.option_count == 4, "three chats")
        listed.highlighted = 2
        under_bar = chat.chats.highlighted
        await pilot.press("ctrl+n")
        await ask(pilot, "Is there a harbour?")
        await wait_until(pilot, lambda: listed.option_count == 5, "four chats")
        assert listed.highlighted == 3
        assert chat.chats.highlighted == under_bar

    run(Desktop(tmp_path), drive, size=(140, 30))


def test_a_chat_is_renamed_and_deleted(tmp_path: Path) -> None:
    """A new title is kept; deleting asks first, and leaves an empty new chat."""
    desktop = Desktop(tmp_path)

    async def drive(pilot: Pilot[None]) -> None:
        chat = await ask(pilot, LANTERNS)
        await pilot.press("f9")
        await wait_until(pilot, lambda: isinstance(pilot.app.screen, AskText), "a dialog")
        pilot.app.screen.query_one(Input).value = "The quay"
        await pilot.press("enter")
        await wait_until(pilot, lambda: desktop.sessions.list()[0].title == "The quay", "a title")
        await pilot.press("f8")
        await wait_until(pilot, lambda: isinstance(pilot.app.screen, Confirm), "a question")
        await pilot.press("n")
        assert len(desktop.sessions.list()) == 1
        await pilot.press("f8")
        await wait_until(pilot, lambda: isinstance(pilot.app.screen, Confirm), "a question")
        await pilot.press("y")
        await wait_until(pilot, lambda: not desktop.sessions.list(), "no chat")
        await wait_until(pilot, lambda: not chat.transcript.turns, "an empty transcript")

    run(desktop, drive)


def test_leaving_a_chat_keeps_its_running_answer(tmp_path: Path) -> None:
    """A new chat begun while an answer runs stops that answer and keeps it, and none of it shows in the new chat."""
    desktop, gate = gated(tmp_path)

    async def drive(pilot: Pilot[None]) -> None:
        gate.hold(30)
        chat = await ask(pilot, "Tell me everything", wait=False)
        await wait_until(pilot, gate.waiting.is_set, "an answer half said")
        await pilot.press("ctrl+n")
        gate.release()
        await ask(pilot, LANTERNS)
        assert [turn.question for turn in chat.transcript.turns] == [LANTERNS]

    run(desktop, drive)
    stopped = [chat for chat in desktop.sessions.list() if chat.title.startswith("Tell")]
    assert [turn.status for turn in desktop.sessions.turns(stopped[0].id)] == ["stopped"]


def test_leaving_in_the_middle_of_the_first_answer_names_its_chat(tmp_path: Path) -> None:
    """The line that says how to go on names a chat whose first answer was not finished."""
    desktop, gate = gated(tmp_path)

    async def drive(pilot: Pilot[None]) -> None:
        gate.hold(30)
        await ask(pilot, "Tell me everything", wait=False)
        await wait_until(pilot, gate.waiting.is_set, "an answer half said")
        await pilot.press("ctrl+q")
        await wait_until(pilot, lambda: not pilot.app.is_running, "the end")
        gate.release()

    app = run(desktop, drive)
    (session,) = desktop.sessions.list()
    assert app.farewell().endswith(f"--session {session.id}")


def test_scrolling_up_lets_go_of_the_end(tmp_path: Path) -> None:
    """After scrolling up a running answer no longer moves the text; Ctrl+G goes back to the end."""
    desktop, gate = gated(tmp_path)

    async def drive(pilot: Pilot[None]) -> None:
        gate.hold(2000)
        chat = await ask(pilot, "Tell me everything", wait=False)
        await wait_until(pilot, gate.waiting.is_set, "an answer half said")
        await wait_until(pilot, lambda: chat.transcript.scroll_y > 0, "a text longer than the screen")
        await pilot.press("pageup")
        await pilot.pause()
        at = chat.transcript.scroll_y
        gate.release()
        await idle(pilot, chat)
        assert chat.transcript.scroll_y == at
        await pilot.press("ctrl+g")
        await wait_until(pilot, lambda: chat.transcript.follows, "the end")

    run(desktop, drive, size=NARROW)


def test_at_60_columns_the_chats_lie_over_the_transcript(tmp_path: Path) -> None:
    """On a narrow terminal the list of chats is away until it is asked for, and no line is wider than the terminal."""

    async def drive(pilot: Pilot[None]) -> None:
        chat = await ask(pilot, LANTERNS)
        listed = chat.query_one(ChatList)
        assert not listed.region
        assert "✔" in text_of(pilot)
        await pilot.press("ctrl+t")
        await pilot.pause()
        assert listed.region
        await pilot.press("escape")
        await pilot.pause()
        assert not listed.region
        assert max(map(len, text_of(pilot).splitlines())) <= NARROW[0]

    run(Desktop(tmp_path), drive, size=NARROW)


def test_a_chat_of_two_thousand_messages_opens_windowed(tmp_path: Path) -> None:
    """Of a thousand recorded questions and answers a few are mounted, and all can be reached."""
    desktop = Desktop(tmp_path)

    async def begin(pilot: Pilot[None]) -> None:
        await ask(pilot, LANTERNS)

    run(desktop, begin)
    (session,) = desktop.sessions.list()
    with sqlite3.connect(desktop.sessions.path) as database:
        seals.teach(database)
        columns = [row[1] for row in database.execute("PRAGMA table_info(turns)") if row[1] not in ("row", "number")]
        names = ", ".join(columns)
        count = "WITH RECURSIVE n(i) AS (SELECT 2 UNION ALL SELECT i + 1 FROM n WHERE i < 1000)"
        database.execute(f"{count} INSERT INTO turns (number, {names}) SELECT i, {names} FROM n, turns")

    async def look(pilot: Pilot[None]) -> None:
        chat = await chat_of(pilot)
        await wait_until(pilot, lambda: chat.transcript.follows, "the end")
        assert len(chat.transcript.turns) == 1000
        assert len(chat.transcript.views) <= FIRST_MOUNTED
        assert len(list(chat.walk_children())) < 250
        assert chat.transcript.views[-1].shown.number == 1000

    run(desktop, look, choose=lambda book: session)

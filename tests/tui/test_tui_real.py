"""The terminal app on a real model, from a book that was never read to a chat that is continued."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from textual.pilot import Pilot

from cagchat.conversation import AskOptions
from cagchat.engine.backend import LlamaBackend
from cagchat.engine.protocol import CHAT, Sampling
from cagchat.sessions.session import Session
from cagchat.tui.app import CagchatApp
from cagchat.tui.book_text import BookText
from tests.engine_cases import smollm2
from tests.reading_cases import SETTINGS, chapters, locations
from tests.tui.pilot import WIDE, Desktop, ask, chat_of, idle, run, shows, text_of, wait_until

ANSWERING = AskOptions(Sampling(temperature=0.0, seed=7), max_tokens=8)


def desktop_of(home: Path) -> Desktop:
    """Return a desktop whose engine is SmolLM2 on one thread, with a book of about a hundred words."""
    settings = replace(SETTINGS, model=str(smollm2()))
    return Desktop(home, LlamaBackend(locations(home), fast_kernels="off"), settings, text=chapters(2, 4))


def app_of(desktop: Desktop, session: Session | None) -> CagchatApp:
    """Return an app that opens the book, goes on with a chat and answers briefly."""
    return CagchatApp(
        desktop, desktop.book, answering=ANSWERING, story=desktop.book, choose=lambda book: session, folder=desktop.home
    )


async def quit_app(pilot: Pilot[None]) -> None:
    """Leave with the key for it."""
    await pilot.press("ctrl+q")
    await wait_until(pilot, lambda: not pilot.app.is_running, "the end")


def test_a_real_model_reads_a_book_once(tmp_path: Path) -> None:
    """A question, its regeneration and a question after reopening are answered from a book that is read once."""
    first = desktop_of(tmp_path)

    async def begin(pilot: Pilot[None]) -> None:
        chat = await ask(pilot, "Who keeps the ledger?")
        assert "book tokens read" in text_of(pilot)
        await pilot.press("ctrl+r")
        await wait_until(pilot, shows(pilot, "tokens reused"), "another answer")
        await idle(pilot, chat)
        await quit_app(pilot)

    run(first, begin, running=app_of(first, None), size=WIDE)
    (session,) = first.sessions.list()
    first.sessions.close()
    second = desktop_of(tmp_path)

    async def go_on(pilot: Pilot[None]) -> None:
        chat = await chat_of(pilot)
        assert len(chat.transcript.turns) == 1
        await ask(pilot, "Where does he keep it?")
        await wait_until(pilot, lambda: bool(chat.transcript.turns[1:]), "a second answer")
        await idle(pilot, chat)
        assert chat.transcript.turns[-1].proof.startswith(f"book {chat.book.n_tokens:,} tokens reused")
        assert "READ AGAIN" not in text_of(pilot)
        await quit_app(pilot)

    run(second, go_on, running=app_of(second, session), size=WIDE)
    turns = second.sessions.turns(session.id)
    assert [turn.number for turn in turns] == [1, 2]
    assert [turn.proof["book_evaluated"] for turn in turns] == [0, 0]


def test_a_real_model_knows_the_book_up_to_a_place(tmp_path: Path) -> None:
    """With a limit set in the reader, the context holds the book's tokens before it and none after, counted twice."""
    desktop = desktop_of(tmp_path)

    async def drive(pilot: Pilot[None]) -> None:
        chat = await chat_of(pilot)
        await pilot.press("ctrl+b")
        await wait_until(pilot, lambda: bool(chat.query(BookText)) and chat.query_one(BookText).laid, "the book")
        await pilot.pause()
        await pilot.press("u")
        await wait_until(pilot, lambda: bool(chat.prompt.known), "a limit")
        await pilot.press("ctrl+b")
        await ask(pilot, "Who keeps the ledger?")
        assert chat.book.limit is not None
        text, tokens = chat.book.document.text, chat.book.folder.tokens()
        (turn,) = desktop.sessions.turns(desktop.sessions.list()[0].id)
        cut, n_head = turn.proof["book_tokens"], chat.book.manifest.n_head
        assert isinstance(cut, int)
        known = chat.book.engine.text_of(tokens[n_head:cut]).decode()
        assert 0 < len(known) <= chat.book.limit.offset < len(text)
        assert text.startswith(known)
        opening = chat.book.engine.tokenize([chat.book.manifest.frame.opening], special=True)[0]
        assert chat.book.engine.length(CHAT) == cut + len(opening) + len(turn.tokens)
        await quit_app(pilot)

    run(desktop, drive, running=app_of(desktop, None), size=(60, 14))

"""The quotes of an answer in the chat: told apart, counted, and links to the book."""

from __future__ import annotations

from pathlib import Path

from textual.pilot import Pilot

from cagchat.conversation import AskOptions
from cagchat.engine.backend import FakeBackend
from cagchat.engine.fake import FakeScript
from cagchat.engine.protocol import Sampling
from cagchat.limits.until import parse_until
from cagchat.opened import OpenBook
from cagchat.tui.book_text import BookText
from cagchat.tui.quote_line import QuoteLine
from cagchat.tui.reader import ReaderPane
from cagchat.wording import Extras
from tests.reading_cases import chapters
from tests.tui.pilot import Desktop, ask, chat_of, idle, run, shows, text_of, wait_until

SENTENCE = "Old Perrin kept the ledger of the harbour under a loose board in his kitchen"
SCRIPT = FakeScript(answers={"ledger": f"It says “{SENTENCE}”, and “the moon was made of old green cheese”."})
QUESTION = "Where was the ledger?"


def quoting(home: Path) -> Desktop:
    return Desktop(home, FakeBackend(SCRIPT))


def lit(pilot: Pilot[None]) -> str:
    """Return the words of the book that are lit."""
    pane = pilot.app.screen.query_one(ReaderPane)
    start, end = pilot.app.screen.query_one(BookText).lit or (0, 0)
    return pane.document.text[start:end]


def test_quotes_are_told_apart_and_counted(tmp_path: Path) -> None:
    """Below an answer each quote has its sign and its words, and the proof line counts them."""

    async def drive(pilot: Pilot[None]) -> None:
        await ask(pilot, QUESTION)
        shown = " ".join(text_of(pilot).split())
        assert "✔ “Old Perrin kept the ledger" in shown
        assert "✘ “the moon was made of old green cheese” is not in the book" in shown
        assert "2 quotes: 1 found in the book, 1 not" in shown

    run(quoting(tmp_path), drive)


def test_a_click_on_a_quote_shows_its_passage(tmp_path: Path) -> None:
    """A quote that was found is a link: the book opens beside the chat with the passage lit."""

    async def drive(pilot: Pilot[None]) -> None:
        await ask(pilot, QUESTION)
        found, absent = pilot.app.screen.query(QuoteLine)
        await pilot.click(absent)
        assert not pilot.app.screen.query(ReaderPane)
        await pilot.click(found)
        await wait_until(pilot, lambda: bool(pilot.app.screen.query(ReaderPane)), "the book")
        await wait_until(pilot, lambda: lit(pilot) == SENTENCE, "the passage lit")

    run(quoting(tmp_path), drive)


def test_a_key_shows_the_next_quote(tmp_path: Path) -> None:
    """F10 does what the click does; without a quote it says that there is none."""

    async def drive(pilot: Pilot[None]) -> None:
        chat = await chat_of(pilot)
        await pilot.press("f10")
        assert not chat.query(ReaderPane)
        await ask(pilot, QUESTION)
        await pilot.press("f10")
        await wait_until(pilot, lambda: bool(chat.query(ReaderPane)) and lit(pilot) == SENTENCE, "the passage lit")
        await idle(pilot, chat)

    run(quoting(tmp_path), drive)


def test_the_book_shows_the_passage_whatever_else_moves(tmp_path: Path) -> None:
    """Opened by a quote while the chats fold away and the transcript scrolls, the book shows what is around it."""
    desktop = Desktop(tmp_path, FakeBackend(SCRIPT), text=f"{chapters(9)}{SENTENCE}s.\n\n{chapters(9)}")

    async def drive(pilot: Pilot[None]) -> None:
        await ask(pilot, QUESTION)
        chat = await ask(pilot, QUESTION)
        await pilot.press("ctrl+t", "f10")
        await wait_until(pilot, lambda: bool(chat.query(ReaderPane)) and lit(pilot) == SENTENCE, "a passage")
        text = chat.query_one(BookText)
        await wait_until(pilot, lambda: text.shows(*text.lit), "the passage in view")
        assert text.on_screen()[0] < text.lit[0]
        await wait_until(pilot, shows(pilot, "under a loose board"), "its words")

    run(desktop, drive, size=(120, 26))


def test_passages_beside_a_question_are_told(tmp_path: Path) -> None:
    """When passages of the book were read again with a question, the turn says which and how much."""
    desktop = quoting(tmp_path)
    desktop.answering = AskOptions(Sampling(temperature=0.0, seed=7), extras=Extras(evidence="always"))

    async def drive(pilot: Pilot[None]) -> None:
        await ask(pilot, QUESTION)
        assert "Read again beside the question" in text_of(pilot)

    run(desktop, drive)


def test_a_limit_that_was_given_holds_on_the_screen(tmp_path: Path) -> None:
    """A book that is opened up to a place is known no further, and the turn says so."""
    desktop = quoting(tmp_path)

    def choose(book: OpenBook) -> None:
        book.limit = parse_until(book.document, "50%")

    async def drive(pilot: Pilot[None]) -> None:
        await ask(pilot, QUESTION)
        assert "The model knows the book up to 50 % only" in text_of(pilot)

    run(desktop, drive, choose=choose)

"""The quotes of recorded answers: looked up again when they are shown, beside the screen, the newest first."""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path

from textual.pilot import Pilot

from cagchat.engine.backend import FakeBackend
from cagchat.engine.fake import FakeScript
from cagchat.errors import StateDamaged
from cagchat.limits.limit import Limit
from cagchat.opened import OpenBook
from cagchat.quotes.check import UNVERIFIED, Checks, QuoteChecker
from cagchat.sessions import seals
from cagchat.sessions.session import Session
from cagchat.tui.figure_lines import FigureLines
from cagchat.tui.quote_line import QuoteLine
from cagchat.tui.transcript import FIRST_MOUNTED
from tests.tui.pilot import DEADLINE_S, Desktop, ask, chat_of, run, text_of, wait_until

SENTENCE = "Old Perrin kept the ledger of the harbour under a loose board in his kitchen"
INVENTED = "the moon was made of old green cheese"
SCRIPT = FakeScript(
    answers={"ledger": f"It says “{SENTENCE}”, and “{INVENTED}”.", "moon": f"“{INVENTED}”.", "plain": "Nothing."}
)
LEDGER, MOON, PLAIN = "Where was the ledger?", "And the moon?", "Say it in plain words."


def quoting(home: Path) -> Desktop:
    return Desktop(home, FakeBackend(SCRIPT))


class Counting:
    """Looks quotes up, and remembers which answers were looked at and on which thread; it can be held."""

    def __init__(self, checker: QuoteChecker) -> None:
        self._checker = checker
        self.answers: list[str] = []
        self.limits: list[int | None] = []
        self.threads: set[int] = set()
        self.prepared = 0
        self.held = threading.Event()
        self.held.set()

    def prepare(self) -> None:
        self.prepared += 1
        self.threads.add(threading.get_ident())

    def check(self, answer: str, *, until: int | None = None) -> Checks:
        self.answers.append(answer)
        self.limits.append(until)
        self.threads.add(threading.get_ident())
        assert self.held.wait(DEADLINE_S)
        return self._checker.check(answer, until=until)


def counted(book: OpenBook) -> Counting:
    """Put a look-up that counts in place of a book's."""
    counting = Counting(book.quotes)
    book._quotes = counting  # type: ignore[assignment]  # it does what a QuoteChecker does
    return counting


def asked(desktop: Desktop, *questions: str) -> Session:
    """Record a chat with these questions and return it."""

    async def drive(pilot: Pilot[None]) -> None:
        for question in questions:
            await ask(pilot, question)

    run(desktop, drive)
    (session,) = desktop.sessions.list()
    return session


def lengthened(desktop: Desktop, count: int) -> None:
    """Make one recorded turn into so many, each with another answer that quotes."""
    with sqlite3.connect(desktop.sessions.path) as database:
        seals.teach(database)
        columns = [row[1] for row in database.execute("PRAGMA table_info(turns)") if row[1] not in ("row", "number")]
        names = ", ".join(columns)
        made = ", ".join("i || ': ' || answer" if name == "answer" else name for name in columns)
        numbers = f"WITH RECURSIVE n(i) AS (SELECT 2 UNION ALL SELECT i + 1 FROM n WHERE i < {count})"
        database.execute(f"{numbers} INSERT INTO turns (number, {names}) SELECT i, {made} FROM n, turns")


def test_a_continued_chat_shows_its_quotes(tmp_path: Path) -> None:
    """Below a recorded answer stand the same lines as when it was made, and they are links."""
    desktop = quoting(tmp_path)
    lines: list[list[str]] = []

    async def fresh(pilot: Pilot[None]) -> None:
        chat = await ask(pilot, LEDGER)
        lines.append([str(line.content) for line in chat.query(QuoteLine)])
        lines.append([turn.proof for turn in chat.transcript.turns])

    run(desktop, fresh)
    (session,) = desktop.sessions.list()

    async def again(pilot: Pilot[None]) -> None:
        chat = await chat_of(pilot)
        await wait_until(pilot, lambda: len(chat.query(QuoteLine)) == 2, "the quotes")
        assert [str(line.content) for line in chat.query(QuoteLine)] == lines[0]
        assert [turn.proof for turn in chat.transcript.turns] == lines[1]
        await pilot.press("f10")
        await wait_until(pilot, lambda: chat.has_class("-book"), "the book")

    run(desktop, again, choose=lambda book: session)


def test_another_chat_shows_its_quotes(tmp_path: Path) -> None:
    """The chat that one goes over to has its quotes looked up, too."""
    desktop = quoting(tmp_path)

    async def drive(pilot: Pilot[None]) -> None:
        chat = await ask(pilot, LEDGER)
        session = chat.session
        await pilot.press("ctrl+n")
        await ask(pilot, PLAIN)
        assert not chat.query(QuoteLine)
        await chat.go_to(session)
        await wait_until(pilot, lambda: len(chat.query(QuoteLine)) == 2, "the quotes")

    run(desktop, drive)


def test_a_long_chat_looks_up_what_is_shown(tmp_path: Path) -> None:
    """Of 1,000 answers only the mounted ones are looked up: each once, the newest first, on another thread."""
    desktop = quoting(tmp_path)
    session = asked(desktop, LEDGER)
    lengthened(desktop, 1000)
    counting: list[Counting] = []

    def choose(book: OpenBook) -> Session:
        counting.append(counted(book))
        return session

    async def drive(pilot: Pilot[None]) -> None:
        chat = await chat_of(pilot)
        (look_up,) = counting
        await wait_until(pilot, lambda: len(chat.query(QuoteLine)) == 2 * FIRST_MOUNTED, "the quotes")
        newest = [turn.answer for turn in reversed(chat.transcript.turns[-FIRST_MOUNTED:])]
        assert look_up.answers == newest
        assert threading.get_ident() not in look_up.threads
        assert len(chat.transcript.turns) == 1000
        assert chat.transcript.follows

    run(desktop, drive, choose=choose)


def test_turns_that_are_scrolled_to_get_their_quotes(tmp_path: Path) -> None:
    """Earlier answers are looked up when they are shown, the lines in view stay, and nothing is looked up twice."""
    desktop = quoting(tmp_path)
    session = asked(desktop, LEDGER)
    lengthened(desktop, 60)
    counting: list[Counting] = []

    def choose(book: OpenBook) -> Session:
        counting.append(counted(book))
        return session

    async def drive(pilot: Pilot[None]) -> None:
        chat = await chat_of(pilot)
        (look_up,) = counting
        transcript = chat.transcript
        await wait_until(pilot, lambda: len(chat.query(QuoteLine)) == 2 * FIRST_MOUNTED, "the quotes")
        look_up.held.clear()
        n_views = len(transcript.views)
        while len(transcript.views) == n_views:
            await pilot.press("pageup")
            await pilot.pause()
        await wait_until(pilot, lambda: len(look_up.answers) == FIRST_MOUNTED + 1, "a look-up")
        transcript.scroll_to(y=transcript.views[10].virtual_region.y + 1, animate=False)
        await pilot.pause()
        row = transcript.scroll_y - transcript.views[10].virtual_region.y
        assert row == 1
        look_up.held.set()
        await wait_until(pilot, lambda: all(not view.shown.unchecked for view in transcript.views), "all quotes")
        await wait_until(pilot, lambda: transcript.scroll_y - transcript.views[10].virtual_region.y == row, "the place")
        assert len(set(look_up.answers)) == len(look_up.answers) == len(transcript.views)

    run(desktop, drive, choose=choose)


def test_a_chat_that_was_left_is_not_looked_up(tmp_path: Path) -> None:
    """What still waits when the chat is left is dropped, and what comes late is shown nowhere."""
    desktop = quoting(tmp_path)
    session = asked(desktop, LEDGER)
    lengthened(desktop, 8)
    counting: list[Counting] = []

    def choose(book: OpenBook) -> Session:
        counting.append(counted(book))
        counting[0].held.clear()
        return session

    async def drive(pilot: Pilot[None]) -> None:
        chat = await chat_of(pilot)
        (look_up,) = counting
        await wait_until(pilot, lambda: len(look_up.answers) == 1, "a look-up")
        await pilot.press("ctrl+n")
        await wait_until(pilot, lambda: not chat.transcript.turns, "a new chat")
        look_up.held.set()
        await ask(pilot, PLAIN)
        assert not chat.query(QuoteLine)
        assert len(look_up.answers) == 2  # the one that was at work, and that of the new answer

    run(desktop, drive, choose=choose)


def test_recorded_quotes_obey_the_limit_of_their_turn(tmp_path: Path) -> None:
    """A quote from behind the place up to which the chat knew the book is not in the book for it."""
    desktop = quoting(tmp_path)

    def limited(book: OpenBook) -> None:
        book.limit = Limit(3, "the beginning")

    async def drive(pilot: Pilot[None]) -> None:
        await ask(pilot, LEDGER)

    run(desktop, drive, choose=limited)
    (session,) = desktop.sessions.list()
    counting: list[Counting] = []

    def choose(book: OpenBook) -> Session:
        counting.append(counted(book))
        return session

    async def look(pilot: Pilot[None]) -> None:
        chat = await chat_of(pilot)
        await wait_until(pilot, lambda: len(chat.query(QuoteLine)) == 2, "the quotes")
        assert counting[0].limits == [3]
        assert not chat.query("QuoteLine.found")

    run(desktop, look, choose=choose)


def test_the_look_up_is_prepared_while_the_first_answer_is_made(tmp_path: Path) -> None:
    """The first question, and no later one, has the book indexed on a thread of its own."""
    desktop = quoting(tmp_path)
    counting: list[Counting] = []

    async def drive(pilot: Pilot[None]) -> None:
        chat = await chat_of(pilot)
        counting.append(counted(chat.book))
        await ask(pilot, PLAIN)
        await ask(pilot, LEDGER)
        await wait_until(pilot, lambda: counting[0].prepared == 1, "an index")
        assert threading.get_ident() not in counting[0].threads

    run(desktop, drive)
    assert counting[0].prepared == 1


def test_a_book_that_cannot_be_read_leaves_the_chat_as_it_is_recorded(tmp_path: Path) -> None:
    """Where the look-up fails, the answers are shown without it and the chat goes on."""
    desktop = quoting(tmp_path)
    session = asked(desktop, LEDGER, PLAIN)

    class Failing(Counting):
        def check(self, answer: str, *, until: int | None = None) -> Checks:
            super().check(answer, until=until)
            raise StateDamaged("The book's text is gone.", "Read it again.")

    failing: list[Failing] = []

    def choose(book: OpenBook) -> Session:
        failing.append(Failing(book.quotes))
        book._quotes = failing[0]  # type: ignore[assignment]  # it does what a QuoteChecker does
        return session

    async def drive(pilot: Pilot[None]) -> None:
        chat = await chat_of(pilot)
        await wait_until(pilot, lambda: bool(failing[0].answers), "a look-up")
        await pilot.pause()
        assert len(failing[0].answers) == 1
        assert [turn.question for turn in chat.transcript.turns] == [LEDGER, PLAIN]
        assert not chat.query(QuoteLine)

    run(desktop, drive, choose=choose)


def test_an_answer_without_evidence_says_so(tmp_path: Path) -> None:
    """Words, and a colour beside them, tell an answer whose quotes are all invented from one that quotes nothing."""

    async def drive(pilot: Pilot[None]) -> None:
        chat = await ask(pilot, MOON)
        await ask(pilot, PLAIN)
        await ask(pilot, LEDGER)
        proofs = list(chat.query(".proof").results(FigureLines))
        assert [UNVERIFIED in line.text for line in proofs] == [True, False, False]
        assert [bool(line.content().spans) for line in proofs] == [True, False, False]
        shown = " ".join(text_of(pilot).split())
        assert proofs[0].text.endswith("1 quote: not in the book, no verified evidence")
        assert "no quote to check" in shown

    run(quoting(tmp_path), drive)

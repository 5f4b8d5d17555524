"""Up to here: the chat on the screen knows the book to a place and no further, and says so."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from textual.pilot import Pilot
from textual.widgets import Button, Input, OptionList

from cagchat.engine.backend import FakeBackend
from cagchat.engine.fake import FakeScript
from cagchat.engine.protocol import CHAT, Memory
from cagchat.limits.limit import Limit, noted_in
from cagchat.limits.until import parse_until
from cagchat.opened import OpenBook
from cagchat.sessions.session import Session, Turn
from cagchat.tui.book_text import RULE, BookText
from cagchat.tui.chat_screen import ChatScreen
from cagchat.tui.limit_dialogs import AskLimit, GoOn
from cagchat.tui.prompt import LEAST_NAME, below
from cagchat.tui.reader import ReaderPane
from tests.reading_cases import chapters
from tests.tui.pilot import ANSWERS, NARROW, ROOMY, Desktop, Gate, ask, chat_of, idle, run, shows, text_of, wait_until

QUESTION = "Who kept the ledger?"
SIX = chapters(6)
VERY_WIDE = (140, 36)


def desktop_of(
    home: Path, memory: Memory = "attention", gate: Gate | None = None, *, batch_s: float = 0.0, token_s: float = 0.0
) -> Desktop:
    """Return a desktop with a book of six chapters and a fake model that plays this memory."""
    script = FakeScript(ANSWERS, memory, batch_s=batch_s, token_s=token_s)
    return Desktop(home, FakeBackend(script, sleep=gate or Gate()), ROOMY, text=SIX)


def last_turn(desktop: Desktop) -> Turn:
    """Return the newest turn of the newest chat's record."""
    return desktop.sessions.turns(desktop.sessions.list()[0].id)[-1]


async def asking(pilot: Pilot[None]) -> None:
    """Wait for the dialog that asks for a place."""
    await wait_until(pilot, lambda: isinstance(pilot.app.screen, AskLimit), "a dialog")
    await wait_until(pilot, lambda: isinstance(pilot.app.focused, Input), "its line")


async def offering(pilot: Pilot[None]) -> None:
    """Wait for the dialog that says what a limit takes, or offers a new chat."""
    await wait_until(pilot, lambda: isinstance(pilot.app.screen, GoOn), "an offer")
    await wait_until(pilot, lambda: isinstance(pilot.app.focused, Button), "its button")


async def limited_to(pilot: Pilot[None], words: str) -> ChatScreen:
    """Ask for a limit as a reader does, and wait until it is weighed."""
    chat = await chat_of(pilot)
    await wait_until(pilot, lambda: chat.prompt.known is not None, "how far the chat knows the book")
    await pilot.press("ctrl+l")
    await asking(pilot)
    pilot.app.screen.query_one(Input).value = words
    await pilot.press("enter")
    await wait_until(pilot, lambda: not isinstance(pilot.app.screen, AskLimit), "the dialog's end")
    return chat


async def known(pilot: Pilot[None], words: str) -> ChatScreen:
    """Wait until the chat knows the book up to a place; "" for all of it."""
    chat = await chat_of(pilot)
    await wait_until(pilot, lambda: chat.prompt.known == words, f"up to {words}")
    await pilot.pause()
    return chat


async def reader(pilot: Pilot[None]) -> ReaderPane:
    """Open the book beside the chat."""
    chat = await chat_of(pilot)
    await pilot.press("ctrl+b")
    await wait_until(pilot, lambda: bool(chat.query(BookText)), "the book")
    await wait_until(pilot, lambda: chat.query_one(BookText).laid, "its rows")
    await pilot.pause()
    return chat.query_one(ReaderPane)


def in_context(chat: ChatScreen) -> str:
    """Return the text of all that stands in the chat's sequence of the engine without a model."""
    engine = chat.book.engine
    return engine.text_of(engine._sequences[CHAT]).decode(errors="replace")  # type: ignore[attr-defined]  # the fake's


# -- where to ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("memory", ["attention", "hybrid"])
def test_up_to_the_end_of_the_page(tmp_path: Path, memory: Memory) -> None:
    """A key in the reader ends the chat's book where the screen ends: nothing after it is in the context."""
    desktop = desktop_of(tmp_path, memory)
    offsets: list[int] = []

    async def drive(pilot: Pilot[None]) -> None:
        pane = await reader(pilot)
        await pilot.press("pagedown")
        offsets.append(pilot.app.screen.query_one(BookText).on_screen()[1])
        await pilot.press("u")
        if memory == "hybrid":
            await offering(pilot)
            await pilot.press("enter")
        chat = await chat_of(pilot)
        await wait_until(pilot, lambda: bool(chat.prompt.known), "a limit")
        assert pane.limit is not None
        before, after = SIX[: pane.limit], SIX[pane.limit :]
        assert pane.limit == offsets[0] or not SIX[offsets[0] : pane.limit].strip()
        await pilot.press("ctrl+b")
        await ask(pilot, QUESTION)
        assert before.rstrip()[-40:] in in_context(chat)
        assert after.strip()[:40] not in in_context(chat)

    run(desktop, drive)
    noted = noted_in(last_turn(desktop).proof)
    assert noted is not None
    assert 0 < noted.offset < len(SIX)
    assert last_turn(desktop).proof["book_tokens"] < len(SIX)  # type: ignore[operator]  # a number of bytes here


@pytest.mark.parametrize("by", ["key", "click"])
def test_a_chapter_is_named(tmp_path: Path, by: str) -> None:
    """The key for the dialog, or a click on the words below the prompt, takes a chapter as a reader says it."""

    async def drive(pilot: Pilot[None]) -> None:
        chat = await known(pilot, "")
        if by == "key":
            await pilot.press("ctrl+l")
        else:
            rows = text_of(pilot).splitlines()
            (y,) = [y for y, row in enumerate(rows) if "up to: the whole book" in row]
            await pilot.click(offset=(rows[y].index("up to:") + 2, y))
        await asking(pilot)
        await pilot.press(*"chapter", "space", *"iii", "enter")
        await known(pilot, "CHAPTER 3")
        assert "up to: CHAPTER 3" in text_of(pilot)
        assert chat.book.limit == Limit(SIX.index("CHAPTER 4"), "CHAPTER 3")

    run(desktop_of(tmp_path), drive)


def test_a_place_is_chosen_from_the_list(tmp_path: Path) -> None:
    """The list begins at the chapter that is read; typing leaves what fits, and Down and Enter, or a click, take it."""

    async def drive(pilot: Pilot[None]) -> None:
        pane = await reader(pilot)
        chat = await chat_of(pilot)
        pane.go_to(SIX.index("CHAPTER 5") + 20)
        await wait_until(pilot, lambda: chat._beside.place.position > SIX.index("CHAPTER 5"), "the place, noted")
        await pilot.press("ctrl+l")
        await asking(pilot)
        dialog, listed = pilot.app.screen, pilot.app.screen.query_one(OptionList)
        options = [str(listed.get_option_at_index(index).prompt) for index in range(listed.option_count)]
        assert options[-1] == "100 %  the whole book"
        assert "CHAPTER 5" in options[listed.highlighted or 0]
        dialog.query_one(Input).value = "ter 2"
        await wait_until(pilot, lambda: listed.option_count == 1, "one place")
        await pilot.press("down", "enter")
        await known(pilot, "CHAPTER 2")
        await pilot.press("ctrl+l")
        await asking(pilot)
        await wait_until(pilot, shows(pilot, "the whole book"), "the list")
        rows = text_of(pilot).splitlines()
        y = next(y for y, row in enumerate(rows) if "CHAPTER 4" in row and "%" in row)
        await pilot.click(offset=(rows[y].index("CHAPTER 4"), y))
        await known(pilot, "CHAPTER 4")

    run(desktop_of(tmp_path), drive)


def test_a_place_chosen_from_a_list_that_has_changed_is_not_taken(tmp_path: Path) -> None:
    """A click may arrive when another list stands there: then it chooses nothing, not what came in its place."""

    async def drive(pilot: Pilot[None]) -> None:
        await known(pilot, "")
        await pilot.press("ctrl+l")
        await asking(pilot)
        dialog, listed = pilot.app.screen, pilot.app.screen.query_one(OptionList)
        before = listed.get_option_at_index(0)
        dialog.query_one(Input).value = "ter 2"
        await wait_until(pilot, lambda: listed.option_count == 1, "one place")
        dialog.post_message(OptionList.OptionSelected(listed, before, 0))
        await pilot.pause()
        assert pilot.app.screen is dialog
        dialog.post_message(OptionList.OptionSelected(listed, listed.get_option_at_index(0), 0))
        await known(pilot, "CHAPTER 2")

    run(desktop_of(tmp_path), drive)


def test_words_that_name_no_place_are_answered_in_the_dialog(tmp_path: Path) -> None:
    """What the book does not have is said, with what there is; the dialog stays, and Esc leaves all as it was."""

    async def drive(pilot: Pilot[None]) -> None:
        chat = await known(pilot, "")
        await pilot.press("ctrl+l")
        await asking(pilot)
        await pilot.press(*"chapter", "space", *"99", "enter")
        await wait_until(pilot, shows(pilot, "has no place called chapter 99"), "what is wrong")
        await pilot.press("escape")
        await wait_until(pilot, lambda: pilot.app.screen is chat, "the chat")
        assert chat.prompt.known == ""
        assert chat.book.limit is None

    run(desktop_of(tmp_path), drive)


def test_a_bookmark_is_a_place(tmp_path: Path) -> None:
    """A bookmark that was set in the reader can be named; the chat's limit is called by what it is, not by a number."""

    async def drive(pilot: Pilot[None]) -> None:
        pane = await reader(pilot)
        pane.go_to(SIX.index("CHAPTER 2"))
        await pilot.pause()
        await pilot.press("b")
        pane.go_to(SIX.index("4.3:"))
        await pilot.pause()
        await pilot.press("b")
        assert len(pane.bookmarks) == 2
        chat = await limited_to(pilot, "bookmark 1")
        await known(pilot, "CHAPTER 1")
        assert chat.book.limit == Limit(pane.bookmarks[0], "CHAPTER 1")
        await pilot.press("ctrl+l")
        await asking(pilot)
        dialog = pilot.app.screen
        dialog.query_one(Input).value = "mark 2"
        await wait_until(pilot, lambda: dialog.query_one(OptionList).option_count == 1, "one place")
        await wait_until(pilot, shows(pilot, "bookmark 2: CHAPTER 4 ("), "its name")
        await pilot.press("down", "enter")
        await wait_until(pilot, lambda: (chat.prompt.known or "").startswith("CHAPTER 4 ("), "the limit")
        assert chat.book.limit.offset == pane.bookmarks[1]

    run(desktop_of(tmp_path), drive)


def test_the_whole_book_again(tmp_path: Path) -> None:
    """A limit is taken away with a key, which is offered only where there is one."""

    async def drive(pilot: Pilot[None]) -> None:
        chat = await limited_to(pilot, "40%")
        await known(pilot, "40 %")
        assert chat.check_action("whole_book", ())
        await pilot.press("alt+l")
        await known(pilot, "")
        assert "up to: the whole book" in text_of(pilot)
        assert not chat.check_action("whole_book", ())

    run(desktop_of(tmp_path), drive)


def test_every_way_is_in_the_palette(tmp_path: Path) -> None:
    """The palette has the dialog, the reader's key and, with a limit, the whole book."""

    async def drive(pilot: Pilot[None]) -> None:
        await limited_to(pilot, "40%")
        await known(pilot, "40 %")
        await reader(pilot)
        offered = {command.title for command in pilot.app.get_system_commands(pilot.app.screen)}
        assert {"The book only up to …", "The whole book", "Up to here"} <= offered

    run(desktop_of(tmp_path), drive)


# -- what it costs -----------------------------------------------------------------------------------------------------


def test_the_price_is_said_before(tmp_path: Path) -> None:
    """Tokens that have to be read again are counted before; Esc leaves the limit as it is, Enter moves it."""

    async def drive(pilot: Pilot[None]) -> None:
        chat = await limited_to(pilot, "40%")
        await offering(pilot)
        said = " ".join(text_of(pilot).replace("│", " ").split())
        await pilot.press("escape")
        await wait_until(pilot, lambda: pilot.app.screen is chat, "the chat")
        assert chat.prompt.known == ""
        await limited_to(pilot, "40%")
        await offering(pilot)
        await pilot.press("enter")
        await known(pilot, "40 %")
        await ask(pilot, QUESTION)
        price = re.search(r"before the next answer, ([\d,]+) tokens of the book are read again", said)
        assert price
        assert f"{price[1]} of them are read now" in text_of(pilot)

    run(desktop_of(tmp_path, "hybrid"), drive)


def test_without_a_price_nothing_is_asked(tmp_path: Path) -> None:
    """Where the cache is simply cut, the limit moves at once."""

    async def drive(pilot: Pilot[None]) -> None:
        chat = await limited_to(pilot, "chapter 2")
        await known(pilot, "CHAPTER 2")
        assert pilot.app.screen is chat

    run(desktop_of(tmp_path), drive)


def test_the_way_to_the_limit_is_shown_and_can_be_stopped(tmp_path: Path) -> None:
    """The status line counts what is read; Esc stops it, and what was read by then is not read a second time."""
    gate = Gate()
    desktop = desktop_of(tmp_path, "hybrid", gate, batch_s=1.0)

    async def drive(pilot: Pilot[None]) -> None:
        chat = await limited_to(pilot, "97%")
        await offering(pilot)
        await pilot.press("enter")
        await known(pilot, "97 %")
        gate.hold(2)
        await ask(pilot, QUESTION, wait=False)
        await wait_until(pilot, gate.waiting.is_set, "a reading half done")
        await wait_until(pilot, shows(pilot, "◐ reading"), "progress")
        await pilot.press("escape")
        gate.release()
        await idle(pilot, chat)
        assert "Stopped" in text_of(pilot)
        assert chat.prompt.known == "97 %"
        await ask(pilot, QUESTION)
        counts = re.findall(r"([\d,]+) of them are read now", text_of(pilot))
        first, second = (int(count.replace(",", "")) for count in counts)
        assert 0 < second < first

    run(desktop, drive)
    first, second = desktop.sessions.turns(desktop.sessions.list()[0].id)
    assert (first.status, second.status) == ("stopped", "done")


# -- where it stands ---------------------------------------------------------------------------------------------------


def test_going_back_offers_a_new_chat(tmp_path: Path) -> None:
    """A chat that knows more is left as it is; what is offered is a new one with the limit."""
    desktop = desktop_of(tmp_path)

    async def drive(pilot: Pilot[None]) -> None:
        chat = await ask(pilot, QUESTION)
        for answer, turns in (("escape", 1), ("enter", 0)):
            await limited_to(pilot, "chapter 2")
            await offering(pilot)
            assert "already knows the book up to the end" in " ".join(text_of(pilot).replace("│", " ").split())
            await pilot.press(answer)
            await wait_until(pilot, lambda: pilot.app.screen is chat, "the chat")
            await known(pilot, "" if turns else "CHAPTER 2")
            assert len(chat.transcript.turns) == turns
        await ask(pilot, QUESTION)
        assert "CHAPTER 3" not in in_context(chat)

    run(desktop, drive)
    assert [session.n_turns for session in desktop.sessions.list()] == [1, 1]


def test_new_chats_have_the_limit(tmp_path: Path) -> None:
    """A chat that is begun after a limit was set has it, and one that has its own keeps it."""

    async def drive(pilot: Pilot[None]) -> None:
        chat = await limited_to(pilot, "chapter 2")
        await known(pilot, "CHAPTER 2")
        await ask(pilot, QUESTION)
        first = chat.session
        await pilot.press("ctrl+n")
        await known(pilot, "CHAPTER 2")
        await limited_to(pilot, "chapter 4")
        await known(pilot, "CHAPTER 4")
        await chat.go_to(first)
        await known(pilot, "CHAPTER 2")
        await chat.go_to(None)
        await known(pilot, "CHAPTER 4")

    run(desktop_of(tmp_path), drive)


@pytest.mark.parametrize("memory", ["attention", "hybrid"])
def test_a_chat_that_is_continued_has_its_limit(tmp_path: Path, memory: Memory) -> None:
    """After reopening the chat knows what it knew, without being told, and its record is read back after that."""
    first = desktop_of(tmp_path, memory)

    def limited(book: OpenBook) -> None:
        book.limit = parse_until(book.document, "chapter 2")

    async def one(pilot: Pilot[None]) -> None:
        await ask(pilot, QUESTION)

    run(first, one, choose=limited)
    (session,) = first.sessions.list()
    before = last_turn(first)
    first.sessions.close()
    second = desktop_of(tmp_path, memory)

    async def two(pilot: Pilot[None]) -> None:
        chat = await known(pilot, "CHAPTER 2")
        await ask(pilot, "And then?")
        assert "CHAPTER 3" not in in_context(chat)

    run(second, two, choose=lambda book: session)
    after = last_turn(second)
    assert after.number == 2
    assert noted_in(before.proof) == Limit(SIX.index("CHAPTER 3"), "CHAPTER 2")
    assert noted_in(after.proof) == noted_in(before.proof)
    assert after.proof["book_tokens"] == before.proof["book_tokens"]


@pytest.mark.parametrize(("words", "offered"), [("chapter 4", False), ("chapter 1", True)])
def test_a_limit_for_a_chat_that_is_continued(tmp_path: Path, words: str, offered: bool) -> None:
    """`--until` with a chat that goes on moves its limit forward; for going back a new chat is offered."""
    first = desktop_of(tmp_path)

    def limited(book: OpenBook) -> None:
        book.limit = parse_until(book.document, "chapter 2")

    async def one(pilot: Pilot[None]) -> None:
        await ask(pilot, QUESTION)

    run(first, one, choose=limited)
    (session,) = first.sessions.list()
    first.sessions.close()

    def again(book: OpenBook) -> Session:
        book.limit = parse_until(book.document, words)
        return session

    async def two(pilot: Pilot[None]) -> None:
        if offered:
            await offering(pilot)
            await pilot.press("escape")
            await known(pilot, "CHAPTER 2")
        else:
            await known(pilot, "CHAPTER 4")
        chat = await ask(pilot, "And then?")
        assert len(chat.transcript.turns) == 2

    run(desktop_of(tmp_path), two, choose=again)


def test_the_reader_shows_the_limit_and_finds_beyond_it(tmp_path: Path) -> None:
    """A line in the text says how far the chat knows the book; it moves with the limit, and finding goes past it."""

    async def drive(pilot: Pilot[None]) -> None:
        chat = await limited_to(pilot, "chapter 1")
        await known(pilot, "CHAPTER 1")
        pane = await reader(pilot)
        rows = text_of(pilot).splitlines()
        (y,) = [y for y, row in enumerate(rows) if RULE.strip() in row]
        assert "CHAPTER 2" in rows[y + 1]
        await pilot.press("ctrl+l")
        await asking(pilot)
        await pilot.press(*"all", "enter")
        await known(pilot, "")
        assert pane.limit is None
        assert RULE.strip() not in text_of(pilot)
        await limited_to(pilot, "chapter 1")
        await known(pilot, "CHAPTER 1")
        pane.focus()
        await pilot.press("slash", *"5.1:", "enter")
        await wait_until(pilot, shows(pilot, "1 of 1 · 5.1:"), "the place")
        assert pane.position > (chat.book.limit or Limit(0, "")).offset

    run(desktop_of(tmp_path), drive, size=VERY_WIDE)


def test_while_answering_the_limit_stays(tmp_path: Path) -> None:
    """During an answer no limit is asked for and none moves."""
    gate = Gate()

    async def drive(pilot: Pilot[None]) -> None:
        chat = await known(pilot, "")
        gate.hold(5)
        await ask(pilot, "How many lanterns?", wait=False)
        await wait_until(pilot, gate.waiting.is_set, "an answer half said")
        await pilot.press("ctrl+l")
        await pilot.press("alt+l")
        assert pilot.app.screen is chat
        assert chat.prompt.known == ""
        gate.release()
        await idle(pilot, chat)

    run(desktop_of(tmp_path, "attention", gate, token_s=1.0), drive)


def test_words_on_a_narrow_terminal(tmp_path: Path) -> None:
    """The border of the prompt keeps the limit and the way to send where there is little room."""

    async def drive(pilot: Pilot[None]) -> None:
        await limited_to(pilot, "chapter 2")
        await known(pilot, "CHAPTER 2")
        assert "up to: CHAPTER 2   send" in text_of(pilot)

    run(desktop_of(tmp_path), drive, size=NARROW)


@pytest.mark.parametrize("limit", ["", "CHAPTER 12. A Harbour in [red]Winter[/]", "第十二章 冬天的港口"])
def test_the_border_is_never_wider_than_the_prompt(limit: str) -> None:
    """As the prompt gets narrower the limit is cut, then left out; the whole book is said in whole or not at all."""
    for width in range(12, 90):
        shown = below(limit, width)
        assert shown.cell_length <= max(len("send"), width - 6)
        assert shown.plain.endswith("send")
        if not limit:
            assert shown.plain in ("send", "up to: the whole book   send")
        elif shown.plain != "send":
            assert shown.plain.startswith(f"up to: {limit[: LEAST_NAME // 2 - 1]}")
    assert limit in below(limit, 90).plain
    assert below(None, 90).plain == "send"

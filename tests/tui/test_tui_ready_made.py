"""Questions that every reader asks: a dialog asks for the word that is missing, and the prompt is filled."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from textual import events
from textual.pilot import Pilot
from textual.widgets import Input, OptionList

from cagchat.limits.limit import Limit
from cagchat.opened import OpenBook
from cagchat.questions import since, summary, who
from cagchat.tui.pick import Pick, PickChapter, PickName
from tests.reading_cases import chapters
from tests.tui.pilot import Desktop, ask, chat_of, idle, run, shows, text_of, wait_until

BOOK = chapters(4)
UNTITLED = "Rain fell on the quay, and nobody had seen the ferry since the first week of autumn. " * 40


def desktop(home: Path) -> Desktop:
    return Desktop(home, text=BOOK)


async def picking(pilot: Pilot[None], key: str) -> OptionList:
    """Press a key and return the list of the dialog that it opens, with something in it."""
    await pilot.press(key)
    await wait_until(pilot, lambda: isinstance(pilot.app.screen, Pick), "a dialog")
    listed = pilot.app.screen.query_one(OptionList)
    await wait_until(pilot, lambda: listed.option_count > 0, "something to choose")
    return listed


def rows(listed: OptionList) -> list[str]:
    """Return what a list shows."""
    return [str(option.prompt).strip() for option in listed.options]


def notices(pilot: Pilot[None]) -> str:
    """Return what the reader was told in passing."""
    return " ".join(f"{notice.title} {notice.message}" for notice in pilot.app._notifications)


@pytest.mark.parametrize(("key", "wording"), [("alt+s", summary), ("alt+h", since)])
def test_a_chapter_is_chosen_and_fills_the_prompt(tmp_path: Path, key: str, wording: Callable[[str], str]) -> None:
    """The bar moves while the line has the focus; what Enter takes stands in the prompt and is not asked yet."""

    async def drive(pilot: Pilot[None]) -> None:
        chat = await chat_of(pilot)
        listed = await picking(pilot, key)
        assert len(rows(listed)) == 4
        await pilot.press("down", "down", "up", "enter")
        assert pilot.app.screen is chat
        assert chat.prompt.text == wording("CHAPTER 2")
        assert chat.focused is chat.prompt
        assert not chat.busy
        assert not chat.transcript.turns

    run(desktop(tmp_path), drive)


def test_a_letter_with_alt_is_not_written(tmp_path: Path) -> None:
    """A terminal sends Alt and a letter as that letter: the dialog opens, and the prompt stays as it was."""

    async def drive(pilot: Pilot[None]) -> None:
        chat = await chat_of(pilot)
        pilot.app.post_message(events.Key("alt+s", "s"))
        await wait_until(pilot, lambda: isinstance(pilot.app.screen, PickChapter), "a dialog")
        await pilot.press("escape")
        assert chat.prompt.text == ""

    run(desktop(tmp_path), drive)


def test_a_choice_from_a_list_that_has_changed_is_dropped(tmp_path: Path) -> None:
    """A choice that arrives when the list was filtered meanwhile takes no other chapter."""

    async def drive(pilot: Pilot[None]) -> None:
        await chat_of(pilot)
        listed = await picking(pilot, "alt+s")
        last = listed.option_count - 1
        late = [OptionList.OptionSelected(listed, listed.get_option_at_index(at), at) for at in (0, last)]
        pilot.app.screen.query_one(Input).value = "CHAPTER 3"
        await wait_until(pilot, lambda: len(rows(listed)) == 1, "one chapter")
        for choice in late:
            listed.post_message(choice)
        await pilot.pause()
        assert isinstance(pilot.app.screen, PickChapter)

    run(desktop(tmp_path), drive)


@pytest.mark.parametrize("typed", ["3", "ter 3", "CHAPTER III", "three"])
def test_chapters_are_filtered_as_one_types(tmp_path: Path, typed: str) -> None:
    """A part of the title finds a chapter, and so does its number in other words."""

    async def drive(pilot: Pilot[None]) -> None:
        chat = await chat_of(pilot)
        listed = await picking(pilot, "alt+s")
        pilot.app.screen.query_one(Input).value = typed
        await wait_until(pilot, lambda: len(rows(listed)) == 1, "one chapter")
        await pilot.press("enter")
        assert chat.prompt.text == summary("CHAPTER 3")

    run(desktop(tmp_path), drive)


def test_a_chapter_that_there_is_not_is_told(tmp_path: Path) -> None:
    """Where nothing fits, a line says so, Enter does nothing and Esc changes nothing."""

    async def drive(pilot: Pilot[None]) -> None:
        chat = await chat_of(pilot)
        chat.prompt.write("half a question")
        await picking(pilot, "alt+s")
        await pilot.press(*"zebra")
        await wait_until(pilot, shows(pilot, "has no place called zebra"), "a note")
        await pilot.press("enter")
        assert pilot.app.screen is not chat
        await pilot.press("escape")
        assert pilot.app.screen is chat
        assert chat.prompt.text == "half a question"

    run(desktop(tmp_path), drive)


def test_the_bar_stands_where_the_reader_is(tmp_path: Path) -> None:
    """The chapter that is open in the reader is the one that Enter takes at once."""

    async def drive(pilot: Pilot[None]) -> None:
        chat = await chat_of(pilot)
        await pilot.press("ctrl+b")
        await wait_until(pilot, shows(pilot, "CHAPTER 1"), "the book")
        await pilot.press("g", *"chapter", "space", "4", "enter")
        await wait_until(pilot, shows(pilot, "4.1:"), "the chapter")
        listed = await picking(pilot, "alt+h")
        await wait_until(pilot, lambda: listed.highlighted == 3, "the bar on chapter 4")
        await pilot.press("enter")
        assert chat.prompt.text == since("CHAPTER 4")

    run(Desktop(tmp_path, text=chapters(9)), drive)


def test_a_click_chooses(tmp_path: Path) -> None:
    """The mouse takes a chapter, and leaves the dialog."""

    async def drive(pilot: Pilot[None]) -> None:
        chat = await chat_of(pilot)
        listed = await picking(pilot, "alt+s")
        await pilot.pause()
        await pilot.click(listed, offset=(8, 2))
        await wait_until(pilot, lambda: pilot.app.screen is chat, "the chat")
        assert chat.prompt.text == summary("CHAPTER 3")
        await picking(pilot, "alt+s")
        await pilot.pause()
        await pilot.click("#leave")
        await wait_until(pilot, lambda: pilot.app.screen is chat, "the chat")

    run(desktop(tmp_path), drive)


def test_chapters_after_the_limit_are_not_offered(tmp_path: Path) -> None:
    """A chat that knows the book up to a place offers the chapters and the names before it."""
    end = BOOK.index("CHAPTER 3")

    def choose(book: OpenBook) -> None:
        book.limit = Limit(end, "CHAPTER 2")

    async def drive(pilot: Pilot[None]) -> None:
        await chat_of(pilot)
        listed = await picking(pilot, "alt+s")
        assert [row.partition("%")[2].strip() for row in rows(listed)] == ["CHAPTER 1", "CHAPTER 2"]
        await pilot.press("escape", "alt+w")
        dialog = pilot.app.screen
        assert isinstance(dialog, PickName)
        assert dialog.text == BOOK[:end]

    run(desktop(tmp_path), drive, choose=choose)


def test_the_names_of_the_book_are_offered(tmp_path: Path) -> None:
    """The most frequent names are listed, and filtered as one types; Down and Enter take one."""

    async def drive(pilot: Pilot[None]) -> None:
        chat = await chat_of(pilot)
        listed = await picking(pilot, "alt+w")
        assert rows(listed)[0] in ("Perrin", "Varga", "Aldermouth")
        await pilot.press(*"per")
        await wait_until(pilot, lambda: rows(listed) == ["Perrin"], "one name")
        await pilot.press("down", "enter")
        assert chat.prompt.text == who("Perrin")

    run(desktop(tmp_path), drive)


def test_any_name_can_be_asked_about(tmp_path: Path) -> None:
    """Enter takes what is typed, even where it is a part of a name that is offered."""

    async def drive(pilot: Pilot[None]) -> None:
        chat = await chat_of(pilot)
        await picking(pilot, "alt+w")
        await pilot.press(*"per", "enter")
        assert chat.prompt.text == who("per")

    run(desktop(tmp_path), drive)


def test_what_was_being_written_is_recalled(tmp_path: Path) -> None:
    """A question that was half written is not lost when the prompt is filled: Up brings it back."""

    async def drive(pilot: Pilot[None]) -> None:
        chat = await chat_of(pilot)
        chat.prompt.write("half a question")
        await picking(pilot, "alt+s")
        await pilot.press("enter")
        assert chat.prompt.text == summary("CHAPTER 1")
        chat.prompt.move_cursor((0, 0))
        await pilot.press("up")
        assert chat.prompt.text == "half a question"

    run(desktop(tmp_path), drive)


@pytest.mark.parametrize(
    ("line", "asked"),
    [
        ("/summary 3", summary("CHAPTER 3")),
        ("/who Old  Perrin", who("Old Perrin")),
        ("/since chapter 2", since("CHAPTER 2")),
        ("/Summary\n3", summary("CHAPTER 3")),
    ],
)
def test_commands_ask_as_on_the_command_line(tmp_path: Path, line: str, asked: str) -> None:
    """What `open --plain` takes is asked at once, whatever its case and the blanks in it."""

    async def drive(pilot: Pilot[None]) -> None:
        chat = await ask(pilot, line)
        assert [turn.question for turn in chat.transcript.turns] == [asked]

    run(desktop(tmp_path), drive)


def test_a_command_that_names_no_chapter_is_refused(tmp_path: Path) -> None:
    """What is wrong and what to do is shown, and the line stays to be mended."""

    async def drive(pilot: Pilot[None]) -> None:
        chat = await chat_of(pilot)
        chat.prompt.write("/summary Chapter 9")
        await pilot.press("enter")
        await wait_until(pilot, lambda: "no place called Chapter 9" in notices(pilot), "a notice")
        assert chat.prompt.text == "/summary Chapter 9"
        assert not chat.transcript.turns

    run(desktop(tmp_path), drive)


def test_a_command_alone_lets_one_choose(tmp_path: Path) -> None:
    """Without a word after it a command opens its dialog."""

    async def drive(pilot: Pilot[None]) -> None:
        chat = await chat_of(pilot)
        chat.prompt.write("/who")
        await pilot.press("enter")
        await wait_until(pilot, lambda: isinstance(pilot.app.screen, PickName), "a dialog")
        await pilot.press(*"Ines", "enter", "enter")
        await idle(pilot, chat)
        assert [turn.question for turn in chat.transcript.turns] == [who("Ines")]

    run(desktop(tmp_path), drive)


def test_a_book_without_chapters_says_so(tmp_path: Path) -> None:
    """Where there is nothing to choose from, a notice says so and no dialog opens."""

    async def drive(pilot: Pilot[None]) -> None:
        chat = await chat_of(pilot)
        await pilot.press("alt+s")
        await wait_until(pilot, lambda: "no chapters" in notices(pilot), "a notice")
        assert pilot.app.screen is chat

    run(Desktop(tmp_path, text=UNTITLED), drive)


def test_the_palette_offers_them(tmp_path: Path) -> None:
    """Each of the three is found in the palette by its name."""

    async def drive(pilot: Pilot[None]) -> None:
        await chat_of(pilot)
        await pilot.press("ctrl+p", *"happened")
        await wait_until(pilot, shows(pilot, "What happened since …?"), "the command")
        await pilot.press("down", "enter")
        await wait_until(pilot, lambda: isinstance(pilot.app.screen, PickChapter), "a dialog")
        assert "What happened since" in text_of(pilot)

    run(desktop(tmp_path), drive)

"""The reader pane: rows that tile the text, places that survive a resize, find, contents, bookmarks, lit passages."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from textual import events
from textual.app import App, ComposeResult
from textual.geometry import Region
from textual.pilot import Pilot
from textual.widgets import OptionList

from cagchat import documents
from cagchat.documents import Document, Section
from cagchat.documents.document import Page
from cagchat.tui.book_text import RULE, BookText
from cagchat.tui.finding import MAX_HITS, Folding, find
from cagchat.tui.places import full_titles, goal, place_line
from cagchat.tui.reader import ReaderPane
from cagchat.tui.rows import SHOWN, Layout, is_prose, lay_out, ruled, seam
from tests.tui.pilot import shows, text_of, wait_until

NOVEL = Path(__file__).parents[3] / "shared" / "books" / "war_and_peace.txt"
SIZES = [(60, 20), (100, 30), (200, 60)]

Drive = Callable[[Pilot[None], "Host"], Coroutine[Any, Any, None]]


def invented(n_chapters: int = 12, n_paragraphs: int = 30) -> Document:
    """Return a book in two parts whose every sentence is numbered, with a word that has an accent in each chapter."""
    parts, sections, at = [], [], 0
    for number in range(1, n_chapters + 1):
        if number in (1, n_chapters // 2 + 1):
            title = f"PART {'ONE' if number == 1 else 'TWO'}"
            parts.append(f"{title}\n\n")
            sections.append(Section(title, at, at + len(parts[-1]), 1))
            at += len(parts[-1])
        lines = [f"CHAPTER {number}", f"Here Zoë came for the {number}. time, and “nobody” knew why."]
        for i in range(n_paragraphs):
            sentences = " ".join(f"Sentence {number}.{i}.{k} is about the quay and its lanterns." for k in range(9))
            lines.append(sentences)
        parts.append("\n\n".join(lines) + "\n\n")
        sections.append(Section(f"CHAPTER {number}", at, at + len(parts[-1]), 2))
        at += len(parts[-1])
    return Document("Quay", "".join(parts), tuple(sections), "text")


BOOK = invented()
LONG = invented(60, 90)


def books() -> list[Any]:
    """Return the books to read in: an invented one, a long one, and a real novel where there is one."""
    found = [pytest.param(BOOK, id="invented"), pytest.param(LONG, id="long")]
    if NOVEL.exists():
        found.append(pytest.param(documents.load(NOVEL), id="novel"))
    return found


every_book = pytest.mark.parametrize("book", books())


class Host(App[None]):
    """Shows a pane and notes what it posts."""

    def __init__(self, document: Document, **where: Any) -> None:
        super().__init__()
        self.pane = ReaderPane(document, **where)
        self.positions: list[int] = []
        self.marks: list[tuple[int, ...]] = []

    def compose(self) -> ComposeResult:
        yield self.pane

    def on_mount(self) -> None:
        self.pane.focus()

    def on_reader_pane_position_changed(self, message: ReaderPane.PositionChanged) -> None:
        self.positions.append(message.offset)

    def on_reader_pane_bookmarks_changed(self, message: ReaderPane.BookmarksChanged) -> None:
        self.marks.append(message.bookmarks)

    @property
    def book(self) -> BookText:
        """The text inside the pane."""
        return self.pane.query_one(BookText)


def drive(document: Document, steps: Drive, size: tuple[int, int] = (100, 30), **where: Any) -> Host:
    """Show a book and drive the pane once all of it is in rows."""
    host = Host(document, **where)

    async def go() -> None:
        async with host.run_test(size=size) as pilot:
            await wait_until(pilot, lambda: host.book.laid, "all rows")
            await pilot.pause()
            await steps(pilot, host)

    asyncio.run(go())
    return host


def first_words(document: Document, offset: int, length: int = 12) -> str:
    """Return how the text goes on at an offset, as it stands on a row."""
    return document.text[offset : offset + length].split("\n")[0]


def rows_of(text: str, width: int) -> list[str]:
    """Return the rows of a text as they are shown."""
    layout = Layout(width, 0, len(text), lay_out(text, width, 0, len(text)))
    spans = [layout.span(row) for row in range(len(layout.rows))]
    return [text[start:end].rstrip().translate(SHOWN) for start, end in spans]


# -- rows --------------------------------------------------------------------------------------------------------------


@given(st.text(st.sampled_from("ab é\n\t本́.-"), max_size=300), st.integers(8, 40))
@settings(deadline=None, max_examples=200)
def test_rows_tile_the_text(text: str, width: int) -> None:
    """Whatever the text, rows begin in order, the first at the beginning, and no word is lost between them."""
    rows = lay_out(text, width, 0, len(text))
    assert list(rows) == sorted(set(rows))
    assert text[: rows[0]].strip() == ""
    shown = "".join("".join(row.split()) for row in rows_of(text, width))
    assert shown == "".join(text.split())


@given(st.text(st.sampled_from("abc é\n本,"), max_size=300), st.integers(8, 40))
@settings(deadline=None, max_examples=200)
def test_no_row_is_too_wide(text: str, width: int) -> None:
    """Rows are measured in cells, so that wide characters fit too."""
    assert all(cell_len(row) <= width for row in rows_of(text, width))


@given(st.text(st.sampled_from("ab é\n本.-"), max_size=300), st.integers(8, 40), st.integers(0, 300))
@settings(deadline=None, max_examples=200)
def test_a_rule_stands_where_the_limit_is(text: str, width: int, offset: int) -> None:
    """The rule is an empty row; no row above it holds anything beyond the limit, and the one below it does."""
    plain = Layout(width, 0, len(text), lay_out(text, width, 0, len(text)))
    layout, rule = ruled(plain, text, offset)
    if offset > len(text):
        assert (layout, rule) == (plain, None)
        return
    assert rule is not None
    first, end = layout.span(rule)
    assert first == end
    assert [start for row, start in enumerate(layout.rows) if row != rule] == list(plain.rows)
    assert not text[offset:first].strip()
    assert rule + 1 == len(layout.rows) or layout.row_at(first) == rule + 1
    if rule + 1 < len(layout.rows) and first < offset:
        assert text[offset : layout.span(rule + 1)[1]].strip()


@every_book
def test_pieces_give_the_rows_of_the_whole(book: Document) -> None:
    """Laid out in pieces that meet between paragraphs, a book has the rows that it has in one piece."""
    text = book.text
    whole = list(lay_out(text, 57, 0, len(text)))
    rows: list[int] = []
    start = 0
    while start < len(text):
        end = seam(text, start + 10_000)
        rows.extend(lay_out(text, 57, start, end))
        start = end
    assert rows == whole


def test_prose_is_filled_and_verse_is_not() -> None:
    """Lines that came wrapped become one paragraph; short or indented ones stay lines."""
    wrapped = "It was a long line that somebody wrapped at about sixty, and\nit went on a little."
    assert is_prose(wrapped.split("\n"))
    assert not is_prose(["The quay is long,", "The night is short,", "And I am gone."])
    assert not is_prose(["A table with a first line that is quite long enough here", "   1   2   3"])
    assert rows_of("The quay is long,\nThe night is short.\n", 40) == ["The quay is long,", "The night is short."]
    assert rows_of(f"{wrapped}\n\n\n\nEnd.\n", 200)[1:] == ["", "End."]


def test_a_word_longer_than_the_row_is_broken() -> None:
    """A word that no row holds goes on in the next ones."""
    assert rows_of("a" * 25 + " b\n", 10) == ["a" * 10, "a" * 10, "aaaaa b"]


def test_control_characters_are_not_shown() -> None:
    """What a terminal would obey becomes a space of the same length."""
    assert rows_of("a\x1b[31mb\x07\n", 20) == ["a [31mb "]


def test_a_text_without_any_break_is_laid_out() -> None:
    """A seam in one endless line is the place asked for, so that work stays in pieces."""
    text = "x" * 50_000
    assert seam(text, 20_000) == 20_000
    assert len(lay_out(text, 50, 0, len(text))) == 1000


# -- finding and places ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "found"),
    [("ZOE", ["Zoë"]), ("zoë came", ["Zoë\ncame"]), ('"no', ["“no"]), ("straße", ["Straße"]), ("  ", []), (".", ["."])],
)
def test_find_knows_no_case_accents_and_line_ends(query: str, found: list[str]) -> None:
    """A query finds what a reader would say is the same, at the offsets of the text as it is."""
    text = "Here Zoë\ncame to “no” Straße."
    hits = find(text.translate(Folding()), query, 0)
    assert [text[start:end] for start, end in zip(hits.starts, hits.ends, strict=True)] == found


@given(st.text(max_size=200))
def test_folding_keeps_offsets(text: str) -> None:
    """A folded text is as long as it was, character by character."""
    assert len(text.translate(Folding())) == len(text)


@pytest.mark.parametrize("near", range(24))
@pytest.mark.parametrize("query", ["senn water", "n"])
def test_a_hit_is_found_from_every_place(query: str, near: int) -> None:
    """Wherever the reader is, inside a hit too, the same places are found."""
    folded = "They came to Senn\nWater.\n".translate(Folding())
    assert find(folded, query, near) == find(folded, query, 0)


def test_hits_do_not_overlap() -> None:
    """Of hits that overlap, because the reader is inside one, the one after the reader's place is kept."""
    hits = find("aaaa", "aa", 1)
    assert list(zip(hits.starts, hits.ends, strict=True)) == [(1, 3)]


def test_too_many_hits_are_bounded() -> None:
    """The hits after the reader's place are kept first, in order, and it is said that there are more."""
    hits = find("ab" * (MAX_HITS + 10), "a", 2 * 15)
    assert len(hits) == MAX_HITS
    assert not hits.complete
    assert hits.starts[:6] == [0, 2, 4, 6, 8, 30]


@pytest.mark.parametrize(
    ("text", "place"),
    [("50", 0.5), ("12,5 %", 0.125), ("0%", 0.0), ("101", None), ("", None), ("no such", None)],
)
def test_percentages_are_places(text: str, place: float | None) -> None:
    """A number is a share of the book; what is no place gives none."""
    titles = full_titles(BOOK.sections)
    expected = None if place is None else round(place * len(BOOK.text))
    assert goal(text, titles, BOOK.sections, len(BOOK.text), 0) == expected


def test_titles_are_places() -> None:
    """Words of a title are the next such chapter, whole words before parts of them; after the last comes the first."""
    titles = full_titles(BOOK.sections)
    starts = {section.title: section.start for section in BOOK.sections}

    def go(text: str, here: int) -> int | None:
        return goal(text, titles, BOOK.sections, len(BOOK.text), here)

    assert go("chapter 1", 0) == starts["CHAPTER 1"]
    assert go("Chapter 2", starts["CHAPTER 9"]) == starts["CHAPTER 2"]
    assert go("part two", 0) == starts["PART TWO"]
    assert go("two chapter", 0) == starts["CHAPTER 7"]
    assert go("chap", starts["CHAPTER 3"]) == starts["CHAPTER 4"]


def test_full_titles_name_the_part() -> None:
    """A chapter's full title begins with its part's, and a part ends the one before."""
    titles = full_titles(BOOK.sections)
    assert titles[0] == "PART ONE"
    assert titles[1] == "PART ONE, CHAPTER 1"
    assert titles[-1] == "PART TWO, CHAPTER 12"


@pytest.mark.parametrize("width", range(60))
def test_the_place_fits_its_line(width: int) -> None:
    """The line is never too long, gives up the part's title first, and the percentage last."""
    line = place_line("PART ONE, CHAPTER 12", "CHAPTER 12", "34.6 %", width)
    assert len(line) <= width
    assert line.startswith("PART") == (width >= 29)
    assert ("34.6 %" in line) == (width >= 6)


@pytest.mark.parametrize("width", range(60))
def test_a_place_in_wide_characters_fits_too(width: int) -> None:
    """Titles whose characters take two cells give up room for the percentage as others do."""
    line = place_line("第一部第一章" * 3, "第一章" * 3, "34.6 %", width)
    assert cell_len(line) <= width
    assert line.startswith("第一部") == (width >= 45)
    assert ("34.6 %" in line) == (width >= 6)


# -- the pane ----------------------------------------------------------------------------------------------------------


@every_book
@pytest.mark.parametrize("size", SIZES)
def test_the_text_stands_at_the_position(book: Document, size: tuple[int, int]) -> None:
    """A book opens at the offset given: its words are on the first row, and the position is that offset."""
    offset = book.sections[len(book.sections) // 2].start

    async def steps(pilot: Pilot[None], host: Host) -> None:
        first = text_of(pilot).splitlines()[1]
        assert first.strip().startswith(first_words(book, offset))
        assert host.pane.position == offset
        assert host.positions == []

    drive(book, steps, size, position=offset)


@every_book
def test_a_resize_moves_nothing(book: Document) -> None:
    """Through any widths and back the position is the same character, which is on the first row."""
    offset = len(book.text) // 3

    async def steps(pilot: Pilot[None], host: Host) -> None:
        for size in ((60, 20), (30, 10), (200, 60), (100, 30)):
            await pilot.resize_terminal(*size)
            await wait_until(pilot, lambda: host.book.laid)
            await pilot.pause()
            assert host.pane.position == offset
            start, end = host.book.on_screen()
            assert start <= offset < end

    drive(book, steps, position=offset)


@every_book
def test_the_edges_can_be_reached(book: Document) -> None:
    """End shows the last words and Home the first ones, and both are told to the host."""

    async def steps(pilot: Pilot[None], host: Host) -> None:
        await pilot.press("end")
        await wait_until(pilot, lambda: host.positions[-1:] == [len(book.text) - 1])
        assert host.book.on_screen()[1] == len(book.text)
        await pilot.press("home")
        await wait_until(pilot, lambda: host.positions[-1] == 0)
        await wait_until(pilot, shows(pilot, first_words(book, 0)))

    drive(book, steps, position=len(book.text) // 2)


def test_rows_and_pages_and_the_wheel_move() -> None:
    """Down and Up are a row, Page down and Page up undo each other, and the wheel scrolls."""

    async def steps(pilot: Pilot[None], host: Host) -> None:
        await pilot.press("down", "down", "up")
        await pilot.pause()
        assert host.book.scroll_offset.y == 1
        await pilot.press("pagedown", "space", "pageup", "pageup")
        await pilot.pause()
        assert host.book.scroll_offset.y == 1
        await pilot._post_mouse_events([events.MouseScrollDown], host.book, button=0)
        await wait_until(pilot, lambda: host.book.scroll_offset.y > 1)
        assert host.positions[-1] == host.pane.position > 0

    drive(BOOK, steps)


def test_places_far_away_are_shown_before_all_rows_are_known() -> None:
    """A jump and an opening do not wait until a long book is in rows."""
    host = Host(LONG, position=len(LONG.text) // 2)
    target = LONG.sections[-1].start

    async def go() -> None:
        async with host.run_test() as pilot:
            host.pane.go_to(target)
            start, end = host.book.on_screen()
            assert start <= target < end
            await wait_until(pilot, lambda: host.book.laid)
            assert host.pane.position == target

    asyncio.run(go())


@every_book
def test_contents_jump(book: Document) -> None:
    """The contents open at the present chapter, Enter goes to the one chosen, and Backspace goes back."""
    number = len(book.sections) // 2

    async def steps(pilot: Pilot[None], host: Host) -> None:
        await pilot.press("t")
        listed = host.pane.query_one(OptionList)
        assert listed.option_count == len(book.sections)
        assert listed.highlighted == number
        await pilot.press("up", "up", "enter")
        await wait_until(pilot, lambda: host.pane.position == book.sections[number - 2].start)
        assert host.book.has_focus
        await pilot.press("backspace")
        await wait_until(pilot, lambda: host.pane.position == book.sections[number].start)

    drive(book, steps, position=book.sections[number].start)


@pytest.mark.parametrize("listing", ["t", "B"])
def test_a_second_enter_in_a_list_does_nothing(listing: str) -> None:
    """Enter pressed twice, before the first one has closed the list, goes to the place once."""
    marks = tuple(section.start for section in BOOK.sections[:9])

    async def steps(pilot: Pilot[None], host: Host) -> None:
        await pilot.press(listing)
        host.pane.query_one(OptionList).highlighted = 7
        for _ in range(2):
            host.post_message(events.Key("enter", None))
        await wait_until(pilot, lambda: host.pane.position == BOOK.sections[7].start)
        await pilot.pause()
        await pilot.press("backspace")
        await wait_until(pilot, lambda: host.pane.position == 0)
        assert host.book.has_focus

    drive(BOOK, steps, bookmarks=marks)


@pytest.mark.parametrize("key", ["t", "escape"])
def test_contents_close_without_a_jump(key: str) -> None:
    """The key that opened the contents and Esc both show the text again, where it was."""

    async def steps(pilot: Pilot[None], host: Host) -> None:
        await pilot.press("t", key)
        await pilot.pause()
        assert host.book.display
        assert host.book.has_focus
        assert host.pane.position == 5000

    drive(BOOK, steps, position=5000)


@pytest.mark.parametrize("size", SIZES)
def test_find_goes_on_while_it_is_typed(size: tuple[int, int]) -> None:
    """Typing shows the first hit after the place with its number; n and N go round, and Esc takes the marks away."""

    async def steps(pilot: Pilot[None], host: Host) -> None:
        await pilot.press("slash", *"ZOE C")
        await wait_until(pilot, shows(pilot, "1 of 12"))
        await pilot.press("enter", "n")
        await wait_until(pilot, shows(pilot, "2 of 12"))
        await wait_until(pilot, shows(pilot, "Here Zoë came for the 2. time"))
        await pilot.press("N", "N")
        await wait_until(pilot, shows(pilot, "12 of 12"))
        await wait_until(pilot, shows(pilot, "Here Zoë came for the 12. time"))
        await pilot.press("escape")
        await wait_until(pilot, lambda: "of 12" not in text_of(pilot))
        assert not host.book.hits

    drive(BOOK, steps, size)


def test_hits_are_marked_without_colour() -> None:
    """The present hit is reversed and the others are underlined, each exactly on its words."""

    async def steps(pilot: Pilot[None], host: Host) -> None:
        await pilot.press("slash", *"lanterns", "enter")
        await wait_until(pilot, shows(pilot, "lanterns."))
        await pilot.pause()
        segments = [segment for y in range(20) for segment in host.book.render_line(y)]
        reverse = [s.text for s in segments if s.style and s.style.reverse]
        underlined = [s.text for s in segments if s.style and s.style.underline]
        assert reverse == ["lanterns"]
        assert set(underlined) == {"lanterns"}

    drive(BOOK, steps)


def test_escape_from_find_goes_back() -> None:
    """Esc while a query is typed gives up the search and shows the place where it began."""

    async def steps(pilot: Pilot[None], host: Host) -> None:
        await pilot.press("slash", *"12.7.3")
        await wait_until(pilot, lambda: host.pane.position > 5000)
        await pilot.press("escape")
        await wait_until(pilot, lambda: host.pane.position == 5000)
        assert host.book.has_focus

    drive(BOOK, steps, position=5000)


def test_backspace_goes_back_from_what_was_found() -> None:
    """One Backspace after a search is back where it began, however many letters were typed."""

    async def steps(pilot: Pilot[None], host: Host) -> None:
        await pilot.press("slash", *"12.7.3", "enter")
        await wait_until(pilot, lambda: host.pane.position > 5000)
        await pilot.press("backspace")
        await wait_until(pilot, lambda: host.pane.position == 5000)

    drive(BOOK, steps, position=5000)


def test_what_is_not_in_the_book_is_said() -> None:
    """A query without a hit says so and moves nothing."""

    async def steps(pilot: Pilot[None], host: Host) -> None:
        await pilot.press("slash", *"whale")
        await wait_until(pilot, shows(pilot, "Not in this book: whale"))
        assert host.pane.position == 5000

    drive(BOOK, steps, position=5000)


@pytest.mark.parametrize(("typed", "title"), [("chapter 9", "CHAPTER 9"), ("part two", "PART TWO"), ("0", "PART ONE")])
def test_go_to_a_chapter(typed: str, title: str) -> None:
    """The line that asks where to go takes titles and percentages; Enter goes there."""
    start = next(section.start for section in BOOK.sections if section.title == title)

    async def steps(pilot: Pilot[None], host: Host) -> None:
        await pilot.press("g", *["space" if c == " " else c for c in typed], "enter")
        await wait_until(pilot, lambda: host.pane.position == start)
        assert host.pane.place.startswith("PART")

    drive(BOOK, steps, position=5000)


def test_bookmarks_are_set_listed_and_removed() -> None:
    """B marks the first row and unmarks it, B lists the marks, and each change is told to the host."""

    async def steps(pilot: Pilot[None], host: Host) -> None:
        await pilot.press("b")
        await wait_until(pilot, lambda: host.marks == [(300, 5000)])
        await wait_until(pilot, shows(pilot, "◆"))
        await pilot.press("B")
        assert host.pane.query_one(OptionList).option_count == 2
        await pilot.press("up", "enter")
        await wait_until(pilot, lambda: host.pane.position == 300)
        await pilot.press("b")
        await wait_until(pilot, lambda: host.marks[-1] == (5000,))
        await pilot.press("B", "b")
        await wait_until(pilot, shows(pilot, "No bookmark yet"))
        assert host.marks[-1] == host.pane.bookmarks == ()

    drive(BOOK, steps, position=5000, bookmarks=(300,))


@every_book
def test_a_passage_is_lit_where_it_stands(book: Document) -> None:
    """A passage is scrolled to and marked exactly, bar included; one that is on the screen moves nothing."""
    start = book.text.index(" ", 2 * len(book.text) // 3) + 1
    length = 90

    async def steps(pilot: Pilot[None], host: Host) -> None:
        host.pane.show(start, length)
        await wait_until(pilot, lambda: host.book.shows(start, start + length))
        await wait_until(pilot, shows(pilot, "▌"))
        lit = [
            segment.text
            for y in range(host.book.size.height)
            for segment in host.book.render_line(y)
            if segment.style and segment.style.bold and segment.text.strip("▌ ")
        ]
        assert "".join("".join(lit).split()) == "".join(book.text[start : start + length].split())
        top = host.pane.position
        host.pane.show(start + 10, 20)
        await pilot.pause()
        assert host.pane.position == top
        await pilot.press("escape", "backspace")
        await wait_until(pilot, lambda: host.pane.position == 0)
        assert "▌" not in text_of(pilot)

    drive(book, steps)


def test_a_limit_is_a_line_in_the_text() -> None:
    """A line says where the chat's knowledge ends; setting it and taking it away leave the reader's place."""
    offset = BOOK.text.index("Sentence 3.4.0")

    async def steps(pilot: Pilot[None], host: Host) -> None:
        host.pane.go_to(BOOK.text.index("Sentence 3.3.0"))
        await pilot.pause()
        place = host.pane.position
        rows = host.book.virtual_size.height
        host.pane.limit = offset
        await wait_until(pilot, shows(pilot, RULE.strip()), "the line")
        assert host.pane.position == place
        assert host.book.virtual_size.height == rows + 1
        shown = [row.strip() for row in text_of(pilot).splitlines()]
        (at,) = [y for y, row in enumerate(shown) if RULE.strip() in row]
        assert shown[at + 1].startswith("Sentence 3.4.0")
        await pilot.resize_terminal(50, 30)
        await wait_until(pilot, lambda: host.book.laid, "other rows")
        await wait_until(pilot, shows(pilot, RULE.strip()), "the line")
        host.pane.limit = None
        await wait_until(pilot, lambda: RULE.strip() not in text_of(pilot), "no line")
        assert host.pane.position == place

    drive(BOOK, steps)


@pytest.mark.parametrize("where", [{"position": -5}, {"position": 10**9}, {"bookmarks": (10**9, -1)}])
def test_places_outside_the_book_are_brought_inside(where: dict[str, Any]) -> None:
    """A position or bookmark of another edition does no harm."""

    async def steps(pilot: Pilot[None], host: Host) -> None:
        host.pane.show(10**9, 50)
        host.pane.show(0, 10**9)
        await pilot.press("B", "B")
        await pilot.pause()
        assert all(0 <= offset < len(BOOK.text) for offset in (host.pane.position, *host.pane.bookmarks))

    drive(BOOK, steps, **where)


def test_a_book_of_one_word_can_be_read() -> None:
    """The smallest book opens, and every key does something harmless."""
    tiny = Document("Tiny", "Word.\n", (Section("", 0, 6, 0),), "text")

    async def steps(pilot: Pilot[None], host: Host) -> None:
        await pilot.press(
            "end", "pagedown", "b", "t", "enter", "slash", "w", "enter", "n", "N", "g", "9", "enter", "home"
        )
        await pilot.pause()
        assert "Word." in text_of(pilot)

    drive(tiny, steps, (60, 20))


def test_the_title_names_the_page() -> None:
    """Of a book with pages the title line says on which one the reader is."""
    paged = replace(BOOK, pages=(Page("xii", 0), Page("13", BOOK.sections[1].start + 1)))

    async def steps(pilot: Pilot[None], host: Host) -> None:
        await wait_until(pilot, shows(pilot, "p. xii · 0.0 %"))
        host.query_one(ReaderPane).go_to(BOOK.sections[2].start)
        await wait_until(pilot, shows(pilot, "p. 13 · "))

    drive(paged, steps, (100, 30))


def test_a_heading_is_bold_on_all_its_rows_and_without_its_signs() -> None:
    """Markdown's hashes are not shown, a heading of several rows is bold on each, and the text after it is not."""
    heading = "## The Chapter in Which the Lamps Were Counted Twice"
    text = f"{heading}\n\nThe quay was dark.\n"
    book = Document("Lamps", text, (Section(heading[3:], 0, len(text), 2),), "markdown")

    async def steps(pilot: Pilot[None], host: Host) -> None:
        await wait_until(pilot, shows(pilot, "The quay was dark."))
        rows = host.query_one(BookText).render_lines(Region(0, 0, 30, 6))
        shown = [row for row in rows if row.text.strip()]
        assert "#" not in "".join(row.text for row in shown)
        bold = [any(s.style and s.style.bold for s in row if s.text.strip()) for row in shown]
        assert bold[-1] is False
        assert len(bold) > 2
        assert all(bold[:-1])

    drive(book, steps, (30, 20))

"""Long answers: cut into pieces, so that what a fragment costs does not grow with the answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from textual.app import App, ComposeResult
from textual.pilot import Pilot
from textual.selection import SELECT_ALL

from cagchat.tui.answer_text import AnswerText
from cagchat.tui.pieces import SETTLED, STREAMED, Limits, pieces
from cagchat.tui.shown import Shown
from cagchat.tui.transcript import Transcript
from tests.tui.pilot import WIDE

WORDS = "The ferry left at nine and the lamp went out. "
ANSWERS = {
    "prose": [WORDS + ("\n\n" if n % 10 == 9 else "") for n in range(500)],
    "one paragraph": [WORDS] * 500,
    "one list": [f"{n + 1}. {WORDS}\n" for n in range(150)],
    "one code block": ["```python\n", *(f"lamp({n})  # went out\n" for n in range(300)), "```\n"],
    "one table": ["| who | what |\n|---|---|\n", *(f"| ferry {n} | left |\n" for n in range(100))],
}
LAST_WORDS = ("[Answer]: Ten", "[11]: ch. 3 'the party'")
every_answer = pytest.mark.parametrize("fragments", [pytest.param(v, id=k) for k, v in ANSWERS.items()])


class Host(App[None]):
    """An app that is nothing but a transcript."""

    def compose(self) -> ComposeResult:
        yield Transcript()


def drive(steps: Callable[[Pilot[None], Transcript], Coroutine[Any, Any, None]]) -> None:
    """Drive an empty transcript."""

    async def go() -> None:
        host = Host()
        async with host.run_test(size=WIDE) as pilot:
            await steps(pilot, host.query_one(Transcript))

    asyncio.run(go())


@given(st.text(st.sampled_from("ab .\n"), max_size=600))
def test_nothing_is_lost_between_pieces(text: str) -> None:
    """The pieces of a text without blocks to open anew are the text."""
    assert "".join(pieces(text, Limits(20, 60, 4))) == "".join(text.splitlines(keepends=True))


@every_answer
@pytest.mark.parametrize("limits", [STREAMED, SETTLED])
def test_no_piece_is_long(fragments: list[str], limits: Limits) -> None:
    """Whatever an answer is made of, no piece of it is much longer than the limit."""
    found = pieces("".join(fragments), limits)
    assert max(map(len, found)) < 2 * limits.most
    assert max(len(piece.splitlines()) for piece in found) <= limits.lines + 3


def test_a_divided_block_is_opened_anew() -> None:
    """Each piece of a code block is fenced, and each piece of a table has its header."""
    code = pieces("".join(ANSWERS["one code block"]), STREAMED)
    assert all(piece.startswith("```python\n") and piece.endswith("```\n") for piece in code)
    table = pieces("".join(ANSWERS["one table"]), STREAMED)
    assert all(piece.startswith("| who | what |\n|---|---|\n| ferry") for piece in table)


@every_answer
def test_a_fragment_costs_the_same_at_the_end_of_a_long_answer(fragments: list[str]) -> None:
    """However long an answer is, a fragment has a bounded text drawn anew, in the one widget that shows all of it."""
    drawn: list[int] = []

    async def steps(pilot: Pilot[None], transcript: Transcript) -> None:
        live = await transcript.begin(Shown(1, "What happened?"))
        widgets = len(list(live.walk_children()))
        for number, fragment in enumerate(fragments):
            before = list(live.answer.rows)
            live.add_answer(fragment)
            kept = sum(1 for old, new in zip(before, live.answer.rows, strict=False) if old is new)
            drawn.append(len(live.answer.rows) - kept)
            if number % 50 == 0:
                await pilot.pause()
        assert len(list(live.walk_children())) == widgets

    drive(steps)
    assert max(drawn) < 4 * STREAMED.lines


@every_answer
def test_an_answer_ends_as_it_is_recorded(fragments: list[str]) -> None:
    """After the end an answer is drawn as a recorded one is."""
    text = "".join(fragments)
    rows: list[list[str]] = []

    async def steps(pilot: Pilot[None], transcript: Transcript) -> None:
        live = await transcript.begin(Shown(1, "What happened?"))
        for start in range(0, len(fragments), 20):
            live.add_answer("".join(fragments[start : start + 20]))
            await pilot.pause()
        await live.finish(Shown(1, "What happened?", text, proof="proof"))
        assert list(live.answer.sources) == pieces(text, SETTLED)
        rows.append([row.text for row in live.answer.rows])
        await transcript.show([Shown(1, "What happened?", text, proof="proof")])
        await pilot.pause()
        rows.append([row.text for row in transcript.query_one(AnswerText).rows])

    drive(steps)
    assert rows[0] == rows[1]


def test_every_word_is_drawn() -> None:
    """Whatever a model writes is on the screen: words, tables, code, HTML, and where a link leads or would lead."""
    text = "# One\n\ntwo <b>three</b>\n\n<div>four</div>\n\n    five\n\n[six](seven)\n\n| eight |\n|---|\n| nine |\n"
    text += "\n[Answer]: Ten\n\n[11]: ch. 3 'the party'\n"

    async def steps(pilot: Pilot[None], transcript: Transcript) -> None:
        await transcript.show([Shown(1, "What happened?", text)])
        await pilot.pause()
        drawn = "\n".join(row.text for row in transcript.query_one(AnswerText).rows)
        for word in ("One", "<b>three</b>", "<div>four</div>", "five", "six", "seven", "eight", "nine", *LAST_WORDS):
            assert word in drawn

    drive(steps)


def test_a_selected_paragraph_is_one_line() -> None:
    """Rows that end only for want of room are joined when they are copied, those of a list are not."""
    text = "It left. " + WORDS * 5 + "\n\n- " + WORDS * 3 + "\n- the end\n"

    async def steps(pilot: Pilot[None], transcript: Transcript) -> None:
        await transcript.show([Shown(1, "What happened?", text)])
        await pilot.pause()
        taken = transcript.query_one(AnswerText).get_selection(SELECT_ALL)
        assert taken is not None
        lines = [line for line in taken[0].splitlines() if line]
        assert lines == [f"It left. {WORDS * 5}".strip(), f" • {WORDS * 3}".rstrip(), " • the end"]

    drive(steps)


def test_another_width_draws_every_row_anew() -> None:
    """After a resize no row is longer than there is room, and every word is there."""

    async def steps(pilot: Pilot[None], transcript: Transcript) -> None:
        live = await transcript.begin(Shown(1, "What happened?"))
        live.add_answer("".join(ANSWERS["prose"]))
        await pilot.pause()
        await pilot.resize_terminal(50, 20)
        await pilot.pause()
        assert max(row.cell_length for row in live.answer.rows) <= live.answer.size.width < 50
        live.add_answer("The end.")
        assert live.answer.rows[-1].text.endswith("The end.")

    drive(steps)

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
from textual.widget import Widget

from cagchat.tui.answer_text import AWAY, AnswerText
from cagchat.tui.pieces import SETTLED, STREAMED, Limits, pieces
from cagchat.tui.shown import Shown
from cagchat.tui.transcript import Transcript
from tests.tui.pilot import WIDE, wait_until

WORDS = "The ferry left at nine and the lamp went out. "
ANSWERS = {
    "prose": [WORDS + ("\n\n" if n % 10 == 9 else "") for n in range(500)],
    "one paragraph": [WORDS] * 500,
    "one list": [f"{n + 1}. {WORDS}\n" for n in range(150)],
    "one code block": ["```python\n", *(f"lamp({n})  # went out\n" for n in range(300)), "```\n"],
    "one table": ["| who | what |\n|---|---|\n", *(f"| ferry {n} | left |\n" for n in range(100))],
}
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


def test_reference_links_stay_together() -> None:
    """A settled text whose links are defined below stays whole, because they are used above."""
    text = (WORDS * 100 + "\n\n") * 10 + "[quay]: https://example.org\n"
    assert pieces(text, SETTLED) == [text]


@every_answer
def test_a_fragment_costs_the_same_at_the_end_of_a_long_answer(fragments: list[str]) -> None:
    """However long an answer is, a fragment has a bounded text drawn anew and bounded widgets laid out."""
    drawn: list[int] = []
    laid_out: list[int] = []

    async def steps(pilot: Pilot[None], transcript: Transcript) -> None:
        live = await transcript.begin(Shown(1, "What happened?"))
        for number, fragment in enumerate(fragments):
            await live.add_answer(fragment)
            drawn.append(len(live.answer.drawn[-1].source) + len(fragment))
            if number % 50 == 49:
                for _ in range(3):
                    await pilot.pause()
                laid_out.append(sum(1 for widget in live.answer.walk_children(Widget) if is_laid_out(widget)))

    drive(steps)
    assert max(drawn) < 2 * STREAMED.most
    assert max(laid_out) < 300


def is_laid_out(widget: Widget) -> bool:
    """Tell whether a widget takes part in the layout: it stands in no piece of which only the height is kept."""
    return not any(isinstance(node, Widget) and node.has_class(AWAY) for node in widget.ancestors)


@every_answer
def test_an_answer_ends_as_it_is_recorded(fragments: list[str]) -> None:
    """After the end the pieces are those in which a recorded answer is drawn."""
    text = "".join(fragments)

    async def steps(pilot: Pilot[None], transcript: Transcript) -> None:
        live = await transcript.begin(Shown(1, "What happened?"))
        for start in range(0, len(fragments), 20):
            await live.add_answer("".join(fragments[start : start + 20]))
        await live.finish(Shown(1, "What happened?", text, proof="proof"))
        assert [piece.source for piece in live.answer.drawn] == pieces(text, SETTLED)

    drive(steps)


def test_what_is_scrolled_to_is_laid_out() -> None:
    """The beginning of a long answer is on the screen again when it is scrolled to, and nothing has moved."""

    async def steps(pilot: Pilot[None], transcript: Transcript) -> None:
        await transcript.show([Shown(1, "What happened?", "".join(ANSWERS["prose"]), proof="proof")])
        answer = transcript.query_one(AnswerText)
        first = answer.drawn[0]
        await wait_until(pilot, lambda: first.has_class(AWAY), "a beginning that is out of sight")
        height = transcript.virtual_size.height
        transcript.scroll_home(animate=False)
        await wait_until(pilot, lambda: not first.has_class(AWAY) and answer.drawn[-1].has_class(AWAY), "the beginning")
        assert transcript.virtual_size.height == height

    drive(steps)

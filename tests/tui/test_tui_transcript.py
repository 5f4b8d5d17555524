"""The window of turns that the transcript mounts."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from textual.app import App, ComposeResult
from textual.pilot import Pilot

from cagchat.quotes.check import Checks
from cagchat.tui.shown import Shown
from cagchat.tui.transcript import MOUNTED, STEP, Transcript
from tests.tui.pilot import NARROW, wait_until

MANY = 1000


class Host(App[None]):
    """An app that is nothing but a transcript."""

    def compose(self) -> ComposeResult:
        yield Transcript()

    @property
    def transcript(self) -> Transcript:
        return self.query_one(Transcript)


def run(drive: Callable[[Pilot[None], Transcript], Coroutine[Any, Any, None]]) -> None:
    """Drive a transcript of a thousand turns."""
    turns = [Shown(n, f"Question {n}", f"Answer *{n}*", proof=f"proof {n}") for n in range(1, MANY + 1)]

    async def go() -> None:
        host = Host()
        async with host.run_test(size=NARROW) as pilot:
            await host.transcript.show(turns)
            await pilot.pause()
            await drive(pilot, host.transcript)

    asyncio.run(go())


def numbers(transcript: Transcript) -> list[int]:
    """Return which turns are mounted."""
    return [view.shown.number for view in transcript.views]


def test_a_long_chat_opens_at_its_end() -> None:
    """Of two thousand messages only the last few are mounted, and the last one is in view."""

    async def drive(pilot: Pilot[None], transcript: Transcript) -> None:
        assert numbers(transcript)[-1] == MANY
        assert len(numbers(transcript)) < MOUNTED
        await wait_until(pilot, lambda: transcript.follows, "the end")

    run(drive)


def test_scrolling_up_and_down_moves_the_window() -> None:
    """Pages up mount earlier turns, in order and never too many; pages down come back to the end."""

    async def drive(pilot: Pilot[None], transcript: Transcript) -> None:
        def looked(move: Callable[[], None], arrived: Callable[[list[int]], bool]) -> bool:
            shown = numbers(transcript)
            assert shown == list(range(shown[0], shown[0] + len(shown)))
            assert len(shown) <= MOUNTED + STEP
            move()
            return arrived(shown)

        await wait_until(pilot, lambda: looked(transcript.up, lambda shown: shown[-1] < MANY - STEP), "earlier turns")
        await wait_until(pilot, lambda: looked(transcript.down, lambda shown: shown[-1] == MANY), "the last turn")

    run(drive)


def test_the_lines_in_view_stay_when_earlier_ones_are_mounted() -> None:
    """What is looked at does not jump when turns are put above it."""

    async def drive(pilot: Pilot[None], transcript: Transcript) -> None:
        first = transcript.views[0]
        transcript.release_anchor()
        transcript.scroll_to(y=2, animate=False)
        await pilot.pause()
        at = first.region.y
        transcript.slide(-10)
        await wait_until(pilot, lambda: transcript.views[0] is not first, "earlier turns")
        await wait_until(pilot, lambda: first.region.y == at, "the same place")

    run(drive)


def test_the_end_is_one_key_away() -> None:
    """From anywhere, the end is mounted again at once."""

    async def drive(pilot: Pilot[None], transcript: Transcript) -> None:
        for _ in range(20):
            transcript.up()
            await pilot.pause()
        await transcript.to_end()
        await wait_until(pilot, lambda: numbers(transcript)[-1] == MANY and transcript.follows, "the end")

    run(drive)


def test_cutting_takes_away_what_follows() -> None:
    """After a cut at a turn, it and the later ones are gone from the window and the count."""

    async def drive(pilot: Pilot[None], transcript: Transcript) -> None:
        await transcript.cut(MANY - 2)
        assert numbers(transcript)[-1] == MANY - 3
        assert len(transcript.turns) == MANY - 3
        await transcript.cut(2)
        await transcript.to_end()
        assert numbers(transcript) == [1]

    run(drive)


def test_another_chat_of_the_same_length_takes_the_place_of_one() -> None:
    """What is shown are the turns of the chat that is open, not those of one with as many."""

    async def drive(pilot: Pilot[None], transcript: Transcript) -> None:
        await transcript.show([Shown(1, "Who is Ines?", "A stranger.")])
        await transcript.show([Shown(1, "Who is Perrin?", "The keeper of the ledger.")])
        assert [view.shown.question for view in transcript.views] == ["Who is Perrin?"]

    run(drive)


def test_turns_that_were_looked_up_keep_their_quotes() -> None:
    """A turn that is unmounted and mounted again shows what was found; those that were never shown are unchecked."""

    async def drive(pilot: Pilot[None], transcript: Transcript) -> None:
        await pilot.pause()
        for view in transcript.views:
            await transcript.show_quotes(view.shown, Checks())
        assert not any(view.shown.unchecked for view in transcript.views)
        await transcript.show(list(transcript.turns))
        assert all(view.shown.proof.endswith(", no quote to check") for view in transcript.views)
        assert transcript.turns[0].unchecked

    run(drive)


def test_what_comes_for_a_turn_that_was_taken_away_is_dropped() -> None:
    """Whether its removal has begun or is over, a turn takes thoughts, words, a notice and its end without an error."""

    async def drive(pilot: Pilot[None], transcript: Transcript) -> None:
        view = transcript.views[-1]
        leaving = transcript.remove_children([view])
        for removed in (False, True):
            if removed:
                await leaving
            await view.add_thinking("a thought", 1)
            view.add_answer("a word")
            await view.note("a notice")
            await view.show_quotes(view.shown)
            await view.finish(view.shown)
        assert view not in transcript.views

    run(drive)

"""The line of keys: whole keys, help always among them."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
from textual.pilot import Pilot
from textual.widgets import Footer
from textual.widgets._footer import FooterKey

from tests.tui.pilot import Desktop, chat_of, run, wait_until


def shown(pilot: Pilot[None]) -> list[FooterKey]:
    """Return the keys that are not hidden."""
    return [key for key in pilot.app.screen.query(FooterKey) if key.display]


@pytest.mark.parametrize("width", [40, 60, 80, 120])
@pytest.mark.parametrize("focus", ["prompt", "reader"])
def test_keys_are_shown_whole(tmp_path: Path, width: int, focus: str) -> None:
    """At every width each key that is shown has all of its cells, and F1 is one of them."""

    async def drive(pilot: Pilot[None]) -> None:
        await chat_of(pilot)
        if focus == "reader":
            await pilot.press("ctrl+b")
        await wait_until(pilot, lambda: bool(pilot.app.screen.query(FooterKey)), "keys")
        await pilot.pause()
        line = pilot.app.screen.query_one(Footer)
        keys = shown(pilot)
        assert "f1" in [key.key for key in keys]
        assert all(line.region.contains_region(key.region) for key in keys)
        ends = sorted((key.region.x, key.region.right) for key in keys)
        assert all(right <= x for (_, right), (x, _) in pairwise(ends))

    run(Desktop(tmp_path), drive, size=(width, 20))


def test_a_wider_terminal_shows_more_keys(tmp_path: Path) -> None:
    """The keys are chosen anew after a resize."""

    async def drive(pilot: Pilot[None]) -> None:
        await chat_of(pilot)
        await wait_until(pilot, lambda: bool(pilot.app.screen.query(FooterKey)), "keys")
        before = len(shown(pilot))
        await pilot.resize_terminal(140, 30)
        await wait_until(pilot, lambda: len(shown(pilot)) > before, "more keys")

    run(Desktop(tmp_path), drive, size=(50, 20))

"""The pictures of the terminal app: how each of them comes about."""

from __future__ import annotations

from dataclasses import dataclass

from answers import CLAUSE, DAM, EARTH, LAKE, PEAR, PRICE, SOIL, TERRACE, TOLL, WEIGHT
from stage import SETTINGS, Drive, Stage, desktop, played

LARGE = (120, 36)
WIDE = (120, 22)
TALL = (100, 38)
SMALL = (100, 24)
NARROW = (60, 20)
HELD_AFTER = 16  # batches: past the middle of the story


@dataclass(frozen=True, slots=True)
class Screen:
    """A picture of the app: what is done before it, and how large it is."""

    drive: Drive
    size: tuple[int, int]
    held_after: int | None = None
    library: bool = False

    def draw(self) -> str:
        """Return it as SVG."""
        with desktop(self.held_after) as parts:
            if self.library:
                parts.fill_library()
            return played(parts, self.drive, self.size, library=self.library)


async def chat(stage: Stage) -> None:
    """Show answers, and the book where the last of them was found."""
    await asked_before(stage, LAKE)
    for question in (TOLL, PEAR, EARTH):
        await stage.ask(question)
    await stage.pilot.press("ctrl+t", "ctrl+b", "slash")
    await stage.type("only coming home")
    await stage.pilot.press("enter")
    await stage.see("1 of 1")
    await stage.pilot.click("#prompt")


async def quotes(stage: Stage) -> None:
    """Show what the book says to quotes, and one of them where it stands."""
    await stage.ask(DAM)
    await stage.ask(SOIL)
    await stage.pilot.press("ctrl+t", "f10")
    await stage.see("Chapter Four")
    await stage.pilot.click("#prompt")


async def preparing(stage: Stage) -> None:
    """Show the story while it is being read."""
    await stage.see(f"{HELD_AFTER * SETTINGS.batch:,} /")


async def library(stage: Stage) -> None:
    """Show the books."""
    await stage.see("The Salt Almanac")


async def search(stage: Stage) -> None:
    """Show the chats in which a word stands."""
    await asked_before(stage, LAKE, PEAR, TERRACE, CLAUSE)
    await stage.ask(WEIGHT)
    await stage.ask(TOLL)
    await stage.pilot.press("ctrl+t", "ctrl+t", "slash")
    await stage.type("senn")
    await stage.wait(lambda: PEAR[:20] not in stage.text(), "fewer chats")


async def palette(stage: Stage) -> None:
    """Show what can be done."""
    await asked_before(stage, LAKE)
    await stage.ask(EARTH)
    await stage.pilot.press("ctrl+p")
    await stage.see("Answer the last question anew")
    await stage.wait(lambda: all(worker.is_finished for worker in stage.pilot.app.workers), "every command")


async def error(stage: Stage) -> None:
    """Show an engine that died, and the answer of the next one."""
    await stage.ask(LAKE)
    await stage.ask(PRICE)
    await stage.see("SIGSEGV")
    await stage.ask(PRICE)


async def narrow(stage: Stage) -> None:
    """Show the chat in a small terminal."""
    await asked_before(stage, LAKE)
    await stage.ask(EARTH)


async def asked_before(stage: Stage, *questions: str) -> None:
    """Ask each question in a chat of its own, and begin another."""
    for question in questions:
        await stage.ask(question)
        await stage.pilot.press("ctrl+n")


SCREENS = {
    "chat": Screen(chat, LARGE),
    "quotes": Screen(quotes, (120, 32)),
    "preparing": Screen(preparing, SMALL, held_after=HELD_AFTER),
    "library": Screen(library, WIDE, library=True),
    "search": Screen(search, (120, 30)),
    "palette": Screen(palette, (100, 32)),
    "error": Screen(error, TALL),
    "narrow": Screen(narrow, NARROW),
}

"""One turn in the transcript: the question, what was thought (folded), the answer, how it ended, and its proof."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.message import Message
from textual.widget import Widget
from textual.widgets import Collapsible, Static

from cagchat.quotes.check import UNVERIFIED
from cagchat.tui.answer_text import AnswerText
from cagchat.tui.error_card import ErrorCard
from cagchat.tui.figure_lines import FigureLines
from cagchat.tui.quote_line import QuoteLine
from cagchat.tui.shown import Shown, clean

LINKS = "[@click=want('again')]again[/]  [@click=want('edit')]edit[/]  [@click=want('copy')]copy[/]"

ALARM = re.compile(UNVERIFIED.replace(" ", r"\s"))  # in rows

Wish = Literal["again", "edit", "copy"]


class TurnActions(Static):
    """What can be done with a turn by a click; the keys for it are the screen's."""

    DEFAULT_CSS = """
    TurnActions {
        height: 1; width: auto; link-color: $text-muted; link-style: none; link-background: transparent;
        link-style-hover: underline; link-color-hover: $text; link-background-hover: transparent;
    }
    """

    class Wanted(Message):
        """One of the actions was clicked."""

        def __init__(self, what: Wish) -> None:
            super().__init__()
            self.what = what

    def __init__(self) -> None:
        super().__init__(LINKS)

    def action_want(self, what: Wish) -> None:
        """Say which was clicked."""
        self.post_message(self.Wanted(what))


class ProofLine(FigureLines):
    """Shows a proof; that nothing is verified stands out."""

    def content(self) -> Content:
        """Return the rows at the present width."""
        rows = super().content()
        found = ALARM.search(rows.plain)
        return rows.stylize("$text-warning", found.start(), found.end()) if found else rows


class TurnView(Vertical, can_focus=True):
    """Shows a turn, and streams an answer into itself while it is being made.

    What still comes for a turn that was taken away, as when its chat is left, is dropped.
    """

    HELP = """\
## A question and its answer

The line below an answer is its **proof**: how much of the book came from the cache and how much went through the model,
counted by the engine. Then the quotes: `✔` stands in the book, `≈` nearly, `✘` does not.
"""

    DEFAULT_CSS = """
    TurnView {
        height: auto;
        margin-bottom: 1;
        padding: 0 1;
        border-left: blank;
        &:focus { border-left: outer $accent; }
        .question { text-style: bold; color: $accent; }
        Collapsible { border: none; padding: 0; margin: 0; background: transparent; }
        CollapsibleTitle { padding: 0; color: $text-muted; }
        Collapsible Contents { padding: 0 0 1 2; }
        .thinking { color: $text-muted; }
        .remark { color: $warning; }
        .proof, .notice { color: $text-muted; }
        .notice.-before { margin-bottom: 1; }
        ErrorCard { margin: 0; }
    }
    """

    class Grew(Message):
        """The turn takes another number of lines."""

    class Wanted(Message):
        """Something is to be done with the turn."""

        def __init__(self, what: Wish, shown: Shown) -> None:
            super().__init__()
            self.what = what
            self.shown = shown

    def __init__(self, shown: Shown) -> None:
        super().__init__()
        self.shown = shown
        self._thoughts: list[str] = []
        self._n_thoughts = 0
        self._said: list[str] = []

    def compose(self) -> ComposeResult:
        """Lay the turn out; parts it does not have are left out."""
        yield Static(f"❯ {self.shown.question}", classes="question", markup=False)
        if self.shown.thinking:
            yield self._folded(self.shown.thinking, "Thought")
        yield AnswerText(self.shown.answer)
        if self.shown.remark:
            yield Static(self.shown.remark, classes="remark", markup=False)
        if self.shown.proof:
            yield self._proof_line()
        yield from self._quote_lines()
        if self.shown.proof or self.shown.remark:
            yield TurnActions()

    async def add_thinking(self, text: str, n_tokens: int) -> None:
        """Take a fragment of what is thought; it is drawn when unfolded."""
        self._thoughts.append(clean(text))
        self._n_thoughts += n_tokens
        if self._stands and not self.query(Collapsible):
            await self.mount(self._folded("", "Thinking"), before=self.answer)
        if not self._stands:
            return
        self.query_one(Collapsible).title = f"Thinking … {self._n_thoughts:,} tokens"
        self._draw_thoughts()

    @property
    def text(self) -> str:
        """The answer, as far as it has come."""
        return self.shown.answer or "".join(self._said).strip()

    def add_answer(self, text: str) -> None:
        """Take a fragment of the answer."""
        self._said.append(clean(text))
        if self._stands:
            self.answer.add(clean(text))

    async def note(self, text: str) -> None:
        """Say what was done before the answer, or once it has begun, below it what became of it."""
        if not self._stands:
            return
        place = "after" if self._said else "before"
        for notice in self.query(f".notice.-{place}").results(FigureLines):
            notice.text = f"{notice.text}\n{clean(text)}"
            return
        line = FigureLines(clean(text), classes=f"notice -{place}")
        if self._said:
            await self.mount(line, after=self.answer)
        else:
            await self.mount(line, before=self.query_one(Collapsible) if self.query(Collapsible) else self.answer)

    async def finish(self, shown: Shown, card: ErrorCard | None = None) -> None:
        """Show the turn as it ended; a card says why it failed, in place of the remark."""
        self.shown = shown
        if self._stands:
            await self.answer.settle(shown.answer)
        if not self._stands:
            return
        for folded in self.query(Collapsible):
            self._thoughts = [shown.thinking]
            folded.title = "Thought"
            self._draw_thoughts()
        below: list[Widget] = [card] if card else []
        if shown.remark and not card:
            below.append(Static(shown.remark, classes="remark", markup=False))
        if shown.proof:
            below.append(self._proof_line())
        await self.mount(*below, *self._quote_lines(), TurnActions())

    async def show_quotes(self, shown: Shown) -> None:
        """Show a recorded turn's quotes, which were looked up meanwhile."""
        self.shown = shown
        if not self._stands:
            return
        for line in self.query(".proof").results(FigureLines):
            line.text = shown.proof
            await self.mount(*self._quote_lines(), after=line)

    def on_turn_actions_wanted(self, message: TurnActions.Wanted) -> None:
        """Say for which turn it is."""
        message.stop()
        self.post_message(self.Wanted(message.what, self.shown))

    @property
    def _stands(self) -> bool:
        """Whether the turn is in the transcript: false from the moment in which its removal begins."""
        return self.is_attached and self.display

    @property
    def answer(self) -> AnswerText:
        """The widget that shows the answer."""
        return self.query_one(AnswerText)

    def on_resize(self) -> None:
        """Say that the turn takes another number of lines."""
        self.post_message(self.Grew())

    def on_collapsible_expanded(self) -> None:
        """Draw the thoughts that came while they were folded."""
        self._draw_thoughts()

    def _draw_thoughts(self) -> None:
        folded = self.query_one(Collapsible)
        if self._thoughts and not folded.collapsed:
            self.query_one(".thinking", Static).update("".join(self._thoughts))

    def _proof_line(self) -> ProofLine:
        return ProofLine(self.shown.proof, classes="proof")

    def _quote_lines(self) -> Iterator[QuoteLine]:
        if self.shown.quotes is not None:
            yield from map(QuoteLine, self.shown.quotes.items)

    def _folded(self, text: str, title: str) -> Collapsible:
        return Collapsible(Static(text, classes="thinking", markup=False), title=title, collapsed=True)

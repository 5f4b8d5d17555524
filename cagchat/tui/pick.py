"""Choosing a chapter or a name for a question: from a list that is filtered as one types, or typed freely."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.content import Content
from textual.message import Message
from textual.widgets import Button, OptionList

from cagchat.documents.document import Document
from cagchat.errors import UsageError
from cagchat.names import frequent_names
from cagchat.questions import chapter_named
from cagchat.states.store import fold
from cagchat.tui.background import in_background
from cagchat.tui.chosen import still_listed
from cagchat.tui.places import full_titles
from cagchat.tui.rows import one_row
from cagchat.tui.type_or_choose import TypeOrChoose

NAMES = 40


@dataclass(frozen=True, slots=True)
class Choice:
    """What can be chosen, and the place that stands before it in the list."""

    word: str
    place: str = ""

    def shown(self) -> Content:
        """Return its row."""
        row = Content(one_row(self.word))
        return Content.styled(f"{self.place:>5}  ", "dim") + row if self.place else row


class Pick(TypeOrChoose[str | None]):
    """Asks for a word; None when it was left with Esc."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "dismiss(None)", "Cancel", id="pick.cancel"),
        Binding("down", "move(1)", "Next", id="pick.down", show=False),
        Binding("up", "move(-1)", "Previous", id="pick.up", show=False),
    ]

    DEFAULT_CSS = """
    Pick {
        & > Vertical { width: 72; height: auto; max-height: 80%; }
        OptionList { height: auto; max-height: 14; padding: 0 1; text-wrap: nowrap; text-overflow: ellipsis; }
        #note { color: $text-muted; }
    }
    """

    def __init__(self, title: str, placeholder: str) -> None:
        super().__init__()
        self.TITLE_OF_BOX = title
        self.PLACEHOLDER = placeholder
        self._choices: Sequence[Choice] = ()  # all of them
        self._listed: Sequence[Choice] = ()  # those that fit what is typed

    def buttons(self) -> Iterator[Button]:
        """Yield the two ways out."""
        yield Button("OK", id="take", variant="primary", compact=True)
        yield Button("Cancel", id="leave", compact=True)

    def fitting(self, typed: str) -> Sequence[Choice]:
        """Return the choices that hold every word that is typed."""
        words = fold(typed).split()
        return [choice for choice in self._choices if all(word in fold(choice.word) for word in words)]

    def list(self, choices: Sequence[Choice], highlighted: int | None, note: str = "") -> None:
        """Show choices, one of them under the bar, and say something below them."""
        self._listed = choices
        self.show_rows([choice.shown() for choice in choices])
        self.listed.highlighted = highlighted if choices else None
        self.listed.display = bool(choices)
        self.say(note)
        self.query_one("#note").display = bool(note)

    @property
    def highlighted(self) -> str | None:
        """The choice under the bar."""
        at = self.listed.highlighted
        return self._listed[at].word if at is not None else None

    def word(self) -> str | None:
        """Return what Enter takes now; None when there is nothing to take."""
        return self.highlighted

    def take(self, typed: str) -> None:
        """Take the word, if there is one."""
        if word := self.word():
            self.dismiss(word)

    def on_button_pressed(self, event: Button.Pressed) -> None:
        """Take the word, or leave it."""
        event.stop()
        if event.button.id == "take":
            self.take(self.typed)
        else:
            self.dismiss(None)

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Take the one that was chosen, unless another list came in its place meanwhile."""
        event.stop()
        if still_listed(event):
            self.dismiss(self._listed[event.option_index].word)

    def action_move(self, step: int) -> None:
        """Move the bar while the line keeps the focus."""
        if self._listed:
            at = self.listed.highlighted
            self.listed.highlighted = max(0, min((-1 if at is None else at) + step, len(self._listed) - 1))


class PickChapter(Pick):
    """Asks for a chapter, the one where the reader is to begin with; returns its full title."""

    HELP = """\
## A chapter

Type a part of its title or its number; **up** and **down** move the bar, **Enter** takes the chapter under it. **Esc**
goes back.
"""

    def __init__(self, title: str, document: Document, *, here: int = 0, until: int | None = None) -> None:
        """Offer the chapters before character `until`; the reader is at character `here`."""
        super().__init__(title, "a part of its title, or its number")
        self._document = document
        length = max(1, len(document.text))
        titles = full_titles(document.sections)
        known = [
            (section, full.removeprefix(f"{document.title}, "))
            for section, full in zip(document.sections, titles, strict=True)
            if section.title and (until is None or section.start < until)
        ]
        self._starts = [section.start for section, _ in known]
        self._choices = [Choice(full, f"{100 * section.start / length:.0f} %") for section, full in known]
        self._here = max(0, bisect_right(self._starts, here) - 1)

    def on_mount(self) -> None:
        """Show all of them."""
        self.call_after_refresh(self._show_all)

    def _show_all(self) -> None:
        if not self.typed:
            self.list(self._choices, self._here)

    def list_fitting(self, typed: str) -> None:
        """Show the chapters that fit; "3" finds "Chapter III" too."""
        if not typed.strip():
            self._show_all()
            return
        found, note = self.fitting(typed), ""
        if not found:
            found, note = self._named(typed)
        self.list(found, 0, note)

    def _named(self, words: str) -> tuple[Sequence[Choice], str]:
        """Return the chapter that words name as `--until` takes them; none, and why."""
        try:
            start = chapter_named(self._document, words).start
        except UsageError as error:
            return (), f"{error.message} {error.hint}"
        return [self._choices[self._starts.index(start)]] if start in self._starts else (), ""


class PickName(Pick):
    """Asks for a name, which may be any; the most frequent ones of the book are offered."""

    HELP = """\
## A name

Type it, or move the bar with **up** and **down** to one of the names that the book uses most. **Enter** takes it,
**Esc** goes back.
"""

    class Found(Message):
        """The names of the book were counted."""

        def __init__(self, names: Sequence[str]) -> None:
            super().__init__()
            self.names = names

    def __init__(self, title: str, text: str) -> None:
        """Offer the names that a text uses."""
        super().__init__(title, "a name, or a few words")
        self.text = text

    def on_mount(self) -> None:
        """Count the names, which takes half a second for a long book."""
        self.list((), None)
        in_background(lambda: self.post_message(self.Found(frequent_names(self.text, NAMES))))

    def on_pick_name_found(self, event: Found) -> None:
        """Offer them."""
        event.stop()
        self._choices = [Choice(name) for name in event.names]
        self.list_fitting(self.typed)

    def list_fitting(self, typed: str) -> None:
        """Show the names that fit, first those that begin so."""
        begun = fold(typed)
        self.list(sorted(self.fitting(typed), key=lambda each: not fold(each.word).startswith(begun)), None)

    def word(self) -> str | None:
        """Return the name under the bar, else what is typed."""
        return self.highlighted or self.typed.strip() or None

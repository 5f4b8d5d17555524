"""Two questions about how far a chat is to know the book: up to which place, and whether that is worth its cost."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.widgets import Button, OptionList, Static

from cagchat.documents.document import Document
from cagchat.errors import UsageError
from cagchat.limits.limit import Limit
from cagchat.limits.until import chapter_limits, limit_at, parse_until
from cagchat.states.store import fold
from cagchat.tui.chosen import still_listed
from cagchat.tui.dialogs import BOX
from cagchat.tui.modal import Modal
from cagchat.tui.prompt import WHOLE
from cagchat.tui.rows import one_row
from cagchat.tui.type_or_choose import TypeOrChoose

Marks = Sequence[tuple[str, int]]  # names of bookmarks, and where they are in characters


@dataclass(frozen=True, slots=True)
class Place:
    """A place in the list: what it is called there, and the limit that it is."""

    label: str
    limit: Limit


class AskLimit(TypeOrChoose[Limit | None]):
    """Asks up to which place: words as a reader says them, or a chapter of the list. None when it was left."""

    HELP = """\
## The book only up to …

Write a chapter ("Chapter 3", "iii"), a share of the book (`40%`), a page (`p. 12`), a bookmark's name, or `end` for the
whole book; **Down** goes into the list, which shows what fits. What is named has been read: the chat knows it, and
nothing after it. **Enter** takes the place, **Esc** leaves everything as it is.
"""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "dismiss(None)", "Cancel", id="limit.cancel"),
        Binding("down", "enter_list", "List", id="limit.list", show=False),
    ]

    TITLE_OF_BOX = "The book only up to …"
    PLACEHOLDER = "a chapter, 40%, a bookmark, or end"
    DEFAULT_CSS = "AskLimit #note { color: $warning; }"

    def __init__(self, document: Document, position: int, marks: Marks = ()) -> None:
        """Ask for a place in the book; the list begins at the chapter that the reader is in."""
        super().__init__()
        self._document = document
        self._marks = marks
        self._position = position
        self._places = list(places(document, marks))
        self._fitting: list[Place] = []

    def buttons(self) -> Iterator[Button]:
        """Yield the two ways out."""
        yield Button("Up to there", id="take", variant="primary", compact=True)
        yield Button("Cancel", id="leave", compact=True)

    def on_mount(self) -> None:
        """Show all places, and stand at the end of the chapter that is being read."""
        self.list_fitting("")
        ahead = (index for index, place in enumerate(self._fitting) if place.limit.offset > self._position)
        self.listed.highlighted = next(ahead, 0)

    def list_fitting(self, typed: str) -> None:
        """Show the places whose names have all the words in them."""
        wanted = fold(typed).split()
        self._fitting = [place for place in self._places if all(word in fold(place.label) for word in wanted)]
        self.show_rows([self._row(place) for place in self._fitting])
        self.say("")

    def _row(self, place: Place) -> Content:
        share = 100 * place.limit.offset / max(1, len(self._document.text))
        return Content(f"{share:>3.0f} %  {one_row(place.label)}")

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Take the place that was chosen, unless another list came in its place meanwhile."""
        event.stop()
        if still_listed(event):
            self.dismiss(self._fitting[event.option_index].limit)

    def on_button_pressed(self, event: Button.Pressed) -> None:
        """Take the place that is written, or none."""
        event.stop()
        if event.button.id == "take":
            self.take(self.typed)
        else:
            self.dismiss(None)

    def take(self, typed: str) -> None:
        """Take what the words mean; the only place that fits where they mean none, the one under the bar without."""
        chosen = self.listed.highlighted
        if not typed.strip() and chosen is not None:
            self.dismiss(self._fitting[chosen].limit)
            return
        try:
            self.dismiss(limit_named(self._document, typed, self._marks))
        except UsageError as error:
            if typed.strip() and len(self._fitting) == 1:
                self.dismiss(self._fitting[0].limit)
            else:
                self.say(f"{one_row(error.message)} {one_row(error.hint)}")


class GoOn(Modal[bool | None]):
    """Says what something takes and asks whether to go on; Enter does, Esc leaves everything as it is."""

    HELP = """\
## Go on?

**Enter** goes on, **Esc** leaves everything as it is.
"""
    DEFAULT_CSS = f"GoOn {{ {BOX} }}"
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "dismiss(False)", "Leave it", id="go_on.no")]

    def __init__(self, text: str, yes: str = "Go on") -> None:
        super().__init__()
        self._text = text
        self._yes = yes

    def compose(self) -> ComposeResult:
        """Lay out what it takes, and the two ways out."""
        with Vertical():
            yield Static(self._text, markup=False)
            with Horizontal():
                yield Button(self._yes, id="yes", variant="primary")
                yield Button("Leave it", id="no")

    def on_button_pressed(self, event: Button.Pressed) -> None:
        """Take the answer."""
        event.stop()
        self.dismiss(event.button.id == "yes")


def limit_named(document: Document, words: str, marks: Marks) -> Limit:
    """Return the limit that a reader's words mean; a bookmark's is called by what is there. Raises `UsageError`."""
    limit = parse_until(document, words, marks)
    return limit_at(document, limit.offset) if (limit.words, limit.offset) in marks else limit


def places(document: Document, marks: Marks) -> Iterator[Place]:
    """Yield the places to choose from in the order of the text, the whole book last.

    A bookmark is called by its chapter and share once it is chosen: its own name may mean another place tomorrow.
    """
    chapters = [Place(limit.words, limit) for limit in chapter_limits(document)]
    marked = [(name, limit_at(document, offset)) for name, offset in marks if offset]
    named = [Place(f"{name}: {limit.words}", limit) for name, limit in marked]
    yield from sorted([*chapters, *named], key=lambda place: place.limit.offset)
    yield Place(WHOLE, whole(document))


def whole(document: Document) -> Limit:
    """Return the limit that is none: the end of the book."""
    return Limit(len(document.text), "the end")

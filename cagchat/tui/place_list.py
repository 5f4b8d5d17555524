"""A list of places in a book, in its text's stead: the contents, or the bookmarks."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import Literal

from textual.content import Content
from textual.message import Message
from textual.widgets import OptionList

from cagchat.documents.document import Document, Section
from cagchat.tui.chosen import ChangingList, still_listed
from cagchat.tui.rows import one_row

EXCERPT = 60

Listing = Literal["contents", "bookmarks"]


class PlaceList(ChangingList):
    """Lists places and posts the one that is chosen."""

    class PlaceChosen(Message):
        """The reader wants to go to an offset."""

        def __init__(self, offset: int) -> None:
            super().__init__()
            self.offset = offset

    def __init__(self, document: Document, titles: Sequence[str], *, id: str) -> None:
        """`titles` are the full titles of the document's sections."""
        super().__init__(id=id, markup=False)
        self.listing: Listing | None = None  # what is shown; None for the text
        self._document = document
        self._titles = titles
        self._starts = [section.start for section in document.sections]
        self._places: Sequence[int] = ()

    def fill(self, listing: Listing, bookmarks: Sequence[int], position: int) -> None:
        """List the contents or the bookmarks, with the bar on the last one before a position."""
        self.listing = listing
        self._places = self._starts if listing == "contents" else tuple(bookmarks)
        self.clear_options()
        if listing == "contents":
            self.add_options([self._heading(section) for section in self._document.sections])
        else:
            self.add_options([self._excerpt(mark) for mark in bookmarks])
        if self._places:
            self.highlighted = max(0, bisect_right(self._places, position) - 1)

    def _heading(self, section: Section) -> Content:
        title = one_row(section.title) or "(before the first heading)"
        indent = "  " * max(0, section.level - 1)
        return Content(f"{self._share(section.start):>5}  {indent}{title}")

    def _excerpt(self, mark: int) -> Content:
        words = one_row(self._document.text[mark : mark + EXCERPT])
        title = self._titles[max(0, bisect_right(self._starts, mark) - 1)]
        return Content(f"{self._share(mark):>5}  {one_row(title)}\n       {words}…")

    def _share(self, offset: int) -> str:
        return f"{100 * offset / max(1, len(self._document.text)):.0f} %"

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """Tell which place was chosen, unless the list is another one by now."""
        event.stop()
        if still_listed(event):
            self.post_message(self.PlaceChosen(self._places[event.option_index]))

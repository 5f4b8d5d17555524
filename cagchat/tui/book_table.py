"""The library's table of books, and the line that filters it."""

from __future__ import annotations

from typing import ClassVar

from rich.text import Text
from textual.binding import Binding, BindingType
from textual.widgets import DataTable, Input


class BookTable(DataTable[Text]):
    """The books."""

    HELP = """\
## Your books

**Enter** opens the one under the bar: at once when it is ready, else it is read first.

- **r** goes on reading one that was interrupted, or reads one again
- **v** checks every byte of its state, **d** deletes the state; file and chats stay
- **/** filters, **o** opens another file, **s** the story to try, **F5** looks again
"""


class Filter(Input):
    """What the books are filtered by."""

    HELP = """\
## Filter

Type parts of titles, authors, models, states or chats. **Enter** or **Down** goes to the books, **Esc** shows all.
"""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("down", "screen.to_books", "Books", show=False, id="filter.books"),
        Binding("escape", "screen.clear_filter", "All books", show=False, id="filter.all"),
    ]

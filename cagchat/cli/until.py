"""What `--until` means for an open book, and how the way to that place is shown."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from cagchat.events import Answer, Answered, AskEvent, HistoryRead, Limited, Reading, Thinking

if TYPE_CHECKING:
    from cagchat.cli.app import App
    from cagchat.conversation import Asking
    from cagchat.documents import Document
    from cagchat.limits.limit import Limit


def limit_of(app: App, document: Document, words: str) -> Limit:
    """Return the place in the book that `--until` names.

    The app's bookmarks are "bookmark 1" and so on, in the order of the text, and "here" is where its reader was last.
    """
    from cagchat.limits.until import parse_until
    from cagchat.remembered import Remembered

    place = Remembered.under(app.locations).place(document.digest)
    return parse_until(document, words, place.named)


def sentence(event: Limited) -> str:
    """Say how far the model knows the book and what getting there costs."""
    cost = f" Reading {event.to_read:,} tokens to get there." if event.to_read else ""
    return f"The model knows the book up to {event.words} only: {event.n_tokens:,} tokens.{cost}"


def reading_shown(events: Asking) -> Iterator[AskEvent]:
    """Show what is read of the book before the answer begins; pass everything else on."""
    from cagchat.cli.gauge_line import GaugeLine
    from cagchat.cli.progress import show

    with GaugeLine() as gauge:
        for event in events:
            if isinstance(event, Reading):
                show(event, gauge)
                continue
            if isinstance(event, HistoryRead | Thinking | Answer | Answered):
                break
            yield event
        else:
            return
    yield event  # with the bar gone: the answer follows
    yield from events

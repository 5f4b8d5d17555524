"""Questions that every reader asks: which dialog asks for the word that is missing, and what is asked with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Literal

from cagchat.errors import UsageError
from cagchat.questions import since, summary, who
from cagchat.tui.pick import Pick, PickChapter, PickName

if TYPE_CHECKING:
    from cagchat.documents.document import Document

Kind = Literal["summary", "who", "since"]

TITLES: Mapping[Kind, str] = {
    "summary": "Summary of which chapter?",
    "who": "Who is …?",
    "since": "What happened since …?",
}
WORDINGS: Mapping[Kind, Callable[[str], str]] = {"summary": summary, "who": who, "since": since}


def dialog(kind: Kind, document: Document, *, here: int, until: int | None) -> Pick:
    """Return what asks for the missing word: of the book up to character `until`, by a reader who is at `here`.

    Raises `UsageError` when the book has no chapters to choose from.
    """
    if kind == "who":
        return PickName(TITLES[kind], document.text[:until])
    if not any(section.title for section in document.sections):
        raise UsageError(f"{document.title} has no chapters that are named.", "Ask in your own words.")
    return PickChapter(TITLES[kind], document, here=here, until=until)

"""Questions that every reader asks, worded so that a model answers them well: front ends fill them in."""

from __future__ import annotations

from cagchat.documents import Document, Section
from cagchat.errors import UsageError
from cagchat.limits.until import parse_until


def summary(chapter: str) -> str:
    """Ask what happens in a chapter."""
    return (
        f"Summarise “{one_line(chapter)}” in a few sentences: what happens there, who takes part, and how it ends. "
        "Keep to that part of the book."
    )


def who(name: str) -> str:
    """Ask who somebody is."""
    return f"Who is {one_line(name)}? Say what the book tells of them: what they are, what they do, whom they know."


def since(place: str) -> str:
    """Ask what happened after a place in the book."""
    return f"What has happened in the book since “{one_line(place)}”? Tell it in order, in a few sentences."


def chapter_named(document: Document, words: str) -> Section:
    """Return the section that a reader names by title, number or beginning. Raises `UsageError` with near ones."""
    end = parse_until(document, words).offset
    if not end:
        raise UsageError(f"{document.title} has no chapter called {words}.", "`cagchat text BOOK --toc` lists them.")
    return document.section_at(end - 1)


def command_in(line: str) -> tuple[str, str]:
    """Return the word that a line begins with, in small letters, and what follows it."""
    name, *rest = line.split(maxsplit=1)
    return name.lower(), rest[0].strip() if rest else ""


def filled(document: Document, command: str, rest: str) -> str | None:
    """Return the question that "/summary", "/who" or "/since" asks with the words after it; None for other commands.

    Raises `UsageError` when the words are missing, or name no chapter where one is needed.
    """
    if command not in EXAMPLES:
        return None
    if not rest.strip():
        raise UsageError(f"{command} needs a few words more.", EXAMPLES[command])
    if command == "/who":
        return who(rest)
    title = chapter_named(document, rest).title or rest
    return summary(title) if command == "/summary" else since(title)


EXAMPLES = {"/summary": "/summary Chapter 3", "/who": "/who Natasha", "/since": "/since Chapter 3"}


def one_line(text: str) -> str:
    """Return a text without line ends, and short enough to stand in a question."""
    return " ".join(text.split())[:200]

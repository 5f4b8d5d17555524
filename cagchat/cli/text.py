"""`cagchat text`: print what the model will read of a book, so that anyone can check."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from cagchat.cli.options import add_json, add_source, unlocked
from cagchat.cli.output import is_terminal
from cagchat.cli.tables import print_json, print_lines, print_table

if TYPE_CHECKING:
    from cagchat.cli.app import App
    from cagchat.documents.document import Document, Section

HEADERS = ("No.", "Level", "Section", "Characters", "Place")


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    add_source(parser, several=True)
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--section", metavar="N", type=int, help="print only the section with this number in --toc")
    what.add_argument("--toc", action="store_true", help="list the sections with their sizes and places instead")
    add_json(parser)


def run(app: App, args: argparse.Namespace) -> int:
    """Print a book's text, one section of it, or its sections."""
    from cagchat.cli.app import say

    document = document_of(app, args.book, args.password)
    for note in document.notes:
        say(note)
    if args.section is not None:
        section = numbered(document, args.section)
        if args.json:
            print_json({**as_object(document, section, args.section), "text": body(document, section)})
        else:
            write(body(document, section))
    elif args.json:
        print_json(book_as_object(document, whole=not args.toc))
    elif args.toc:
        print_contents(document)
    else:
        write(document.text)
    print(end="", flush=True)  # a pipe that is closed shows here, where it is expected
    return 0


def document_of(app: App, names: Sequence[str], password: str) -> Document:
    """Return the book that files, a folder or stdin hold, or what was read of the book with this title."""
    from cagchat import documents
    from cagchat.documents.gathering import expanded, is_there
    from cagchat.documents.source import STDIN

    by_title = len(names) == 1 and names[0] != STDIN and not is_there(expanded(names[0]))
    if by_title and (kept := read_before(app, *names)):
        return kept
    return unlocked(partial(documents.compose, documents.gather(names)), password)


def read_before(app: App, title: str) -> Document | None:
    """Return the text in a saved state, as the model read it; None when no book answers to that title.

    Raises `StateError` when several books do, or when the text is damaged.
    """
    from cagchat.cli.books import states_of

    folder = states_of(app).find_book(title)
    if folder is None:
        return None
    manifest = folder.manifest()
    return manifest.book.document(folder.checked_text(manifest))


def numbered(document: Document, number: int) -> Section:
    """Return a section by its number from 1 on. Raises `UsageError` when there is none."""
    from cagchat.errors import UsageError

    count = len(document.sections)
    if not 1 <= number <= count:
        held = "1 section" if count == 1 else f"{count:,} sections"
        raise UsageError(f"{document.title} has {held}, and no number {number}.", "`--toc` lists them.")
    return document.sections[number - 1]


def body(document: Document, section: Section) -> str:
    """Return a section's text."""
    return document.text[section.start : section.end]


def write(text: str) -> None:
    """Print a text as it is, with a line end after it; line by line, so that a closed pipe ends it at once."""
    for line in text.splitlines(keepends=True):
        print(line, end="")
    if not text.endswith("\n"):
        print()


def print_contents(document: Document) -> None:
    """Print the sections: a table on a terminal, cells between tabs elsewhere."""
    rows = [
        (
            str(number),
            str(section.level),
            section.title,
            f"{section.end - section.start:,}",
            document.place(section.start),
        )
        for number, section in enumerate(document.sections, start=1)
    ]
    if is_terminal(sys.stdout):
        print_table(HEADERS, rows, numbers=("No.", "Level", "Characters"))
    else:
        print_lines(rows)


def as_object(document: Document, section: Section, number: int) -> dict[str, object]:
    """Return a section for `--json`: offsets are in characters of the text, the end is not part of it."""
    return {
        "number": number,
        "title": section.title,
        "level": section.level,
        "start": section.start,
        "end": section.end,
        "place": document.place(section.start),
    }


def book_as_object(document: Document, *, whole: bool) -> dict[str, object]:
    """Return a book for `--json`, with its text when it is wanted `whole`."""
    found: dict[str, object] = {
        "title": document.title,
        "author": document.author,
        "language": document.language,
        "kind": document.kind,
        "digest": document.digest,
        "characters": len(document.text),
        "notes": list(document.notes),
        "sections": [as_object(document, section, n) for n, section in enumerate(document.sections, start=1)],
        "pages": [{"label": page.label, "start": page.start} for page in document.pages],
    }
    return {**found, "text": document.text} if whole else found

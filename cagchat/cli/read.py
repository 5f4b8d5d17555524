"""`cagchat read`: prepare a book and keep its state."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from cagchat.cli.options import add_book, add_engine

if TYPE_CHECKING:
    from cagchat.cli.app import App


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    add_book(parser, several=True)
    add_engine(parser)


def run(app: App, args: argparse.Namespace) -> int:
    """Read a book, or make sure that its state is there and sound."""
    from cagchat.cli.books import book_source
    from cagchat.cli.progress import prepare
    from cagchat.library import Options
    from cagchat.sessions.naming import one_line
    from cagchat.units import size

    options = Options(truncate=args.truncate, reread=args.reread, password=args.password)
    book = prepare(app.library, book_source(app, args.book), options)
    try:
        if book.manifest.state is None:
            return 1  # the notice has said why it could not be saved
        total = size(book.manifest.state.blob.size_bytes)
        print(f"{one_line(book.manifest.book.title)} is ready: {book.n_tokens:,} tokens, {total} on disk.")
        return 0
    finally:
        book.close()

"""`cagchat sessions`: the chats that were had about books."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cagchat.cli.completion import book_names, chat_names
from cagchat.cli.options import add_json, add_yes, at_least_one, complete_with, confirmed, refuse_idle_json
from cagchat.cli.output import is_terminal, put
from cagchat.cli.tables import as_json, moment, print_json, print_lines, print_table

if TYPE_CHECKING:
    from cagchat.cli.app import App
    from cagchat.sessions.session import Session, Turn

HEADERS = ("Chat", "Title", "Book", "Turns", "Last used", "Model")
WHERE_TO_EXPORT = "Name a file in a folder that exists and can be written."
CHAT_HELP = 'its id, its title, a unique beginning of either, or "last"'


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    add_json(parser)
    actions = parser.add_subparsers(dest="action", metavar="ACTION", title="actions (list when none is given)")

    def action(name: str, summary: str) -> argparse.ArgumentParser:
        return actions.add_parser(name, help=summary, description=f"{summary[0].upper()}{summary[1:]}.")

    listing = action("list", "list chats, the last used first")
    book = listing.add_argument("book", metavar="BOOK", nargs="?", help="only chats about this book: its file or title")
    complete_with(book, book_names)
    add_json(listing, action=True)
    show = action("show", "show one chat with the proof of each answer")
    add_chat(show)
    add_json(show, action=True)
    search = action("search", "find turns that hold all of the words")
    search.add_argument("words", metavar="WORDS", nargs="+", help="words of questions or answers, in any form")
    search.add_argument(
        "--limit", metavar="N", type=at_least_one, default=20, help="show at most N turns (default: 20)"
    )
    add_json(search, action=True)
    export = action("export", "write one chat as Markdown or JSON")
    add_chat(export)
    export.add_argument("--format", choices=("md", "json"), default="md", help="the format (default: md)")
    export.add_argument("-o", "--output", metavar="FILE", default="-", help="the file to write (default: stdout)")
    add_yes(export, "replace a file")
    rename = action("rename", "give a chat another title")
    add_chat(rename)
    rename.add_argument("title", metavar="TITLE", nargs="+", help="the new title")
    rm = action("rm", "delete chats")
    complete_with(rm.add_argument("chats", metavar="CHAT", nargs="+", help=CHAT_HELP), chat_names)
    add_yes(rm)


def add_chat(parser: argparse.ArgumentParser) -> None:
    """Add the name of one chat."""
    complete_with(parser.add_argument("chat", metavar="CHAT", help=CHAT_HELP), chat_names)


def run(app: App, args: argparse.Namespace) -> int:
    """Run one action."""
    refuse_idle_json(args)
    match args.action:
        case "show":
            return show_chat(app, args)
        case "search":
            return search_chats(app, args)
        case "export":
            return export_chat(app, args)
        case "rename":
            return rename_chat(app, args)
        case "rm":
            return remove_chats(app, args)
        case _:
            return list_chats(app, args)


def list_chats(app: App, args: argparse.Namespace) -> int:
    """List chats, of one book when it is named."""
    from cagchat.cli.app import say

    found: Sequence[Session] = app.sessions.list()
    if (book := getattr(args, "book", None)) is not None:
        found = about(found, book)
    if args.json:
        print_json([as_object(session) for session in found])
        return 0
    rows = [(s.id, s.title, s.book_title, str(s.n_turns), moment(s.updated_at), s.model) for s in found]
    if is_terminal(sys.stdout) and rows:
        print_table(HEADERS, rows, numbers=("Turns",))
    else:
        print_lines(rows)
    if not rows:
        say('There are no chats yet: `cagchat ask BOOK "question"` begins one.')
    return 0


def about(sessions: Sequence[Session], name: str) -> list[Session]:
    """Return the chats about a book, named by its file, its title or a beginning of that.

    All chats about the same text belong together, whatever file it was read from. Raises `SessionError` when there
    is none.
    """
    from cagchat.documents.gathering import expanded
    from cagchat.errors import SessionError
    from cagchat.states.store import fold

    path, wanted = str(expanded(name).absolute()), fold(name)
    if not wanted:
        raise SessionError("Chats were asked for by an empty name.", "`cagchat sessions` lists all chats.")
    ways = (
        [s for s in sessions if s.book_path == path],
        [s for s in sessions if fold(s.book_title) == wanted],
        [s for s in sessions if fold(s.book_title).startswith(wanted)],
    )
    digests = {session.book_digest for session in next(filter(None, ways), [])}
    if not digests:
        raise SessionError(f"There is no chat about {name}.", "`cagchat sessions` lists all chats and their books.")
    return [session for session in sessions if session.book_digest in digests]


def show_chat(app: App, args: argparse.Namespace) -> int:
    """Show a chat as it was, with what was counted below each answer."""
    from cagchat.sessions.export import to_json
    from cagchat.sessions.naming import one_line

    session = app.sessions.find(args.chat)
    turns = app.sessions.turns(session.id)
    if args.json:
        print_json(to_json(session, turns))
        return 0
    print(one_line(session.title))
    print(one_line(f"{session.book_title}, {session.model}, {moment(session.created_at)}, chat {session.id}"))
    for turn in turns:
        print(f"\n{as_text(turn)}")
    return 0


def as_text(turn: Turn) -> str:
    """Return a turn as a terminal may show it: nothing in it moves the cursor or changes colours."""
    from cagchat.exporting import proof_line
    from cagchat.sessions.export import clean_lines

    question, answer = ("\n".join(clean_lines(text)) for text in (turn.question, turn.answer))
    ending = "" if turn.status == "done" else f"({' '.join(filter(None, (turn.status, turn.error)))})"
    return "\n".join(filter(None, (f"{turn.number}. {question}", "", answer, ending, proof_line(turn.proof))))


def search_chats(app: App, args: argparse.Namespace) -> int:
    """Print the turns that a search finds, best first."""
    from cagchat.cli.app import say

    hits = app.sessions.search(" ".join(args.words), args.limit)
    if args.json:
        print_json([{**as_object(h.session), "turn": h.turn_number, "snippet": h.snippet} for h in hits])
        return 0
    print_lines([(h.session.id, str(h.turn_number), h.session.title, h.snippet) for h in hits])
    if not hits:
        say("No turn holds all of these words.")
    return 0


def export_chat(app: App, args: argparse.Namespace) -> int:
    """Write a chat to stdout or to a file."""
    from cagchat.cli.app import say
    from cagchat.errors import StorageError
    from cagchat.exporting import as_markdown
    from cagchat.files import write_bytes
    from cagchat.sessions.export import to_json

    session = app.sessions.find(args.chat)
    turns = app.sessions.turns(session.id)
    text = f"{as_json(to_json(session, turns))}\n" if args.format == "json" else as_markdown(session, turns)
    if args.output == "-":
        put(text, end="")
        return 0
    path = export_path(args.output)
    if path.is_file() and not confirmed(
        f"{args.output} is there already. Replace it?", yes=args.yes, what="replace a file that is there"
    ):
        say("Nothing was written.")
        return 1
    try:
        write_bytes(path, text.encode())
    except StorageError as error:
        raise StorageError(error.message, WHERE_TO_EXPORT) from error
    say(f"Wrote {args.output}.")
    return 0


def export_path(name: str) -> Path:
    """Return the file that an export goes to, there or not. Raises `StorageError` and `UsageError`."""
    from cagchat.documents.gathering import expanded
    from cagchat.errors import StorageError, UsageError
    from cagchat.files import storage_error

    path = expanded(name)
    try:
        target = path.resolve()
        # A rename would replace a device such as /dev/null. What is a link still leads back to itself.
        usable = target.is_file() or not (target.exists() or target.is_symlink())
    except OSError as error:  # the name is too long, say
        raise StorageError(storage_error(error, path).message, WHERE_TO_EXPORT) from error
    except RuntimeError:  # a link that leads back to itself, before Python 3.13
        usable = False
    if not usable:
        raise UsageError(f"{path} is not a file.", "Name a file, or leave out -o and redirect stdout.")
    return target


def rename_chat(app: App, args: argparse.Namespace) -> int:
    """Give a chat another title."""
    from cagchat.sessions.naming import one_line

    session = app.sessions.find(args.chat)
    app.sessions.rename(session.id, " ".join(args.title))
    print(f"{session.id} is now called {one_line(app.sessions.find(session.id).title)}.")
    return 0


def remove_chats(app: App, args: argparse.Namespace) -> int:
    """Delete chats for good."""
    from cagchat.cli.app import say
    from cagchat.cli.places import forget_place
    from cagchat.sessions.aside import aside_chats
    from cagchat.sessions.naming import one_line

    found = list(dict.fromkeys(app.sessions.find(name) for name in args.chats))
    for session in found:
        say(one_line(f"{session.id} {session.title} ({session.n_turns} turns, {session.book_title})"))
    if not confirmed(f"Delete {'this chat' if len(found) == 1 else f'these {len(found)} chats'}?", yes=args.yes):
        say("Nothing was deleted.")
        return 1
    for session in found:
        app.sessions.delete(session.id)
        print(f"Deleted {session.id}.", flush=True)
        forget_place(app, session.book_digest)
    if damaged := aside_chats(app.locations.sessions_db):
        names = ", ".join(file.name for file in damaged)
        say(f"What was deleted may stand in damaged chats that were set aside ({names}): `cagchat library prune`.")
    return 0


def as_object(session: Session) -> dict[str, object]:
    """Return a chat for `--json`."""
    from dataclasses import asdict

    return asdict(session)

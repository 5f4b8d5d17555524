"""Command-line flags that several commands share."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable
from getpass import getpass
from typing import TypeVar

from cagchat.cli.completion import book_names, model_names
from cagchat.cli.output import narrate
from cagchat.errors import UsageError
from cagchat.settings import ANSWERING, ENGINE, SHOWN_LENGTH, cut, rules

SHORT = {"kv_type": "--kv", "temperature": "--temp"}
METAVARS = {"model": "PATH"}
PROMPTS = 3  # for a password
MOST = 10**9  # of whatever is counted: a database and a loop take it

T = TypeVar("T")


def add_settings(parser: argparse.ArgumentParser, title: str, names: tuple[str, ...]) -> None:
    """Add a flag for each of these settings; not given, the setting's other sources decide."""
    group = parser.add_argument_group(title)
    known = rules()
    for name in names:
        rule = known[name]
        flags = [rule.flag, *([SHORT[name]] if name in SHORT else [])]
        text = f"{rule.doc.replace('%', '%%')} Default: {rule.default if rule.default != '' else 'none'}."
        if rule.kind is bool:
            group.add_argument(*flags, dest=name, action=argparse.BooleanOptionalAction, default=None, help=text)
        elif rule.choices:
            group.add_argument(*flags, dest=name, choices=rule.choices, default=None, help=text)
        else:
            kind = rule.kind
            metavar = METAVARS.get(name, {int: "N", float: "X"}.get(kind, "TEXT"))
            argument = group.add_argument(*flags, dest=name, type=kind, metavar=metavar, default=None, help=text)
            if name == "model":
                complete_with(argument, model_names)


def add_book(parser: argparse.ArgumentParser, *, several: bool = False) -> None:
    """Add the book and what is about preparing it; `several` files may make one book."""
    add_source(parser, several=several)
    parser.add_argument("--truncate", action="store_true", help="read only as much of the book as the model holds")
    parser.add_argument(
        "--no-reread",
        dest="reread",
        action="store_false",
        help="fail when a saved state cannot be used, instead of reading again",
    )
    parser.add_argument("--fake", action="store_true", help="use an engine without a model, to try the program")


def add_source(parser: argparse.ArgumentParser, *, several: bool = False) -> None:
    """Add where a book comes from, as a list when `several` files may make one book."""
    text = "a file, a folder, - for stdin, or the title of a book that has been read"
    if several:
        text += "; several files become parts of one book"
    complete_with(parser.add_argument("book", metavar="BOOK", nargs="+" if several else None, help=text), book_names)
    parser.add_argument(
        "--password", metavar="TEXT", default="", help="what opens a locked file; on a terminal it is asked for"
    )


def add_until(parser: argparse.ArgumentParser) -> None:
    """Add the flag that keeps what a reader has not read yet from the chat."""
    parser.add_argument(
        "--until",
        metavar="PLACE",
        help='let the model know the book only up to a place: "Chapter 12" (its end), 40%%, "p. 120", a bookmark of '
        'the app ("bookmark 1", or "here" for where its reader is), or end',
    )


def add_answering(parser: argparse.ArgumentParser) -> None:
    """Add the flags of commands that answer."""
    add_settings(parser, "answering", ANSWERING)


def add_engine(parser: argparse.ArgumentParser) -> None:
    """Add the flags of commands that start the engine."""
    add_settings(parser, "engine", ENGINE)


def add_json(parser: argparse.ArgumentParser, *, action: bool = False) -> None:
    """Add --json. An `action` below a command leaves what the command was given, when it is not given itself."""
    default = argparse.SUPPRESS if action else False
    parser.add_argument("--json", action="store_true", default=default, help="print everything as JSON")
    if action:
        parser.set_defaults(has_json=True)


def refuse_idle_json(args: argparse.Namespace) -> None:
    """Raise `UsageError` where --json stands before an action that has no such flag: a program would wait for JSON."""
    if args.json and args.action is not None and not getattr(args, "has_json", False):
        action = f"{args.command} {args.action}"
        raise UsageError(f"`cagchat {action}` takes no --json.", f"`cagchat {action} --help` shows what it takes.")


def at_least_one(text: str) -> int:
    """Read a count, for argparse."""
    # Its length first: of a number with thousands of digits Python makes none.
    if not (text.strip().isdecimal() and len(text) <= SHOWN_LENGTH and 1 <= int(text) <= MOST):
        raise argparse.ArgumentTypeError(f"{cut(text)!r} is not a whole number from 1 to {MOST:,}")
    return int(text)


def add_yes(parser: argparse.ArgumentParser, what: str = "delete") -> None:
    """Add the flag that answers `confirmed` beforehand."""
    parser.add_argument("-y", "--yes", action="store_true", help=f"{what} without asking")


def confirmed(question: str, *, yes: bool, what: str = "delete") -> bool:
    """Ask on the terminal unless `yes` has answered already. Raises `UsageError` where nobody can be asked."""
    if yes:
        return True
    if sys.stdin is None or not sys.stdin.isatty():
        raise UsageError(f"Nobody can be asked whether to {what}: stdin is no terminal.", "Add -y to do it.")
    narrate(f"{question} [y/N] ")
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def unlocked(load: Callable[[str], T], password: str, ask: Callable[[str], str] = getpass) -> T:
    """Return `load(password)`; while the file stays locked, ask on the terminal for another password.

    Raises `PasswordNeeded` where nobody can be asked, and after `PROMPTS` wrong answers or an empty one.
    """
    from cagchat.documents.password import PasswordNeeded

    for _ in range(PROMPTS):
        try:
            return load(password)
        except PasswordNeeded as locked:
            if sys.stdin is None or not sys.stdin.isatty():
                raise
            narrate(f"{locked.message}\n")
            password = ask("Password: ")
            if not password:
                raise
    return load(password)


def complete_with(argument: argparse.Action, names: Callable[..., Iterable[str]]) -> None:
    """Let the shell complete an argument with what `names(prefix)` returns."""
    argument.completer = names  # type: ignore[attr-defined]  # where argcomplete looks for it

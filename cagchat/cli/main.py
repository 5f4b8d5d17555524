"""The `cagchat` command: parse, dispatch, and turn every error into one line and an exit code."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from cagchat import __version__
from cagchat.cli.output import give_up, is_terminal, refusal_of, take_any_byte, take_any_character
from cagchat.printable import printable

if TYPE_CHECKING:
    from cagchat.cli.app import App

# Only the module of the command that is used is imported: `cagchat --help` takes 40 ms, all of them 120.
COMMANDS = {
    "open": "chat about a book",
    "ask": "ask one question: the answer on stdout, everything else on stderr",
    "read": "read a book and keep its state, to ask later",
    "text": "print what the model will read of a book, or its chapters",
    "library": "list, inspect, verify and delete what has been read",
    "sessions": "list, show, search, export, rename and delete chats",
    "plan": "say what would read a book here or on another machine, and what that takes",
    "models": "list, fetch, verify and remove model files",
    "config": "show and change settings",
    "doctor": "show what was found on this machine, and what is wrong with it",
    "demo": "read a short story with a small model and ask it four questions",
    "bench": "measure restore, prefill and decode side by side with other ways",
    "completion": "print the completion script for bash, zsh or fish",
}
DESCRIPTION = "Chat with a whole book: a local model reads it once, its KV cache stays on disk, answers come at once."
EPILOG = """\
examples:
  cagchat demo                                  see it work
  cagchat read novel.txt                        read it once; Ctrl-C keeps what is read
  cagchat ask novel.txt "Who is Dolokhov?"      ask it, now and for ever after
  cagchat ask novel.txt -c "And his mother?"    go on with the last chat about it
"""


class Parser(argparse.ArgumentParser):
    """Says what is wrong with a command line on stderr or nowhere: argparse would take stdout for a closed one."""

    def error(self, message: str) -> NoReturn:
        """End with exit code 2."""
        if sys.stderr is None:
            self.exit(2)
        super().error(message)


def build_parser(only: str) -> argparse.ArgumentParser:
    """Return the parser with every command's name, and with the options of `only` one of them."""
    parser = Parser(
        prog="cagchat",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"cagchat {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands")
    for name, summary in COMMANDS.items():
        command = commands.add_parser(name, help=summary, description=f"{summary[0].upper()}{summary[1:]}.")
        if only == name:
            importlib.import_module(f"cagchat.cli.{name}").configure(command)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command, or the library on a terminal; return 0, 1 for bad input, 2 for wrong usage, 130 when stopped."""
    try:
        for stream in (sys.stdout, sys.stderr):
            take_any_character(stream)
        take_any_byte(sys.stdin)
        try:
            return command(list(sys.argv[1:] if argv is None else argv))
        finally:  # after --help and wrong usage too: at the interpreter's end nobody could say what went wrong
            if sys.stdout is not None:
                sys.stdout.flush()
    except KeyboardInterrupt:  # before `run`, while modules are imported: nothing has begun, and nothing is said
        from cagchat.errors import Stopped

        return Stopped.exit_code
    except BrokenPipeError:  # whoever read stdout has gone
        give_up(sys.stdout)
        return 1
    except OSError as error:
        from cagchat.cli.app import complain

        give_up(sys.stdout)
        reason = refusal_of(error) or str(error)
        complain(f"What was to be printed could not be written: {reason}.", "Make room there, or redirect stdout.")
        return 1


def command(arguments: list[str]) -> int:
    """Run the command of a command line."""
    if "_ARGCOMPLETE" in os.environ:
        import argcomplete

        from cagchat.cli.completion import begins

        words = os.environ.get("COMP_LINE", "").split()[1:]
        argcomplete.autocomplete(build_parser(only=named(words)), validator=begins)
    parser = build_parser(only=named(arguments))
    args = parse(parser, arguments)
    if args.command is None and not (is_terminal(sys.stdin) and is_terminal(sys.stdout)):
        parser.print_help()
        return 0
    return run(args)


def parse(parser: argparse.ArgumentParser, arguments: list[str]) -> argparse.Namespace:
    """Parse a command line, also one in which a flag stands between the book and the question.

    Before Python 3.13 argparse takes an optional positional for missing at the first flag, and calls it unknown later.
    Behind "--" the question may begin with a dash.
    """
    args, rest = parser.parse_known_args(arguments)
    if getattr(args, "question", "") is None:
        match rest:
            case ["--", question]:
                args.question, rest = question, []
            case [question] if question == "-" or not question.startswith("-"):
                args.question, rest = question, []
    if rest:
        parser.error(printable(f"unrecognized arguments: {' '.join(rest)}"))
    return args


def named(words: Sequence[str]) -> str:
    """Return the command among the words of a command line, "" when there is none yet."""
    return next((word for word in words if not word.startswith("-")), "")


def run(args: argparse.Namespace) -> int:
    """Run a parsed command inside the outer border: no traceback reaches a user."""
    from cagchat.cli.app import App, complain
    from cagchat.errors import CagchatError, Stopped

    try:
        with App.from_arguments(args) as app:
            return dispatch(app, args)
    except CagchatError as error:
        complain(error.message, error.hint)
        return error.exit_code
    except KeyboardInterrupt:
        complain("Stopped.", "")
        return Stopped.exit_code
    except BrokenPipeError:
        raise
    except Exception as error:  # the outer border
        if isinstance(error, OSError) and refusal_of(error):
            raise
        if folder_is_gone():
            complain("The folder that this was started in is gone.", "Go to another one with `cd`.")
            return 1
        return crash(error)


def folder_is_gone() -> bool:
    """Tell whether the current folder was deleted: then no path in it means anything."""
    try:
        Path.cwd()
    except FileNotFoundError:
        return True
    return False


def dispatch(app: App, args: argparse.Namespace) -> int:
    """Call the command's own module; without a command, show the library."""
    if args.command is None:
        from cagchat.cli.open import full_screen

        return full_screen(app, None)
    code = importlib.import_module(f"cagchat.cli.{args.command}").run(app, args)
    assert isinstance(code, int)
    return code


def crash(error: Exception) -> int:
    """Write down a defect of ours for a report, without showing a traceback to a reader."""
    import traceback

    from cagchat.cli.app import complain
    from cagchat.files import private_folder, write_bytes
    from cagchat.locations import locate

    path = locate().logs / "crash.txt"
    try:
        write_bytes(private_folder(path.parent) / path.name, "".join(traceback.format_exception(error)).encode())
        hint = f"The details are in {path}; please report them."
    except Exception:  # while reporting one defect no second one may show
        hint = "Please report it."
    complain(f"cagchat met an error of its own: {type(error).__name__}: {error}.", hint)
    return 1

"""Command-line flags that several commands share: each one is a setting."""

from __future__ import annotations

import argparse

from cagchat.settings import rules

ENGINE = ("model", "kv_type", "chat_tokens", "batch", "threads", "gpu_layers", "fast_kernels")
SAMPLING = ("temperature", "top_k", "top_p", "min_p", "repeat_penalty", "presence_penalty", "seed", "max_tokens")
SHORT = {"kv_type": "--kv", "temperature": "--temp"}
METAVARS = {"model": "PATH"}


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
            group.add_argument(*flags, dest=name, type=kind, metavar=metavar, default=None, help=text)


def add_book(parser: argparse.ArgumentParser) -> None:
    """Add the book and what is about preparing it."""
    parser.add_argument("book", metavar="BOOK", help="a file, or the title of a book that has been read")
    parser.add_argument("--truncate", action="store_true", help="read only as much of the book as the model holds")
    parser.add_argument(
        "--no-reread",
        dest="reread",
        action="store_false",
        help="fail when a saved state cannot be used, instead of reading again",
    )
    parser.add_argument("--fake", action="store_true", help="use an engine without a model, to try the program")


def add_answering(parser: argparse.ArgumentParser) -> None:
    """Add the flags of commands that answer."""
    add_settings(parser, "answering", (*SAMPLING, "thinking"))


def add_engine(parser: argparse.ArgumentParser) -> None:
    """Add the flags of commands that start the engine."""
    add_settings(parser, "engine", ENGINE)

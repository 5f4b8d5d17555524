"""`cagchat bench peers`: other programs' ways to keep a book that was read, beside ours, in one run."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from cagchat.cli.options import add_engine

if TYPE_CHECKING:
    from cagchat.cli.app import App

SUMMARY = "compare with other ways to keep a book that was read, on an attention model and on a hybrid"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    from cagchat.cli.bench import add_common

    add_common(parser)
    parser.add_argument(
        "--python",
        metavar="PATH",
        default=sys.executable,
        help="the interpreter of an environment with llama-cpp-python[server] and xllamacpp (or llama-server); "
        "what it lacks is left out. Default: this one",
    )
    add_engine(parser)


def run(app: App, args: argparse.Namespace) -> int:
    """Measure and print."""
    from cagchat.cli.bench import side_by_side

    return side_by_side(app, args, ("peers",), python=args.python)

"""`cagchat completion`: the script that a shell needs, and the names of books and chats that it completes."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from cagchat.errors import CagchatError
from cagchat.locations import Locations, locate

if TYPE_CHECKING:
    from cagchat.cli.app import App

SHELLS = ("bash", "zsh", "fish")
CHATS_OFFERED = 100
EPILOG = """\
to install it, add this line to the file and open a new terminal:
  bash   ~/.bashrc                    eval "$(cagchat completion bash)"
  zsh    ~/.zshrc, after compinit     eval "$(cagchat completion zsh)"
  fish   ~/.config/fish/config.fish   cagchat completion fish | source
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = EPILOG
    parser.add_argument("shell", choices=SHELLS, help="the shell to complete in")


def run(app: App, args: argparse.Namespace) -> int:
    """Print the script."""
    from argcomplete.shell_integration import shellcode

    print(shellcode(["cagchat"], shell=args.shell))
    return 0


# A key was pressed and an answer is expected at once: a name that cannot be found out is left out without a word.


def begins(name: str, prefix: str) -> bool:
    """Tell whether a name begins with what was typed, as titles are found by it: in any case, with accents or not."""
    from cagchat.states.store import fold

    return fold(name).startswith(fold(prefix))


def book_names(prefix: str, **others: object) -> list[str]:
    """Return files, and titles of books that have been read, that begin with `prefix`."""
    return [*(title for title in titles(locate()) if begins(title, prefix)), *paths(prefix)]


def state_names(prefix: str, **others: object) -> list[str]:
    """Return titles and folder names of saved states, those set aside too, that begin with `prefix`."""
    from cagchat.states.store import States

    locations = locate()
    try:
        states = States(locations.states)
        folders = [folder.name for folder in (*states.all(), *states.aside())]
    except OSError:
        return []
    found = (title for title in titles(locations) if begins(title, prefix))
    return [*found, *(name for name in folders if name.startswith(prefix))]


def model_names(prefix: str, **others: object) -> list[str]:
    """Return names of models on this disk, and files, that begin with `prefix`; no file is opened for it."""
    from cagchat.models.find import every_place
    from cagchat.models.places import candidates

    try:
        found = [candidate.name for place in every_place(locate().models) for candidate in candidates(place)]
    except (CagchatError, OSError):
        return []
    return [*(name for name in dict.fromkeys(found) if name.startswith(prefix)), *paths(prefix)]


def chat_names(prefix: str, **others: object) -> dict[str, str]:
    """Return ids of chats that begin with `prefix`, with their titles, and titles that do, with their ids.

    The last used comes first. A chat is offered once, so that a list of all has a line for each.
    """
    import sqlite3
    from contextlib import closing

    path = locate().sessions_db
    if not path.exists():
        return {}
    try:
        # Read only: opening the chats as the program does could set a damaged file aside, and nobody would hear of it.
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=0)) as db:
            rows = db.execute("SELECT id, title FROM sessions ORDER BY updated_at DESC").fetchall()
    except sqlite3.Error:
        return {}
    offered: dict[str, str] = {}
    for name, title in ((str(name), str(title)) for name, title in rows):
        if begins(name, prefix):
            offered[name] = title
        elif begins(title, prefix):
            offered.setdefault(title, name)
        if len(offered) == CHATS_OFFERED:
            break
    return offered


def titles(locations: Locations) -> Iterable[str]:
    """Return the titles of books that have been read."""
    from cagchat.states.store import States, book_of

    try:
        found = [book_of(folder) for folder in States(locations.states).all()]
    except (CagchatError, OSError):
        return []
    return dict.fromkeys(book.title for book in found if book and book.title)


def paths(prefix: str, **others: object) -> list[str]:
    """Return files and folders that begin with `prefix`, hidden ones only when it asks for them; "~" stays as typed."""
    before, separator, start = prefix.rpartition(os.sep)
    try:
        folder = Path(before + separator).expanduser()
        found = [(path.name, path.is_dir()) for path in sorted(folder.iterdir())]
    except (OSError, RuntimeError, ValueError):  # RuntimeError: nobody has that home folder
        return []
    return [
        f"{before}{separator}{name}{os.sep if is_dir else ''}"
        for name, is_dir in found
        if name.startswith(start) and (start or not name.startswith("."))
    ]

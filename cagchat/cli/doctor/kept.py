"""What is kept: folders, saved states, chats, and the settings that decide."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from cagchat.cli.books import states_of
from cagchat.cli.doctor.finding import Finding

if TYPE_CHECKING:
    from cagchat.cli.app import App
    from cagchat.locations import Locations
    from cagchat.states.standing import Standing

LOW_DISK_BYTES = 2e9  # less holds hardly one book's state


def check_folders(locations: Locations) -> Iterator[Finding]:
    """Look at the folders that cagchat writes to; those that hold books are nobody else's business."""
    yield from check_folder("config", locations.config, private=False)
    yield from check_folder("data", locations.data)
    yield from check_folder("states", locations.states)
    yield from check_folder("cache", locations.cache)
    yield from check_locking(locations.states)


def check_folder(about: str, folder: Path, *, private: bool = True) -> Iterator[Finding]:
    """Say whether a folder can be written (or made), whether others can look into it, and how much room it has."""
    from cagchat.units import size

    there = next((path for path in (folder, *folder.parents) if path.exists()), folder)
    if not there.is_dir():
        yield Finding("problem", about, f"{there} is not a folder.", "Move that file away, or set CAGCHAT_HOME.")
        return
    if not os.access(there, os.W_OK | os.X_OK):
        yield Finding("problem", about, f"{there} cannot be written.", f"chmod u+rwx {there}")
        return
    try:
        free = shutil.disk_usage(there).free
    except OSError as error:
        yield Finding("problem", about, f"{there}: {error.strerror}.", "Set CAGCHAT_HOME to another folder.")
        return
    made = "" if there == folder else ", made when it is needed"
    if private and not made and os.name != "nt" and folder.stat().st_mode & 0o077:
        yield Finding("problem", about, f"Other users of this machine can look into {folder}.", f"chmod 700 {folder}")
    elif free < LOW_DISK_BYTES:
        yield Finding("note", about, f"{folder} has only {size(free)} free.", "cagchat library prune")
    else:
        yield Finding("ok", about, f"{folder}{made}, {size(free)} free")


def check_locking(folder: Path) -> Iterator[Finding]:
    """Say whether processes can keep each other out of the saved states, once there is a folder of them."""
    from cagchat.errors import StorageError
    from cagchat.states.locking import check_locks

    if not folder.is_dir():
        return
    try:
        check_locks(folder)
    except StorageError as error:
        yield Finding("problem", "locks", error.message, error.hint)
    else:
        yield Finding("ok", "locks", f"kept in {folder}")


def check_states(standings: list[Standing], app: App) -> Iterator[Finding]:
    """Say how many states there are, what they take, and which of them are no longer good."""
    from cagchat.states.pruning import aside
    from cagchat.units import size

    put_aside = list(aside(states_of(app)))
    used = sum(s.size_bytes for s in standings) + sum(a.size_bytes for a in put_aside)
    budget = int(app.settings.disk_budget_gb * 1e9)
    text = f"{len(standings)} saved, {size(used)} of {size(budget)}"
    if used > budget:
        yield Finding("note", "library", f"{text}: more than the budget", "cagchat library prune")
    else:
        yield Finding("ok", "library", text)
    for standing in standings:
        if standing.status == "outdated":
            yield Finding("note", "library", f"{standing.folder.name} {standing.text}")
    if put_aside:
        room = size(sum(a.size_bytes for a in put_aside))
        yield Finding("note", "library", f"{len(put_aside)} set aside, {room}", "cagchat library prune")


def check_chats(path: Path) -> Iterator[Finding]:
    """Look at the chats' database, and at what was set aside of it, without changing it."""
    import sqlite3
    from contextlib import closing

    from cagchat.sessions.schema import MIGRATIONS, damage, user_version
    from cagchat.states.pruning import damaged_chats
    from cagchat.units import size

    if damaged := list(damaged_chats(path)):
        room = size(sum(file.size_bytes for file in damaged))
        files = "1 file" if len(damaged) == 1 else f"{len(damaged)} files"
        yield Finding("note", "chats", f"damaged and set aside: {files}, {room}", "cagchat library prune")
    if not path.exists():
        yield Finding("ok", "chats", "none yet")
        return
    if os.name != "nt" and path.stat().st_mode & 0o077:
        yield Finding("problem", "chats", f"Other users of this machine can read {path}.", f"chmod 600 {path}")
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as db:
            if reason := damage(db):
                mend = "cagchat sessions sets the file aside and begins a new one; nothing is deleted."
                yield Finding("problem", "chats", f"{path} is damaged: {reason}.", mend)
                return
            number = user_version(db)
            if number > len(MIGRATIONS):
                text = f"{path} was written by a newer cagchat (format {number}, this one knows {len(MIGRATIONS)})."
                yield Finding("problem", "chats", text, "pip install --upgrade cagchat")
                return
            count = db.execute("SELECT count(*) FROM sessions").fetchone()[0] if number else 0
    except sqlite3.Error as error:
        yield Finding("problem", "chats", f"{path} cannot be read: {error}.", f"chmod u+rw {path}")
        return
    yield Finding("ok", "chats", f"{count} in {path}, format {number}, sound")


def check_environment(app: App, environ: Mapping[str, str] = os.environ) -> Iterator[Finding]:
    """Say which variables and which file change what cagchat does."""
    from cagchat.engine.rotation import VARIABLE, rotated

    file = app.locations.config_file
    yield Finding("ok", "settings", f"{file}" if file.exists() else f"no file at {file}")
    if home := environ.get("CAGCHAT_HOME"):
        yield Finding("ok", "variable", f"CAGCHAT_HOME is {home}")
    for name, origin in app.resolved.origins.items():
        if origin in environ:
            yield Finding("ok", "variable", f"{origin} decides {name}: {getattr(app.settings, name)}")
    if not rotated("q8_0", environ):
        text = f"{VARIABLE} is set: states with a quantised KV cache that were made without it do not fit."
        yield Finding("note", "variable", text, f"unset {VARIABLE}")

"""What can be deleted to make room: leftovers, what was set aside, and states that were not used for long."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cagchat.errors import StateDamaged, StateError, UsageError
from cagchat.files import is_leftover, storage_errors
from cagchat.sessions.aside import aside_chats
from cagchat.states.in_use import is_open
from cagchat.states.lock import held, holding
from cagchat.states.store import ASIDE_FILE, DELETING, STATE_FILES, StateFolder, States

Kind = Literal["leftover", "aside", "state"]


@dataclass(frozen=True, slots=True)
class Removal:
    """Something that can be deleted: `why` says so to a reader, `lock_path` must not be held by anybody else.

    What nobody uses has no lock.
    """

    path: Path
    kind: Kind
    why: str
    size_bytes: int
    lock_path: Path | None


def removable(
    states: States,
    *,
    chats: Path | None = None,
    budget_bytes: int | None = None,
    unused_since: float | None = None,
    stays: Callable[[StateFolder], object] = lambda folder: None,
) -> tuple[Removal, ...]:
    """Return what can be deleted, in that order: leftovers, what was set aside, and states, the longest unused first.

    States go until the rest fits into the budget, and those not used since a time (seconds since 1970). Nothing that
    belongs to a book being read is among them, and no state that is open; `stays` hears of those that would be
    otherwise. Of the database at `chats`, what was set aside is.
    """
    folders = [folder for folder in states.all() if not held(folder.lock_path)]
    with storage_errors(states.root):
        found = [*leftovers(states), *aside(states), *(damaged_chats(chats) if chats else ())]
    taken = sum(folder.size_bytes() for folder in states.all())
    for folder in reversed(folders):
        size, used_at = folder.size_bytes(), folder.used_at()
        if unused_since is not None and used_at < unused_since:
            why = "not used lately"
        elif budget_bytes is not None and taken > budget_bytes:
            why = "over the budget"
        else:
            continue
        if is_open(folder.path):
            stays(folder)
            continue
        found.append(Removal(folder.path, "state", why, size, folder.lock_path))
        taken -= size
    return tuple(found)


def leftovers(states: States) -> Iterator[Removal]:
    """Return what processes that died have left and no other one needs."""
    if not states.root.is_dir():
        return
    for path in sorted(states.root.glob("*")):
        if path.name.startswith(DELETING) and path.is_dir():
            lock_path = StateFolder(states.root / path.name.removeprefix(DELETING)).lock_path
            if not held(lock_path):
                yield Removal(path, "leftover", "half deleted", StateFolder(path).size_bytes(), lock_path)
        elif path.suffix in (".lock", ".pid"):
            lock_path = path.with_suffix(".lock")
            if not held(lock_path):
                yield Removal(path, "leftover", "lock that nobody holds", file_bytes(path), lock_path)
        elif is_leftover(path):
            yield Removal(path, "leftover", "never finished", file_bytes(path), path.with_suffix(".lock"))
    for folder in states.all():
        if not held(folder.lock_path):
            yield from leftovers_in(folder)


def leftovers_in(folder: StateFolder) -> Iterator[Removal]:
    """Return the files of a state's folder that were never finished, or that its manifest does not name."""
    try:
        manifest = folder.manifest()
    except StateDamaged:
        named = None
    else:
        files = (manifest.state, manifest.checkpoint, *manifest.boundaries)
        named = {file.name for file in files if file is not None}
    for path in sorted(folder.path.glob("*")):
        ours = path.suffix == ".bin" and path.name.startswith(STATE_FILES)
        if is_leftover(path):
            yield Removal(path, "leftover", "never finished", file_bytes(path), folder.lock_path)
        elif ours and named is not None and path.name not in named:
            yield Removal(path, "leftover", "replaced", file_bytes(path), folder.lock_path)


def aside(states: States) -> Iterator[Removal]:
    """Return the folders and files that were set aside because they could not be trusted."""
    for folder in states.aside():
        yield Removal(folder.path, "aside", reason(folder), folder.size_bytes(), folder.lock_path)
    for folder in states.all():
        if not held(folder.lock_path):
            for path in sorted(folder.path.glob(f"*{ASIDE_FILE}")):
                yield Removal(path, "aside", "a damaged checkpoint", file_bytes(path), folder.lock_path)


def damaged_chats(chats: Path) -> Iterator[Removal]:
    """Return the files that were set aside of the database of chats: the texts of those that were deleted since too."""
    for path in aside_chats(chats):
        yield Removal(path, "aside", "damaged chats", file_bytes(path), None)


def reason(folder: StateFolder) -> str:
    """Return why a folder was set aside, in one line."""
    try:
        words = (folder.path / "reason.txt").read_text(encoding="utf-8", errors="replace").split()
    except OSError:
        words = []
    return " ".join(words) or "no reason was recorded"


def remove(states: States, removals: Sequence[Removal], removed: Callable[[Removal, int], None]) -> int:
    """Delete what was chosen and return the bytes freed; what has come into use meanwhile is left.

    `removed` hears of each, and how many bytes it freed.
    """
    freed = 0
    for removal in removals:
        size = remove_one(states, removal)
        if size is not None:
            removed(removal, size)
            freed += size
    return freed


def remove_one(states: States, removal: Removal) -> int | None:
    """Delete one thing and return the bytes freed; None when it is in use or already gone."""
    folder = StateFolder(removal.path)
    if not removal.path.exists():
        return None
    try:
        if removal.kind != "leftover" and removal.path.is_dir():
            return states.delete(folder)
        with holding(removal.lock_path) if removal.lock_path else nullcontext(), storage_errors(removal.path):
            if removal.path.is_dir():
                size = folder.size_bytes()
                shutil.rmtree(removal.path)
            else:
                size = file_bytes(removal.path)
                removal.path.unlink(missing_ok=True)
            return size
    except (UsageError, StateError):
        return None


def file_bytes(path: Path) -> int:
    """Return a file's size, 0 when it has gone."""
    try:
        return path.stat().st_size
    except OSError:
        return 0

"""Keep saved states in order: say what each is good for, check its bytes, and choose and delete what can go."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cagchat.engine import blob as blobs
from cagchat.engine.fake import MAGIC as FAKE_MAGIC
from cagchat.engine.pieces import damaged, first_difference, map_existing
from cagchat.engine.protocol import Part
from cagchat.errors import StateDamaged, StateError, StorageError, UsageError
from cagchat.files import is_leftover, storage_error, storage_errors
from cagchat.models.facts import ModelFacts, read_entries, stamps
from cagchat.sessions.aside import aside_chats
from cagchat.states.in_use import is_open
from cagchat.states.key import NAMES, differences
from cagchat.states.lock import holder
from cagchat.states.locking import check_locks
from cagchat.states.manifest import Manifest, StateFile
from cagchat.states.present import present_key
from cagchat.states.store import ASIDE_FILE, DELETING, STATE_FILES, StateFolder, States

FAKE_METADATA = "fake"  # the metadata digest of the engine without a model, which has no file to look for

Status = Literal["ready", "partial", "outdated", "reading"]
Kind = Literal["leftover", "aside", "state"]


@dataclass(frozen=True, slots=True)
class Standing:
    """What a state is good for now: `text` says it to a reader, `manifest` is None when it cannot be trusted."""

    folder: StateFolder
    status: Status
    text: str
    manifest: Manifest | None
    size_bytes: int
    used_at: float


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


@dataclass(frozen=True, slots=True)
class Remembered:
    """What is known about model files without reading them: the cache of their facts, as it was when it was read."""

    facts: dict[Path, ModelFacts]
    changed: frozenset[Path]

    @classmethod
    def read(cls, cache_file: Path) -> Remembered:
        """Read the cache; a model whose file is no longer the one that was read has no facts but is `changed`."""
        entries = read_entries(cache_file).values()
        fresh = {e.facts.path: e.facts for e in entries if e.files == stamps(Path(f.path) for f in e.files)}
        return cls(fresh, frozenset(e.facts.path for e in entries) - fresh.keys())


# -- what a state is good for ------------------------------------------------------------------------------------------


def standing(folder: StateFolder, models: Remembered, instructions: str = "") -> Standing:
    """Say what a state is good for, from its manifest and what is remembered of its model; its bytes are not read.

    `instructions` is the setting of that name.
    """
    manifest: Manifest | None = None
    try:
        manifest = folder.manifest()
        why = outdated_because(manifest, models, instructions)
    except StateDamaged:
        why = "its manifest is damaged"
    status, text = judged(reader_of(folder), manifest, why)
    return Standing(folder, status, text, manifest, folder.size_bytes(), folder.used_at())


def judged(reader: int | None, manifest: Manifest | None, why: str) -> tuple[Status, str]:
    """Return the status and its words from who reads the book, its manifest, and why it cannot be used, if so."""
    if reader is not None:
        return "reading", f"being read by process {reader}" if reader else "being read by another process"
    if manifest is None or why:
        return "outdated", f"needs reading again ({why})"
    if manifest.state is None:
        return "partial", f"partly read, {100 * manifest.position / max(1, manifest.n_tokens):.0f} %"
    return "ready", "ready"


def outdated_because(manifest: Manifest, models: Remembered, instructions: str = "") -> str:
    """Return why a state does not fit what there is now, or "" when nothing speaks against it."""
    path, facts = Path(manifest.model_path), None
    if manifest.key.model_metadata != FAKE_METADATA:
        if not path.exists():
            return f"its model {path} is gone"
        if path in models.changed:
            return f"its model {path} has changed"
        facts = models.facts.get(path)
    changed = differences(manifest.key, present_key(manifest.key, facts, instructions))
    return f"changed since: {', '.join(NAMES[name] for name in changed)}" if changed else ""


def reader_of(folder: StateFolder) -> int | None:
    """Return the number of the process that reads a book into the folder (0 if unknown), None when nobody does."""
    return holder(folder) if held(folder.lock_path) else None


def held(lock_path: Path) -> bool:
    """Tell whether another process holds a lock; a file that is not there is not made."""
    if not lock_path.exists():
        return False
    from filelock import FileLock, Timeout  # 70 ms: only where there is a lock to ask about

    try:
        check_locks(lock_path.parent)
        with FileLock(lock_path, timeout=0, mode=0o600):
            return False
    except Timeout:
        return True
    except (OSError, StorageError):  # no lock can be taken: nobody reads a book into it either
        return False


# -- whether its bytes are what was written ----------------------------------------------------------------------------


def verify(folder: StateFolder) -> tuple[str, ...]:
    """Read every byte of a state and return what is wrong with it, in sentences; nothing is changed.

    What another process deletes or replaces meanwhile is no damage.
    """
    found, before = problems(folder), None
    while found and folder.path.exists() and (now := content_of(folder)) != before:
        found, before = problems(folder), now
    return found if folder.path.exists() else ()


def content_of(folder: StateFolder) -> bytes:
    """Return the bytes of a state's manifest, which change when anything else in its folder is replaced."""
    try:
        return folder.manifest_path.read_bytes()
    except OSError:
        return b""


def problems(folder: StateFolder) -> tuple[str, ...]:
    """Return what is wrong with a state as it is now."""
    try:
        manifest = folder.manifest()
    except StateDamaged as error:
        return (error.message,)
    files = [file for file in (manifest.state, manifest.checkpoint, *manifest.boundaries) if file is not None]
    found = [check_tokens(folder, manifest), check_text(folder, manifest)]
    found += [check_file(folder, manifest, file, whole=file not in manifest.boundaries) for file in files]
    if manifest.state is not None and manifest.probe is None:
        found.append(f"{folder.manifest_path} records no probe, so the state cannot be proved.")
    return tuple(filter(None, found))


def check_tokens(folder: StateFolder, manifest: Manifest) -> str:
    """Return what is wrong with the token ids, or ""."""
    try:
        folder.checked_tokens(manifest)
    except StateDamaged as error:
        return error.message
    return ""


def check_text(folder: StateFolder, manifest: Manifest) -> str:
    """Return what is wrong with the book's text, or ""."""
    try:
        content = folder.book_path.read_bytes()
    except OSError as error:
        return f"{folder.book_path} cannot be read: {error.strerror}."
    if hashlib.sha256(content).hexdigest() != manifest.book.digest:
        return f"{folder.book_path} does not hold the text that was written."
    return ""


def check_file(folder: StateFolder, manifest: Manifest, file: StateFile, *, whole: bool) -> str:
    """Return what is wrong with a state, a checkpoint (both `whole`) or a boundary, or "": size, bytes, then header."""
    path = folder.path / file.name
    try:
        with map_existing(path, file.blob) as mapped, memoryview(mapped) as view:
            piece = first_difference(view, file.blob)
            if piece is not None:
                return damaged(path, file.blob, piece).message
            with view[: len(FAKE_MAGIC)] as magic:
                if magic == FAKE_MAGIC:
                    return ""
            return check_header(view, manifest, file, whole=whole)
    except StateDamaged as error:
        return error.message


def check_header(view: memoryview, manifest: Manifest, file: StateFile, *, whole: bool) -> str:
    """Return what is wrong with the layout that a file of llama.cpp describes, or ""."""
    table = blobs.FULL_PARTS if whole else blobs.BOUNDARY_PARTS
    kinds = next((kinds for memory, kinds in table.items() if memory == manifest.memory), None)
    if kinds is None:
        return f'{file.name} cannot be checked: the manifest names an unknown memory, "{manifest.memory}".'
    try:
        parts = parse_either(view, kinds, flash_attention=manifest.key.flash_attention)
        if whole:
            blobs.check_complete(parts)
        if parts != file.blob.parts or blobs.n_tokens(parts) != file.blob.n_tokens:
            return f"{file.name} does not have the layout that was recorded."
    except StateDamaged as error:
        return f"{file.name}: {error.message}"
    return ""


def parse_either(view: memoryview, kinds: tuple[blobs.PartKind, ...], *, flash_attention: bool) -> tuple[Part, ...]:
    """Parse a header whose cells have one or the other size; which one, only the loaded model knows."""
    try:
        return blobs.parse(view, kinds, extended_cells=False, flash_attention=flash_attention)
    except StateDamaged as plain:
        try:
            return blobs.parse(view, kinds, extended_cells=True, flash_attention=flash_attention)
        except StateDamaged:
            raise plain from None


# -- what can go -------------------------------------------------------------------------------------------------------


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


@contextmanager
def holding(lock_path: Path) -> Iterator[None]:
    """Hold a lock and delete its file while it is held. Raises `UsageError` when another process holds it."""
    from filelock import FileLock, Timeout

    check_locks(lock_path.parent)
    try:
        with FileLock(lock_path, timeout=0, mode=0o600):
            yield
            lock_path.unlink(missing_ok=True)
    except Timeout:
        raise UsageError(f"{lock_path} is held by another process.", "Wait until it is done.") from None
    except OSError as error:
        raise storage_error(error, lock_path) from error


def file_bytes(path: Path) -> int:
    """Return a file's size, 0 when it has gone."""
    try:
        return path.stat().st_size
    except OSError:
        return 0

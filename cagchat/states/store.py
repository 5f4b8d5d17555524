"""The folders that saved states live in: naming, finding, setting aside, deleting.

states/moby-dick-3f9a0c21d4e5/     manifest.json  book.txt  tokens.bin  state-<position>.bin
                                   checkpoint-<position>.bin  boundary-<position>.bin  used
                                   checkpoint-<position>.damaged (what could not be resumed)
                                   itself locked by the processes that have the book open
states/moby-dick-3f9a0c21d4e5.lock                held by the process that reads the book
states/moby-dick-3f9a0c21d4e5.aside-1             what could not be trusted, and why (reason.txt)
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import sys
import unicodedata
from array import array
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import xxhash

from cagchat.errors import CagchatError, StateDamaged, StateError, StorageError, UsageError
from cagchat.files import free_bytes, is_leftover, private_folder, storage_error, storage_errors, write_bytes
from cagchat.states import manifest as manifests
from cagchat.states.in_use import alone
from cagchat.states.locking import check_locks
from cagchat.states.manifest import BookRecord, Manifest

SLUG_LENGTH = 40
DIGEST_LENGTH = 12
AGAIN = "The book has to be read again; the damaged folder is set aside, not deleted."
TICK_S = 0.001  # between two uses while the clock stands still or was put back
ASIDE = ".aside-"
ASIDE_FILE = ".damaged"  # how the name of a checkpoint ends that was set aside inside its folder
STATE_FILES = ("state-", "checkpoint-", "boundary-")  # how the names of those begin that a manifest speaks of
DELETING = ".deleting-"


@dataclass(frozen=True, slots=True)
class StateFolder:
    """One state's folder. `path` need not exist yet."""

    path: Path

    @property
    def name(self) -> str:
        """The folder's name: what `cagchat library` calls the state."""
        return self.path.name

    @property
    def manifest_path(self) -> Path:
        """The source of truth about the folder."""
        return self.path / "manifest.json"

    @property
    def lock_path(self) -> Path:
        """Beside the folder, because the folder itself may be set aside while the lock is held."""
        return self.path.with_name(f"{self.name}.lock")

    @property
    def holder_path(self) -> Path:
        """Beside the lock: the number of the process that holds it."""
        return self.path.with_name(f"{self.name}.pid")

    @property
    def book_path(self) -> Path:
        """The book's text, UTF-8."""
        return self.path / "book.txt"

    @property
    def tokens_path(self) -> Path:
        """The cached prefix's token ids: 32-bit little-endian integers."""
        return self.path / "tokens.bin"

    def exists(self) -> bool:
        """Tell whether anything was kept in it; what lost its manifest is not nothing."""
        with storage_errors(self.path):
            return self.manifest_path.exists() or any(self.path.glob("*-[0-9]*.bin"))

    def manifest(self) -> Manifest:
        """Read the manifest. Raises `StateDamaged`."""
        return manifests.read(self.manifest_path)

    def write_manifest(self, manifest: Manifest) -> None:
        """Replace the manifest in one step."""
        manifests.write(self.manifest_path, manifest)

    def create(self, text: str, tokens: array[int]) -> None:
        """Make the folder with the book's text and token ids; the manifest comes after them."""
        private_folder(self.path)
        write_bytes(self.book_path, text.encode("utf-8", "replace"))
        write_bytes(self.tokens_path, token_bytes(tokens))

    def text(self) -> str:
        """Return the book's text."""
        try:
            return self.book_path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise StateDamaged(f"{self.book_path} cannot be read.", "Read the book again.") from error

    def tokens(self) -> array[int]:
        """Return the cached prefix's token ids. Raises `StateDamaged` when the file is missing or cut."""
        try:
            content = self.tokens_path.read_bytes()
        except OSError as error:
            raise StateDamaged(f"{self.tokens_path} cannot be read.", "Read the book again.") from error
        if len(content) % 4:
            raise StateDamaged(f"{self.tokens_path} is cut short.", "Read the book again.")
        tokens = array("i")
        tokens.frombytes(content)
        if sys.byteorder == "big":
            tokens.byteswap()
        return tokens

    def checked_text(self, manifest: Manifest) -> str:
        """Return the book's text. Raises `StateDamaged` when it is not the one that the manifest was written for."""
        text = self.text()
        if sha256(text.encode()).hexdigest() != manifest.book.digest:
            raise StateDamaged(f"{self.book_path} is damaged: it is not the text that was read.", AGAIN)
        return text

    def checked_tokens(self, manifest: Manifest) -> array[int]:
        """Return the token ids. Raises `StateDamaged` when they are not those that the manifest was written for."""
        tokens = self.tokens()
        if len(tokens) != manifest.n_tokens:
            raise StateDamaged(
                f"{self.tokens_path} holds {len(tokens):,} tokens where {manifest.n_tokens:,} were written.", AGAIN
            )
        if digest_of(tokens) != manifest.key.token_ids:
            raise StateDamaged(
                f"{self.tokens_path} is damaged: its token ids are not the ones that were written.", AGAIN
            )
        return tokens

    def touch(self, now: float) -> None:
        """Note that the state was used now, seconds since 1970."""
        used = self.path / "used"
        with storage_errors(used):
            used.touch(mode=0o600)
            os.utime(used, (now, now))

    def used_at(self) -> float:
        """Return when the state was last used, seconds since 1970."""
        for path in (self.path / "used", self.manifest_path, self.path):
            try:
                return path.stat().st_mtime
            except OSError:
                continue
        return 0.0

    def size_bytes(self) -> int:
        """Return what the folder takes on disk. Files that another process deletes meanwhile count nothing."""
        return size_below(str(self.path))

    def drop_files(self, keep: set[str]) -> None:
        """Delete state files (states, checkpoints, boundaries) that are not in `keep`, and what dead writers left.

        What cannot be deleted stays until the next time.
        """
        with contextlib.suppress(OSError):
            for file in self.path.iterdir():
                ours = file.suffix == ".bin" and file.name.startswith(STATE_FILES)
                if (ours and file.name not in keep) or is_leftover(file):
                    file.unlink(missing_ok=True)

    def set_aside(self, reason: str) -> Path:
        """Rename the folder out of the way, with the reason in it; nothing is deleted. Return its new path."""
        number = 1
        while (target := self.path.with_name(f"{self.name}{ASIDE}{number}")).exists():
            number += 1
        with contextlib.suppress(CagchatError):  # a full disk must not keep a bad state in use
            # First, so that a process killed between the two leaves no folder aside of which nobody knows why.
            write_bytes(self.path / "reason.txt", f"{reason}\n".encode())
        with storage_errors(self.path):
            self.path.rename(target)
        return target


class States:
    """All saved states of this user."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def folder(self, title: str, identity: str) -> StateFolder:
        """Return the folder for a book, model and settings; `identity` is everything that tells them apart."""
        digest = xxhash.xxh3_128_hexdigest(identity.encode())[:DIGEST_LENGTH]
        return StateFolder(self.root / f"{slug(title)}-{digest}")

    def all(self) -> list[StateFolder]:
        """Return every state folder, last used first; those set aside are not among them."""
        folders = [f for f in self._folders() if ASIDE not in f.name]
        return sorted(folders, key=lambda folder: (-folder.used_at(), folder.name))

    def aside(self) -> list[StateFolder]:
        """Return the folders that were set aside."""
        return sorted((f for f in self._folders() if ASIDE in f.name), key=lambda folder: folder.name)

    def _folders(self) -> Iterator[StateFolder]:
        try:
            paths = list(self.root.iterdir())
        except (FileNotFoundError, NotADirectoryError):
            return
        except OSError as error:
            raise StorageError(
                f"{self.root} cannot be read: {error.strerror}.",
                "Make the folder readable, or set CAGCHAT_HOME to another one.",
            ) from error
        for path in paths:
            if path.is_dir() and not path.name.startswith("."):
                yield StateFolder(path)

    def find(self, name: str) -> StateFolder:
        """Return the state that `name` means: a book's path, its title, or a unique beginning of title or folder name.

        Raises `StateError` listing the candidates when none or several fit.
        """
        found = [folder for folder, _ in self._called(name)]
        if len(found) > 1:
            raise _several(name, found)
        if not found:
            hint = "`cagchat library` lists what has been read." if self.all() else "Read one with `cagchat read BOOK`."
            raise StateError(f"No saved book is called {name}.", hint)
        return found[0]

    def find_book(self, name: str) -> StateFolder | None:
        """Return a state of the book that `name` means as for `find`, None when no saved book is called that.

        A book that was read with several models or settings is one book, and the last used state stands for it. Raises
        `StateError` when several books fit.
        """
        found = self._called(name)
        books = {book.digest: folder for folder, book in reversed(found) if book is not None}
        if len(books) > 1:
            raise _several(name, [folder for folder, _ in found])
        return next(iter(books.values()), found[0][0] if found else None)

    def _called(self, name: str) -> list[tuple[StateFolder, BookRecord | None]]:
        """Return the states that a name means, by the first way in which it means any, the last used first."""
        wanted = fold(name)
        if not wanted:  # everything begins with it
            raise StateError("A saved book was asked for by an empty name.", "`cagchat library` lists their names.")
        known = [(folder, book_of(folder)) for folder in self.all()]
        path = _absolute(name)
        ways: tuple[Callable[[StateFolder, BookRecord | None], bool], ...] = (
            lambda folder, book: folder.name == name,
            lambda folder, book: book is not None and book.path == path,
            lambda folder, book: book is not None and fold(book.title) == wanted,
            lambda folder, book: folder.name.startswith(name) or fold(book.title if book else "").startswith(wanted),
        )
        found = ([pair for pair in known if way(*pair)] for way in ways)
        return next(filter(None, found), [])

    def delete(self, folder: StateFolder, leaving: Callable[[], object] = lambda: None) -> int:
        """Delete a state with everything in it and return how many bytes that freed.

        Refused while another process reads the book or anybody has it open, and where the file system keeps no locks.
        `leaving` is called once nothing refuses it any more, before anything is deleted.
        """
        from filelock import FileLock, Timeout

        check_locks(self.root)
        lock = FileLock(folder.lock_path, timeout=0, mode=0o600)
        try:
            lock.acquire()
        except Timeout:
            raise UsageError(
                f"{folder.name} is being read by another process.", "Stop that one first, then delete."
            ) from None
        except OSError as error:
            raise storage_error(error, folder.lock_path) from error
        try:
            with storage_errors(folder.path):
                self.finish_deleting()
                if not folder.path.exists():
                    raise StateError(
                        f"{folder.name} was deleted by another process.", "`cagchat library` shows the rest."
                    )
                size = folder.size_bytes()
                try:
                    with alone(folder.path):
                        leaving()
                        # Renamed first, so that a process that looks meanwhile finds all of it or nothing.
                        gone = folder.path.with_name(f"{DELETING}{folder.name}")
                        folder.path.rename(gone)
                        with contextlib.suppress(FileNotFoundError):  # another process finishes what this one began
                            shutil.rmtree(gone)
                    folder.holder_path.unlink(missing_ok=True)
                finally:
                    # While it is held: a file unlinked after its release might be the one another process holds.
                    folder.lock_path.unlink(missing_ok=True)
        finally:
            lock.release()
        return size

    def touch(self, folder: StateFolder, now: float) -> None:
        """Note that a state was used now, later than every other one whatever the clock says; `prune` goes by it."""
        others = (other.used_at() for other in self.all() if other != folder)
        folder.touch(max(now, max(others, default=0.0) + TICK_S))

    def finish_deleting(self) -> None:
        """Delete what a process that was killed while deleting has left, as far as it lets itself be deleted."""
        with contextlib.suppress(OSError):
            for path in self.root.glob(f"{DELETING}*"):
                shutil.rmtree(path, ignore_errors=True)

    def free_bytes(self) -> int:
        """Return how many bytes the disk under the states still takes."""
        private_folder(self.root)
        try:
            return free_bytes(self.root)
        except OSError as error:
            raise storage_error(error, self.root) from error


def size_below(folder: str) -> int:
    """Return what the files in a folder take, those in folders in it too, as far as they can be seen.

    Every opening asks it of every state; names stay plain strings, because a `Path` interns each part.
    """
    total = 0
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            with contextlib.suppress(OSError):
                total += size_below(entry.path) if entry.is_dir(follow_symlinks=False) else entry.stat().st_size
    return total


def book_of(folder: StateFolder) -> BookRecord | None:
    """Return what book a state is of, None when its manifest cannot be read."""
    try:
        return folder.manifest().book
    except StateDamaged:
        return None


def _several(name: str, folders: Iterable[StateFolder]) -> StateError:
    names = ", ".join(folder.name for folder in folders)
    return StateError(f"{name} could be several saved books: {names}.", "Give one of these names in full.")


def _absolute(name: str) -> str:
    try:
        return str(Path(name).expanduser().absolute())
    except RuntimeError:  # "~nobody": then it is no path
        return name


def slug(title: str) -> str:
    """Return a title as a folder name: ASCII letters, digits and dashes."""
    plain = unicodedata.normalize("NFKD", title).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:SLUG_LENGTH].strip("-") or "book"


def fold(text: str) -> str:
    """Return a text for comparison: without case, accents and runs of spaces."""
    plain = unicodedata.normalize("NFKD", text)
    return " ".join("".join(c for c in plain if not unicodedata.combining(c)).casefold().split())


def token_bytes(tokens: array[int]) -> bytes:
    """Return token ids as 32-bit little-endian integers."""
    if sys.byteorder == "big":
        tokens = tokens[:]
        tokens.byteswap()
    return tokens.tobytes()


def digest_of(tokens: array[int]) -> str:
    """Return the xxh3_128 digest of token ids, as a state's key records it."""
    return str(xxhash.xxh3_128_hexdigest(token_bytes(tokens)))

"""What could give a book away: its words, its tokens, its KV cache; and where they are looked for."""

from __future__ import annotations

import random
import stat
from array import array
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

RUN_TOKENS = 8
WINDOW_BYTES = 64
LEAST_VALUES = 24  # different bytes that a window must have: stretches of zeros are everybody's
PRIVATE_FILE, PRIVATE_FOLDER = 0o600, 0o700


@dataclass(frozen=True, slots=True)
class Traces:
    """Byte strings that stand for a secret, by kind. `words` are in lower case and found in any."""

    words: tuple[bytes, ...] = ()
    tokens: tuple[bytes, ...] = ()
    cache: tuple[bytes, ...] = ()

    def kinds_in(self, content: bytes) -> set[str]:
        """Return which kinds of trace some bytes hold."""
        lower = content.lower()
        kinds = {"words": (lower, self.words), "tokens": (content, self.tokens), "KV cache": (content, self.cache)}
        return {kind for kind, (where, needles) in kinds.items() if any(needle in where for needle in needles)}


def spelled(mark: str) -> tuple[bytes, ...]:
    """Return a word as it may stand in a file: UTF-8 and both UTF-16."""
    return tuple(mark.lower().encode(encoding) for encoding in ("utf-8", "utf-16-le", "utf-16-be"))


def token_runs(tokens: array[int]) -> tuple[bytes, ...]:
    """Return every run of consecutive token ids, as 32-bit little-endian integers."""
    width = 4 * RUN_TOKENS
    content = b"".join(token.to_bytes(4, "little") for token in tokens)
    return tuple(content[start : start + width] for start in range(0, len(content) - width + 1, 4))


def windows(content: bytes, chance: random.Random, count: int = 48, attempts: int = 400) -> tuple[bytes, ...]:
    """Return pieces of a KV cache from places of chance, those that say anything."""
    found: list[bytes] = []
    for _ in range(attempts if len(content) > WINDOW_BYTES else 0):
        start = chance.randrange(len(content) - WINDOW_BYTES)
        piece = content[start : start + WINDOW_BYTES]
        if len(set(piece)) >= LEAST_VALUES:
            found.append(piece)
        if len(found) == count:
            break
    return tuple(found)


def files_under(roots: Iterable[Path]) -> Iterator[tuple[Path, bytes]]:
    """Yield every file under some folders with its content; what is deleted meanwhile is left out."""
    for root in roots:
        for path in sorted(root.rglob("*")):
            with suppress(OSError):
                if path.is_file() and not path.is_symlink():
                    yield path, path.read_bytes()


def too_open(roots: Iterable[Path]) -> Iterator[tuple[Path, int]]:
    """Yield what under some folders others than the owner may touch, or has another mode than was promised."""
    for root in roots:
        for path in sorted(root.rglob("*")):
            with suppress(OSError):
                found = path.lstat().st_mode
                mode, wanted = stat.S_IMODE(found), PRIVATE_FOLDER if stat.S_ISDIR(found) else PRIVATE_FILE
                if mode != wanted and not stat.S_ISLNK(found):
                    yield path, mode

"""What every part of the torture is given, and what it reports."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Terms:
    """The terms of a run.

    `share` is how much of the full size is done: 1.0 for `make torture`, less in the short form that the tests run.
    `say` takes lines for whoever watches.
    """

    folder: Path
    seed: int = 0
    share: float = 1.0
    say: Callable[[str], None] = print

    def rounds(self, full: int, *, least: int = 1) -> int:
        """Return how many of `full` rounds to do, `least` of them in any case."""
        return max(least, round(full * self.share))

    def chance(self, part: str) -> random.Random:
        """Return the random numbers of a part: the same for the same seed, whatever ran before it."""
        return random.Random(f"{self.seed} {part}")


@dataclass(slots=True)
class Report:
    """What a part did: counts by name, and every broken promise as a sentence.

    A run holds when `broken` is empty.
    """

    counts: Counter[str] = field(default_factory=Counter)
    broken: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        """Return the report for a person, a line a count and a line a broken promise."""
        return [f"  {count:>8,} {name}" for name, count in self.counts.items()] + [
            f"  BROKEN: {sentence}" for sentence in self.broken
        ]


@dataclass(frozen=True, slots=True)
class Part:
    """One kind of fault: its name on the command line, what it does in one line, and the function that does it."""

    name: str
    what: str
    run: Callable[[Terms], Report]

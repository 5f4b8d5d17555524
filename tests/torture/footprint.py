"""What a process takes, as Linux counts it: memory of its own, open files, threads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class Footprint:
    """One process at one moment.

    `own_kb` is what only this process's doing put there: anonymous memory, and of it what was swapped out. `rss_kb`
    also counts pages of mapped files (the model, libraries), which the kernel takes away and gives back as it likes.
    """

    own_kb: int
    rss_kb: int
    files: int
    threads: int


def footprint(pid: int, proc: Path = PROC) -> Footprint:
    """Return what a process takes now."""
    sizes = {}
    for line in (proc / str(pid) / "smaps_rollup").read_text().splitlines()[1:]:
        name, _, value = line.partition(":")
        sizes[name] = int(value.split()[0])
    return Footprint(
        own_kb=sizes["Anonymous"] + sizes["Swap"],
        rss_kb=sizes["Rss"],
        files=sum(1 for _ in (proc / str(pid) / "fd").iterdir()),
        threads=sum(1 for _ in (proc / str(pid) / "task").iterdir()),
    )


@dataclass(frozen=True, slots=True)
class Drift:
    """How a series of sizes went: medians after warming up (the second tenth of it) and of the last tenth."""

    before_kb: float
    after_kb: float

    @property
    def growth(self) -> float:
        """By what share it grew; negative when it shrank."""
        return self.after_kb / self.before_kb - 1


def drift(sizes_kb: Sequence[int]) -> Drift:
    """Return how a series went; its first tenth is left out as warming up."""
    tenth = max(1, len(sizes_kb) // 10)
    warm = sizes_kb[tenth:] or sizes_kb
    return Drift(median(warm[:tenth]), median(warm[-tenth:]))

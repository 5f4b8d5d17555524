"""How long reading takes: from what this machine measured before, else from published figures for the same GPU.

A token's cost grows with its depth, because attention looks at everything before it: seconds = base + slope x depth.
Two measured depths fix both; one fixes the base, and the estimate of a longer book is then too low: what an estimate
says of its source tells how far the measurement went.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cagchat.files import private_folder, storage_errors, write_bytes

FORMAT = 1
MOST = 1 << 40  # tokens or seconds: a file that claims more is damaged
LEAST_TOKENS = 512  # shorter stretches are mostly start-up


@dataclass(frozen=True, slots=True)
class Rate:
    """What a stretch of reading took: `tokens` around a middle `depth`, in seconds."""

    depth: int
    tokens: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Estimate:
    """The seconds a reading should take, and where the rates behind them come from, in words."""

    seconds: float
    source: str


@dataclass(frozen=True, slots=True)
class Published:
    """Prefill rates somebody published: (depth, tokens a second) for a model on a GPU, both by a part of their names.

    An average from the start to some depth stands at half of that depth.
    """

    gpu: str
    model: str
    points: tuple[tuple[int, float], ...]


# Long prefills of Qwen3.5-35B-A3B at about 3 bits: an L4 at three depths and averaged to 905K, an A6000 averaged over
# a book of 770K, two 3090 averaged to 1.04M (no single card bears that name, so nobody's is taken for two).
PUBLISHED = (
    Published("L4", "35b-a3b", ((23_000, 1100.0), (112_000, 818.0), (258_000, 590.0), (452_500, 221.0))),
    Published("A6000", "35b-a3b", ((385_000, 540.0),)),
    Published("RTX 3090 (two of them)", "35b-a3b", ((520_000, 541.0),)),
)


def seconds_to_read(rates: Iterable[Rate], start: int, end: int) -> float | None:
    """Return the seconds that tokens `start` to `end` take at these rates; None without any.

    Fits base and slope by least squares, each rate weighted by its tokens, and never lets either be negative.
    """
    known = [rate for rate in rates if rate.tokens > 0 and rate.seconds > 0]
    weight = sum(rate.tokens for rate in known)
    if not weight:
        return None
    depth = sum(rate.tokens * rate.depth for rate in known) / weight
    cost = sum(rate.seconds for rate in known) / weight
    spread = sum(rate.tokens * (rate.depth - depth) ** 2 for rate in known)
    slope = sum((rate.depth - depth) * (rate.seconds - cost * rate.tokens) for rate in known) / spread if spread else 0
    slope = min(max(slope, 0.0), cost / depth if depth else 0.0)
    base = max(0.0, cost - slope * depth)  # rounding leaves a little below nothing
    return base * (end - start) + slope * (end**2 - start**2) / 2


def measured(rates: Sequence[Rate], start: int, end: int) -> Estimate | None:
    """Return an estimate from rates of this machine; it says when they come from less than half the depth."""
    seconds = seconds_to_read(rates, start, end)
    if seconds is None:
        return None
    deepest = max(rate.depth for rate in rates)
    return Estimate(seconds, "measured here" if 2 * deepest >= end else f"measured here, only to depth {deepest:,}")


def published(gpu: str, model: str) -> list[tuple[tuple[Rate, ...], str]]:
    """Return published rates for a model on a GPU of this name ("" for any), each with words about whose they are."""
    words = gpu.replace("-", " ").split()
    return [
        (tuple(Rate(depth, 1, 1 / speed) for depth, speed in entry.points), f"published for an {entry.gpu}")
        for entry in PUBLISHED
        if entry.model in "-".join(model.casefold().split()) and (not gpu or entry.gpu in words)
    ]


class Measured:
    """The rates measured on this machine, in a file of the cache folder; a damaged file is as if it were not there.

    They are kept by what decides them: model, KV type, attention, device, batch. One rate is kept for each power of two
    of depth, the newest.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def rates(self, key: str) -> tuple[Rate, ...]:
        """Return what was measured under this key, shallow first."""
        return tuple(sorted(self._read().get(key, {}).values(), key=lambda rate: rate.depth))

    def observe(self, key: str, rates: Iterable[Rate]) -> None:
        """Keep rates of a reading under its key. Raises `StorageError`."""
        from filelock import FileLock  # 16 ms

        fresh = {bucket(rate.depth): rate for rate in rates if rate.tokens >= LEAST_TOKENS and rate.seconds > 0}
        if not fresh:
            return
        private_folder(self._path.parent)
        with storage_errors(self._path), FileLock(self._path.with_name(f"{self._path.name}.lock"), mode=0o600):
            known = self._read()
            known[key] = known.get(key, {}) | fresh
            content = {
                name: [[rate.depth, rate.tokens, rate.seconds] for rate in rates.values()]
                for name, rates in known.items()
            }
            write_bytes(self._path, json.dumps({"format": FORMAT, "rates": content}, indent=1).encode())

    def _read(self) -> dict[str, dict[int, Rate]]:
        try:
            content = json.loads(self._path.read_bytes())
            if content["format"] != FORMAT:
                return {}
            return {str(key): parsed(items) for key, items in content["rates"].items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return {}


def parsed(items: Iterable[tuple[int, int, float]]) -> dict[int, Rate]:
    """Return rates as read from JSON, by bucket. Raises `ValueError` or `TypeError` for what is no rate."""
    found = {}
    for depth, tokens, seconds in items:
        if not (0 <= depth < MOST and 0 < tokens < MOST and 0 < seconds < MOST):  # NaN is none of it
            raise ValueError("no rate")
        found[bucket(int(depth))] = Rate(int(depth), int(tokens), float(seconds))
    return found


def bucket(depth: int) -> int:
    """Return which power of two a depth belongs to."""
    return max(0, depth).bit_length()


def rates_key(
    model_digest: str, kv_type: str, device: str, batch: int, experts_in_ram: int, *, flash_attention: bool = True
) -> str:
    """Return the key under which rates are comparable."""
    kind = kv_type if flash_attention else f"{kv_type} plain"
    return " ".join((model_digest[:16], kind, str(batch), str(experts_in_ram), device))


def stretches(progress: Iterable[tuple[int, float]]) -> Mapping[int, Rate]:
    """Return one rate a power of two of depth from (position, seconds so far) pairs of one uninterrupted reading."""
    found: dict[int, Rate] = {}
    before: tuple[int, float] | None = None
    for position, seconds in progress:
        if before is not None and position > before[0]:
            tokens, took = position - before[0], seconds - before[1]
            depth = (position + before[0]) // 2
            known = found.get(bucket(depth), Rate(depth, 0, 0.0))
            total = known.tokens + tokens
            middle = (known.depth * known.tokens + depth * tokens) // total
            found[bucket(depth)] = Rate(middle, total, known.seconds + took)
        before = (position, seconds)
    return found

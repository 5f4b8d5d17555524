"""What a model takes and how fast it is on this device, from an empty cache to a full one, in a fixed time.

A depth is reached by restoring a state of that length made for the purpose (`long_state`), not by reading for hours.
"""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Literal, Protocol

from cagchat.bench.long_state import long_bytes, write_long
from cagchat.bench.memory import peak_bytes
from cagchat.bench.tables import Cell, Column, Figure, Table
from cagchat.engine.process import EngineProcess
from cagchat.engine.protocol import BOOK, Blob, Engine, EngineSettings, Piece, Sampling, Transfer
from cagchat.errors import CagchatError, EngineCancelled, EngineDied, StorageError
from cagchat.hardware.meter import Load
from cagchat.units import size

DEPTHS = tuple(thousands << 10 for thousands in (0, 32, 128, 256, 512, 900))
PREFILL_BATCHES = 8
DECODE_TOKENS = 64
LEAST_DECODED = 2  # two tokens are one interval
PREFILL_SHARE, DECODE_SHARE = 0.4, 0.2  # of the time that is left for a depth; its state takes the rest
TEXT = "The ferry left at nine, and nobody counted the lanterns along the quay before the rain came. "
NOT_REACHED = "not reached in the time given"

Moment = Literal["load", "prefill", "decode", "deepest"]
MOMENTS: Mapping[Moment, str] = {
    "load": "after loading",
    "prefill": "after reading the first batches",
    "decode": "after the first answer",
    "deepest": "at the greatest depth",
}
Predicted = Mapping[str, int]

MEMORY_COLUMNS = (
    Column("moment", "memory"),
    Column("measured", "measured", "bytes"),
    Column("predicted", "predicted", "bytes"),
    Column("ratio", "measured / predicted", "times"),
)
DEPTH_COLUMNS = (
    Column("depth", "depth", "count"),
    Column("how", "reached by"),
    Column("prefill", "prefill", "tokens_per_s"),
    Column("decode", "decode", "tokens_per_s"),
    Column("size", "state", "bytes"),
    Column("restore_s", "restored in", "seconds"),
    Column("restore", "restore", "bytes_per_s"),
    Column("save_s", "saved in", "seconds"),
    Column("save", "save", "bytes_per_s"),
)
HOW = (
    "A depth is reached by restoring a state of that many positions whose rows are those of a short text over and "
    "over: speed depends on how many cells there are, not on what they hold. Prefill is the mean of up to "
    f"{PREFILL_BATCHES} batches from there on, decode that of up to {DECODE_TOKENS} tokens after them."
)
TRANSFERS = (
    "Restores read a file that was just written and lies in the page cache, checksums included; saves include syncing "
    "to the disk."
)


class Opener(Protocol):
    """Starts engines: `engine.backend.LlamaBackend` does."""

    def open_engine(self, settings: EngineSettings, notify: Callable[[str], None]) -> Engine:
        """Start an engine."""
        ...


class Gauge(Protocol):
    """Reads how much memory is taken: `hardware.meter.Meter` does."""

    def read(self, engine_pid: int | None = None) -> Load:
        """Return the load now."""
        ...


def nothing_predicted(settings: EngineSettings) -> Predicted:
    """Predict nothing."""
    return {}


def room(n_batch: int) -> int:
    """Return how many positions a measurement takes beyond its depth."""
    return PREFILL_BATCHES * n_batch + DECODE_TOKENS + 1


@dataclass(slots=True)
class Clock:
    """Counts down the time of a run."""

    timer: Callable[[], float]
    seconds: float
    began: float = field(init=False)

    def __post_init__(self) -> None:
        self.began = self.timer()

    @property
    def left(self) -> float:
        """Seconds until the limit."""
        return self.began + self.seconds - self.timer()

    def check(self) -> None:
        """Raise `EngineCancelled` past the limit."""
        if self.left <= 0:
            raise EngineCancelled("The minutes are over.", "Give more of them: --minutes.")


def measure(
    backend: Opener,
    settings: EngineSettings,
    gauge: Gauge,
    *,
    folder: Path,
    minutes: float,
    depths: Sequence[int] = DEPTHS,
    predict: Callable[[EngineSettings], Predicted] = nothing_predicted,
    say: Callable[[str], None] = lambda text: None,
    timer: Callable[[], float] = time.perf_counter,
) -> tuple[Table, Table]:
    """Measure memory at each moment and speed at each depth that fits the context; return one table of each.

    `predict` says how many bytes the plan expects at "load", "prefill", "decode" and "deepest", as far as it does.
    States are written to `folder` and deleted. When `minutes` are over, the rest says so; a batch that has begun is
    finished. Raises `EngineError` when the engine cannot start.
    """
    clock = Clock(timer, minutes * 60)
    before = gauge.read().used_bytes
    with closing(backend.open_engine(settings, say)) as engine:
        trial = Trial(engine, gauge, before, folder, clock, say)
        try:
            trial.note("load")
            fitting, left_out = trial.divided(depths)
            rows = [trial.row(depth, len(fitting) - index) for index, depth in enumerate(fitting)]
            peak = peak_bytes(trial.pid)
        finally:
            trial.clean_up()
    memory = memory_table(trial.taken, predict(trial.settings), peak, trial.kind)
    beyond = f"Beyond the context of {trial.settings.n_context:,}: {', '.join(f'{depth:,}' for depth in left_out)}."
    notes = (HOW, TRANSFERS, *([beyond] if left_out else []))
    return memory, Table("device", "Speed by depth", DEPTH_COLUMNS, tuple(rows), notes)


class Trial:
    """One engine and what has been seen of it."""

    def __init__(
        self, engine: Engine, gauge: Gauge, before: int, folder: Path, clock: Clock, say: Callable[[str], None]
    ) -> None:
        self.settings = engine.settings  # waits until the model is loaded
        self.pid = engine.pid if isinstance(engine, EngineProcess) else os.getpid()
        self.kind = gauge.read(self.pid).kind
        self.taken: dict[Moment, int] = {}
        self._engine = engine
        self._gauge = gauge
        self._before = before
        self._folder = folder
        self._clock = clock
        self._say = say
        self._dead = False
        self._slowest = (0, 0.0)  # the last depth, and the longest batch there in seconds
        self._short: Blob | None = None
        (words,) = engine.tokenize([TEXT], special=False)
        n_tokens = PREFILL_BATCHES * self.settings.n_batch
        self._text = (words * (n_tokens // len(words) + 1))[:n_tokens]

    def divided(self, depths: Sequence[int]) -> tuple[list[int], list[int]]:
        """Return the depths that leave room for what is measured there, moved to the start of a batch, and the rest."""
        most = self.settings.n_context - room(self.settings.n_batch)
        starts = sorted({depth - depth % self.settings.n_batch for depth in depths})
        return [depth for depth in starts if depth <= most], [depth for depth in starts if depth > most]

    def note(self, moment: Moment) -> None:
        """Write down how much memory the engine takes now: of the GPU's what was added since before it started."""
        load = self._gauge.read(self.pid)
        taken = load.used_bytes - self._before if load.kind == "VRAM" else load.engine_bytes
        if taken is not None:
            self.taken[moment] = taken

    def row(self, depth: int, rows_left: int) -> dict[str, Cell]:
        """Measure at one depth; what the time or the disk does not allow is said in the number's place."""
        found: dict[str, Cell] = {"depth": depth}
        if self._dead or self._clock.left <= self._expected_batch_s(depth):
            return found | {"how": NOT_REACHED}
        self._say(f"depth {depth:,}: {self._clock.left:.0f} s left")
        try:
            with alarm(self._clock.left, self._engine.cancel):
                self._fill(found, depth, self._clock.left / rows_left)
        except CagchatError as error:
            self._dead = isinstance(error, EngineDied)
            missing = next(key for key in ("how", "prefill", "decode", "save_s") if key not in found)
            found[missing] = NOT_REACHED if isinstance(error, EngineCancelled) else error.message
        return found

    def _expected_batch_s(self, depth: int) -> float:
        """Return what one batch at a depth takes at least, as far as can be told from the depth before: 0 at first.

        A batch that has begun is finished, so one that would run past the limit is not begun.
        """
        before, seconds = self._slowest
        return seconds * depth / before if before else seconds

    def clean_up(self) -> None:
        """Delete what was written."""
        self._short_path.unlink(missing_ok=True)

    @property
    def _short_path(self) -> Path:
        return self._folder / "short"

    def _fill(self, found: dict[str, Cell], depth: int, seconds: float) -> None:
        self._engine.clear(BOOK)
        if depth:
            self._restore(found, depth)
        else:
            self._warm_up()
        found["how"] = "a restored state" if depth else "an empty cache"
        found["prefill"] = self._prefill(seconds * PREFILL_SHARE)
        self.note("deepest" if depth else "prefill")
        self._clock.check()
        found["decode"] = self._decode(seconds * DECODE_SHARE)
        self.note("deepest" if depth else "decode")
        if depth:
            self._clock.check()
            self._save(found)

    def _warm_up(self) -> None:
        """Read one batch, so that the first touch of the weights is not measured, and keep its state."""
        for _ in self._engine.evaluate(BOOK, self._text[: self.settings.n_batch]):
            pass
        self._short, _ = self._engine.save(BOOK, self._short_path)
        self._engine.clear(BOOK)

    def _prefill(self, seconds: float) -> Figure:
        """Read on from here, at least one batch and no longer than that, and return tokens per second."""
        timer, start = self._clock.timer, self._engine.length(BOOK)
        ends = [(start, timer())]
        try:
            for progress in self._engine.evaluate(BOOK, self._text):
                ends.append((progress.position, timer()))
                if ends[-1][1] - ends[0][1] >= seconds:
                    self._engine.cancel()
        except EngineCancelled:
            if len(ends) == 1:
                raise
        self._slowest = (start, max(b[1] - a[1] for a, b in pairwise(ends)))
        runs = tuple((b[0] - a[0]) / (b[1] - a[1]) for a, b in pairwise(ends))
        mean = (ends[-1][0] - start) / (ends[-1][1] - ends[0][1])
        return Figure(mean, median(runs), runs)

    def _decode(self, seconds: float) -> Cell:
        """Go on greedily and return tokens per second from the first one on."""
        timer, times = self._clock.timer, list[float]()
        for item in self._engine.generate(BOOK, self._text[:1], Sampling(temperature=0), max_tokens=DECODE_TOKENS):
            if isinstance(item, Piece):
                times.append(timer())
                if len(times) >= LEAST_DECODED and times[-1] - times[0] >= seconds:
                    self._engine.cancel()
            elif len(times) < LEAST_DECODED:
                return NOT_REACHED if item.reason == "cancelled" else "the model ended its text"
        rate = (len(times) - 1) / (times[-1] - times[0])
        return Figure(rate, rate, (rate,))

    def _restore(self, found: dict[str, Cell], depth: int) -> None:
        """Make a state of that depth and restore it. Raises `StorageError` when the disk has no room for it."""
        if self._short is None:
            self._warm_up()
        assert self._short is not None
        needed, free = long_bytes(self._short, depth), shutil.disk_usage(self._folder).free
        if needed > free:
            raise StorageError(
                f"The state needs {size(needed)}, and {self._folder} has {size(free)} free.",
                "Set TMPDIR to a larger disk.",
            )
        path = self._folder / "long"
        try:
            blob = write_long(self._short_path, self._short, depth, path, self._clock.check)
            found["size"] = blob.size_bytes
            put(found, "restore", self._engine.restore(BOOK, path, blob))
        finally:
            path.unlink(missing_ok=True)

    def _save(self, found: dict[str, Cell]) -> None:
        path = self._folder / "saved"
        try:
            put(found, "save", self._engine.save(BOOK, path)[1])
        finally:
            path.unlink(missing_ok=True)


def put(found: dict[str, Cell], what: str, transfer: Transfer) -> None:
    """Write down how long a save or restore took."""
    seconds, rate = transfer.elapsed_s, transfer.size_bytes / transfer.elapsed_s
    found[f"{what}_s"] = Figure(seconds, seconds, (seconds,))
    found[what] = Figure(rate, rate, (rate,))


@contextmanager
def alarm(seconds: float, ring: Callable[[], None]) -> Iterator[None]:
    """Ring once when the seconds are over, unless the block has ended."""
    clock = threading.Timer(max(0.0, seconds), ring)
    clock.daemon = True
    clock.start()
    try:
        yield
    finally:
        clock.cancel()
        clock.join()


def memory_table(taken: Mapping[Moment, int], predicted: Predicted, peak: int | None, kind: str) -> Table:
    """Return what was taken at each moment beside what was expected."""
    rows: list[Mapping[str, Cell]] = []
    for moment, title in MOMENTS.items():
        measured, expected = taken.get(moment), predicted.get(moment)
        row: dict[str, Cell] = {"moment": f"{kind} {title}", "measured": measured, "predicted": expected}
        if measured is not None and expected:
            share = measured / expected
            row["ratio"] = Figure(share, share)
        rows.append(row)
    rows.append({"moment": "RAM of the engine at its peak", "measured": peak, "predicted": predicted.get("host")})
    where = (
        "VRAM is what the GPU's use grew by since before the engine started"
        if kind == "VRAM"
        else "RAM is the engine's process, the pages of the model's file that it has touched included"
    )
    return Table("device_memory", "Memory", MEMORY_COLUMNS, tuple(rows), (f"{where}.",))

"""The engine without a model on a clock of its own, so that every run takes the same time."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from answers import ANSWERS, PRICE

from cagchat.engine.backend import FakeBackend, Notify
from cagchat.engine.fake import FakeEngine, FakeScript
from cagchat.engine.protocol import Blob, Engine, EngineSettings, Finish, Piece, Progress, Sampling, Tokens, Transfer
from cagchat.errors import EngineDied
from cagchat.plan.rates import Estimate
from cagchat.plan.run import Run

# Those of a small model on two cores.
BATCH_S = 3.2
SLOWER_S = 0.00002  # a batch, for each token that is in the cache
UNEVEN_S = 0.5  # at most: other programs run, too
TOKEN_S = 0.09
FIRST_TOKEN_S = 0.65
SAVE_S = 0.12
BATCH = 512  # tokens, as in the settings of the stage
RESTORE_S = 0.015

SCRIPT = FakeScript(answers=ANSWERS, batch_s=BATCH_S, token_s=TOKEN_S)
LAST_WORDS = 20  # tokens of the answer in which the engine dies


class Clock:
    """A clock that goes on when the engine works and never else."""

    def __init__(self, began: float, held_after: int | None, patience_s: float) -> None:
        """Begin at `began`; hold whoever sleeps after so many times, until `release` and never longer than that."""
        self._now = began
        self._left = held_after
        self._patience_s = patience_s
        self._released = threading.Event()

    def __call__(self) -> float:
        """Return the time in seconds."""
        return self._now

    def advance(self, seconds: float) -> None:
        """Go on."""
        self._now += seconds

    def sleep(self, seconds: float) -> None:
        """Go on, or hold."""
        if self._left == 0:
            self._released.wait(self._patience_s)
        elif self._left is not None:
            self._left -= 1
        self.advance(seconds)

    def release(self) -> None:
        """Hold nobody any more."""
        self._released.set()


class SteadyEngine(FakeEngine):
    """Takes the clock's time."""

    def __init__(self, settings: EngineSettings, clock: Clock) -> None:
        super().__init__(settings, SCRIPT, clock.sleep)
        self._clock = clock
        self._draw = random.Random(settings.n_batch)

    def evaluate(self, sequence: int, tokens: Tokens) -> Iterator[Progress]:
        """Read, a little slower with every token, as attention is."""
        began = self._clock()
        for progress in super().evaluate(sequence, tokens):
            self._clock.advance(SLOWER_S * progress.position + UNEVEN_S * self._draw.random())
            yield replace(progress, elapsed_s=self._clock() - began)

    def generate(
        self, sequence: int, prompt: Tokens, sampling: Sampling, *, max_tokens: int
    ) -> Iterator[Piece | Finish]:
        """Answer at the same speed always."""
        self._clock.advance(FIRST_TOKEN_S)
        began = self._clock()
        for item in super().generate(sequence, prompt, sampling, max_tokens=max_tokens):
            if isinstance(item, Finish):
                yield replace(item, first_token_s=FIRST_TOKEN_S, decode_s=self._clock() - began)
            else:
                yield item

    def save(self, sequence: int, path: Path) -> tuple[Blob, Transfer]:
        """Save in the same time always."""
        blob, transfer = super().save(sequence, path)
        self._clock.advance(SAVE_S)
        return blob, replace(transfer, elapsed_s=SAVE_S)

    def restore(self, sequence: int, path: Path, blob: Blob) -> Transfer:
        """Restore in the same time always."""
        transfer = super().restore(sequence, path, blob)
        self._clock.advance(RESTORE_S)
        return replace(transfer, elapsed_s=RESTORE_S)


class MortalEngine(SteadyEngine):
    """Dies in the middle of one answer, as a process does in a native crash."""

    def generate(
        self, sequence: int, prompt: Tokens, sampling: Sampling, *, max_tokens: int
    ) -> Iterator[Piece | Finish]:
        """Answer, unless it is the question after which nothing comes."""
        fatal = PRICE.encode() in self.text_of(prompt)
        for count, item in enumerate(super().generate(sequence, prompt, sampling, max_tokens=max_tokens)):
            if fatal and count == LAST_WORDS:
                raise died()
            yield item


def died() -> EngineDied:
    """Return the error of a process that ended: its words are those of `engine.child`."""
    error = EngineDied(
        "The engine's process ended (SIGSEGV).", "Ask again: it is started anew and the book is restored."
    )
    error.reason = "SIGSEGV"
    error.log_lines = ("Fatal Python error: Segmentation fault",)
    return error


class SteadyBackend(FakeBackend):
    """Serves steady engines; the first of them is mortal."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(SCRIPT)
        self._clock = clock
        self._served = 0

    def estimate(self, run: Run, start: int, end: int) -> Estimate | None:
        """Return the time that reading takes, as after a first book."""
        batches = (end - start) / BATCH
        return Estimate(batches * (BATCH_S + UNEVEN_S / 2 + SLOWER_S * (start + end) / 2), "measured here")

    def open_engine(self, settings: EngineSettings, notify: Notify) -> Engine:
        """Start an engine."""
        self._served += 1
        return MortalEngine(settings, self._clock) if self._served == 1 else SteadyEngine(settings, self._clock)

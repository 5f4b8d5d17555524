"""A program that prepares a book and prints every event: what the tests of the library kill.

python -m tests.slow_reader HOME BOOK KIND BATCH_S [KILL_AT]

KIND is "fake", "child" (the fake in a process of its own) or a GGUF's path. The timer runs fifty times as fast as
clocks do, so that there is a chance of a checkpoint after every few batches. With KILL_AT the program ends itself by
SIGKILL just before it opens, renames or removes its KILL_AT-th file under HOME.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from dataclasses import replace
from itertools import count
from pathlib import Path

from cagchat.engine.backend import Backend, FakeBackend, LlamaBackend
from cagchat.engine.fake import FakeScript
from cagchat.library import Library
from tests.reading_cases import SETTINGS, locations

SPEED = 50
TOUCHING = ("open", "os.rename", "os.remove", "os.mkdir")


def die_at(number: int, home: str) -> None:
    """End this process by SIGKILL before the file operation with this number."""
    counter = count(1)

    def watch(event: str, arguments: tuple[object, ...]) -> None:
        if event in TOUCHING and str(arguments[0]).startswith(home) and next(counter) == number:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(watch)


def main(home: str, book: str, kind: str, batch_s: str, kill_at: str = "0") -> None:
    """Prepare the book."""
    settings = replace(SETTINGS, checkpoint_share=1.0)
    backend: Backend
    if kind in ("fake", "child"):
        backend = FakeBackend(FakeScript(batch_s=float(batch_s)), own_process=kind == "child")
    else:
        settings = replace(settings, model=kind, batch=16)
        backend = LlamaBackend(locations(Path(home)), fast_kernels="off")
    library = Library(locations(Path(home)), settings, backend, timer=lambda: SPEED * time.perf_counter())
    if kill_at != "0":
        die_at(int(kill_at), home)
    for event in library.prepare(Path(book)):
        print(type(event).__name__, getattr(event, "position", ""), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])

"""Killed processes: what was kept is gone on from, what was not is read again, and two processes read a book once."""

from __future__ import annotations

import os
import random
import signal
import time
from dataclasses import replace
from pathlib import Path

import pytest

from cagchat.engine.backend import LlamaBackend
from cagchat.engine.fake import FakeScript
from cagchat.errors import EngineDied
from cagchat.events import Checkpointed, Reading, Ready, Restored, Resumed, Waiting
from cagchat.states.lock import holder
from tests.engine_cases import model_path
from tests.library.saved import EAGER, READER, REAL, stopped_after
from tests.reading_cases import (
    Kind,
    Program,
    Watched,
    book_tokens_evaluated,
    chapters,
    fake,
    library_of,
    locations,
    of_type,
    opened,
    partials,
    write_book,
)
from tests.waiting import has_ended, wait_until


@pytest.mark.parametrize("kind", [Kind("fake", "attention"), Kind("qwen35", "hybrid")], ids=str)
def test_killed_engine_loses_what_came_since_the_checkpoint(
    kind: Kind, home: Path, tmp_path: Path, models: Path
) -> None:
    """After the engine was killed while reading, the next opening goes on at the last checkpoint."""
    book = write_book(tmp_path, chapters(3))
    settings = replace(EAGER, batch=32, model=str(model_path(kind.model, models)) if kind in REAL else "")
    backend = (
        LlamaBackend(locations(home), "off") if kind in REAL else fake(FakeScript(batch_s=0.005), own_process=True)
    )
    watched = Watched(backend)
    library = library_of(home, watched, settings, lambda: 50 * time.perf_counter())
    kept = 0

    def read_and_kill() -> None:
        nonlocal kept
        for event in library.prepare(book):
            if isinstance(event, Checkpointed):
                kept = event.position
            elif kept and isinstance(event, Reading) and event.position > kept:
                os.kill(watched.pid(), signal.SIGKILL)

    with pytest.raises(EngineDied) as caught:
        read_and_kill()
    assert caught.value.reason == "SIGKILL"
    assert f"{kept:,}" in caught.value.hint
    ready, events = opened(library, book)
    assert kept > 0
    assert [event.position for event in of_type(events, Resumed)] == [kept]
    assert book_tokens_evaluated(ready) == ready.n_tokens - kept
    ready.close()


def test_killed_program_resumes_or_starts_over(home: Path, tmp_path: Path) -> None:
    """Killed before ten random file operations, one run after another, it ends sealed and with nothing left over."""
    book = write_book(tmp_path, chapters(8))
    moments = random.Random(41)
    for _ in range(10):
        kill_at = str(moments.randrange(1, 120))
        with Program(*READER, str(home), str(book), "fake", "0.002", kill_at) as program:
            program.rest()
    ready, _ = opened(library_of(home), book)
    whole, _ = opened(library_of(tmp_path / "other home"), book)
    assert ready.manifest.state == whole.manifest.state
    assert ready.manifest.probe == whole.manifest.probe
    assert partials(home) == []
    names = {file.name for file in ready.folder.path.iterdir()}
    assert names == {file.name for file in whole.folder.path.iterdir()}


def test_engine_ends_with_a_killed_program(home: Path, tmp_path: Path, models: Path) -> None:
    """When the program is killed, its engine's process ends, and what was checkpointed is gone on from."""
    book = write_book(tmp_path, chapters(7))
    model = str(model_path("qwen35", models))
    with Program(*READER, str(home), str(book), model, "0") as program:
        position = int(program.line_with("Checkpointed").split()[1])
        children = Path(f"/proc/{program.pid}/task/{program.pid}/children")
        engines = [int(pid) for pid in children.read_text().split()] if children.exists() else []
        program.process.kill()
        program.rest()
    wait_until(lambda: all(map(has_ended, engines)), "the engine's process has ended")
    (folder,) = library_of(home).states.all()
    assert folder.manifest().position >= position > 0
    assert folder.manifest().state is None


def test_two_processes_read_a_book_once(home: Path, tmp_path: Path) -> None:
    """While one process reads a book, another says who does, waits, and restores without reading any of it."""
    book = write_book(tmp_path, chapters(8))
    library = library_of(home)
    with Program(*READER, str(home), str(book), "fake", "0.01") as reader:
        reader.line_with("Checkpointed")
        events = library.prepare(book)
        assert next(events) == Waiting("Lanterns", reader.pid)
        rest = list(events)
        assert reader.rest()[0].split()[-1] == "Ready"
    ready = rest[-1]
    assert isinstance(ready, Ready)
    assert of_type(rest, Restored)
    assert book_tokens_evaluated(ready.book) == 0


def test_waiter_takes_over_from_a_killed_reader(home: Path, tmp_path: Path) -> None:
    """When the process that reads is killed, the one that waits goes on at its checkpoint."""
    book = write_book(tmp_path, chapters(40))
    library = library_of(home)
    with Program(*READER, str(home), str(book), "fake", "0.05") as reader:
        position = int(reader.line_with("Checkpointed").split()[1])
        events = library.prepare(book)
        assert isinstance(next(events), Waiting)
        reader.process.kill()
        rest = list(events)
    ready = rest[-1]
    assert isinstance(ready, Ready)
    (resumed,) = of_type(rest, Resumed)
    assert resumed.position >= position > 0
    assert book_tokens_evaluated(ready.book) == ready.book.n_tokens - resumed.position
    assert holder(ready.book.folder) == 0


def test_stop_while_waiting(home: Path, tmp_path: Path) -> None:
    """A stop ends the wait for another process and leaves that one alone."""
    book = write_book(tmp_path, chapters(40))
    with Program(*READER, str(home), str(book), "fake", "0.05") as reader:
        reader.line_with("Checkpointed")
        events = stopped_after(library_of(home), book, lambda event: isinstance(event, Waiting))
        assert of_type(events, Waiting)[0].pid == reader.pid
        reader.line_with("Reading")

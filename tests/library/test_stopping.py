"""Checkpoints while a book is read, stopping at any moment, and going on at the exact token."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from cagchat.engine.backend import FakeBackend
from cagchat.engine.fake import FakeEngine, FakeScript
from cagchat.engine.protocol import Blob, EngineSettings, Transfer
from cagchat.events import (
    Checkpointed,
    Notice,
    Opening,
    Planned,
    PrepareEvent,
    Reading,
    Ready,
    Restored,
    Resumed,
    Sealed,
)
from cagchat.files import process_runs
from cagchat.models.facts import ModelFacts
from cagchat.proof import count_evaluated
from tests.library.saved import EAGER, REAL, rewrite, sealed, stopped_after
from tests.reading_cases import (
    FAKES,
    SETTINGS,
    Kind,
    Watched,
    book_tokens_evaluated,
    chapters,
    fake,
    library_for,
    library_of,
    of_type,
    opened,
    opening,
    write_book,
)


class Clock:
    """A timer that only moves when something is said to take time."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def pass_by(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds


class SlowDisk(FakeEngine):
    """A fake whose batches of 16 take a second, and whose saves take a fiftieth of a second for each of them."""

    def __init__(self, settings: EngineSettings, clock: Clock) -> None:
        super().__init__(settings, FakeScript(batch_s=1.0), clock.pass_by)
        self._clock = clock

    def save(self, sequence: int, path: Path) -> tuple[Blob, Transfer]:
        blob, transfer = super().save(sequence, path)
        self._clock.pass_by(0.02 * blob.n_tokens / 16)
        return blob, transfer


def test_checkpoints_stay_within_their_share(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Checkpoints cost about the share of the reading that the settings allow them, and never more."""
    clock = Clock()
    backend = fake()
    monkeypatch.setattr(backend, "open_engine", lambda settings, notify: SlowDisk(settings, clock))
    settings = replace(SETTINGS, batch=16, checkpoint_share=0.1)
    library = library_of(home, backend, settings, clock)
    ready, events = opened(library, write_book(tmp_path, chapters(5)))
    batches = -(-ready.n_tokens // 16)
    spent = sum(event.elapsed_s for event in of_type(events, Checkpointed))
    assert 0.07 * batches <= spent <= 0.1 * batches


def test_no_checkpoints_when_switched_off(home: Path, book: Path) -> None:
    """With a share of 0 nothing is saved while reading, but a stop still keeps what was read."""
    library = library_of(home, settings=replace(SETTINGS, checkpoint_share=0.0))
    events = stopped_after(library, book, lambda event: isinstance(event, Reading) and event.position > 700)
    (kept,) = of_type(events, Checkpointed)
    assert kept.position > 700


MOMENTS: tuple[tuple[str, Callable[[PrepareEvent], bool]], ...] = (
    ("planned", lambda event: isinstance(event, Planned)),
    ("first batch", lambda event: isinstance(event, Reading)),
    ("middle", lambda event: isinstance(event, Reading) and event.position > 512),
    ("boundary", lambda event: isinstance(event, Reading) and event.section == "CHAPTER 2"),
    ("checkpoint", lambda event: isinstance(event, Checkpointed)),
    ("last batch", lambda event: isinstance(event, Reading) and event.position == event.n_tokens),
    ("sealed", lambda event: isinstance(event, Sealed)),
)


@pytest.mark.parametrize("kind", FAKES, ids=str)
@pytest.mark.parametrize("enough", [moment for _, moment in MOMENTS], ids=[name for name, _ in MOMENTS])
def test_stop_keeps_what_was_read(
    enough: Callable[[PrepareEvent], bool], kind: Kind, home: Path, tmp_path: Path, models: Path
) -> None:
    """Stopped at any moment, the next opening goes on at exactly that token and ends in the same state."""
    book = write_book(tmp_path, chapters(3))
    clock = Clock()
    watched = Watched(FakeBackend(FakeScript(memory=kind.memory, batch_s=0.5), sleep=clock.pass_by))
    library = library_of(home, watched, EAGER, clock)
    was_sealed = bool(of_type(stopped_after(library, book, enough), Sealed))
    read = sum(count_evaluated(watched.engines[-1].take_spans(), 0)[:2]) if watched.engines else 0
    ready, events = opened(library, book)
    assert [event.position for event in of_type(events, Resumed)] == ([read] if read and not was_sealed else [])
    assert book_tokens_evaluated(ready) == ready.n_tokens - read
    whole, _ = library_for(kind, tmp_path / "other home", models)
    with opening(whole, book) as unbroken:
        assert ready.manifest.probe == unbroken.manifest.probe
        assert ready.manifest.state == unbroken.manifest.state
        assert ready.manifest.boundaries == unbroken.manifest.boundaries


@pytest.mark.parametrize("kind", REAL, ids=str)
def test_stop_and_resume_with_a_real_model(kind: Kind, home: Path, tmp_path: Path, models: Path) -> None:
    """A real model that was stopped goes on at that token and ends in bitwise the same probe and state."""
    book = write_book(tmp_path, chapters(1, 4))
    settings = replace(SETTINGS, batch=16)
    library, _ = library_for(kind, home, models, settings)
    stopped_after(library, book, lambda event: isinstance(event, Reading) and event.position > event.n_tokens // 3)
    (folder,) = library.states.all()
    position = folder.manifest().position
    ready, events = opened(library, book)
    assert 0 < position < ready.n_tokens
    assert [event.position for event in of_type(events, Resumed)] == [position]
    assert book_tokens_evaluated(ready) == ready.n_tokens - position
    ready.close()
    whole, _ = library_for(kind, tmp_path / "other home", models, settings)
    with opening(whole, book) as unbroken:
        assert ready.manifest.probe == unbroken.manifest.probe
        assert ready.manifest.state == unbroken.manifest.state


class Elsewhere(FakeBackend):
    """A model whose file may lie anywhere: what is in it is the same."""

    def facts(self, model: Path) -> ModelFacts:
        return replace(super().facts(model), tensor_digest="the same")


@pytest.mark.parametrize("flash_attention", [False, True])
def test_moved_model_restores_with_the_attention_of_the_state(home: Path, book: Path, flash_attention: bool) -> None:
    """With its model in another folder a state is found all the same, whatever attention would be chosen today."""
    backend = Watched(Elsewhere())
    folder = sealed(library_of(home, backend, replace(SETTINGS, model="/old/m.gguf")), book)
    rewrite(folder, key=replace(folder.manifest().key, flash_attention=flash_attention))
    ready, events = opened(library_of(home, backend, replace(SETTINGS, model="/new/m.gguf")), book)
    assert book_tokens_evaluated(ready) == 0
    assert not of_type(events, Notice)
    assert ready.settings.flash_attention is flash_attention
    assert ready.settings.model == Path("/new/m.gguf")
    assert folder.manifest().model_path == "/new/m.gguf"  # so that the library does not miss the old one


def test_stop_while_restoring(home: Path, book: Path) -> None:
    """A stop during a restore is not lost: nothing is opened, and the state stays as it is."""
    library = library_of(home)
    sealed(library, book)
    events = stopped_after(library, book, lambda event: isinstance(event, Restored))
    assert not of_type(events, Ready)
    ready, _ = opened(library, book)
    assert book_tokens_evaluated(ready) == 0


def test_abandoned_opening_ends_its_engine(home: Path, book: Path) -> None:
    """A front end that loses interest before the book is ready leaves no engine running."""
    watched = Watched(fake(own_process=True))
    library = library_of(home, watched)
    sealed(library, book)
    for wanted in (Opening, Restored):
        events = library.prepare(book)
        assert any(isinstance(event, wanted) for event in events)
        assert isinstance(events, Iterator)
        events.close()  # type: ignore[attr-defined]  # an iterator of ours is a generator
        assert not process_runs(watched.pid())

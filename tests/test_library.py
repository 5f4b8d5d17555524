"""Preparing books: read once, restored ever after, resumed at the exact token, and refused when anything is wrong."""

from __future__ import annotations

import errno
import os
import random
import signal
import threading
import time
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import pytest

from cagchat import documents
from cagchat.bench.synth import NO_TEMPLATE, write_model
from cagchat.context import LEAST_CHAT_TOKENS, context_for
from cagchat.engine.backend import FakeBackend, LlamaBackend
from cagchat.engine.fake import FakeEngine, FakeScript
from cagchat.engine.protocol import BOOK, Blob, EngineSettings, Span, Transfer
from cagchat.errors import (
    BookTooLong,
    EngineDied,
    StateDamaged,
    StateError,
    StateMismatch,
    Stopped,
    StorageError,
)
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
    Waiting,
)
from cagchat.files import process_runs
from cagchat.library import Library, Options
from cagchat.models.facts import ModelFacts
from cagchat.proof import count_evaluated
from cagchat.states.key import StateKey
from cagchat.states.lock import holder
from cagchat.states.manifest import StateFile
from cagchat.states.store import DELETING, StateFolder
from tests.engine_cases import model_path
from tests.reading_cases import (
    FAKES,
    KINDS,
    SETTINGS,
    Kind,
    Program,
    Watched,
    book_tokens_evaluated,
    chapters,
    fake,
    greedy_rows,
    library_for,
    library_of,
    locations,
    of_type,
    opened,
    opening,
    partials,
    write_book,
)
from tests.waiting import has_ended, wait_until

READER = ("-m", "tests.slow_reader")
REAL = (Kind("qwen35", "hybrid"), Kind("smollm2", "attention"))
NO_REREAD = Options(reread=False)
EAGER = replace(SETTINGS, checkpoint_share=1.0)


@pytest.fixture
def book(tmp_path: Path) -> Path:
    return write_book(tmp_path)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


def sealed(library: Library, path: Path) -> StateFolder:
    """Read a book and close it; return its state's folder."""
    with opening(library, path) as book:
        assert book.manifest.state is not None
        return book.folder


def rewrite(folder: StateFolder, **changes: Any) -> None:
    """Change fields of a manifest, with a digest that fits."""
    folder.write_manifest(replace(folder.manifest(), **changes))


def flip(path: Path, offset: int = -1) -> None:
    """Change one bit of a file."""
    content = bytearray(path.read_bytes())
    content[offset] ^= 1
    path.write_bytes(content)


def state_path(folder: StateFolder) -> Path:
    """Return the sealed state's file."""
    state = folder.manifest().state
    assert state is not None
    return folder.path / state.name


def aside_reasons(library: Library) -> list[str]:
    """Return why folders were set aside."""
    return [(folder.path / "reason.txt").read_text().strip() for folder in library.states.aside()]


def stopped_after(library: Library, path: Path, enough: Callable[[PrepareEvent], bool]) -> list[PrepareEvent]:
    """Prepare a book and stop from another thread once an event is `enough`; return what happened until then."""
    seen: list[PrepareEvent] = []

    def watch() -> None:
        for event in library.prepare(path):
            if not any(map(enough, seen)) and enough(event):
                thread = threading.Thread(target=library.stop)
                thread.start()
                thread.join()
            seen.append(event)

    with pytest.raises(Stopped) as caught:
        watch()
    assert caught.value.exit_code == 130
    return seen


# -- reading and restoring ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Shelf:
    """A book that was read once by a model of this kind, what happened, and rows of logits of a continuation."""

    kind: Kind
    home: Path
    book: Path
    events: list[PrepareEvent]
    spans: list[Span]
    reading: bool
    n_tokens: int
    prompt: array[int]
    rows: list[array[float]]


@pytest.fixture(scope="module", params=KINDS, ids=str)
def shelf(request: pytest.FixtureRequest, models: Path, tmp_path_factory: pytest.TempPathFactory) -> Shelf:
    folder = tmp_path_factory.mktemp("shelf")
    book = write_book(folder)
    library, _ = library_for(request.param, folder, models)
    ready, events = opened(library, book)
    spans, _, reading = ready.take_evidence()
    prompt = ready.engine.tokenize(["Who was late?"], special=False)[0] + ready.pieces.closing
    rows = greedy_rows(ready.engine, prompt)
    ready.close()
    return Shelf(request.param, folder, book, events, spans, reading, ready.n_tokens, prompt, rows)


def test_first_opening_reads_and_seals(shelf: Shelf) -> None:
    """The first opening evaluates every token of the book once, says so, and leaves a sealed state."""
    assert [type(event) for event in shelf.events][-2:] == [Sealed, Ready]
    assert len(of_type(shelf.events, Planned)) == 1
    assert shelf.reading
    assert count_evaluated(shelf.spans, shelf.n_tokens)[:2] == (shelf.n_tokens, 0)


def test_second_opening_restores(shelf: Shelf, models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second opening evaluates no token of the book, parses nothing, and its probe agrees bitwise."""
    monkeypatch.setattr(documents, "parse", lambda content, name: pytest.fail("parsed again"))
    library, _ = library_for(shelf.kind, shelf.home, models)
    ready, events = opened(library, shelf.book)
    assert [type(event) for event in events] == [Opening, Restored, Ready]
    assert of_type(events, Restored)[0].exact
    assert book_tokens_evaluated(ready) == 0
    ready.close()


def test_restored_book_continues_bitwise(shelf: Shelf, models: Path) -> None:
    """What follows the restored book has bitwise the logits that followed the book when it was read."""
    library, _ = library_for(shelf.kind, shelf.home, models)
    with opening(library, shelf.book) as again:
        assert greedy_rows(again.engine, shelf.prompt) == shelf.rows


def test_same_words_share_a_state(home: Path, book: Path, tmp_path: Path) -> None:
    """Another file with the same words opens the state that is there, whatever its name and its line ends."""
    library = library_of(home)
    sealed(library, book)
    copy = tmp_path / "another_name.txt"
    copy.write_bytes(book.read_bytes().replace(b"\n", b"\r\n"))
    ready, events = opened(library, copy)
    assert of_type(events, Restored)
    assert book_tokens_evaluated(ready) == 0
    assert len(library.states.all()) == 1


def test_a_changed_sheet_is_not_believed(home: Path, book: Path) -> None:
    """When a bit changed in what is remembered of the file, or another file's is there, the book is parsed again."""
    library = library_of(home)
    name = sealed(library, book).name
    (sheet,) = (home / "cache" / "documents").iterdir()
    other = write_book(book.parent, chapters(3), "other.txt")
    sealed(library, other)
    (another,) = (path for path in sheet.parent.iterdir() if path != sheet)
    content = sheet.read_bytes()
    for damaged in (content.replace(b"9", b"8", 1), content.replace(b"a", b"e", 1), another.read_bytes(), b""):
        sheet.write_bytes(damaged)
        assert sealed(library, book).name == name
        assert sheet.read_bytes() == content


def test_a_manifest_of_another_book_is_named(home: Path, book: Path) -> None:
    """A folder whose manifest is about another book is set aside with that reason, and the book is read again."""
    library = library_of(home)
    folder = sealed(library, book)
    other = sealed(library, write_book(book.parent, chapters(3), "other.txt"))
    folder.manifest_path.write_bytes(other.manifest_path.read_bytes())
    with opening(library, book) as ready:
        assert book_tokens_evaluated(ready) == ready.n_tokens
    (reason,) = aside_reasons(library)
    assert reason.startswith(f"{folder.manifest_path} is damaged: it is about Other.")


def test_text_of_an_open_book(home: Path, book: Path) -> None:
    """A restored book has the text and the sections that were read."""
    library = library_of(home)
    with opening(library, book) as first:
        document = first.document
    with opening(library, book) as second:
        assert second.document == document
        assert [section.title for section in second.document.sections] == ["CHAPTER 1", "CHAPTER 2"]


def test_leftovers_of_a_sealing_are_deleted(home: Path, book: Path) -> None:
    """What a process killed while sealing left behind is gone after the next opening."""
    library = library_of(home)
    folder = sealed(library, book)
    with Program("-c", "") as dead:
        dead.rest()
    orphan, partial = folder.path / "checkpoint-7.bin", folder.path / f"manifest.json.{dead.pid}.partial"
    orphan.write_bytes(b"old")
    partial.write_bytes(b"half")
    sealed(library, book)
    assert not orphan.exists()
    assert not partial.exists()


def test_leftovers_beside_the_states_are_deleted(home: Path, book: Path) -> None:
    """A partial file that a dead process left beside the state folders is gone after the next reading."""
    library = library_of(home)
    with Program("-c", "") as dead:
        dead.rest()
    leftover = library.states.root / f"lanterns.pid.{dead.pid}.partial"
    library.states.root.mkdir(parents=True)
    leftover.write_bytes(b"half")
    sealed(library, book)
    assert not leftover.exists()


@pytest.mark.parametrize(
    "place", ["cache/models.json", "cache/documents/sheet.json", "data/sessions.sqlite", "data/states/lanterns.pid"]
)
def test_leftovers_of_a_killed_program_are_deleted(place: str, home: Path, book: Path) -> None:
    """What a dead process had not finished writing is gone after the next opening, also of a book that was read."""
    library = library_of(home)
    sealed(library, book)
    with Program("-c", "") as dead:
        dead.rest()
    leftover = home / f"{place}.{dead.pid}.partial"
    leftover.write_bytes(b"half")
    sealed(library, book)
    assert not leftover.exists()


def test_dead_holder_is_forgotten(home: Path, book: Path) -> None:
    """The number of a process that was killed when it had sealed the state is gone after the next opening."""
    library = library_of(home)
    folder = sealed(library, book)
    folder.holder_path.write_text("1")
    sealed(library, book)
    assert not folder.holder_path.exists()


def test_half_deleted_state_is_deleted(home: Path, tmp_path: Path) -> None:
    """What a process that was killed while it deleted has left of a state is gone after any book was opened."""
    library = library_of(home)
    half = sealed(library, write_book(tmp_path, chapters(1), "half.txt"))
    half.path.rename(half.path.with_name(f"{DELETING}{half.name}"))
    sealed(library, write_book(tmp_path, chapters(2), "other.txt"))
    assert not any(path.name.startswith(DELETING) for path in library.states.root.iterdir())


# -- what a state must fit ---------------------------------------------------------------------------------------------


def other_value(value: Any) -> Any:
    """Return another value of the same type."""
    if isinstance(value, bool):
        return not value
    return f"other {value}" if isinstance(value, str) else value + 1


# What a book is opened with is what it was read with, unless the settings say something else.
TAKEN_OVER = {"kv_type", "flash_attention", "yarn_factor", "yarn_original_context"}
# What the file of the tokens is compared with: a difference there is damage.
OF_THE_FILE = {"token_ids", "n_tokens"}


@pytest.mark.parametrize(
    "field", [field.name for field in fields(StateKey) if field.name not in TAKEN_OVER | OF_THE_FILE]
)
def test_every_field_of_the_key_counts(field: str, home: Path, book: Path) -> None:
    """A state made with another value of any field is refused by name, or set aside for that reason and read again."""
    library = library_of(home)
    folder = sealed(library, book)
    key = folder.manifest().key
    rewrite(folder, key=replace(key, **{field: other_value(getattr(key, field))}))
    with pytest.raises(StateMismatch) as caught:
        opened(library, book, NO_REREAD)
    assert caught.value.field == field
    assert folder.manifest().state is not None
    ready, events = opened(library, book)
    assert of_type(events, Sealed)
    assert aside_reasons(library) == [caught.value.message]
    assert ready.manifest.key == key


class Weights(FakeBackend):
    """A model file whose content may be exchanged."""

    def __init__(self, weights: str) -> None:
        super().__init__()
        self._weights = weights

    def facts(self, model: Path) -> ModelFacts:
        return replace(super().facts(model), tensor_digest=f"weights {self._weights}")


def switched(home: Path, what: str, value: str) -> Library:
    """Return a library with one of two settings, models or model files."""
    backend: FakeBackend = Weights(value if what == "weights" else "")
    settings = SETTINGS
    if what == "instructions":
        settings = replace(settings, instructions=value)
    if what == "folder":
        settings, backend = replace(settings, model=f"/{value}/m.gguf"), fake()
    return library_of(home, Watched(backend), settings)


SWITCHES = ("instructions", "folder", "weights")


@pytest.mark.parametrize("what", SWITCHES)
def test_switching_to_and_fro_reads_twice_in_all(what: str, home: Path, book: Path) -> None:
    """Two instructions, two models of one file name or two contents of one file: a state each, and none set aside."""
    evaluated = []
    for value in ("one", "two", "one", "two", "one"):
        library = switched(home, what, value)
        with opening(library, book) as ready:
            evaluated.append(book_tokens_evaluated(ready))
    assert [n > 0 for n in evaluated] == [True, True, False, False, False]
    assert len(library.states.all()) == 2
    assert library.states.aside() == []


@pytest.mark.parametrize("what", SWITCHES)
def test_a_switch_and_back_resumes(what: str, home: Path, tmp_path: Path) -> None:
    """A reading that was stopped goes on at its checkpoint after the book was opened in another way."""
    book = write_book(tmp_path, chapters(8))
    sealed(switched(home, what, "one"), book)
    stopped_after(switched(home, what, "two"), book, lambda e: isinstance(e, Reading) and e.position > e.n_tokens // 3)
    with opening(switched(home, what, "one"), book) as ready:
        assert book_tokens_evaluated(ready) == 0
    library = switched(home, what, "two")
    kept = [folder.manifest().position for folder in library.states.all() if folder.manifest().state is None]
    ready, events = opened(library, book)
    assert [event.position for event in of_type(events, Resumed)] == kept
    assert book_tokens_evaluated(ready) == ready.n_tokens - kept[0]
    ready.close()


def test_reading_anew_beside_a_state_is_said(home: Path, book: Path) -> None:
    """With other instructions the sound state stays, which is said; with re-reading off the book is refused."""
    folder = sealed(switched(home, "instructions", "one"), book)
    before = {file.name: file.read_bytes() for file in folder.path.iterdir()}
    with pytest.raises(StateMismatch, match="instructions") as caught:
        opened(switched(home, "instructions", "two"), book, NO_REREAD)
    assert caught.value.field == "instructions"
    ready, events = opened(switched(home, "instructions", "two"), book)
    ready.close()
    assert [event.text for event in of_type(events, Notice)] == [
        "The saved state was made with another instructions. It stays as it is, and the book is read anew beside it."
    ]
    assert {file.name: file.read_bytes() for file in folder.path.iterdir()} == before


@pytest.mark.parametrize("change", [{}, {"model": "m.gguf"}, {"kv_type": "f16"}], ids=str)
def test_a_state_is_found_by_its_key_whatever_its_folder_is_called(
    change: dict[str, Any], home: Path, book: Path
) -> None:
    """A state in a folder of a name that would not be given today is opened, and switched away from and back to."""
    settings = replace(SETTINGS, model="m.gguf")
    library = library_of(home, settings=settings)
    folder = sealed(library, book)
    folder.path.rename(library.states.folder("Lanterns", "an identity of before").path)
    for instructions, is_read in (("", False), ("Other.", True), ("", False), ("Other.", False)):
        library = library_of(home, settings=replace(SETTINGS, **change, instructions=instructions))
        with opening(library, book) as ready:
            assert bool(book_tokens_evaluated(ready)) is is_read
    assert len(library.states.all()) == 2
    assert library.states.aside() == []


@pytest.mark.parametrize("field", sorted(OF_THE_FILE))
def test_tokens_that_the_key_does_not_know_are_damage(field: str, home: Path, book: Path) -> None:
    """A state whose key speaks of other tokens than its file holds is refused, and the file named."""
    library = library_of(home)
    folder = sealed(library, book)
    key = folder.manifest().key
    rewrite(folder, key=replace(key, **{field: other_value(getattr(key, field))}))
    with pytest.raises(StateDamaged, match=r"tokens\.bin"):
        opened(library, book, NO_REREAD)


@pytest.mark.parametrize("change", [{"kv_type": "q8_0"}, {"yarn_factor": 2.0, "yarn_original_context": 1024}])
def test_a_book_is_opened_with_what_it_was_read_with(change: dict[str, Any], home: Path, book: Path) -> None:
    """KV type and YaRN of the engine are those of the saved state when the settings leave them open."""
    library = library_of(home)
    folder = sealed(library, book)
    key = replace(folder.manifest().key, **change, rotated_kv="kv_type" in change)
    rewrite(folder, key=key)
    ready, events = opened(library, book)
    assert of_type(events, Restored)
    settings = ready.settings
    assert (settings.kv_type, settings.rope.yarn_factor) == (key.kv_type, key.yarn_factor)


@pytest.mark.parametrize(
    ("change", "setting"),
    [
        ({"kv_type": "q8_0", "rotated_kv": True}, {"kv_type": "f16"}),
        ({"yarn_factor": 2.0, "yarn_original_context": 1024}, {"yarn": False}),
    ],
)
def test_settings_come_before_the_saved_state(
    change: dict[str, Any], setting: dict[str, Any], home: Path, book: Path
) -> None:
    """A state that was read with another KV type or YaRN than the settings ask for is not opened."""
    folder = sealed(library_of(home), book)
    rewrite(folder, key=replace(folder.manifest().key, **change))
    ready, events = opened(library_of(home, settings=replace(SETTINGS, **setting)), book)
    assert of_type(events, Sealed)
    assert ready.settings.kv_type == "f16"
    assert ready.settings.rope.yarn_factor == 1


def damage_manifest(folder: StateFolder) -> None:
    flip(folder.manifest_path, folder.manifest_path.stat().st_size // 2)


def cut_manifest(folder: StateFolder) -> None:
    folder.manifest_path.write_bytes(folder.manifest_path.read_bytes()[:100])


def damage_tokens(folder: StateFolder) -> None:
    flip(folder.tokens_path, 40)


def cut_tokens(folder: StateFolder) -> None:
    folder.tokens_path.write_bytes(folder.tokens_path.read_bytes()[:-3])


def lose_tokens(folder: StateFolder) -> None:
    folder.tokens_path.unlink()


def damage_state(folder: StateFolder) -> None:
    flip(state_path(folder))


def cut_state(folder: StateFolder) -> None:
    state_path(folder).write_bytes(state_path(folder).read_bytes()[:-9])


def lose_state(folder: StateFolder) -> None:
    state_path(folder).unlink()


def damage_text(folder: StateFolder) -> None:
    flip(folder.book_path, 20)


def lose_text(folder: StateFolder) -> None:
    folder.book_path.unlink()


def lose_manifest(folder: StateFolder) -> None:
    folder.manifest_path.unlink()


DAMAGES = (
    (damage_manifest, "manifest.json"),
    (cut_manifest, "manifest.json"),
    (lose_manifest, "manifest.json"),
    (damage_tokens, "tokens.bin is damaged: its token ids"),
    (cut_tokens, "tokens.bin"),
    (lose_tokens, "tokens.bin"),
    (damage_state, "state-"),
    (cut_state, "state-"),
    (lose_state, "state-"),
    (damage_text, "book.txt"),
    (lose_text, "book.txt"),
)


@pytest.mark.parametrize(("damage", "name"), DAMAGES, ids=lambda value: getattr(value, "__name__", ""))
def test_damage_is_named_and_set_aside(
    damage: Callable[[StateFolder], None], name: str, home: Path, book: Path
) -> None:
    """A damaged file is named; with re-reading off nothing changes, else all of it is set aside and read again."""
    library = library_of(home)
    folder = sealed(library, book)
    damage(folder)
    before = {file.name: file.read_bytes() for file in folder.path.iterdir()}
    with pytest.raises(StateError, match=name):
        opened(library, book, NO_REREAD)
    assert {file.name: file.read_bytes() for file in folder.path.iterdir()} == before
    ready, events = opened(library, book)
    assert any(name in notice.text for notice in of_type(events, Notice))
    (aside,) = library.states.aside()
    kept = {file.name: file.read_bytes() for file in aside.path.iterdir() if file.name != "reason.txt"}
    assert kept == before
    assert name in aside_reasons(library)[0]
    assert book_tokens_evaluated(ready) == ready.n_tokens
    opened(library, book, NO_REREAD)


@pytest.mark.parametrize("kind", REAL, ids=str)
def test_damaged_state_of_a_real_model(kind: Kind, home: Path, tmp_path: Path, models: Path) -> None:
    """A flipped bit in a real model's state is found before anything is answered from it."""
    library, _ = library_for(kind, home, models)
    book = write_book(tmp_path, chapters(1, 2))
    folder = sealed(library, book)
    flip(state_path(folder), state_path(folder).stat().st_size // 2)
    with pytest.raises(StateDamaged, match="damaged"):
        opened(library, book, NO_REREAD)


def test_damaged_checkpoint_is_set_aside(home: Path, book: Path) -> None:
    """A damaged checkpoint is named and kept under another name, and reading starts again from the beginning."""
    library = library_of(home)
    stopped_after(library, book, lambda event: isinstance(event, Reading) and event.position >= 500)
    (folder,) = library.states.all()
    checkpoint = folder.manifest().checkpoint
    assert checkpoint is not None
    flip(folder.path / checkpoint.name)
    ready, events = opened(library, book)
    assert any(checkpoint.name in notice.text for notice in of_type(events, Notice))
    assert not of_type(events, Resumed)
    assert book_tokens_evaluated(ready) == ready.n_tokens
    assert [file.suffix for file in folder.path.glob("checkpoint-*")] == [".damaged"]


def test_another_build_is_proved(home: Path, book: Path) -> None:
    """A state of another build is used after its probe agreed; that is said once and recorded."""
    library = library_of(home)
    folder = sealed(library, book)
    build = folder.manifest().build
    rewrite(folder, build="another build")
    _, events = opened(library, book)
    assert any("another build" in notice.text for notice in of_type(events, Notice))
    assert folder.manifest().build == build
    _, events = opened(library, book)
    assert not of_type(events, Notice)


@pytest.mark.parametrize("kind", [*FAKES, Kind("qwen3", "attention"), *REAL], ids=str)
def test_state_of_another_book_is_refused(kind: Kind, home: Path, tmp_path: Path, models: Path) -> None:
    """Another book's state of the same length, with checksums that fit, is betrayed by its probe."""
    library, _ = library_for(kind, home, models)
    book = write_book(tmp_path, chapters(1, 3))
    with opening(library, book) as ours:
        n_tokens, engine = ours.n_tokens, ours.engine
        other = engine.tokenize(["The river had risen in the night and taken the mill. " * 40], special=False)[0]
        engine.clear(BOOK)
        for _ in engine.evaluate(BOOK, other[:n_tokens]):
            pass
        foreign, _ = engine.save(BOOK, state_path(ours.folder))
        assert foreign.n_tokens == n_tokens
        rewrite(ours.folder, state=StateFile(state_path(ours.folder).name, foreign))
    with pytest.raises(StateDamaged, match="other logits"):
        opened(library, book, NO_REREAD)


# -- checkpoints and stopping ------------------------------------------------------------------------------------------


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


# -- killed processes --------------------------------------------------------------------------------------------------


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


# -- the disk ----------------------------------------------------------------------------------------------------------


class FullDisk:
    """Refuses one write under a folder, the one with the number given, as a full disk would; counts them all."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, home: Path, number: int, code: int = errno.ENOSPC) -> None:
        self.writes = 0
        self._number = number
        self._code = code
        real_open, real_mkdir, real_allocate = os.open, os.mkdir, os.posix_fallocate

        def open_file(path: Any, flags: int, *arguments: Any, **options: Any) -> int:
            if flags & os.O_CREAT and str(path).startswith(str(home)):
                self._count()
            return real_open(path, flags, *arguments, **options)

        def make_folder(path: Any, *arguments: Any, **options: Any) -> None:
            if str(path).startswith(str(home)):
                self._count()
            real_mkdir(path, *arguments, **options)

        def allocate(*arguments: Any) -> None:
            self._count()
            real_allocate(*arguments)

        monkeypatch.setattr(os, "open", open_file)
        monkeypatch.setattr(os, "mkdir", make_folder)
        monkeypatch.setattr(os, "posix_fallocate", allocate)

    def _count(self) -> None:
        self.writes += 1
        if self.writes == self._number:
            raise OSError(self._code, os.strerror(self._code))


def complaints_of(library: Library, book: Path) -> list[str]:
    """Prepare a book; return the error that ended it, or what was said on the way."""
    try:
        _, events = opened(library, book)
    except StorageError as error:
        return [error.message]
    return [notice.text for notice in of_type(events, Notice)]


def survives_a_full_disk(prepare_once: Callable[[Path], Library], home: Path, book: Path) -> tuple[int, int]:
    """Refuse the first write, then the second and so on, until none is left; return how many were and how many hurt.

    Each time there is one storage error, or the book is ready; and afterwards a normal opening works.
    """
    refused = errors = 0
    while True:
        place = home / f"{refused} writes"
        library = prepare_once(place)
        with pytest.MonkeyPatch.context() as monkeypatch:
            disk = FullDisk(monkeypatch, place, refused + 1)
            complaints = complaints_of(library, book)
        assert len(complaints) <= 1, complaints
        errors += any("disk that holds" in complaint for complaint in complaints)
        if disk.writes <= refused:
            return refused, errors
        refused += 1
        ready, _ = opened(library_of(place), book)
        assert ready.manifest.state is not None
        assert partials(place) == []


def test_full_disk_while_reading(home: Path, book: Path) -> None:
    """Whichever write of a first opening meets a full disk, it is said once, and a later opening succeeds."""
    refused, errors = survives_a_full_disk(lambda place: library_of(place, settings=EAGER), home, book)
    assert refused > errors > 3


def test_full_disk_while_restoring(home: Path, book: Path) -> None:
    """A saved book opens on a full disk."""

    def read_before(place: Path) -> Library:
        library = library_of(place)
        sealed(library, book)
        return library

    _, errors = survives_a_full_disk(read_before, home, book)
    assert errors == 0


def test_unsaved_book_can_be_asked(home: Path, book: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the disk does not take the state, that is said and the book is open nevertheless."""
    library = library_of(home)

    def refuse(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(os, "posix_fallocate", refuse)
    ready, events = opened(library, book)
    assert any("could not be saved" in notice.text for notice in of_type(events, Notice))
    assert ready.manifest.state is None
    assert ready.engine.length(BOOK) == ready.n_tokens


def test_small_disk_is_refused_before_the_wait(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that cannot take the finished state is refused after two batches, with both sizes."""
    backend = Watched(fake(FakeScript(batch_s=0.02)))
    library = library_of(home, backend, replace(SETTINGS, batch=16))
    monkeypatch.setattr(library.states, "free_bytes", lambda: 9_000)
    events: list[PrepareEvent] = []
    with pytest.raises(StorageError, match=r"will take \d+ kB.*9 kB\s+free"):
        events.extend(library.prepare(write_book(tmp_path, chapters(20))))
    assert sum(span.count for span in backend.engines[-1].take_spans()) < 2_000


@pytest.mark.parametrize("code", [errno.EROFS, errno.EACCES])
def test_unwritable_data_folder(code: int, home: Path, book: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A data folder that cannot be written is one error with a hint, before anything is read."""

    def refuse(path: object, *arguments: object, **options: object) -> None:
        raise OSError(code, os.strerror(code))

    backend = Watched(fake())
    library = library_of(home, backend)
    monkeypatch.setattr(os, "mkdir", refuse)
    with pytest.raises(StorageError, match="cannot be written") as caught:
        opened(library, book)
    assert "CAGCHAT_HOME" in caught.value.hint
    assert backend.engines == []


def test_data_folder_that_is_a_file(home: Path, book: Path) -> None:
    """A file where the data folder should be is one error with a hint."""
    home.mkdir()
    (home / "data").write_text("not a folder")
    with pytest.raises(StorageError, match="data"):
        opened(library_of(home), book)


def test_saved_book_opens_from_a_read_only_folder(home: Path, book: Path) -> None:
    """A state in a folder that cannot be written is restored all the same."""
    library = library_of(home)
    rewrite(sealed(library, book), build="another build")
    with pytest.MonkeyPatch.context() as monkeypatch:
        disk = FullDisk(monkeypatch, home, 1, errno.EROFS)
        ready, _ = opened(library, book)
    assert disk.writes > 0
    assert book_tokens_evaluated(ready) == 0


# -- what fits ---------------------------------------------------------------------------------------------------------


def length_of(book: Path, home: Path) -> int:
    """Return the length of a book for the fake, in tokens."""
    with opening(library_of(home), book) as ready:
        return ready.n_tokens


def test_book_too_long(home: Path, book: Path) -> None:
    """A book longer than the model's context is refused with its tokens, the context and what would hold it."""
    n_tokens = length_of(book, home / "large")
    library = library_of(home, fake(FakeScript(context_trained=1024)))
    with pytest.raises(BookTooLong) as caught:
        opened(library, book)
    for number in (n_tokens, 1024, LEAST_CHAT_TOKENS, n_tokens + LEAST_CHAT_TOKENS - 1024):
        assert f"{number:,}" in caught.value.message
    assert f"{n_tokens + LEAST_CHAT_TOKENS:,}" in caught.value.hint
    assert "--truncate" in caught.value.hint
    assert library.states.all() == []


@pytest.mark.parametrize("chat_tokens", [512, 4096])
def test_truncated_book_fits(chat_tokens: int, home: Path, book: Path) -> None:
    """With truncation the beginning is read and room for a chat stays, even if more was wanted than the model has."""
    library = library_of(home, fake(FakeScript(context_trained=1024)), replace(SETTINGS, chat_tokens=chat_tokens))
    ready, events = opened(library, book, Options(truncate=True))
    assert ready.n_tokens == 512
    assert ready.manifest.book.truncated
    left_out = length_of(book, home / "large") - 512
    assert any(f"{left_out:,} tokens" in notice.text for notice in of_type(events, Notice))
    again, events = opened(library, book, Options(truncate=True))
    assert of_type(events, Restored)
    assert again.n_tokens == 512


@pytest.mark.parametrize(
    ("n_tokens", "chat_tokens", "trained", "expected"),
    [(1000, 512, 0, 1536), (1024, 512, 0, 1536), (1025, 512, 0, 1792), (1000, 4096, 2048, 2048), (1, 256, 8192, 512)],
)
def test_context_for(n_tokens: int, chat_tokens: int, trained: int, expected: int) -> None:
    """The context holds book and chat, in steps, and never more than the model was trained for."""
    assert context_for(n_tokens, chat_tokens, trained) == expected


def test_least_room_decides(home: Path, book: Path) -> None:
    """A book fits as long as the least room for a chat is left, although the settings ask for more."""
    exact = length_of(book, home / "large") + LEAST_CHAT_TOKENS
    settings = replace(SETTINGS, chat_tokens=4096)
    ready, _ = opened(library_of(home, fake(FakeScript(context_trained=exact)), settings), book)
    assert ready.settings.n_context == exact
    with pytest.raises(BookTooLong, match="1 too many"):
        opened(library_of(home / "tighter", fake(FakeScript(context_trained=exact - 1)), settings), book)


def test_model_without_a_template(home: Path, tmp_path: Path, models: Path) -> None:
    """A model file without a chat template is used with ChatML, and that is said."""
    model = write_model(models / "bare.gguf", "qwen3", template=NO_TEMPLATE)
    backend = LlamaBackend(locations(home), fast_kernels="off")
    library = library_of(home, backend, replace(SETTINGS, model=str(model)))
    ready, events = opened(library, write_book(tmp_path, chapters(1, 1)))
    assert any("ChatML" in notice.text for notice in of_type(events, Notice))
    assert "<|im_start|>" in ready.manifest.frame.head
    ready.close()


# -- boundaries --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [Kind("fake", "hybrid"), Kind("qwen35", "hybrid")], ids=str)
def test_boundary_cuts_a_restored_book(kind: Kind, home: Path, tmp_path: Path, models: Path) -> None:
    """At a section's end a restored book can be cut, and goes on as if it had been read only so far."""
    library, _ = library_for(kind, home, models)
    book = write_book(tmp_path, chapters(3, 3))
    sealed(library, book)
    with opening(library, book) as ready:
        manifest = ready.manifest
        assert [file.blob.n_tokens for file in manifest.boundaries] == list(manifest.book.section_tokens[:-1])
        end = manifest.boundaries[0].blob.n_tokens
        ready.engine.restore_boundary(
            BOOK, ready.folder.path / manifest.boundaries[0].name, manifest.boundaries[0].blob
        )
        assert ready.engine.length(BOOK) == end
        rows = greedy_rows(ready.engine, ready.pieces.closing)
        ready.engine.clear(BOOK)
        for _ in ready.engine.evaluate(BOOK, ready.folder.tokens()[:end]):
            pass
        assert greedy_rows(ready.engine, ready.pieces.closing) == rows


def test_attention_needs_no_boundaries(home: Path, book: Path) -> None:
    """A model whose cache can be cut anywhere keeps none."""
    with opening(library_of(home), book) as ready:
        assert ready.manifest.boundaries == ()


def test_boundaries_are_kept_once(home: Path, tmp_path: Path) -> None:
    """A reading that resumes before boundaries it had kept already does not record them twice."""
    book = write_book(tmp_path, chapters(4))
    backend = fake(FakeScript(memory="hybrid", crash_at=1500), own_process=True)
    library = library_of(home, backend)
    with pytest.raises(EngineDied):
        opened(library, book)
    (folder,) = library.states.all()
    assert len(folder.manifest().boundaries) > 0
    ready, _ = opened(library_of(home, fake(FakeScript(memory="hybrid"))), book)
    names = [file.name for file in ready.manifest.boundaries]
    assert len(names) == len(set(names)) == 3

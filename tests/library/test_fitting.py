"""What a state must fit before it is used: every field of its key, every byte of its files, and whose it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from cagchat.engine.backend import FakeBackend
from cagchat.engine.protocol import BOOK
from cagchat.errors import StateDamaged, StateError, StateMismatch
from cagchat.events import Notice, Reading, Restored, Resumed, Sealed
from cagchat.library import Library
from cagchat.models.facts import ModelFacts
from cagchat.states.key import StateKey
from cagchat.states.manifest import StateFile
from cagchat.states.store import StateFolder
from tests.library.saved import NO_REREAD, REAL, aside_reasons, flip, rewrite, sealed, state_path, stopped_after
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

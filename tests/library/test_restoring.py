"""Reading a book once and restoring it ever after, in whatever process: nothing of it is evaluated again."""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from pathlib import Path

import pytest

from cagchat import documents
from cagchat.engine.protocol import Span
from cagchat.events import Opening, Planned, PrepareEvent, Ready, Restored, Sealed
from cagchat.proof import count_evaluated
from cagchat.states.store import DELETING
from tests.library.saved import aside_reasons, sealed
from tests.reading_cases import (
    KINDS,
    Kind,
    Program,
    book_tokens_evaluated,
    chapters,
    greedy_rows,
    library_for,
    library_of,
    of_type,
    opened,
    opening,
    write_book,
)


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

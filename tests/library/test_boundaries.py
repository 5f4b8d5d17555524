"""Snapshots at section ends: kept once, for the models that need them, and as good as reading that far."""

from __future__ import annotations

from pathlib import Path

import pytest

from cagchat.engine.fake import FakeScript
from cagchat.engine.protocol import BOOK
from cagchat.errors import EngineDied
from tests.library.saved import sealed
from tests.reading_cases import Kind, chapters, fake, greedy_rows, library_for, library_of, opened, opening, write_book


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

"""Saved books for the tests of the library: made, changed, damaged, and told."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cagchat.errors import Stopped
from cagchat.events import PrepareEvent
from cagchat.library import Library, Options
from cagchat.states.store import StateFolder
from tests.reading_cases import SETTINGS, Kind, opening

READER = ("-m", "tests.slow_reader")
REAL = (Kind("qwen35", "hybrid"), Kind("smollm2", "attention"))
NO_REREAD = Options(reread=False)
EAGER = replace(SETTINGS, checkpoint_share=1.0)


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

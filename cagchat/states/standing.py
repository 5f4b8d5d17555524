"""What a saved state is good for now, from its manifest and what is remembered of its model; its bytes are not read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cagchat.errors import StateDamaged
from cagchat.models.facts import ModelFacts, read_entries, stamps
from cagchat.states.key import NAMES, differences
from cagchat.states.lock import held, holder
from cagchat.states.manifest import Manifest
from cagchat.states.present import present_key
from cagchat.states.store import StateFolder

FAKE_METADATA = "fake"  # the metadata digest of the engine without a model, which has no file to look for

Status = Literal["ready", "partial", "outdated", "reading"]


@dataclass(frozen=True, slots=True)
class Standing:
    """What a state is good for now: `text` says it to a reader, `manifest` is None when it cannot be trusted."""

    folder: StateFolder
    status: Status
    text: str
    manifest: Manifest | None
    size_bytes: int
    used_at: float


@dataclass(frozen=True, slots=True)
class Remembered:
    """What is known about model files without reading them: the cache of their facts, as it was when it was read."""

    facts: dict[Path, ModelFacts]
    changed: frozenset[Path]

    @classmethod
    def read(cls, cache_file: Path) -> Remembered:
        """Read the cache; a model whose file is no longer the one that was read has no facts but is `changed`."""
        entries = read_entries(cache_file).values()
        fresh = {e.facts.path: e.facts for e in entries if e.files == stamps(Path(f.path) for f in e.files)}
        return cls(fresh, frozenset(e.facts.path for e in entries) - fresh.keys())


def standing(folder: StateFolder, models: Remembered, instructions: str = "") -> Standing:
    """Say what a state is good for, from its manifest and what is remembered of its model; its bytes are not read.

    `instructions` is the setting of that name.
    """
    manifest: Manifest | None = None
    try:
        manifest = folder.manifest()
        why = outdated_because(manifest, models, instructions)
    except StateDamaged:
        why = "its manifest is damaged"
    status, text = judged(reader_of(folder), manifest, why)
    return Standing(folder, status, text, manifest, folder.size_bytes(), folder.used_at())


def judged(reader: int | None, manifest: Manifest | None, why: str) -> tuple[Status, str]:
    """Return the status and its words from who reads the book, its manifest, and why it cannot be used, if so."""
    if reader is not None:
        return "reading", f"being read by process {reader}" if reader else "being read by another process"
    if manifest is None or why:
        return "outdated", f"needs reading again ({why})"
    if manifest.state is None:
        return "partial", f"partly read, {100 * manifest.position / max(1, manifest.n_tokens):.0f} %"
    return "ready", "ready"


def outdated_because(manifest: Manifest, models: Remembered, instructions: str = "") -> str:
    """Return why a state does not fit what there is now, or "" when nothing speaks against it."""
    path, facts = Path(manifest.model_path), None
    if manifest.key.model_metadata != FAKE_METADATA:
        if not path.exists():
            return f"its model {path} is gone"
        if path in models.changed:
            return f"its model {path} has changed"
        facts = models.facts.get(path)
    changed = differences(manifest.key, present_key(manifest.key, facts, instructions))
    return f"changed since: {', '.join(NAMES[name] for name in changed)}" if changed else ""


def reader_of(folder: StateFolder) -> int | None:
    """Return the number of the process that reads a book into the folder (0 if unknown), None when nobody does."""
    return holder(folder) if held(folder.lock_path) else None

"""Every book that was read, what its state is good for, and the last chat about it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from cagchat.locations import Locations
from cagchat.recorded import Recorded
from cagchat.sessions.naming import one_line
from cagchat.sessions.session import Session
from cagchat.settings import Settings
from cagchat.states.pruning import aside
from cagchat.states.standing import Remembered, Standing, standing
from cagchat.states.store import States
from cagchat.units import size

MODELS_FILE = "models.json"  # what the backend remembers of model files

LastChats = Callable[[], Sequence[Session]]


@dataclass(frozen=True, slots=True)
class Entry:
    """A book on the shelf and the last chat about it."""

    standing: Standing
    chat: Session | None = None

    @property
    def title(self) -> str:
        """The book's title; of a state that tells none, its folder's name."""
        manifest = self.standing.manifest
        return one_line(manifest.book.title if manifest else "") or self.standing.folder.name

    @property
    def recorded(self) -> Recorded | None:
        """The book to open, None when the state does not tell."""
        manifest = self.standing.manifest
        return Recorded(self.standing.folder, manifest) if manifest else None

    @property
    def path(self) -> Path | None:
        """The book's file, None when the state does not tell."""
        manifest = self.standing.manifest
        return Path(manifest.book.path) if manifest else None


@dataclass(frozen=True, slots=True)
class Shelf:
    """Everything the library shows, the last used book first; `used_bytes` counts what was set aside too."""

    entries: tuple[Entry, ...] = ()
    used_bytes: int = 0
    budget_bytes: int = 0

    @property
    def line(self) -> str:
        """What the states take, against the budget."""
        over = ", over the budget" if self.used_bytes > self.budget_bytes else ""
        return f"{size(self.used_bytes)} used of {size(self.budget_bytes)}{over}"


def read_shelf(locations: Locations, settings: Settings, chats: LastChats) -> Shelf:
    """Look at every saved state, and at the chats for the last one about each book."""
    states, models = States(locations.states), Remembered.read(locations.cache / MODELS_FILE)
    last: dict[str, Session] = {}
    for chat in sorted(chats(), key=lambda chat: chat.updated_at):
        last[chat.book_digest] = chat
    entries = []
    for folder in states.all():
        found = standing(folder, models, settings.instructions)
        entries.append(Entry(found, last.get(found.manifest.book.digest) if found.manifest else None))
    used = sum(entry.standing.size_bytes for entry in entries) + sum(each.size_bytes for each in aside(states))
    return Shelf(tuple(entries), used, int(settings.disk_budget_gb * 1e9))

"""What the terminal app is built from; the command line's own collection of parts is one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from cagchat.engine.backend import Backend
    from cagchat.library import Library
    from cagchat.locations import Locations
    from cagchat.sessions.store import Sessions
    from cagchat.settings import Settings


class Parts(Protocol):
    """Folders, settings, library, chats and where engines come from."""

    @property
    def locations(self) -> Locations:
        """The folders cagchat writes to."""
        ...

    @property
    def settings(self) -> Settings:
        """The merged settings. Raises `ConfigError`, `UsageError` for the value of a flag."""
        ...

    @property
    def backend(self) -> Backend:
        """Where engines come from."""
        ...

    @property
    def library(self) -> Library:
        """The saved states and the way to open books."""
        ...

    @property
    def sessions(self) -> Sessions:
        """The chats."""
        ...

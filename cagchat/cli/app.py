"""What every command works with: folders, settings, the library, the chats and the engine's backend."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Self

from cagchat.locations import Locations, locate
from cagchat.settings import Resolved, Settings, resolve, rules

if TYPE_CHECKING:
    from cagchat.engine.backend import Backend
    from cagchat.library import Library
    from cagchat.sessions.store import Sessions


class App:
    """Builds each part when it is first asked for, so that a command loads only what it uses."""

    def __init__(self, locations: Locations, resolved: Resolved, *, fake: bool = False) -> None:
        """Work in these folders with these settings; `fake` takes the engine without a model."""
        self.locations = locations
        self.resolved = resolved
        self.fake = fake
        self._backend: Backend | None = None
        self._library: Library | None = None
        self._sessions: Sessions | None = None

    @classmethod
    def from_arguments(cls, args: argparse.Namespace, environ: Mapping[str, str] = os.environ) -> App:
        """Merge defaults, the file, the environment and the command line's flags."""
        locations = locate(environ)
        given = {name: value for name in rules() if (value := getattr(args, name, None)) is not None}
        return cls(locations, resolve(locations.config_file, environ, given), fake=getattr(args, "fake", False))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._sessions is not None:
            self._sessions.close()

    @property
    def settings(self) -> Settings:
        """The merged settings."""
        return self.resolved.settings

    @property
    def backend(self) -> Backend:
        """Where engines come from."""
        if self._backend is None:
            from cagchat.engine.backend import FakeBackend, LlamaBackend

            self._backend = FakeBackend() if self.fake else LlamaBackend(self.locations, self.settings.fast_kernels)
        return self._backend

    @property
    def library(self) -> Library:
        """The saved states."""
        if self._library is None:
            from cagchat.library import Library

            self._library = Library(self.locations, self.settings, self.backend)
        return self._library

    @property
    def sessions(self) -> Sessions:
        """The chats; turns that a dead process left running are closed."""
        if self._sessions is None:
            from cagchat.files import private_folder
            from cagchat.sessions.store import Sessions

            private_folder(self.locations.data)
            self._sessions = Sessions(self.locations.sessions_db)
            if self._sessions.notice:
                say(self._sessions.notice)
            self._sessions.recover()
        return self._sessions


def say(text: str) -> None:
    """Tell the user something beside the result: on stderr, because stdout is data."""
    print(text, file=sys.stderr, flush=True)


def complain(message: str, hint: str) -> None:
    """Show an error: one line and its hint."""
    say(f"cagchat: {message}")
    if hint:
        say(f"  hint: {hint}")

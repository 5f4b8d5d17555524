"""What every command works with: folders, settings, the library, the chats and the engine's backend."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Self

from cagchat.cli.output import narrate
from cagchat.locations import Locations, locate
from cagchat.settings import Resolved, Settings, resolve, rules

if TYPE_CHECKING:
    from pathlib import Path

    from cagchat.engine.backend import Backend
    from cagchat.engine.child import Spare
    from cagchat.library import Library
    from cagchat.sessions.store import Sessions


class App:
    """Builds each part when it is first asked for, so that a command loads only what it uses."""

    def __init__(self, locations: Locations, resolving: Callable[[], Resolved], *, fake: bool = False) -> None:
        """Work in these folders; settings are resolved when first asked for, so that a bad file can be mended.

        `fake` takes the engine without a model.
        """
        self.locations = locations
        self._resolving = resolving
        self._resolved: Resolved | None = None
        self.fake = fake
        self._spare: Spare | None = None
        self._backend: Backend | None = None
        self._library: Library | None = None
        self._sessions: Sessions | None = None

    @classmethod
    def from_arguments(cls, args: argparse.Namespace, environ: Mapping[str, str] = os.environ) -> App:
        """Merge defaults, the file, the environment and the command line's flags."""
        locations = locate(environ)
        given = {name: value for name in rules() if (value := getattr(args, name, None)) is not None}
        resolving = partial(resolve, locations.config_file, environ, given)
        return cls(locations, resolving, fake=getattr(args, "fake", False))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._sessions is not None:
            self._sessions.close()
        if self._spare is not None:
            self._spare.close()

    def warm_up(self) -> None:
        """Start a child for the engine now, so that it loads llama.cpp while this process does the rest."""
        if not self.fake:
            from cagchat.engine.child import Spare

            self._spare = Spare()

    def ready_to_chat(self) -> None:
        """Load what answering needs and open the chats."""
        import cagchat.conversation  # noqa: F401 - imported here so that it need not be while the user waits

        assert self.sessions

    @property
    def resolved(self) -> Resolved:
        """The merged settings and where each came from. Raises `ConfigError`, `UsageError` for the value of a flag."""
        if self._resolved is None:
            self._resolved = self._resolving()
        return self._resolved

    def take_defaults(self) -> None:
        """Go on with every setting's default, for a command that has to work where the configuration is bad."""
        defaults = Settings()
        self._resolved = Resolved(defaults, {field.name: "default" for field in fields(defaults)})

    @property
    def settings(self) -> Settings:
        """The merged settings."""
        return self.resolved.settings

    def prefer_model(self, path: Path) -> None:
        """Use this model where the settings name none; call it before the library is asked for."""
        if not self.settings.model:
            self._resolved = replace(self.resolved, settings=replace(self.settings, model=str(path)))

    @property
    def backend(self) -> Backend:
        """Where engines come from."""
        if self._backend is None:
            from cagchat.engine.backend import FakeBackend, LlamaBackend

            if self.fake:
                from cagchat.demo import fake_script

                self._backend = FakeBackend(fake_script())
            else:
                self._backend = LlamaBackend(self.locations, self.settings.fast_kernels, self._spare)
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
    narrate(f"{text}\n")


def complain(message: str, hint: str) -> None:
    """Show an error: one line and its hint, whatever the names in them hold."""
    say(f"cagchat: {' '.join(message.splitlines())}")
    if hint:
        say(f"  hint: {' '.join(hint.splitlines())}")

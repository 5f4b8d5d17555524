"""What every measurement works with: a home of its own, settings, a book, and someone who hears of progress."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from cagchat import documents
from cagchat.engine.backend import LlamaBackend
from cagchat.errors import StateDamaged
from cagchat.events import Notice, Ready
from cagchat.files import private_folder, write_bytes
from cagchat.library import Library
from cagchat.locations import Locations, locate
from cagchat.models.find import resolve_model
from cagchat.opened import OpenBook
from cagchat.settings import ENGINE, PREFIX, Settings, rules

QUESTIONS = ("Who is the most important person in this book?", "Where does it take place?")


@dataclass(frozen=True, slots=True)
class Workbench:
    """One run of `cagchat bench`: `home` takes the place of the user's folders and is deleted afterwards.

    The settings name the model's file and the number of threads, so that both sides of a comparison get the same.
    """

    home: Path
    settings: Settings
    book: Path
    repeat: int
    lengths: tuple[int, ...]
    say: Callable[[str], None]

    @property
    def locations(self) -> Locations:
        """The folders inside `home`."""
        return locate({"CAGCHAT_HOME": str(self.home)})

    @property
    def backend(self) -> LlamaBackend:
        """Where engines come from; what it learns about models and this processor stays in `home`."""
        return LlamaBackend(self.locations, self.settings.fast_kernels)

    @property
    def model(self) -> Path:
        """The model's file: the one that the settings name, else the one that is always there."""
        return resolve_model(self.settings.model, self.locations.models, user_file=self.locations.catalogue_file)

    @property
    def model_name(self) -> str:
        """The model's own name."""
        return self.backend.facts(self.model).name


def open_book(bench: Workbench) -> OpenBook:
    """Open the book as the program does: restored when it was read before, read now otherwise."""
    for event in Library(bench.locations, bench.settings, bench.backend).prepare(bench.book):
        if isinstance(event, Notice):
            bench.say(f"  {event.text}")
        if isinstance(event, Ready):
            if event.book.manifest.state is None:  # a notice has said why
                event.book.close()
                raise StateDamaged("The book's state could not be saved.", "Set TMPDIR to a larger disk.")
            return event.book
    raise AssertionError("prepare ends with Ready")


def forget_books(bench: Workbench) -> None:
    """Delete every saved state in `home`, so that the next opening reads; what is known about the model stays."""
    states = Library(bench.locations, bench.settings, bench.backend).states
    for folder in states.all():
        states.delete(folder)


def count_tokens(bench: Workbench) -> int:
    """Return how many tokens the book's text has for the model, without the frame around it."""
    with closing(bench.backend.open_tokenizer(bench.model)) as tokenizer:
        return len(tokenizer.tokenize([documents.load(bench.book).text], special=False)[0])


def cut_book(bench: Workbench, n_tokens: int) -> Path:
    """Write the book's first `n_tokens` tokens (all of them when it has no more) as a text of their own."""
    with closing(bench.backend.open_tokenizer(bench.model)) as tokenizer:
        (tokens,) = tokenizer.tokenize([documents.load(bench.book).text], special=False)
        content = tokenizer.text_of(tokens[:n_tokens])
    path = private_folder(bench.home / "books") / f"{bench.book.stem}-{n_tokens}.txt"
    write_bytes(path, content.decode(errors="ignore").encode())  # the cut may go through a character
    return path


def flags(settings: Settings) -> list[str]:
    """Return the settings of the engine as a command line, for a `cagchat` that must not look anywhere else."""
    known = rules()
    parts: list[str] = []
    for name in ENGINE:
        flag, value = known[name].flag, getattr(settings, name)
        if isinstance(value, bool):
            parts.append(flag if value else flag.replace("--", "--no-", 1))
        else:
            parts += [flag, str(value)]
    return parts


def environment(bench: Workbench) -> dict[str, str]:
    """Return the environment for a `cagchat` of its own: only `home`, none of the user's settings.

    It may keep its bytecode, as an installed program does: else a start is timed that compiles every module first.
    """
    others = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    others.pop("PYTHONDONTWRITEBYTECODE", None)
    return {**others, "CAGCHAT_HOME": str(bench.home)}

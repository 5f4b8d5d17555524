"""What there is on this machine to read books with, for a newcomer."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cagchat.engine.fastpath import processor_name
from cagchat.errors import ModelError
from cagchat.locations import Locations
from cagchat.models.find import resolve_model
from cagchat.models.gguf import read_header
from cagchat.proof import size
from cagchat.settings import Settings


@dataclass(frozen=True, slots=True)
class Fact:
    """Something that was found on this machine; `mend` says what to do where it is not enough."""

    about: str
    text: str
    mend: str = ""


Found = Callable[[], Sequence[str]]


def told(found: Found, locations: Locations, settings: Settings) -> tuple[Fact, ...]:
    """Say what somebody else found, a line each, and where things are kept."""
    first, *others = list(found()) or [""]
    lines = [Fact("found", first), *(Fact("", line) for line in others)] if first else []
    return (*lines, *kept(locations))


def look_around(locations: Locations, settings: Settings) -> tuple[Fact, ...]:
    """Say what there is to read books with: processor, memory, a model, and where things are kept."""
    cores = os.cpu_count() or 1
    return (
        Fact("processor", f"{processor_name()}, {cores} {'core' if cores == 1 else 'cores'}"),
        Fact("memory", memory_text()),
        model_fact(locations, settings),
        *kept(locations),
    )


def kept(locations: Locations) -> tuple[Fact, Fact]:
    """Say where things are kept."""
    return Fact("saved in", str(locations.data)), Fact("settings", str(locations.config_file))


def memory_text() -> str:
    """Return how much memory there is, in words."""
    try:
        return size(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    except (AttributeError, OSError, ValueError):
        return "this system does not say how much"


def model_fact(locations: Locations, settings: Settings) -> Fact:
    """Say which model would read a book, or how to get one."""
    try:
        header = read_header(resolve_model(settings.model, locations.models))
    except ModelError as error:
        return Fact("model", error.message, error.hint)
    context = f", context {header.context_length:,} tokens" if header.context_length else ""
    return Fact("model", f"{header.name}, {size(header.size_bytes)}{context}")

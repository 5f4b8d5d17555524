"""What there is on this machine to read books with, for a newcomer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cagchat.errors import ConfigError, ModelError
from cagchat.locations import Locations
from cagchat.settings import Settings
from cagchat.units import size

if TYPE_CHECKING:
    from cagchat.hardware.detect import Hardware
    from cagchat.hardware.gpu import Gpu
    from cagchat.plan.planner import Planner

NAMED = 3  # models by name; the others are counted


@dataclass(frozen=True, slots=True)
class Fact:
    """Something that was found on this machine; `mend` says what to do where it is not enough."""

    about: str
    text: str
    mend: str = ""


Look = Callable[[Locations, Settings], Sequence[Fact]]


def look_around(locations: Locations, settings: Settings, planner: Planner | None = None) -> tuple[Fact, ...]:
    """Say what there is to read books with: processor, memory, GPU, models, what fits, and where things are kept.

    A driver may have to wake up and folders are looked through: not for a thread that draws. `planner` knows machine
    and models.
    """
    from cagchat.plan.planner import Planner

    planner = planner or Planner(locations)
    return (
        *machine_facts(planner.hardware),
        *offload_facts(planner.hardware),
        *model_facts(planner, settings),
        Fact("saved in", str(locations.data)),
        Fact("settings", str(locations.config_file)),
    )


def machine_facts(hardware: Hardware) -> Iterator[Fact]:
    """Yield processor, memory, and each GPU or why there is none."""
    cores = "1 core" if hardware.cores == 1 else f"{hardware.cores} cores"
    yield Fact("processor", f"{hardware.processor}, {cores}")
    ram = hardware.ram
    if ram is None:
        yield Fact("memory", "this system does not say how much")
    else:
        limit = f", the limit of this container (the machine has {size(ram.machine_bytes)})" if ram.limit_bytes else ""
        yield Fact("memory", f"{size(ram.total_bytes)}{limit}")
    for gpu in hardware.gpus:
        yield Fact("GPU", gpu_text(gpu))
    if hardware.no_gpu is not None:
        yield Fact("GPU", f"none: {hardware.no_gpu.reason}", hardware.no_gpu.mend)


def gpu_text(gpu: Gpu) -> str:
    """Return a GPU's name and what memory it computes in."""
    return f"{gpu.name}, {size(gpu.total_bytes)} {'shared with the processor' if gpu.unified else 'of VRAM'}"


def offload_facts(hardware: Hardware) -> Iterator[Fact]:
    """Say whether the installed llama.cpp uses the GPU, where there is one to use."""
    from cagchat.engine.library import can_offload
    from cagchat.hardware.offload import judge

    verdict = judge(hardware, can_offload=can_offload())
    if hardware.gpus or verdict.wasted:
        yield Fact("", verdict.text, verdict.mend)


def model_facts(planner: Planner, settings: Settings) -> Iterator[Fact]:
    """Yield the models that are here, the best first, and what this class of machines can read."""
    try:
        labels = [card.label for card in planner.here(settings)]
        more = f" and {len(labels) - NAMED} more" if len(labels) > NAMED else ""
        yield Fact("models", ", ".join(labels[:NAMED]) + more)
    except ModelError as error:
        yield Fact("models", error.message, error.hint)
    try:
        tier = planner.tier(planner.machine(settings))
        if tier is not None and tier.choices:
            best = tier.choices[0]
            name = f"{planner.catalogue.entry(best.model).name} {best.quantisation}"
            tokens = max(0, best.longest - settings.chat_tokens)
            yield Fact("what fits", f"up to a book of {tokens:,} tokens, with {name}")
    except (ModelError, ConfigError) as error:  # of the user's own catalogue
        yield Fact("what fits", error.message, error.hint)

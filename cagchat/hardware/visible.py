"""Which of the listed GPUs CUDA shows to a process: CUDA_VISIBLE_DEVICES and the rules of MIG, as pure functions.

The rules are those of NVIDIA's CUDA programming guide (environment variables) and MIG user guide (device
enumeration): the first entry that names no device ends the list, an entry twice leaves none, and a process sees one
MIG instance or whole GPUs, never both.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

VARIABLE = "CUDA_VISIBLE_DEVICES"


@dataclass(frozen=True, slots=True)
class Listed:
    """A GPU as NVML lists it; `instances` has for each of its MIG instances every name that CUDA takes for it."""

    uuid: str
    mig: bool = False
    instances: tuple[tuple[str, ...], ...] = ()


@dataclass(frozen=True, slots=True)
class Pick:
    """One visible device: the GPU's place in the list, and its MIG instance's place, None for the whole GPU."""

    gpu: int
    instance: int | None = None


def visible(listed: Sequence[Listed], value: str | None) -> list[Pick]:
    """Return what CUDA would show, in its order; `value` is the variable's, None when it is not set.

    Numbers count as NVML does, by PCI address. CUDA does so with CUDA_DEVICE_ORDER=PCI_BUS_ID; else it puts the card
    it takes for the fastest first, which only makes a difference where cards differ.
    """
    if value is None:
        whole = [pick for number in range(len(listed)) if (pick := first_of(listed, number)) is not None]
        return one_instance(whole)
    picks: list[Pick] = []
    for entry in value.split(","):
        pick = named(listed, entry.strip())
        if pick is None:
            break
        if pick in picks:
            return []
        picks.append(pick)
    return one_instance(picks)


def one_instance(picks: list[Pick]) -> list[Pick]:
    """Return the first MIG instance alone if there is one, else everything."""
    return [pick for pick in picks if pick.instance is not None][:1] or picks


def first_of(listed: Sequence[Listed], number: int) -> Pick | None:
    """Return a GPU by its number: whole, or its first instance; None when there is no such GPU or no instance."""
    if not 0 <= number < len(listed):
        return None
    if not listed[number].mig:
        return Pick(number)
    return Pick(number, 0) if listed[number].instances else None


def named(listed: Sequence[Listed], entry: str) -> Pick | None:
    """Return the device that one entry names: a number, or enough of the beginning of one UUID."""
    if entry.startswith("MIG-"):
        found = [
            Pick(number, place)
            for number, gpu in enumerate(listed)
            for place, names in enumerate(gpu.instances)
            if any(name == entry or ("/" not in entry and name.startswith(entry)) for name in names)
        ]
        return found[0] if len(found) == 1 else None
    if entry.startswith("GPU-"):
        numbers = [number for number, gpu in enumerate(listed) if gpu.uuid.startswith(entry)]
        return first_of(listed, numbers[0]) if len(numbers) == 1 else None
    digits = re.match(r"[0-9]{1,9}", entry)  # like strtoul, what follows the digits does not matter
    return first_of(listed, int(digits[0])) if digits else None

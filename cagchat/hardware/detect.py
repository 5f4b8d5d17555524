"""Look once at what this machine computes with."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from cagchat.hardware.apple import Sysctl, metal_gpu, processor, sysctl
from cagchat.hardware.cards import Maker, read_cards
from cagchat.hardware.cores import usable_cores
from cagchat.hardware.gpu import Found, Gpu, NoGpu
from cagchat.hardware.memory import Ram, read_ram
from cagchat.hardware.nvml import LIBRARY_NOT_FOUND, REASONS, NvidiaGpus, Nvml, load_nvml

NO_DRIVER = REASONS[LIBRARY_NOT_FOUND]
CONTAINER_MARKS = (".dockerenv", "run/.containerenv")  # Docker, Podman


@dataclass(frozen=True, slots=True)
class Hardware:
    """What was found. `no_gpu` says why `gpus` is empty; `ram` is None where the system does not say.

    `cores` are those this process may use. `cards` are the makers of the graphics cards on the bus, one a card, with or
    without a driver.
    """

    gpus: tuple[Gpu, ...]
    no_gpu: NoGpu | None
    ram: Ram | None
    processor: str
    cores: int
    cards: tuple[Maker, ...] = ()

    @property
    def unified(self) -> bool:
        """Whether GPU and processor share one memory: a byte that one takes, the other has not."""
        return any(gpu.unified for gpu in self.gpus)


@dataclass(frozen=True, slots=True)
class Machine:
    """Where detection looks: everything about the system that tests replace."""

    load: Callable[[], Nvml | None] = load_nvml
    ask: Sysctl = sysctl
    root: Path = Path("/")
    system: str = sys.platform
    architecture: str = platform.machine()


def detect(machine: Machine | None = None, environ: Mapping[str, str] = os.environ) -> Hardware:
    """Return this machine's hardware; never raises. NVIDIA's driver may take a second to wake, the rest 30 ms."""
    from cagchat.engine.fastpath import processor_name

    machine = machine or Machine()
    ram = read_ram(machine.root, machine.system, machine.ask)
    cards = read_cards(machine.root)
    if machine.system == "darwin":
        found = find_apple(machine)
        name = processor(machine.ask) or processor_name()
    else:
        found = find_nvidia(machine, environ, cards)
        name = processor_name()
    gpus = tuple(in_memory(gpu, ram) for gpu in found.gpus)
    return Hardware(gpus, found.none, ram, name, usable_cores(), cards)


def find_apple(machine: Machine) -> Found:
    """Return the GPU of an Apple chip; Macs with Intel processors have none that llama.cpp is fast on."""
    gpu = metal_gpu(machine.ask) if machine.architecture == "arm64" else None
    return Found((gpu,)) if gpu else Found(none=NoGpu("This Mac has no Apple chip, whose GPU would be used."))


def find_nvidia(machine: Machine, environ: Mapping[str, str], cards: tuple[Maker, ...]) -> Found:
    """Return NVIDIA's GPUs; without a driver, say whether there is a card that lacks one."""
    opened = NvidiaGpus(machine.load(), environ)
    try:
        found = opened.read()
    finally:
        opened.close()
    if found.none != NO_DRIVER:
        return found
    if "NVIDIA" not in cards:
        return replace(found, none=NoGpu("No NVIDIA driver and no NVIDIA card was found."))
    if any((machine.root / mark).exists() for mark in CONTAINER_MARKS):
        return replace(
            found,
            none=NoGpu("The NVIDIA card of this machine is hidden from this container.", "docker run --gpus all ..."),
        )
    return replace(
        found, none=NoGpu("The NVIDIA card has no driver.", "Install NVIDIA's driver; nvidia-smi shows when it works.")
    )


def in_memory(gpu: Gpu, ram: Ram | None) -> Gpu:
    """Return a GPU without memory of its own with the machine's in its place."""
    if gpu.total_bytes or not gpu.unified or ram is None:
        return gpu
    return replace(gpu, total_bytes=ram.total_bytes, free_bytes=ram.available_bytes)

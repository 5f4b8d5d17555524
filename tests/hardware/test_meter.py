"""The live meter: what it reads with and without a GPU, and that nothing stops it."""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import Any

import pytest

from cagchat.hardware.memory import Ram
from cagchat.hardware.meter import Load, Meter, apple_resident_bytes, open_meter, resident_bytes
from cagchat.hardware.nvml import NvidiaGpus
from tests.hardware.scripted_nvml import GIB, NOT_SUPPORTED, Card, ScriptedNvml

RAM = Ram(16 * GIB, 10 * GIB)


def meter(*cards: Card, ram: Ram | None = RAM) -> Meter:
    return Meter(NvidiaGpus(ScriptedNvml(*cards), {}), lambda: ram, lambda pid: pid * 1000)


def test_memory_of_gpus_is_added_up() -> None:
    """With GPUs the bytes are theirs together, the load is the busiest one's."""
    cards = (
        Card("GPU-1", total=24 * GIB, free=20 * GIB, load=7),
        Card("GPU-2", total=16 * GIB, free=1 * GIB, load=93),
    )
    assert meter(*cards).read() == Load("VRAM", 19 * GIB, 40 * GIB, 93)


def test_without_a_gpu_it_is_the_machines_memory() -> None:
    """Without a GPU the bytes are RAM, and there is no load."""
    assert meter().read() == Load("RAM", 6 * GIB, 16 * GIB)


def test_unified_memory_is_the_machines() -> None:
    """A GPU without memory of its own shows its load beside RAM."""
    card = Card("GPU-1", load=50, fails={"nvmlDeviceGetMemoryInfo": NOT_SUPPORTED})
    assert meter(card).read() == Load("RAM", 6 * GIB, 16 * GIB, 50)


def test_unknown_memory_is_nothing() -> None:
    """Where the system does not say how much memory there is, the total is 0."""
    assert meter(ram=None).read() == Load("RAM", 0, 0)


def test_engine_is_measured_by_its_process() -> None:
    """The engine's bytes are those of the process named."""
    assert meter().read(41).engine_bytes == 41000
    assert meter().read().engine_bytes is None


@pytest.mark.parametrize("failure", [15, 999, OSError("gone")])
def test_lost_gpu_shows_memory_instead(failure: int | Exception) -> None:
    """A GPU that is lost while the app runs is no error: RAM is shown."""
    fails: dict[str, int | Exception] = {}
    reading = meter(Card("GPU-1", fails=fails))
    assert reading.read().kind == "VRAM"
    fails["nvmlDeviceGetMemoryInfo"] = failure
    assert reading.read().kind == "RAM"


def test_driver_is_held_until_it_is_closed() -> None:
    """One connection serves all readings; closing gives it back, and a reading after that is still one."""
    nvml = ScriptedNvml(Card("GPU-1"))
    with Meter(NvidiaGpus(nvml, {}), lambda: RAM) as reading:
        reading.read()
        reading.read()
        assert nvml.opened == 1
    reading.close()
    assert nvml.opened == 0
    assert reading.read().kind == "RAM"


def test_this_machine_can_be_read() -> None:
    """The real meter shows memory, and this process's share of it."""
    with open_meter() as reading:
        load = reading.read(os.getpid())
    assert 0 < load.used_bytes <= load.total_bytes
    assert load.engine_bytes is not None
    assert load.engine_bytes > 1_000_000


def test_resident_memory_is_counted_in_pages(tmp_path: Path) -> None:
    """The second number of statm is pages that are in memory."""
    (tmp_path / "7").mkdir()
    (tmp_path / "7/statm").write_text("900 40 3 1 0 2 0\n")
    assert resident_bytes(7, tmp_path, "linux") == 40 * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.parametrize("text", ["", "900", "a b c"])
def test_ended_process_has_no_memory(tmp_path: Path, text: str) -> None:
    """A process that is gone, or a table that is damaged, is not known."""
    assert resident_bytes(7, tmp_path, "linux") is None
    (tmp_path / "7").mkdir()
    (tmp_path / "7/statm").write_text(text)
    assert resident_bytes(7, tmp_path, "linux") is None


def test_mac_fills_in_a_structure() -> None:
    """The second number of macOS' answer is the resident size; a short answer is none."""

    def call(pid: int, flavour: int, argument: int, room: Any, size: int) -> int:
        struct.pack_into("=QQ", room, 0, 5 * GIB, pid * GIB)
        return size if pid == 3 else 0

    assert apple_resident_bytes(3, lambda: call) == 3 * GIB
    assert apple_resident_bytes(4, lambda: call) is None
    assert apple_resident_bytes(3, lambda: None) is None

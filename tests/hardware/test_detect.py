"""Detection as a whole, on machines of every kind."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from cagchat.hardware.detect import detect
from tests.hardware.machines import machine, plug_in
from tests.hardware.scripted_kernel import mac
from tests.hardware.scripted_nvml import NOT_SUPPORTED, Card, ScriptedNvml

GIB = 1 << 30
NVIDIA = 0x10DE


def test_gpus_of_the_driver_are_found(tmp_path: Path) -> None:
    """A machine with NVIDIA GPUs has them, no reason, and memory beside them; the driver is let go again."""
    nvml = ScriptedNvml(Card("GPU-1"), Card("GPU-2"))
    hardware = detect(machine(tmp_path, nvml), {})
    assert [gpu.uuid for gpu in hardware.gpus] == ["GPU-1", "GPU-2"]
    assert hardware.no_gpu is None
    assert hardware.ram is not None
    assert not hardware.unified
    assert nvml.opened == 0


def test_environment_hides_gpus(tmp_path: Path) -> None:
    """The variable is taken from the environment that is given."""
    hardware = detect(machine(tmp_path, ScriptedNvml(Card("GPU-1"))), {"CUDA_VISIBLE_DEVICES": ""})
    assert hardware.gpus == ()
    assert hardware.no_gpu is not None
    assert "CUDA_VISIBLE_DEVICES" in hardware.no_gpu.reason


def test_no_card_and_no_driver(tmp_path: Path) -> None:
    """A machine without a card has nothing to mend."""
    none = detect(machine(tmp_path), {}).no_gpu
    assert none is not None
    assert (none.reason, none.mend) == ("No NVIDIA driver and no NVIDIA card was found.", "")


def test_card_without_a_driver(tmp_path: Path) -> None:
    """A card on the bus without a driver is said to lack it."""
    plug_in(tmp_path, "0000:01:00.0", NVIDIA)
    none = detect(machine(tmp_path), {}).no_gpu
    assert none is not None
    assert "has no driver" in none.reason
    assert none.mend


@pytest.mark.parametrize("mark", [".dockerenv", "run/.containerenv"])
def test_card_hidden_from_a_container(tmp_path: Path, mark: str) -> None:
    """In a container the card is there and the driver was not handed in: the flag that does so is named."""
    plug_in(tmp_path, "0000:01:00.0", NVIDIA)
    (tmp_path / mark).parent.mkdir(exist_ok=True)
    (tmp_path / mark).write_text("")
    none = detect(machine(tmp_path), {}).no_gpu
    assert none is not None
    assert "--gpus all" in none.mend


def test_gpu_that_shares_the_machines_memory(tmp_path: Path) -> None:
    """A GPU without memory of its own has the machine's."""
    nvml = ScriptedNvml(Card("GPU-1", fails={"nvmlDeviceGetMemoryInfo": NOT_SUPPORTED}))
    hardware = detect(machine(tmp_path, nvml), {})
    assert hardware.unified
    assert hardware.ram is not None
    assert hardware.gpus[0].total_bytes == hardware.ram.total_bytes


def test_apple_chip_is_a_gpu(tmp_path: Path) -> None:
    """A Mac with a chip of Apple's has its GPU, and its processor's name; NVML is not asked."""
    kernel = mac(hw_memsize=96 * GIB, kern_memorystatus_level=80, machdep_cpu_brand_string="Apple M2 Max")
    hardware = detect(machine(tmp_path, system="darwin", architecture="arm64", ask=kernel), {})
    assert [(gpu.backend, gpu.total_bytes) for gpu in hardware.gpus] == [("metal", 72 * GIB)]
    assert hardware.unified
    assert hardware.processor == "Apple M2 Max"


def test_old_mac_has_no_gpu(tmp_path: Path) -> None:
    """A Mac with an Intel processor computes on that."""
    hardware = detect(machine(tmp_path, system="darwin", ask=mac(hw_memsize=GIB, kern_memorystatus_level=80)), {})
    assert hardware.gpus == ()
    assert hardware.no_gpu is not None


def test_this_machine_is_described() -> None:
    """Whatever runs the tests has a processor, cores, memory, and GPUs or a reason."""
    hardware = detect()
    assert hardware.processor
    assert hardware.cores >= 1
    assert hardware.ram is not None
    assert bool(hardware.gpus) == (hardware.no_gpu is None)


def test_help_does_not_import_nvml() -> None:
    """The library for NVIDIA's driver is loaded when the hardware is looked at, not before."""
    code = "import sys, cagchat.cli.main, cagchat.hardware.detect; print('pynvml' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "False"

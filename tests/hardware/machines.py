"""Machines that tests look at: a root folder with a PCI bus, a driver, a kernel."""

from __future__ import annotations

from pathlib import Path

from cagchat.hardware.apple import Sysctl
from cagchat.hardware.detect import Machine
from cagchat.hardware.nvml import Nvml
from tests.hardware.scripted_kernel import mac
from tests.hardware.scripted_nvml import ScriptedNvml

NO_DRIVER = 12


def machine(
    root: Path,
    nvml: Nvml | None = None,
    *,
    system: str = "linux",
    architecture: str = "x86_64",
    ask: Sysctl | None = None,
) -> Machine:
    """Return a machine; without a driver of its own NVML's library is missing."""
    driver = nvml or ScriptedNvml(fails={"nvmlInit": NO_DRIVER})
    return Machine(lambda: driver, ask or mac(), root, system, architecture)


def plug_in(root: Path, address: str, vendor: int, kind: int = 0x030000) -> None:
    """Put a card on the bus."""
    folder = root / "sys/bus/pci/devices" / address
    folder.mkdir(parents=True)
    (folder / "vendor").write_text(f"{vendor:#06x}\n")
    (folder / "class").write_text(f"{kind:#08x}\n")

"""Which graphics cards the PCI bus shows, whatever their drivers say: Linux only."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Literal

Maker = Literal["NVIDIA", "AMD", "Intel"]

MAKERS: dict[int, Maker] = {0x10DE: "NVIDIA", 0x1002: "AMD", 0x8086: "Intel"}
DISPLAY_CLASS = 0x03  # the PCI class of what draws: VGA, 3D and other display controllers
ON_BOARD_BUS = "0000:00:"  # Intel's processors have their own GPU here; it is no faster than they are


def read_cards(root: Path = Path("/")) -> tuple[Maker, ...]:
    """Return the makers of the cards that llama.cpp could compute on, one a card, in the order of their addresses."""
    found = []
    for device in sorted((root / "sys/bus/pci/devices").glob("*")):
        with suppress(OSError, ValueError):
            if int((device / "class").read_text(), 16) >> 16 != DISPLAY_CLASS:
                continue
            maker = MAKERS.get(int((device / "vendor").read_text(), 16))
            if maker and not (maker == "Intel" and device.name.startswith(ON_BOARD_BUS)):
                found.append(maker)
    return tuple(found)

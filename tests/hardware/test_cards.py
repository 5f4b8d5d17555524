"""Graphics cards on the PCI bus."""

from __future__ import annotations

from pathlib import Path

from cagchat.hardware.cards import read_cards
from tests.hardware.machines import plug_in


def test_cards_are_named_by_their_makers(tmp_path: Path) -> None:
    """Display and 3D controllers count, in the order of their addresses."""
    plug_in(tmp_path, "0000:41:00.0", 0x1002)
    plug_in(tmp_path, "0000:01:00.0", 0x10DE, 0x030200)
    plug_in(tmp_path, "0000:03:00.0", 0x8086, 0x038000)
    assert read_cards(tmp_path) == ("NVIDIA", "Intel", "AMD")


def test_other_devices_do_not_count(tmp_path: Path) -> None:
    """Sound, network, a server's console and the GPU inside an Intel processor are no cards to compute on."""
    plug_in(tmp_path, "0000:01:00.1", 0x10DE, 0x040300)
    plug_in(tmp_path, "0000:02:00.0", 0x15B3, 0x020000)
    plug_in(tmp_path, "0000:03:00.0", 0x1A03)
    plug_in(tmp_path, "0000:00:02.0", 0x8086)
    assert read_cards(tmp_path) == ()


def test_bus_that_cannot_be_read_has_no_cards(tmp_path: Path) -> None:
    """A missing bus and a damaged entry are passed over."""
    assert read_cards(tmp_path) == ()
    (tmp_path / "sys/bus/pci/devices/0000:01:00.0").mkdir(parents=True)
    (tmp_path / "sys/bus/pci/devices/0000:01:00.0/class").write_text("what?")
    assert read_cards(tmp_path) == ()

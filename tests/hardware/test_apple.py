"""Apple's unified memory, from a kernel that answers as Macs do."""

from __future__ import annotations

import sys

import pytest

from cagchat.hardware.apple import memory_bytes, metal_bytes, metal_gpu, processor, sysctl
from tests.hardware.scripted_kernel import mac

GIB = 1 << 30


@pytest.mark.parametrize(("total", "usable"), [(16, 10.67), (32, 21.33), (36, 27), (96, 72), (128, 96)])
def test_metal_may_use_a_share(total: int, usable: float) -> None:
    """Without a limit of the owner's Metal gets two thirds of a small memory and three quarters of a large one."""
    assert metal_bytes(total * GIB, mac()) / GIB == pytest.approx(usable, abs=0.01)


def test_the_owners_limit_counts() -> None:
    """A limit that was set by hand is taken, up to all of the memory; 0 stands for none."""
    assert metal_bytes(16 * GIB, mac(iogpu_wired_limit_mb=14336)) == 14 * GIB
    assert metal_bytes(16 * GIB, mac(iogpu_wired_limit_mb=99999)) == 16 * GIB
    assert metal_bytes(48 * GIB, mac(iogpu_wired_limit_mb=0)) == 36 * GIB


def test_free_memory_is_the_systems_own_percentage() -> None:
    """Free is what macOS calls free, of all there is."""
    assert memory_bytes(mac(hw_memsize=32 * GIB, kern_memorystatus_level=50)) == (32 * GIB, 16 * GIB)


def test_silent_kernel_has_no_memory() -> None:
    """What the kernel does not say is not guessed."""
    assert memory_bytes(mac(hw_memsize=32 * GIB)) is None
    assert memory_bytes(mac()) is None
    assert metal_gpu(mac()) is None


def test_gpu_of_a_chip_shares_its_memory() -> None:
    """The chip's GPU is one with unified memory, whose free part is never more than Metal may use."""
    kernel = mac(hw_memsize=32 * GIB, kern_memorystatus_level=90, machdep_cpu_brand_string="Apple M1 Max")
    assert processor(kernel) == "Apple M1 Max"
    gpu = metal_gpu(kernel)
    assert gpu is not None
    assert (gpu.name, gpu.backend, gpu.unified) == ("Apple M1 Max", "metal", True)
    assert gpu.free_bytes == gpu.total_bytes == metal_bytes(32 * GIB, mac())


def test_this_kernel_is_asked_without_harm() -> None:
    """On a Mac the memory is known; on another system the call is not there and says nothing."""
    assert (sysctl("hw.memsize") is not None) == (sys.platform == "darwin")
    assert sysctl("no.such.value") is None

"""RAM on Linux, in containers, on macOS and on Windows."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cagchat.hardware.memory import Ram, linux_memory, read_ram, windows_memory
from tests.hardware.scripted_kernel import mac

MEMINFO = "MemTotal:        2048 kB\nMemFree:  1 kB\nMemAvailable:    1024 kB\n"
KIB = 1024
GIB = 1 << 30


def linux(root: Path, limit: int | None = None, used: int = 0) -> Path:
    """Write a machine of 2 MiB, half of it available, and a container's limit."""
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/meminfo").write_text(MEMINFO)
    (root / "proc/self/cgroup").write_text("0::/\n")
    (root / "proc/self/mountinfo").write_text("30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n")
    if limit is not None:
        (root / "sys/fs/cgroup").mkdir(parents=True)
        (root / "sys/fs/cgroup/memory.max").write_text(str(limit))
        (root / "sys/fs/cgroup/memory.current").write_text(str(used))
    return root


def test_memory_is_read_from_the_system(tmp_path: Path) -> None:
    """Total and available memory are bytes; without a container there is no limit."""
    ram = read_ram(linux(tmp_path), "linux")
    assert ram == Ram(2048 * KIB, 1024 * KIB)
    assert (ram.total_bytes, ram.used_bytes) == (2048 * KIB, 1024 * KIB)


def test_limit_of_a_container_is_the_total(tmp_path: Path) -> None:
    """A limit below the machine's memory is all there is, and what is free of it is what is available."""
    ram = read_ram(linux(tmp_path, limit=1000 * KIB, used=900 * KIB), "linux")
    assert ram == Ram(2048 * KIB, 100 * KIB, 1000 * KIB)
    assert (ram.total_bytes, ram.used_bytes) == (1000 * KIB, 900 * KIB)


def test_machine_with_less_left_than_the_limit(tmp_path: Path) -> None:
    """What the machine has no longer free is not available inside a limit either."""
    assert read_ram(linux(tmp_path, limit=2000 * KIB), "linux") == Ram(2048 * KIB, 1024 * KIB, 2000 * KIB)


def test_limit_above_the_machine_is_none(tmp_path: Path) -> None:
    """A limit that is larger than the memory limits nothing."""
    assert read_ram(linux(tmp_path, limit=5000 * KIB), "linux") == Ram(2048 * KIB, 1024 * KIB)


@pytest.mark.parametrize("text", ["", "MemTotal: many kB\n", "MemTotal:\nMemAvailable: 3 kB\n", "MemTotal: 5 kB\n"])
def test_damaged_table_says_nothing(tmp_path: Path, text: str) -> None:
    """A table without both numbers gives no memory."""
    path = tmp_path / "meminfo"
    path.write_text(text)
    assert linux_memory(path) is None


def test_this_machine_has_memory() -> None:
    """On the machine that runs the tests memory is known, and no more is available than there is."""
    ram = read_ram()
    assert ram is not None
    assert 0 < ram.available_bytes <= ram.total_bytes <= ram.machine_bytes


def test_mac_is_asked_by_sysctl(tmp_path: Path) -> None:
    """On macOS the kernel's values are taken."""
    kernel = mac(hw_memsize=32 * GIB, kern_memorystatus_level=25)
    assert read_ram(tmp_path, "darwin", kernel) == Ram(32 * GIB, 8 * GIB)
    assert read_ram(tmp_path, "darwin", mac()) is None


def windows(answer: int) -> Callable[[], Callable[[Any], int]]:
    """Return a system call that fills in 16 GiB, 4 of them available, if it is given the structure's size."""

    def call(status: Any) -> int:
        assert struct.unpack_from("<I", status.raw) == (64,)
        struct.pack_into("<QQ", status, 8, 16 * GIB, 4 * GIB)
        return answer

    return lambda: call


def test_windows_fills_in_a_structure() -> None:
    """The third and fourth numbers of Windows' answer are total and available; a refusal says nothing."""
    assert windows_memory(windows(1)) == (16 * GIB, 4 * GIB)
    assert windows_memory(windows(0)) is None
    assert windows_memory(lambda: None) is None

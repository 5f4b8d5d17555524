"""The memory that programs here may use: the machine's, or a container's limit where that is lower."""

from __future__ import annotations

import os
import struct
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cagchat.hardware.apple import Sysctl, sysctl
from cagchat.hardware.apple import memory_bytes as apple_memory
from cagchat.hardware.cgroup import read_limit

# MEMORYSTATUSEX: its own size, load in percent, then total and free of physical memory, page file and address space.
WINDOWS_STATUS = struct.Struct("<II7Q")


@dataclass(frozen=True, slots=True)
class Ram:
    """Bytes of memory. `limit_bytes` is a container's limit, None when it is not lower than what the machine has."""

    machine_bytes: int
    available_bytes: int
    limit_bytes: int | None = None

    @property
    def total_bytes(self) -> int:
        """What programs here may use in all."""
        return self.machine_bytes if self.limit_bytes is None else self.limit_bytes

    @property
    def used_bytes(self) -> int:
        """What is taken of it and cannot be had without swapping."""
        return self.total_bytes - self.available_bytes


def read_ram(root: Path = Path("/"), platform: str = sys.platform, ask: Sysctl = sysctl) -> Ram | None:
    """Return the memory there is now; None when the system does not say."""
    if platform == "win32":
        memory = windows_memory()
    elif platform == "darwin":
        memory = apple_memory(ask)
    else:
        memory = linux_memory(root / "proc/meminfo") or posix_memory()
    if memory is None:
        return None
    total, free = memory
    limit = read_limit(root) if platform.startswith("linux") else None
    if limit is None:
        return Ram(total, free)
    return Ram(total, min(free, limit.free_bytes), limit.limit_bytes if limit.limit_bytes < total else None)


def linux_memory(meminfo: Path) -> tuple[int, int] | None:
    """Return total and available bytes as the kernel estimates them."""
    try:
        lines = dict(line.split(":", 1) for line in meminfo.read_text().splitlines() if ":" in line)
        total, free = (1024 * int(lines[name].split()[0]) for name in ("MemTotal", "MemAvailable"))
    except (OSError, KeyError, ValueError, IndexError):
        return None
    return total, free


def posix_memory() -> tuple[int, int] | None:
    """Return total and free bytes as POSIX systems without /proc count them."""
    try:
        page = os.sysconf("SC_PAGE_SIZE")
        return page * os.sysconf("SC_PHYS_PAGES"), page * os.sysconf("SC_AVPHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return None


def windows_call() -> Callable[[Any], int] | None:
    """Return Windows' GlobalMemoryStatusEx; None elsewhere."""
    import ctypes

    libraries: Any = getattr(ctypes, "windll", None)
    call: Callable[[Any], int] | None = libraries and libraries.kernel32.GlobalMemoryStatusEx
    return call


def windows_memory(load: Callable[[], Callable[[Any], int] | None] = windows_call) -> tuple[int, int] | None:
    """Return total and available bytes as Windows counts them."""
    import ctypes

    call = load()
    if call is None:
        return None
    status = ctypes.create_string_buffer(WINDOWS_STATUS.size)
    WINDOWS_STATUS.pack_into(status, 0, WINDOWS_STATUS.size, *[0] * 8)
    if not call(status):
        return None
    _, _, total, free, *_ = WINDOWS_STATUS.unpack(status.raw)
    return total, free

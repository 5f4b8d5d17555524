"""Apple's unified memory: how much there is, how much is free, and how much of it Metal may use."""

from __future__ import annotations

from collections.abc import Callable

from cagchat.hardware.gpu import Gpu

Sysctl = Callable[[str], bytes | None]

# Metal's recommended working set where iogpu.wired_limit_mb is not set, as macOS 13 to 15 report it: 10.67 of 16 GiB,
# 21.33 of 32, 27 of 36, 72 of 96. Newer systems report more; the smaller number is the safe one.
SMALL_BELOW_BYTES = 36 << 30
SMALL_SHARE = (2, 3)
LARGE_SHARE = (3, 4)


def sysctl(name: str) -> bytes | None:
    """Return a value of the kernel's, raw; None where the kernel has no such value, or is not Apple's."""
    import ctypes

    try:
        ask = ctypes.CDLL(None).sysctlbyname
    except (AttributeError, OSError, TypeError):
        return None
    room = ctypes.create_string_buffer(256)
    size = ctypes.c_size_t(len(room))
    if ask(name.encode(), room, ctypes.byref(size), None, ctypes.c_size_t(0)):
        return None
    return room.raw[: size.value]


def number(ask: Sysctl, name: str) -> int | None:
    """Return a kernel value that is a number of 4 or 8 bytes."""
    raw = ask(name)
    return int.from_bytes(raw, "little") if raw is not None and len(raw) in (4, 8) else None


def memory_bytes(ask: Sysctl = sysctl) -> tuple[int, int] | None:
    """Return how much memory there is and how much of it programs can get; None when the kernel does not say.

    kern.memorystatus_level is the percentage that macOS itself calls free: what can be had without swapping.
    """
    total, level = number(ask, "hw.memsize"), number(ask, "kern.memorystatus_level")
    if not total or level is None:
        return None
    return total, total * min(level, 100) // 100


def metal_bytes(total_bytes: int, ask: Sysctl = sysctl) -> int:
    """Return how much of the memory Metal may use: the owner's own limit if one is set, else Apple's share."""
    if limit := number(ask, "iogpu.wired_limit_mb"):
        return min(total_bytes, limit << 20)
    part, whole = SMALL_SHARE if total_bytes < SMALL_BELOW_BYTES else LARGE_SHARE
    return total_bytes * part // whole


def processor(ask: Sysctl = sysctl) -> str:
    """Return the chip's name, as "Apple M3 Max"; empty when the kernel does not say."""
    raw = ask("machdep.cpu.brand_string") or b""
    return raw.rstrip(b"\0").decode(errors="replace")


def metal_gpu(ask: Sysctl = sysctl) -> Gpu | None:
    """Return the chip's GPU with the share of memory it may use."""
    memory = memory_bytes(ask)
    if memory is None:
        return None
    total, free = memory
    usable = metal_bytes(total, ask)
    return Gpu(processor(ask) or "Apple GPU", usable, min(usable, free), backend="metal", unified=True)

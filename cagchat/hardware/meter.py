"""The live meter of a status bar: memory and load of the GPU, or the machine's memory, and what the engine takes."""

from __future__ import annotations

import os
import struct
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

from cagchat.hardware.memory import Ram, read_ram
from cagchat.hardware.nvml import NvidiaGpus, Nvml, load_nvml

TASK_INFO = 4  # PROC_PIDTASKINFO of macOS: 96 bytes that begin with virtual and resident size
TASK_INFO_BYTES = 96


@dataclass(frozen=True, slots=True)
class Load:
    """One reading: `kind` says of which memory the bytes are; `total_bytes` is 0 where the system does not say.

    With several GPUs bytes are their sum, and `percent` is the busiest one's; it is None where no driver says.
    `engine_bytes` is the engine's resident memory, model file pages included; None where it is not known.
    """

    kind: Literal["VRAM", "RAM"]
    used_bytes: int
    total_bytes: int
    percent: int | None = None
    engine_bytes: int | None = None


class Meter:
    """Reads the load again and again over one open connection to the driver."""

    def __init__(
        self,
        gpus: NvidiaGpus,
        ram: Callable[[], Ram | None] = read_ram,
        resident: Callable[[int], int | None] | None = None,
    ) -> None:
        """Read from these; `resident` returns a process's bytes."""
        self._gpus = gpus
        self._ram = ram
        self._resident = resident or resident_bytes

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def read(self, engine_pid: int | None = None) -> Load:
        """Return the load now, in a millisecond or two; what cannot be read is left out, nothing is raised."""
        found = self._gpus.read().gpus
        percents = [gpu.load_percent for gpu in found if gpu.load_percent is not None]
        percent = max(percents, default=None)
        engine = None if engine_pid is None else self._resident(engine_pid)
        own = [gpu for gpu in found if gpu.total_bytes]
        if own:
            used, total = sum(gpu.used_bytes for gpu in own), sum(gpu.total_bytes for gpu in own)
            return Load("VRAM", used, total, percent, engine)
        ram = self._ram()
        return Load("RAM", ram.used_bytes if ram else 0, ram.total_bytes if ram else 0, percent, engine)

    def close(self) -> None:
        """Let go of the driver. Calling it twice is harmless."""
        self._gpus.close()


def open_meter(load: Callable[[], Nvml | None] = load_nvml, platform: str = sys.platform) -> Meter:
    """Return a meter for this machine. NVIDIA's driver may take a second to wake: not for a thread that draws."""
    return Meter(NvidiaGpus(None if platform == "darwin" else load()))


def resident_bytes(pid: int, proc: Path = Path("/proc"), platform: str = sys.platform) -> int | None:
    """Return how much memory a process holds; None when it has ended or the system does not say."""
    if platform == "darwin":
        return apple_resident_bytes(pid)
    try:
        return int((proc / str(pid) / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError, AttributeError):
        return None


def apple_call() -> Callable[..., int] | None:
    """Return macOS' proc_pidinfo; None elsewhere."""
    import ctypes

    with suppress(AttributeError, OSError, TypeError):
        call: Any = ctypes.CDLL(None).proc_pidinfo
        call.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_uint64, ctypes.c_void_p, ctypes.c_int]
        found: Callable[..., int] = call
        return found
    return None


def apple_resident_bytes(pid: int, load: Callable[[], Callable[..., int] | None] = apple_call) -> int | None:
    """Return a process's resident memory as macOS counts it."""
    import ctypes

    call = load()
    room = ctypes.create_string_buffer(TASK_INFO_BYTES)
    if call is None or call(pid, TASK_INFO, 0, room, TASK_INFO_BYTES) != TASK_INFO_BYTES:
        return None
    _, resident = struct.unpack_from("=QQ", room)
    return int(resident)

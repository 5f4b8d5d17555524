"""The most memory that a process, or one with all that it started, ever held."""

from __future__ import annotations

import os
from pathlib import Path


def peak_bytes(pid: int, proc: Path = Path("/proc")) -> int | None:
    """Return the peak of a running process, None where the system does not say."""
    return _peak(_fields(proc / str(pid) / "status"))


def peak_of_family(pid: int | None = None, proc: Path = Path("/proc")) -> int | None:
    """Return the sum of the peaks of a process (this one) and all its living descendants; None where nothing says."""
    seen = {int(status.parent.name): _fields(status) for status in proc.glob("[0-9]*/status")}
    family = [pid or os.getpid()]
    for member in family:  # grows while it is walked
        family += [other for other, said in seen.items() if said.get("PPid") == str(member)]
    peaks = [peak for member in family if (peak := _peak(seen.get(member, {}))) is not None]
    return sum(peaks) if peaks else None


def _peak(said: dict[str, str]) -> int | None:
    """Return the peak among what the system says of a process."""
    kilobytes = said.get("VmHWM", "").split()[:1]
    return int(kilobytes[0]) << 10 if kilobytes and kilobytes[0].isdecimal() else None


def _fields(status: Path) -> dict[str, str]:
    """Return what the system says of a process, nothing when it has ended meanwhile."""
    try:
        lines = status.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return {}
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}

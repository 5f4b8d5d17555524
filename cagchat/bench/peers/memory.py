"""The most memory that a process and those it started ever held."""

from __future__ import annotations

import os
from pathlib import Path


def peak_of_family(pid: int | None = None, proc: Path = Path("/proc")) -> int | None:
    """Return the sum of the peaks of a process (this one) and all its living descendants; None where nothing says."""
    seen = {int(status.parent.name): fields(status) for status in proc.glob("[0-9]*/status")}
    family = [pid or os.getpid()]
    for member in family:  # grows while it is walked
        family += [other for other, said in seen.items() if said.get("PPid") == str(member)]
    peaks = [int(seen[member]["VmHWM"].split()[0]) << 10 for member in family if "VmHWM" in seen.get(member, {})]
    return sum(peaks) if peaks else None


def fields(status: Path) -> dict[str, str]:
    """Return what the system says of a process, nothing when it has ended meanwhile."""
    try:
        lines = status.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return {}
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}

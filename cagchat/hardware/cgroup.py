"""The memory that a container, or any Linux control group, leaves to this process: cgroup v1 and v2."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

UNLIMITED_BYTES = 1 << 60  # v1 writes "no limit" as the largest multiple of a page


@dataclass(frozen=True, slots=True)
class Names:
    """What a version of cgroups calls its files, and the line of `memory.stat` that counts cache it can drop."""

    limit: str
    used: str
    droppable: str


V1 = Names("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
V2 = Names("memory.max", "memory.current", "inactive_file")


@dataclass(frozen=True, slots=True)
class Limit:
    """The tightest limit above this process, and how much of it is still free."""

    limit_bytes: int
    free_bytes: int


def read_limit(root: Path = Path("/")) -> Limit | None:
    """Return the tightest limit of this process's groups and those around them; None when there is none."""
    try:
        groups = (root / "proc/self/cgroup").read_text(encoding="utf-8", errors="replace")
        mounts = (root / "proc/self/mountinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    found = [
        limit
        for folder, top, names in folders(groups, mounts)
        for limit in limits(root / folder.lstrip("/"), root / top.lstrip("/"), names)
    ]
    return min(found, key=lambda limit: limit.free_bytes, default=None)


def folders(groups: str, mounts: str) -> list[tuple[str, str, Names]]:
    """Return the folder of each memory group of a process, and the mount point it is below, from its two tables.

    `groups` is /proc/PID/cgroup (number:controllers:path), `mounts` /proc/PID/mountinfo: the fourth field is the part
    of the tree that is mounted, the fifth where; after " - " stand the type, the source and the options.
    """
    paths = {}
    for line in groups.splitlines():
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if number == "0" and not controllers:
            paths["cgroup2"] = path
        elif "memory" in controllers.split(","):
            paths["cgroup"] = path
    found = []
    for line in mounts.splitlines():
        before, _, after = line.partition(" - ")
        fields, kinds = before.split(), after.split()
        if len(fields) < 5 or len(kinds) < 3 or kinds[0] not in paths:
            continue
        if kinds[0] == "cgroup" and "memory" not in kinds[2].split(","):
            continue
        part, top, path = fields[3], fields[4], paths[kinds[0]]
        inside = path.removeprefix(part.rstrip("/")) if path.startswith(part) else "/"
        if ".." in inside.split("/"):  # the group lies outside of what this container may see
            inside = "/"
        found.append((f"{top}/{inside.strip('/')}".rstrip("/"), top, V2 if kinds[0] == "cgroup2" else V1))
    return found


def limits(folder: Path, top: Path, names: Names) -> list[Limit]:
    """Return the limits of a group and of those around it: each of them binds."""
    found = []
    for group in (folder, *folder.parents):
        if (limit := number(group / names.limit)) is not None and limit < UNLIMITED_BYTES:
            used = (number(group / names.used) or 0) - droppable(group / "memory.stat", names)
            found.append(Limit(limit, max(0, limit - max(0, used))))
        if group == top:
            break
    return found


def number(path: Path) -> int | None:
    """Return the number in a file; None for "max" and where there is no file."""
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None


def droppable(path: Path, names: Names) -> int:
    """Return how many bytes of file cache the kernel drops from a group before it refuses memory."""
    try:
        lines = [line.split() for line in path.read_text().splitlines()]
        return next((int(value) for name, value in lines if name == names.droppable), 0)
    except (OSError, ValueError):
        return 0

"""Limits that a process takes upon itself before it touches what came from elsewhere: memory, time, files."""

from __future__ import annotations

import contextlib


def leave_no_core() -> None:
    """Let a crash of this process write no core file, which would hold the text of the book."""
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def confine(*, memory_bytes: int, cpu_s: int, file_bytes: int, open_files: int) -> None:
    """Take the limits upon this process, those that the platform has; they hold to its end.

    `cpu_s` ends a loop even when the machine is busy with other work; `file_bytes` bounds every file that is written.
    """
    leave_no_core()
    try:
        import resource
    except ImportError:
        return
    wanted = {
        "RLIMIT_AS": memory_bytes,
        "RLIMIT_CPU": cpu_s,
        "RLIMIT_FSIZE": file_bytes,
        "RLIMIT_NOFILE": open_files,
        "RLIMIT_NPROC": 0,  # it starts no program; root is not held by this one
    }
    for name, value in wanted.items():
        number = getattr(resource, name, None)
        if number is None:
            continue
        _, highest = resource.getrlimit(number)
        if highest != resource.RLIM_INFINITY:
            value = min(value, highest)
        # One more second before the hard limit of processor time: the soft one's signal says why the process ended.
        hard = value + 1 if name == "RLIMIT_CPU" and highest in (resource.RLIM_INFINITY, value + 1) else value
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(number, (value, hard))

"""Wait for something another process does, by looking again and again until a deadline."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

from cagchat.files import process_runs

LOOK_AGAIN_S = 0.01


def wait_until(holds: Callable[[], bool], what: str, deadline_s: float = 30.0) -> None:
    """Return when `holds` does; fail with `what` when it never did."""
    until = time.monotonic() + deadline_s
    while not holds():
        assert time.monotonic() < until, f"{what}: not after {deadline_s:.0f} s"
        threading.Event().wait(LOOK_AGAIN_S)


def has_ended(pid: int) -> bool:
    """Tell whether a process has ended, even if nobody has asked for its exit code yet (a zombie)."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return not process_runs(pid)
    return state in ("Z", "X")


def open_files() -> set[str]:
    """Return the numbers of the files that this process has open: closing all that was opened adds none to them."""
    return {path.name for path in Path("/dev/fd").iterdir()}

"""A person at a terminal: runs commands of ours as processes, and somebody looks over the shoulder all the while."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
import tempfile
import termios
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tests.waiting import has_ended, wait_until

PROC = Path("/proc")
LOOK_AGAIN_S = 0.02
ROWS, COLUMNS = 30, 100
PATIENCE_LOOKS = 15_000  # five minutes and more: a command that hangs is killed then, and reported

Look = Callable[[list[int]], None]


@dataclass(frozen=True, slots=True)
class Ended:
    """What became of a command: its exit code (negative for a signal), and what it printed."""

    code: int
    out: bytes
    err: bytes


@dataclass(frozen=True, slots=True)
class Person:
    """Where commands run: environment, umask, and who looks at the processes of each while it runs."""

    environ: Mapping[str, str]
    umask: int
    look: Look

    def run(self, *words: str | Path, python: tuple[str, ...] = ("-m", "cagchat"), kill_after: int = 0) -> Ended:
        """Run a command to its end; with `kill_after`, kill it after so many looks, if it runs so long."""
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            with self._start(words, python, subprocess.DEVNULL, out.fileno(), err.fileno()) as process:
                self._attend(process, kill_after, lambda: None)
            out.seek(0)
            err.seek(0)
            return Ended(process.returncode, out.read(), err.read())

    def type(self, steps: Sequence[tuple[str, str]], *words: str | Path) -> Ended:
        """Run a command on a terminal; each step is what has to appear on it next, and what is typed then."""
        above, below = pty.openpty()
        termios.tcsetwinsize(below, (ROWS, COLUMNS))
        shown, waiting, seen = bytearray(), deque(steps), 0

        def attend() -> None:
            nonlocal seen
            with suppress(OSError):  # the terminal's other end is closed
                while select.select([above], [], [], 0)[0] and (piece := os.read(above, 1 << 16)):
                    shown.extend(piece)
            if waiting and waiting[0][0].encode() in shown[seen:]:
                seen = len(shown)
                os.write(above, waiting.popleft()[1].encode())

        try:
            with self._start(words, ("-m", "cagchat"), below, below, below) as process:
                self._attend(process, 0, attend)
            attend()
        finally:
            os.close(above)
            os.close(below)
        return Ended(process.returncode, bytes(shown), b"")

    def _start(
        self, words: tuple[str | Path, ...], python: tuple[str, ...], stdin: int, out: int, err: int
    ) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, *python, *map(str, words)],
            stdin=stdin,
            stdout=out,
            stderr=err,
            env=dict(self.environ),
            umask=self.umask,
            cwd=Path(__file__).resolve().parents[2],
        )

    def _attend(self, process: subprocess.Popen[bytes], kill_after: int, meanwhile: Callable[[], None]) -> None:
        """Look until the process has ended, and its children too."""
        seen: set[int] = set()
        looks = 0
        while process.poll() is None:
            pids = [process.pid, *descendants(process.pid)]
            seen.update(pids)
            self.look(pids)
            meanwhile()
            looks += 1
            if looks in (kill_after, PATIENCE_LOOKS):
                process.kill()
            threading.Event().wait(LOOK_AGAIN_S)
        for pid in seen - {process.pid}:
            wait_until(partial(has_ended, pid), f"process {pid} ends with its parent", 120.0)


def descendants(pid: int, proc: Path = PROC) -> Iterator[int]:
    """Yield the numbers of a process's children, their children, and so on."""
    with suppress(OSError):
        for task in (proc / str(pid) / "task").iterdir():
            for child in (task / "children").read_text().split():
                yield int(child)
                yield from descendants(int(child), proc)

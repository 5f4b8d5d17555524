"""Start victims from a warm process, listen to what they say, and kill them or their engine at a chosen moment."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Self

from tests.torture.victim import Job, written

PATIENCE_S = 120.0  # a victim that says nothing for so long hangs; the machine may be busy
Target = Literal["program", "engine"]


class Hung(Exception):
    """A victim said nothing for too long."""


@dataclass(frozen=True, slots=True)
class Aim:
    """Whom to kill and when: `delay_s` after the target is there, or after the `occurrence`-th time of `phase`.

    With `step` the victim kills itself before that step.
    """

    target: Target
    phase: str = ""
    occurrence: int = 1
    delay_s: float = 0.0
    step: int = 0


@dataclass(slots=True)
class Heard:
    """What a victim said, with the seconds since it was asked for; `killed` is the phase in which it was killed."""

    said: list[tuple[float, str, list[Any]]] = field(default_factory=list)
    killed: str = ""
    exit_code: int = 0

    def words(self, word: str) -> list[list[Any]]:
        """Return the values of every line that begins with `word`."""
        return [values for _, said, values in self.said if said == word]

    def last(self, word: str) -> Any:
        """Return the first value of the last line that begins with `word`, None when there is none."""
        found = self.words(word)
        return found[-1][0] if found else None

    def phases(self) -> list[tuple[str, float]]:
        """Return the phases in order, each with the seconds it took."""
        begun = [(at, values[0]) for at, word, values in self.said if word == "phase"]
        ends = [at for at, _ in begun[1:]] + [self.said[-1][0]] if begun else []
        return [(name, end - at) for (at, name), end in zip(begun, ends, strict=True)]


class Victims:
    """The warm process from which victims are forked."""

    def __init__(self) -> None:
        environ = {**os.environ, "OMP_NUM_THREADS": "1"}
        self._parent = subprocess.Popen(
            [sys.executable, "-m", "tests.torture.victim"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environ,
            cwd=Path(__file__).resolve().parents[2],
        )
        self._unread = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._parent.stdin is not None
        assert self._parent.stdout is not None
        self._parent.stdin.close()
        self._parent.wait()
        self._parent.stdout.close()

    def hunt(self, job: Job, aim: Aim | None = None) -> Heard:
        """Let a victim do the job, kill as aimed if it comes to that, and return when it has ended. Raises `Hung`."""
        assert self._parent.stdin is not None
        self._parent.stdin.write(written(job).encode())
        self._parent.stdin.flush()
        heard, shot = Heard(), Shot(aim if aim is not None and not aim.step else None)
        try:
            self._follow(heard, shot)
        except Hung:
            if pid := heard.last("born"):
                end_at_once(pid)
            raise
        if heard.exit_code == -signal.SIGKILL and not heard.killed:
            heard.killed = heard.last("phase") or "begin"
        return heard

    def _follow(self, heard: Heard, shot: Shot) -> None:
        """Listen until the victim has ended, and kill when it is time. Raises `Hung`."""
        began = time.monotonic()
        while True:
            line = self._line(shot.wait_s(time.monotonic() - began))
            now = time.monotonic() - began
            if line is not None:
                word, *values = json.loads(line)
                heard.said.append((now, word, values))
                shot.heard(now, word, values)
                if word == "ended":
                    heard.exit_code = values[0]
                    return
            if shot.is_due(now):
                shot.fired = True
                if end_at_once(shot.pid):
                    heard.killed = heard.last("phase") or "begin"

    def _line(self, wait_s: float) -> bytes | None:
        """Return the next line, None when none came in time. Raises `Hung`."""
        assert self._parent.stdout is not None
        until = time.monotonic() + wait_s
        while b"\n" not in self._unread:
            left = until - time.monotonic()
            if not select.select([self._parent.stdout], [], [], max(0.0, left))[0]:
                if wait_s >= PATIENCE_S:
                    raise Hung(f"The victim said nothing for {PATIENCE_S:.0f} s.")
                return None
            content = os.read(self._parent.stdout.fileno(), 1 << 16)
            if not content:
                raise Hung("The process that forks the victims has ended.")
            self._unread += content
        line, _, self._unread = self._unread.partition(b"\n")
        return line


class Shot:
    """One kill that is to come: it follows what the victim says, and knows when it is due."""

    def __init__(self, aim: Aim | None) -> None:
        self._aim = aim
        self._due_at: float | None = None
        self._left = aim.occurrence if aim else 0
        self._pids: dict[str, int] = {}
        self.fired = False

    @property
    def pid(self) -> int:
        """The process to kill; 0 while it is not there."""
        return self._pids.get(self._aim.target, 0) if self._aim else 0

    def heard(self, now: float, word: str, values: list[Any]) -> None:
        """Take note of a line."""
        if word in ("born", "engine"):
            self._pids["program" if word == "born" else "engine"] = values[0]
        elif word == "ended":
            self._pids.clear()
        if self._aim is None or self._due_at is not None:
            return
        if not self._aim.phase:
            if self.pid:
                self._due_at = now + self._aim.delay_s
        elif word == "phase" and values[0] == self._aim.phase:
            self._left -= 1
            if not self._left:
                self._due_at = now + self._aim.delay_s

    def is_due(self, now: float) -> bool:
        """Tell whether it is time."""
        return not self.fired and self._due_at is not None and now >= self._due_at and self.pid > 0

    def wait_s(self, now: float) -> float:
        """Return how long to wait for the next line."""
        if self.fired or self._due_at is None or not self.pid:
            return PATIENCE_S
        return max(0.0, self._due_at - now)


def end_at_once(pid: int) -> bool:
    """Kill a process; False when it has ended already."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True

"""Which other programs there are to compare with, in an environment that the reader names."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cagchat.bench.peers.job import Way
from cagchat.errors import UsageError

WAYS: Mapping[Way, str] = {
    "cagchat": "cagchat",
    "plain": "Llama, nothing kept",
    "save_state": "Llama.save_state, pickled",
    "disk_cache": "LlamaDiskCache",
    "server": "llama_cpp.server, disk cache",
    "slots": "llama-server, slot saved",
    "slots_own": "llama-server, its own batch and attention",
}
SERVER = ("llama-cpp-python", "uvicorn", "fastapi", "pydantic-settings", "sse-starlette", "starlette-context")
SLOTS = "xllamacpp"
LOOK_S = 60


@dataclass(frozen=True, slots=True)
class Found:
    """An environment's packages, None for those it lacks, and the path of its llama-server, empty without one."""

    python: str
    versions: Mapping[str, str | None]
    llama_server: str = ""

    def ways(self) -> dict[Way, str]:
        """Return every way that can be tried here, with what a table calls it."""
        ways = dict(WAYS)
        if self.lacking():
            del ways["server"]
        if version := self.versions.get(SLOTS):
            ways["slots"] += f" ({SLOTS} {version})"
        elif self.llama_server:
            ways["slots"] += f" ({self.llama_server})"
        else:
            del ways["slots"], ways["slots_own"]
        return ways

    def lacking(self) -> list[str]:
        """Return what `llama_cpp.server` lacks."""
        return [name for name in SERVER if self.versions.get(name) is None]

    def left_out(self) -> list[str]:
        """Return a sentence for each way that cannot be tried here, with what to install."""
        ways, install = self.ways(), f"{self.python} -m pip install"
        wanted: dict[Way, tuple[str, str]] = {
            "server": (", ".join(self.lacking()), "'llama-cpp-python[server]'"),
            "slots": (f"{SLOTS} or llama-server", SLOTS),
        }
        return [
            f"Left out: {WAYS[way]}, for want of {lacking}: `{install} {package}`."
            for way, (lacking, package) in wanted.items()
            if way not in ways
        ]


def look(python: str) -> Found:
    """Ask an interpreter what it has. Raises `UsageError` when it is none."""
    command = [python, "-P", str(Path(__file__).with_name("look.py")), *SERVER, SLOTS]
    try:
        done = subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL, timeout=LOOK_S, check=True)
        told = json.loads(done.stdout)
        return Found(python, told["versions"], told["llama_server"] or "")
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        raise UsageError(
            f"{python} is not a Python from 3.11 on that runs: {error}.", "Name one with --python, or leave that out."
        ) from error

"""What happens while a model is downloaded; front ends only render it.

`Download.run` yields for each file `Waiting`, `Rehashing`, `Restarted`, `Retrying` and `Receiving` as they come, and
at its end `Fetched`; or only `Present` for one that is there already.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Waiting:
    """Another process downloads the same file; this one goes on when it has finished or given up."""

    path: Path


@dataclass(frozen=True, slots=True)
class Rehashing:
    """What an earlier download left is read again for the checksum; bytes of this file."""

    path: Path
    done_bytes: int
    total_bytes: int


@dataclass(frozen=True, slots=True)
class Restarted:
    """What an earlier download left cannot be gone on with: `reason` is a whole sentence."""

    path: Path
    reason: str


@dataclass(frozen=True, slots=True)
class Retrying:
    """The connection broke (`reason` is a whole sentence); the next attempt of `attempts` begins after `wait_s`."""

    path: Path
    reason: str
    attempt: int
    attempts: int
    wait_s: float


@dataclass(frozen=True, slots=True)
class Receiving:
    """The download's progress over all files of the model; `part` is this file's number, from 1.

    `total_bytes` is None when the server does not say, `bytes_per_s` and `remaining_s` before they can be known.
    """

    path: Path
    part: int
    n_parts: int
    done_bytes: int
    total_bytes: int | None
    bytes_per_s: float | None
    remaining_s: float | None


@dataclass(frozen=True, slots=True)
class Fetched:
    """A file is complete under its name.

    `received_bytes` came over the network in this run; `proved` tells whether `sha256`, which is that of the file, was
    compared with one known beforehand.
    """

    path: Path
    size_bytes: int
    received_bytes: int
    sha256: str
    proved: bool


@dataclass(frozen=True, slots=True)
class Present:
    """A file was there already, complete and under its name; it was not read again."""

    path: Path
    size_bytes: int


DownloadEvent = Waiting | Present | Rehashing | Restarted | Retrying | Receiving | Fetched

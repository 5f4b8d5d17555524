"""Download a model: one file or all parts of a split one, each under a lock, resumed, checked and then named."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

from cagchat.errors import StorageError
from cagchat.files import free_bytes, private_folder, storage_error, storage_errors
from cagchat.models.download.answer import Accepted, Record, judge
from cagchat.models.download.events import (
    DownloadEvent,
    Fetched,
    Present,
    Receiving,
    Rehashing,
    Restarted,
    Retrying,
    Waiting,
)
from cagchat.models.download.line import TICK_S, Line
from cagchat.models.download.network import Network, Reply, find_proxies
from cagchat.models.download.pace import Pace
from cagchat.models.download.part import Part
from cagchat.models.download.refusals import Broken, DownloadError, interrupted, not_a_file, wrong_size
from cagchat.models.download.source import Source
from cagchat.models.gguf import MAGIC, read_any_header

if TYPE_CHECKING:
    from filelock import BaseFileLock

READ_BYTES = 1 << 20
EVENT_EVERY_S = 0.1
LOCK_STEP_S = 0.2
MARGIN_BYTES = 256 << 20  # left free on the disk: a system without any space does not run
WORTH_BYTES = 1 << 20  # a connection that brought so much was no failure
BYTES_OF_START = 64
NOT_KNOWN = "It is not known of which file the part on disk is, so it is fetched from its beginning."


@dataclass(frozen=True, slots=True)
class Retries:
    """How often to try again after a broken connection that brought next to nothing, and how long to wait before."""

    attempts: int = 6
    first_wait_s: float = 1.0
    most_wait_s: float = 30.0

    def wait_s(self, failures: int, asked_s: float) -> float:
        """Return how long to wait after so many failures in a row; at least as long as the server asked."""
        return max(asked_s, min(self.most_wait_s, self.first_wait_s * 2.0 ** (failures - 1)))


class Download:
    """Fetches the files of one model into a folder. Used once; `stop` may come from a signal handler or a thread.

    Without a `network`, servers are reached through the proxies that the environment names.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        folder: Path,
        network: Network | None = None,
        *,
        retries: Retries | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        free_bytes: Callable[[Path], int] = free_bytes,
    ) -> None:
        self._sources = tuple(sources)
        self._folder = folder
        self._network = network or Network(find_proxies())
        self._retries = retries or Retries()
        self._clock = clock
        self._sleep = sleep
        self._free_bytes = free_bytes
        self._line = Line()
        self._pace = Pace()
        self._sizes: list[int | None] = [source.size_bytes or None for source in self._sources]
        self._received = 0
        self._shown_s = -EVENT_EVERY_S

    @property
    def targets(self) -> tuple[Path, ...]:
        """The files as they will be named, in order; llama.cpp is given the first."""
        return tuple(self._folder / source.name for source in self._sources)

    def stop(self) -> None:
        """End the download where it is; what came is kept. Takes no lock."""
        self._line.stop()

    def run(self) -> Iterator[DownloadEvent]:
        """Fetch what is not there yet.

        Raises `DownloadError` (a `ModelError`) for whatever the network or a server did, `StorageError` when the disk
        is too full or cannot be written, `Stopped` after `stop`. What came so far is kept, and gone on with next time.
        """
        private_folder(self._folder)
        with self._line:
            self._measure()
            for index in range(len(self._sources)):
                yield from self._fetch_locked(index)

    # -- before the first byte -------------------------------------------------------------------------------------

    def _measure(self) -> None:
        """Learn the sizes of all parts of a split model, so that a disk too small for the last is noticed now."""
        for index, (source, target) in enumerate(zip(self._sources, self.targets, strict=True)):
            if target.is_file():
                self._sizes[index] = target.stat().st_size
            elif len(self._sources) > 1 and self._sizes[index] is None:
                self._sizes[index] = self._ask_size(source)

    def _ask_size(self, source: Source) -> int | None:
        try:
            return self._network.size(source, self._line)
        except Broken as error:
            if error.unreachable:
                raise
            return None  # a server may not know HEAD; the file's own answer will say

    def _check_space(self, index: int, start: int) -> None:
        """Refuse to begin what the disk cannot hold: the rest of this file and all later ones."""
        with storage_errors(self._folder):
            free = self._free_bytes(self._folder)
        later = [
            size
            for target, size in zip(self.targets[index + 1 :], self._sizes[index + 1 :], strict=True)
            if size is not None and not target.is_file()
        ]
        needed = (self._sizes[index] or start) - start + sum(later)
        if needed + MARGIN_BYTES > free:
            raise StorageError(
                f"{self.targets[index]} needs {needed / 1e9:.2f} GB more and the disk has {free / 1e9:.2f} GB free.",
                "Free some space (`cagchat library prune` removes states that were not used lately), or set "
                "CAGCHAT_HOME to a larger disk.",
            )

    def _fetch_locked(self, index: int) -> Iterator[DownloadEvent]:
        lock = yield from self._lock(self.targets[index])
        try:
            yield from self._fetch(index)
        finally:
            lock.release()

    def _lock(self, target: Path) -> Generator[Waiting, None, BaseFileLock]:
        """Take the file's lock, saying once when another process has it."""
        from filelock import FileLock, Timeout  # 70 ms

        path = target.with_name(f".{target.name}.lock")
        lock = FileLock(path, mode=0o600)
        told = False
        while True:
            self._line.check()
            try:
                lock.acquire(timeout=LOCK_STEP_S if told else 0)
                return lock
            except OSError as error:
                if not isinstance(error, Timeout):
                    raise storage_error(error, path) from error
                if not told:
                    yield Waiting(target)
                    told = True

    # -- one file --------------------------------------------------------------------------------------------------

    def _fetch(self, index: int) -> Iterator[DownloadEvent]:
        """Fetch a file in as many attempts as it takes, and give it its name."""
        source, target = self._sources[index], self.targets[index]
        if target.exists():
            yield self._present(index)
            return
        part, received_before = Part(target), self._received
        record = part.find(source.url)
        if part.size_bytes:
            yield from self._rehash(part)
        elif part.bytes_on_disk:
            yield Restarted(target, NOT_KNOWN)
        failures, furthest = 0, part.size_bytes
        while not is_complete(part, record):
            try:
                record = yield from self._attempt(index, part, record)
            except Broken as error:
                # Not what came but how far it came: from a server that always begins anew, nothing is gained.
                failures = 1 if part.size_bytes >= furthest + WORTH_BYTES else failures + 1
                furthest = max(furthest, part.size_bytes)
                if failures >= self._retries.attempts or (error.unreachable and not self._received):
                    raise
                wait_s = self._retries.wait_s(failures, error.wait_s)
                yield Retrying(target, error.message, failures, self._retries.attempts, wait_s)
                self._pause(wait_s)
                record = part.find(source.url)
                if part.bytes_on_disk and not part.size_bytes:
                    yield Restarted(target, NOT_KNOWN)
        part.finish(source.sha256 or record.sha256)
        proved = bool(source.sha256 or record.sha256)
        yield Fetched(target, part.size_bytes, self._received - received_before, part.sha256, proved)

    def _present(self, index: int) -> Present:
        """Accept a file that is there under its name, when it is sound and of the size that is known."""
        source, target = self._sources[index], self.targets[index]
        size = read_any_header(target).size_bytes
        if source.size_bytes not in (0, size):
            raise DownloadError(
                f"{target} is there already, with {size} bytes and not {source.size_bytes}.",
                "It is another file: rename or delete it, then try again.",
            )
        return Present(target, size)

    def _rehash(self, part: Part) -> Iterator[Rehashing]:
        total = part.size_bytes
        for done in part.rehash():
            self._line.check()
            if self._is_time() or done == total:
                yield Rehashing(part.target, done, total)

    def _attempt(self, index: int, part: Part, before: Record) -> Generator[DownloadEvent, None, Record]:
        """Ask once for what is missing and write what comes; return what is then known of the file."""
        source, start = self._sources[index], part.size_bytes
        with closing(self._network.get(source, self._line, start=start, before=before)) as reply:
            verdict = judge(reply.answer, source, before, start)
            if isinstance(verdict, Accepted):
                if verdict.restarted:
                    yield Restarted(part.target, verdict.restarted)
                return (yield from self._receive(index, part, verdict, reply))
        yield Restarted(part.target, verdict.reason)
        part.discard()
        return Record(source.url)

    def _receive(
        self, index: int, part: Part, accepted: Accepted, reply: Reply
    ) -> Generator[DownloadEvent, None, Record]:
        record = accepted.record
        total = self._sizes[index] = record.size_bytes
        self._check_space(index, accepted.start)
        most = total if total is not None else self._free_bytes(self._folder) - MARGIN_BYTES
        self._pace.forget()
        with part.begin(record, accepted.start) as file:
            yield from self._copy(index, part, reply, file, most)
        if total is not None and part.size_bytes < total:
            raise interrupted(reply.answer.url, part.size_bytes, total)
        if reply.answer.length_bytes is None and reply.read(1):
            if total is None:
                raise StorageError(f"The disk cannot hold {part.target}.", "Free some space, or fetch a smaller model.")
            raise self._too_long(part, reply, total)
        return Record(record.url, record.etag, part.size_bytes, record.sha256)

    def _copy(self, index: int, part: Part, reply: Reply, file: IO[bytes], most: int) -> Iterator[Receiving]:
        """Write the body, at most up to the size `most`; look at its first bytes as soon as they are there."""
        looked = False
        while part.size_bytes < most:
            piece = reply.read(min(READ_BYTES, most - part.size_bytes))
            if not piece:
                break
            part.append(file, piece)
            self._received += len(piece)
            if not looked and part.size_bytes >= len(MAGIC):
                looked = True
                self._check_start(part, reply)
            self._pace.note(self._clock(), part.size_bytes)
            if self._is_time():
                yield self._progress(index, part)
        yield self._progress(index, part)

    def _check_start(self, part: Part, reply: Reply) -> None:
        """Refuse now what will be no GGUF when it is complete."""
        start = part.first_bytes(BYTES_OF_START)
        if start.startswith(MAGIC):
            return
        part.discard()
        if start.lstrip().lower().startswith((b"<!doctype", b"<html", b"<head", b"<?xml")):
            raise not_a_file(reply.answer.url, "a web page")
        if start.startswith(b"version https://git-lfs"):
            raise not_a_file(reply.answer.url, "a pointer to a large file (Git LFS)")
        raise not_a_file(reply.answer.url, f"something that begins with {start[:8]!r}")

    def _too_long(self, part: Part, reply: Reply, total: int) -> DownloadError:
        part.discard()
        return wrong_size(reply.answer.url, total + 1, total)

    def _progress(self, index: int, part: Part) -> Receiving:
        others = sum(target.stat().st_size for target in self.targets[:index])
        done = others + part.size_bytes
        sizes = [size for size in self._sizes if size is not None]
        total = sum(sizes) if len(sizes) == len(self._sizes) else None
        left = None if total is None else total - done
        speed, remaining = self._pace.bytes_per_s, self._pace.remaining_s(left)
        return Receiving(part.target, index + 1, len(self._sources), done, total, speed, remaining)

    def _is_time(self) -> bool:
        """Tell whether the last event of progress is long enough ago, and if so count this one."""
        now = self._clock()
        if now - self._shown_s < EVENT_EVERY_S:
            return False
        self._shown_s = now
        return True

    def _pause(self, seconds: float) -> None:
        """Wait in steps, so that `stop` is heard."""
        left = seconds
        while left > 0:
            self._line.check()
            self._sleep(min(TICK_S, left))
            left -= TICK_S
        self._line.check()


def is_complete(part: Part, record: Record) -> bool:
    """Tell whether all bytes are here, as far as their number is known."""
    return 0 < part.size_bytes == record.size_bytes

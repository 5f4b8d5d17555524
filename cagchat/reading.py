"""Read a book into the cache: the prefill, with progress, checkpoints, boundaries and the sealing at its end."""

from __future__ import annotations

import time
from array import array
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace

from cagchat.engine.protocol import BOOK, Engine, Probe
from cagchat.errors import EngineCancelled, StateDamaged, Stopped, StorageError
from cagchat.events import Checkpointed, Notice, PrepareEvent, Reading, Resumed, Sealed
from cagchat.files import partial_path, publish, storage_errors
from cagchat.opened import PROBE_TOP, restore, save
from cagchat.states.boundaries import choose
from cagchat.states.manifest import Manifest, StateFile
from cagchat.states.pacing import CheckpointPacer, SizeEstimate
from cagchat.states.store import ASIDE_FILE, StateFolder, States
from cagchat.units import size

CHUNK_S = 1.0  # between two looks at whether to stop or to save; a chunk is at least one batch


class Reader:
    """Reads one book to its end, from its checkpoint or from the start. Used once."""

    def __init__(
        self,
        states: States,
        folder: StateFolder,
        manifest: Manifest,
        engine: Engine,
        *,
        checkpoint_share: float,
        most_boundaries: int,
        timer: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._states = states
        self._folder = folder
        self.manifest = manifest
        self._engine = engine
        self._timer = timer
        self._pacer = CheckpointPacer(checkpoint_share)
        self._estimate = SizeEstimate()
        self._most_boundaries = most_boundaries
        self._stopping = False
        self._saving = checkpoint_share > 0
        self._started_at = 0
        self._this_run_s = 0.0
        self._recorded_s = 0.0
        self._tokens = array("i")

    def stop(self) -> None:
        """End the reading after the running batch; what was read is saved. Safe from a signal handler."""
        self._stopping = True
        self._engine.cancel()

    def read(self, tokens: array[int]) -> Iterator[PrepareEvent]:
        """Read what is left of the prefix and seal it; `manifest` is then the sealed one.

        Raises `Stopped` after `stop`, when the checkpoint is on disk. When the disk does not take the sealed state,
        a `Notice` says so and `manifest.state` stays None: the book can be asked, but not reopened.
        """
        if self._stopping:
            raise stopped(self.manifest)
        yield from self._resume()
        info = self._engine.info
        self.manifest = replace(self.manifest, memory=info.memory, build=info.build)
        self._tokens = tokens
        self._started_at = self._engine.length(BOOK)
        for target in self._targets(len(tokens)):
            yield from self._read_until(target, tokens)
            if target < len(tokens):
                yield from self._keep_boundary()
        yield from self._seal()

    def _resume(self) -> Iterator[PrepareEvent]:
        checkpoint = self.manifest.checkpoint
        if checkpoint is None:
            return
        try:
            restored = restore(self._engine, self._folder, self.manifest, checkpoint)
        except StateDamaged as damage:
            path = self._folder.path / checkpoint.name
            if path.exists():
                with storage_errors(path):
                    path.replace(path.with_suffix(ASIDE_FILE))
            self._engine.clear(BOOK)
            self._record(checkpoint=None, boundaries=())
            yield Notice(f"{damage.message} Reading starts again from the beginning.")
            return
        yield Resumed(restored.n_tokens, self.manifest.n_tokens)

    def _targets(self, last: int) -> list[int]:
        """Return where to pause: boundaries that are still ahead, and the end."""
        ends = self.manifest.book.section_tokens
        # Behind the last section stands only the frame's opening, so the whole state is as good as a boundary there.
        book_end = ends[-1] if ends else last
        wanted = () if self.manifest.memory == "attention" else choose(ends, self._most_boundaries, book_end)
        kept = {boundary.blob.n_tokens for boundary in self.manifest.boundaries}
        # A reading may have been interrupted right at a boundary, before it was kept.
        now = self._started_at
        return [*(end for end in wanted if end > now or (end == now and end not in kept)), last]

    def _read_until(self, target: int, tokens: array[int]) -> Iterator[PrepareEvent]:
        position = self._engine.length(BOOK)
        n_batch = self._engine.settings.n_batch
        batches = 1
        while position < target:
            if self._stopping:  # since the last look, while something was saved
                yield from self._pause(position)
            end = min(target, (position // n_batch + batches) * n_batch)
            began = self._timer()
            done_before = self._this_run_s
            try:
                for progress in self._engine.evaluate(BOOK, tokens[position:end]):
                    self._this_run_s = done_before + progress.elapsed_s
                    yield self._progress(progress.position)
                    if self._stopping:  # a stop may have come before the engine was at work
                        self._engine.cancel()
            except EngineCancelled:
                self._stopping = True
            elapsed = self._timer() - began
            self._this_run_s = done_before + elapsed
            batches = max(1, min(64, int(CHUNK_S * batches / max(elapsed, 1e-6))))
            position = self._engine.length(BOOK)  # the truth, whatever was asked for
            yield from self._pause(position)

    def _pause(self, position: int) -> Iterator[PrepareEvent]:
        """Between two chunks: stop, look at the disk, or save a checkpoint."""
        if self._stopping:
            yield from self._checkpoint(position)
            raise stopped(self.manifest, position)
        if position == self.manifest.n_tokens:
            return  # what comes next is the sealing: a checkpoint here would write the same bytes twice
        if self._estimate.predict(position) is None:
            self._estimate.observe(position, self._engine.state_size(BOOK))
            self._check_room()
        predicted = self._estimate.predict(position)
        if self._saving and predicted is not None and self._pacer.due(self._this_run_s, predicted):
            yield from self._checkpoint(position)

    def _check_room(self) -> None:
        """Refuse early, rather than after the wait, when the disk cannot take the finished state."""
        needed = self._estimate.predict(self.manifest.n_tokens)
        if needed is None:
            return
        free = self._states.free_bytes()
        if needed > free:
            raise StorageError(
                f"The state of {self.manifest.book.title} will take {size(needed)}, and {self._states.root} has "
                f"{size(free)} free.",
                "Free some space (`cagchat library prune`), set CAGCHAT_HOME to a larger disk, or choose --kv q8_0.",
            )

    def _checkpoint(self, position: int) -> Iterator[PrepareEvent]:
        if position <= self.manifest.position:
            return
        began = self._timer()
        try:
            file, transfer = save(self._engine, self._folder, "checkpoint")
            self._record(checkpoint=file, probe=self._probe())
        except StorageError as error:
            self._saving = False
            yield Notice(f"No checkpoint could be saved: {error.message} Reading goes on without.")
            return
        elapsed = self._timer() - began
        self._pacer.saved(transfer.size_bytes, elapsed)
        self._estimate.observe(position, transfer.size_bytes)
        yield Checkpointed(position, transfer.size_bytes, elapsed)

    def _keep_boundary(self) -> Iterator[PrepareEvent]:
        """Save what a later rewind to this section end needs."""
        name = f"boundary-{self._engine.length(BOOK)}.bin"
        partial = partial_path(self._folder.path / name)
        try:
            blob = self._engine.save_boundary(BOOK, partial)
            if blob is None:
                return
            publish(partial, self._folder.path / name)
            # A resumed reading passes boundaries that an earlier one kept after its last checkpoint.
            others = (boundary for boundary in self.manifest.boundaries if boundary.name != name)
            self._record(boundaries=(*others, StateFile(name, blob, self._probe())))
        except StorageError as error:
            yield Notice(f"No boundary could be saved: {error.message} Reading goes on without.")
        finally:
            with suppress(OSError):  # it stays a leftover then, and is swept as one
                partial.unlink(missing_ok=True)

    def _seal(self) -> Iterator[PrepareEvent]:
        self._engine.mark(BOOK)
        try:
            file, transfer = save(self._engine, self._folder, "state")
            self._record(state=file, probe=self._probe(), checkpoint=None)
        except StorageError as error:
            yield Notice(f"The state could not be saved: {error.message} Questions can be asked now; {error.hint}")
            return
        yield Sealed(self.manifest.n_tokens, transfer.size_bytes, transfer.elapsed_s)

    def _probe(self) -> Probe:
        """Evaluate a token of what was read: what follows it there is what the state must know."""
        read = self._tokens[self.manifest.n_head : self._engine.length(BOOK)]
        return self._engine.probe(BOOK, telling_token(read), PROBE_TOP)

    def _record(self, **changes: object) -> None:
        """Write the manifest with what changed, then delete the files it no longer names."""
        read_s = self.manifest.read_s + self._unrecorded_s()
        now = replace(self.manifest, read_s=read_s, **changes)  # type: ignore[arg-type]  # mypy cannot see which field
        self._folder.write_manifest(now)
        self.manifest = now
        self._folder.drop_files(files_of(now))

    def _unrecorded_s(self) -> float:
        recorded, self._recorded_s = self._recorded_s, self._this_run_s
        return self._this_run_s - recorded

    def _progress(self, position: int) -> Reading:
        done, elapsed = position - self._started_at, self._this_run_s
        speed = done / elapsed if done > 0 and elapsed > 0 else None
        remaining = (self.manifest.n_tokens - position) / speed if speed else None
        return Reading(position, self.manifest.n_tokens, elapsed, speed, remaining, self._section_at(position))

    def _section_at(self, position: int) -> str:
        book = self.manifest.book
        for (title, _, _, _), end in zip(book.sections, book.section_tokens, strict=True):
            if position <= end:
                return title
        return ""


def telling_token(tokens: array[int]) -> int:
    """Return the token to probe with: of the rarest ones the nearest to the middle.

    A model that has read it once expects what followed it, so its logits tell one text from another; after a token that
    stands everywhere, a line end say, they hardly do.
    """
    counts = Counter(tokens)
    rarest = min(counts.values(), default=0)
    middle = len(tokens) // 2
    rare = (place for place, token in enumerate(tokens) if counts[token] == rarest)
    return tokens[min(rare, key=lambda place: abs(place - middle))] if tokens else 0


def files_of(manifest: Manifest) -> set[str]:
    """Return the names of the state files that a manifest speaks of."""
    files = (manifest.state, manifest.checkpoint, *manifest.boundaries)
    return {file.name for file in files if file is not None}


def stopped(manifest: Manifest, position: int = 0) -> Stopped:
    """Say how far a reading came and what is kept of it."""
    kept = manifest.position
    return Stopped(
        f"Stopped at token {max(position, kept):,} of {manifest.n_tokens:,}; {kept:,} are kept.",
        "The same command goes on from there.",
    )

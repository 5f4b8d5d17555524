"""Put the book at the start of a chat's sequence: all of it, or what stands before a limit.

A limited chat is [head | book up to the limit | opening | turns]. A model with attention only is cut at the limit's
token; the others go back to the nearest snapshot below it and read the rest of the way, in steps that fit beside the
book. After each step a snapshot is kept and the sequence is forked anew, so that it shares all its cells with the book
and the chat has as much room as without a limit.
"""

from __future__ import annotations

import time
from array import array
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from cagchat.engine.protocol import BOOK, CHAT, Span
from cagchat.errors import EngineCancelled, StateDamaged, Stopped, StorageError
from cagchat.events import AskEvent, Limited, Notice, Reading
from cagchat.limits.limit import Limit
from cagchat.limits.tokens import token_at
from cagchat.opened import rewind_to_boundary

if TYPE_CHECKING:
    from cagchat.opened import OpenBook
    from cagchat.states.manifest import StateFile


@dataclass(frozen=True, slots=True)
class Layout:
    """The cached prefix as a limited chat uses it: `tokens[:end]` of head and book, then `opening`."""

    tokens: array[int]
    end: int
    opening: array[int]


class Ground:
    """What stands before a chat's first question. One owner calls it."""

    def __init__(
        self, book: OpenBook, limit: Limit | None = None, timer: Callable[[], float] = time.perf_counter
    ) -> None:
        """Take the whole book when there is no `limit`, or when it is at the end."""
        self.limit = limit if limit is not None and limit.offset < book.manifest.book.n_characters else None
        self._book = book
        self._timer = timer
        self._layout: Layout | None = None
        self._said = False

    @property
    def n_book(self) -> int:
        """How many of the book's tokens the chat knows, the head before them included."""
        return self._laid_out().end if self.limit else self._book.n_tokens

    @property
    def n_tokens(self) -> int:
        """Where the first question begins."""
        return self.n_book + (len(self._laid_out().opening) if self.limit else 0)

    @property
    def capacity(self) -> int:
        """How long the chat's sequence can become: cells that it shares with the book are there once for both."""
        return self._book.settings.n_context - self._book.n_tokens + self.n_book

    @property
    def to_read(self) -> int:
        """How many of the book's tokens `place` will have to evaluate."""
        if not self.limit or self._book.engine.info.memory == "attention":
            return 0
        return self.n_book - max((file.blob.n_tokens for file in self._snapshots()), default=0)

    def counted(self, spans: list[Span]) -> list[Span]:
        """Return evaluated spans without what was read of the book beyond the limit: that is no part of this chat."""
        if self.limit is None:
            return spans
        known = [s if s.sequence != BOOK else replace(s, count=min(s.count, self.n_book - s.start)) for s in spans]
        return [span for span in known if span.count > 0]

    def place(self, still_wanted: Callable[[], None]) -> Iterator[AskEvent]:
        """Fill the chat's sequence with it; what is evaluated is said before, and `still_wanted` is called meanwhile.

        Raises what `still_wanted` raises, and `EngineCancelled`; what was read until then is kept for the next time.
        """
        engine = self._book.engine
        engine.fork(BOOK, CHAT)
        if self.limit is None:
            return
        layout = self._laid_out()
        if not engine.rewind(CHAT, layout.end):
            yield from self._reach(layout, still_wanted)
        elif not self._said:
            yield self._limited(0)
        self._said = True
        still_wanted()
        for _ in engine.evaluate(CHAT, layout.opening):
            still_wanted()

    def _laid_out(self) -> Layout:
        if self._layout is None:
            assert self.limit is not None, "the whole book needs no layout"
            manifest = self._book.manifest
            tokens = self._book.folder.checked_tokens(manifest)
            ends = manifest.book.section_tokens
            end = token_at(
                self.limit.offset, self._book.document, tokens, manifest.n_head, ends, self._book.engine.text_of
            )
            self._layout = Layout(tokens, end, tokens[ends[-1] if ends else manifest.n_head :])
        return self._layout

    def _limited(self, to_read: int) -> Limited:
        assert self.limit is not None
        return Limited(self.limit.offset, self.n_book, to_read, self.limit.words)

    def _snapshots(self) -> list[StateFile]:
        """Return what the sequence can go back to, the nearest to the limit first."""
        known = (*self._book.manifest.boundaries, *self._book.snapshots.files)
        below = [file for file in known if file.blob.n_tokens <= self.n_book]
        return sorted(below, key=lambda file: file.blob.n_tokens, reverse=True)

    def _reach(self, layout: Layout, still_wanted: Callable[[], None]) -> Iterator[AskEvent]:
        """Go back to the nearest snapshot and read on to the limit."""
        yield from self._go_back()
        position = self._book.engine.length(CHAT)
        if position < layout.end or not self._said:
            yield self._limited(layout.end - position)
        still_wanted()
        if position < layout.end:
            self._book.just_read = True  # as was announced: the proof does not take it for a failure
            yield from self._read(layout, position, still_wanted)

    def _go_back(self) -> Iterator[AskEvent]:
        engine = self._book.engine
        for file in self._snapshots():
            engine.fork(BOOK, CHAT)
            try:
                rewind_to_boundary(engine, self._book.folder, self._book.manifest, file)
            except StateDamaged as damage:
                self._book.snapshots.drop(file)
                yield Notice(f"{damage.message} An earlier snapshot is used instead.")
                continue
            return
        engine.clear(CHAT)

    def _read(self, layout: Layout, position: int, still_wanted: Callable[[], None]) -> Iterator[AskEvent]:
        engine, settings = self._book.engine, self._book.settings
        room = max(1, settings.n_context - self._book.n_tokens)
        first, began = position, self._timer()
        while position < layout.end:
            end = min(layout.end, position + room)
            if end < layout.end and end - end % settings.n_batch > position:
                end -= end % settings.n_batch  # so that batches are split as in a reading without steps
            try:
                still_wanted()
                for progress in engine.evaluate(CHAT, layout.tokens[position:end]):
                    yield self._progress(first, progress.position, layout.end, self._timer() - began)
                    still_wanted()
            except (EngineCancelled, Stopped):
                with suppress(StorageError):  # then the next time begins where this one did
                    self._book.snapshots.keep(engine)
                raise
            position = end
            yield from self._keep(position < layout.end)

    def _keep(self, unfinished: bool) -> Iterator[AskEvent]:
        """Keep a snapshot where the sequence is now, and give its cells back to the book's."""
        engine = self._book.engine
        try:
            file = self._book.snapshots.keep(engine)
        except StorageError as error:
            if unfinished:
                raise
            yield Notice(f"No snapshot could be kept: {error.message} The next chat reads up to the limit again.")
            return
        if file is not None:
            engine.fork(BOOK, CHAT)
            engine.restore_boundary(CHAT, self._book.folder.path / file.name, file.blob)

    def _progress(self, first: int, position: int, end: int, elapsed_s: float) -> Reading:
        speed = (position - first) / elapsed_s if elapsed_s > 0 else None
        remaining = (end - position) / speed if speed else None
        assert self.limit is not None
        return Reading(position, end, elapsed_s, speed, remaining, self.limit.words)

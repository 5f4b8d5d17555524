"""A book that is open: a restored state in a running engine, its text, and the pieces of its prompt."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from cagchat.documents import Document
from cagchat.engine.backend import Backend
from cagchat.engine.protocol import BOOK, CHAT, Engine, Probe, Span, Transfer
from cagchat.errors import EngineDied, StateDamaged
from cagchat.events import Restored
from cagchat.files import partial_path, publish, storage_errors
from cagchat.limits.limit import Limit
from cagchat.limits.snapshots import Snapshots
from cagchat.prompt import FramedTokens, tokenize_frame
from cagchat.states.in_use import Hold
from cagchat.states.manifest import Manifest, StateFile
from cagchat.states.store import StateFolder

PROBE_TOP = 8
# How much a probe's logits may differ. With one build only the number of threads can change them, by hundredths;
# between builds and processors it is some tenths. Another text of the same length differs by whole units, or in which
# tokens are likely at all (measured with SmolLM2, three phrases of 700 tokens replaced). A boundary's token stands in
# another cell than when it was recorded, behind the whole book: without flash attention that changes the order of sums,
# and changed SmolLM2's logits by up to a third.
SAME_BUILD, OTHER_BUILD, OTHER_CELL = 0.25, 0.5, 1.0

if TYPE_CHECKING:
    from cagchat.passages.index import PassageIndex
    from cagchat.quotes.check import QuoteChecker

Notify = Callable[[str], None]


class OpenBook:
    """A book ready to be asked. One owner calls it; `cancel` may be called from anywhere.

    When the engine's process dies, `revive` starts another and restores the state; nothing on disk changes.
    """

    def __init__(self, folder: StateFolder, manifest: Manifest, engine: Engine, backend: Backend, hold: Hold) -> None:
        """`hold` keeps the state from being deleted; it is released when the book is closed."""
        self._hold = hold
        self.folder = folder
        self.manifest = manifest
        self.engine = engine
        self.settings = engine.settings
        self._backend = backend
        self._pieces: FramedTokens | None = None
        self._document: Document | None = None
        self._quotes: QuoteChecker | None = None
        self._passages: PassageIndex | None = None
        self._last_transfer: Transfer | None = None
        self._kept: list[Span] = []
        self.just_read = False
        self.snapshots = Snapshots(folder)
        self.limit: Limit | None = None  # how far new chats know the book; None for all of it

    @property
    def n_tokens(self) -> int:
        """The length of the cached prefix: where every chat begins."""
        return self.manifest.n_tokens

    @property
    def document(self) -> Document:
        """The book's text and sections, as they were read; loaded from the state's folder when first asked for."""
        if self._document is None:
            self._document = self.manifest.book.document(self.folder.checked_text(self.manifest))
        return self._document

    @property
    def pieces(self) -> FramedTokens:
        """The prompt's pieces around questions, as token ids."""
        if self._pieces is None:
            self._pieces = tokenize_frame(self.manifest.frame, self.engine)
        return self._pieces

    @property
    def quotes(self) -> QuoteChecker:
        """Where the quotes of answers are looked up."""
        if self._quotes is None:
            from cagchat.quotes.check import QuoteChecker  # 40 ms, which no reopening need wait for

            self._quotes = QuoteChecker(self.document)
        return self._quotes

    @property
    def passages(self) -> PassageIndex:
        """Where passages are looked for; its index lies in the state's folder and goes with it."""
        if self._passages is None:
            from cagchat.passages.index import open_index  # sqlite3 and word lists: 30 ms

            self._passages = open_index(self.document, self.folder.path / "passages")
        return self._passages

    def take_notice(self) -> str:
        """Return what there is to say of the passages' index, once; "" when nothing is, or it was not used yet."""
        return self._passages.take_notice() if self._passages is not None else ""

    def restored(self, transfer: Transfer) -> None:
        """Note a restore, for the next answer's proof."""
        self._last_transfer = transfer

    def forget_evidence(self, n_book: int | None = None) -> None:
        """Drop what an abandoned answer evaluated, but not what was read of the book: the next proof must tell that.

        A chat that knows the book up to a limit gives how many of the book's tokens these are.
        """
        n_book = self.n_tokens if n_book is None else n_book
        for span in self.engine.take_spans():  # one may go from the book on into the question: they are joined
            inside = span.count if span.sequence == BOOK else min(span.count, n_book - span.start)
            if inside > 0 and not span.padding:  # fillers stand in no text, wherever they are counted from
                # As the book's own: a chat with a nearer limit cuts it there (`Ground.counted`).
                self._kept.append(replace(span, sequence=BOOK, count=inside))

    def take_evidence(self) -> tuple[list[Span], Transfer | None, bool]:
        """Return what was evaluated and restored since the last call, and whether the book was being read."""
        transfer, self._last_transfer = self._last_transfer, None
        reading, self.just_read = self.just_read, False
        kept, self._kept = self._kept, []
        return kept + self.engine.take_spans(), transfer, reading

    def revive(self, died: EngineDied, notify: Notify) -> Restored:
        """Start a new engine in place of one that died and restore the book into it."""
        if sentence := self._backend.crashed(self.engine, died):
            notify(sentence)
        self.engine.close()
        self.engine = self._backend.open_engine(self.settings, notify)
        restored = restore(self.engine, self.folder, self.manifest, self.manifest.state)
        self.restored(Transfer(restored.size_bytes, restored.elapsed_s))
        return restored

    def cancel(self) -> None:
        """Stop the answer that is being made; what was made is kept."""
        self.engine.cancel()

    def close(self) -> None:
        """End the engine, and let the state be deleted."""
        self.engine.close()
        self.snapshots.clear()
        self._hold.release()


def restore(engine: Engine, folder: StateFolder, manifest: Manifest, file: StateFile | None) -> Restored:
    """Load a manifest's state or checkpoint into the book's sequence, prove it by its probe, and mark its end.

    Raises `StateDamaged` when bytes or layout are not what was written or the probe's logits are not those recorded.
    """
    if file is None or manifest.probe is None:
        raise StateDamaged(f"{folder.name} has no saved state.", "Read the book with `cagchat read`.")
    path = folder.path / file.name
    transfer = engine.restore(BOOK, path, file.blob)
    exact = proved(engine, BOOK, path, manifest.probe, tolerance(engine, manifest))
    engine.mark(BOOK)
    return Restored(file.blob.n_tokens, transfer.size_bytes, transfer.elapsed_s, exact=exact)


def tolerance(engine: Engine, manifest: Manifest) -> float:
    """Return by how much a probe may differ from the one in the manifest."""
    return SAME_BUILD if engine.info.build == manifest.build else OTHER_BUILD


def rewind_to_boundary(engine: Engine, folder: StateFolder, manifest: Manifest, file: StateFile) -> None:
    """Rewind the chat's sequence, which must hold the book that far, to a boundary, and prove it by its probe.

    Raises `StateDamaged` like `restore`; the sequence must be cleared or forked anew then.
    """
    path = folder.path / file.name
    engine.restore_boundary(CHAT, path, file.blob)
    if file.probe is not None:
        allowed = tolerance(engine, manifest)
        proved(engine, CHAT, path, file.probe, allowed if engine.settings.flash_attention else max(allowed, OTHER_CELL))


def proved(engine: Engine, sequence: int, path: Path, recorded: Probe, allowed: float) -> bool:
    """Check a restored sequence by the probe that was recorded with it; return whether the logits are quite the same.

    Raises `StateDamaged` when they differ by more than is allowed, or in which tokens are likely.
    """
    found = engine.probe(sequence, recorded.token, PROBE_TOP)
    if not agrees(recorded, found, allowed):
        raise StateDamaged(f"{path} gives other logits than when it was saved.", "The book has to be read again.")
    return found == recorded


def agrees(recorded: Probe, found: Probe, tolerance: float) -> bool:
    """Tell whether two probes can come from the same state.

    The largest logit of one must be among the other's top, and those that both list must agree within `tolerance`.
    """
    before, now = dict(recorded.top), dict(found.top)
    common = before.keys() & now.keys()
    if recorded.token != found.token or 2 * len(common) < len(before):
        return False
    if recorded.top[0][0] not in now:
        return False
    return all(abs(before[token] - now[token]) <= tolerance for token in common)


def save(engine: Engine, folder: StateFolder, kind: str) -> tuple[StateFile, Transfer]:
    """Write the book's sequence as "state" or "checkpoint": beside, verified, synced, renamed."""
    name = f"{kind}-{engine.length(BOOK)}.bin"
    partial = partial_path(folder.path / name)
    try:
        blob, transfer = engine.save(BOOK, partial)
        publish(partial, folder.path / name)
    finally:
        with storage_errors(partial):
            partial.unlink(missing_ok=True)
    return StateFile(name, blob), transfer

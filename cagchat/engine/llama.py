"""The llama.cpp engine, on llama-cpp-python's low-level functions.

The package's `Llama` class is not used: it evaluates a hybrid model's whole prompt again after every rewind and copies
a state three times in memory. Runs in a child process (`engine.serve`), because a native crash ends the process it
happens in.
"""

from __future__ import annotations

import ctypes
import math
import threading
import time
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cagchat.engine.allocation import allocate, attention_work, extended_cells, load, memory_kind
from cagchat.engine.bindings import LogTail, bindings, package_version
from cagchat.engine.logits import are_numbers, largest, no_numbers
from cagchat.engine.marks import Marks
from cagchat.engine.padding import TILE_TOKENS, padding
from cagchat.engine.protocol import (
    BOOK,
    Blob,
    EngineSettings,
    Finish,
    ModelInfo,
    Piece,
    Probe,
    Progress,
    Sampling,
    Span,
    Tokens,
    Transfer,
)
from cagchat.engine.rotation import rotated
from cagchat.engine.samplers import sampler_chain
from cagchat.engine.sequence_states import PARTIAL_ONLY, WHOLE, SequenceStates
from cagchat.engine.spans import SpanLog
from cagchat.engine.words import Words
from cagchat.errors import ContextFull, EngineCancelled, EngineError, ModelError, StateDamaged

# Return values of llama_decode: no free cell is left and the cache is unchanged; the abort callback said so.
NO_SLOT, ABORTED = 1, 2


@dataclass(frozen=True, slots=True)
class _Prompt:
    """Where the last prompt ended: the logits after it, and the snapshot there for models that cannot simply be cut."""

    sequence: int
    length: int
    logits: array[float]
    snapshot: bytearray | None


class LlamaEngine:
    """Implements `engine.protocol.Engine` with llama.cpp."""

    def __init__(self, settings: EngineSettings) -> None:
        """Load the model and allocate the cache.

        Raises `ModelError` when the file cannot be loaded, `EngineError` when the cache cannot be allocated.
        """
        self._ll = bindings()
        self._log = LogTail(self._ll)
        self._ll.llama_backend_init()
        self._model = load(self._ll, settings, self._log)
        self._words = Words(self._ll, self._model)
        self._context = allocate(self._ll, self._model, settings, self._log)
        self._kv = self._ll.llama_get_memory(self._context)
        self._settings = settings
        self._info = self._describe()
        self._states = SequenceStates(
            self._ll,
            self._context,
            self._info.memory,
            extended_cells(self._ll, self._model),
            settings.flash_attention,
            self._log,
        )
        self._batch = self._ll.llama_batch_init(settings.n_batch, 0, 1)
        self._marks = Marks(settings.mark_budget_bytes)
        self._prompt: _Prompt | None = None
        self._shared: dict[int, tuple[int, int]] = {}  # fork: what it is of, and how many tokens in the same cells
        self._poisoned = False  # whether the cache may hold what is no number
        self._spans = SpanLog()
        self._work = attention_work(self._ll, self._model, settings)
        self._stop = threading.Event()
        self._asked_to_stop = self._ll.ggml_abort_callback(lambda _: self._stop.is_set())

    @property
    def info(self) -> ModelInfo:
        """See the protocol."""
        return self._info

    @property
    def settings(self) -> EngineSettings:
        """See the protocol."""
        return self._settings

    def tokenize(self, texts: Sequence[str], *, special: bool) -> list[array[int]]:
        """See the protocol."""
        return [self._words.tokenize(text, special) for text in texts]

    def text_of(self, tokens: Tokens) -> bytes:
        """See the protocol."""
        return b"".join(map(self._words.piece, tokens))

    # -- evaluating ------------------------------------------------------------------------------------------------

    def length(self, sequence: int) -> int:
        """See the protocol."""
        return int(self._ll.llama_memory_seq_pos_max(self._kv, sequence)) + 1

    def evaluate(self, sequence: int, tokens: Tokens) -> Iterator[Progress]:
        """See the protocol."""
        self._stop.clear()
        began = time.perf_counter()
        start = self.length(sequence)
        done = 0
        while done < len(tokens):
            size = min(self._settings.n_batch - (start + done) % self._settings.n_batch, len(tokens) - done)
            first = start + done == 0  # of a book: its last row tells early whether there is any sense in reading on
            self._decode(sequence, tokens[done : done + size], start + done, last_logits=first)
            if first:
                self._checked_logits(sequence)
            self._ll.llama_synchronize(self._context)
            done += size
            yield Progress(self.length(sequence), time.perf_counter() - began)
            if self._stop.is_set() and done < len(tokens):
                raise cancelled(self.length(sequence))

    def generate(
        self, sequence: int, prompt: Tokens, sampling: Sampling, *, max_tokens: int
    ) -> Iterator[Piece | Finish]:
        """See the protocol."""
        self._stop.clear()
        began = time.perf_counter()
        if prompt:
            self._prompt = None
            self._append(sequence, prompt, stoppable=True)
        else:
            self._put_back_logits(sequence)
        logits = self._checked_logits(sequence)
        position = self.length(sequence)
        sampler = sampler_chain(self._ll, self._info.vocabulary.n_vocab, sampling)
        reason: Literal["stop", "length", "cancelled", "full"] = "length"
        first_token_s = 0.0
        try:
            for count in range(max_tokens):
                token = int(self._ll.llama_sampler_sample(sampler, self._context, -1))
                if not math.isfinite(self._ll.llama_get_logits_ith(self._context, -1)[token]):
                    self._poisoned = True
                    raise no_numbers(position)
                if not count:
                    first_token_s = time.perf_counter() - began
                if self._words.ends_turn(token):
                    reason = "stop"
                    break
                yield Piece(token, self._words.piece(token))
                if not count:  # the reader has the first token: what this takes delays nothing that is waited for
                    self._keep_prompt(sequence, logits)
                try:  # every token that was yielded is in the cache: what the reader saw is what the model knows
                    self._decode(sequence, [token], position, last_logits=True)
                except ContextFull:
                    reason = "full"
                    break
                position += 1
                if self._stop.is_set():
                    reason = "cancelled"
                    break
        finally:
            self._ll.llama_sampler_free(sampler)
        decode_s = time.perf_counter() - began - first_token_s
        yield Finish(reason, self.length(sequence), first_token_s, decode_s)

    def logits(self, sequence: int, tokens: Tokens) -> array[float]:
        """See the protocol."""
        self._append(sequence, tokens)
        return self._checked_logits(sequence)

    def probe(self, sequence: int, token: int, top: int) -> Probe:
        """See the protocol."""
        logits = self._probe_on_fork(token) if sequence == BOOK else self._probe_in_place(sequence, token)
        return Probe(token, tuple((i, logits[i]) for i in largest(logits, top)))

    def _probe_on_fork(self, token: int) -> array[float]:
        """Evaluate a token after the book, which itself is never decoded into."""
        spare = next((s for s in range(self._settings.n_sequences) if not self.length(s)), None)
        if spare is None:
            raise EngineError("A probe of the book needs a free sequence.", "Clear the chat first.")
        self.fork(BOOK, spare)
        try:
            return self._probe_logits(spare, token)
        finally:
            self.clear(spare)

    def _probe_in_place(self, sequence: int, token: int) -> array[float]:
        """Evaluate a token after a fork and take it back: there may be no other sequence."""
        length = self.length(sequence)
        snapshot = None if self._info.memory == "attention" else self._states.snapshot(sequence, PARTIAL_ONLY)
        try:
            return self._probe_logits(sequence, token)
        finally:
            if snapshot is not None:
                self._states.load(sequence, snapshot, PARTIAL_ONLY)
            self._cut(sequence, length)

    def _probe_logits(self, sequence: int, token: int) -> array[float]:
        self._decode(sequence, [token], self.length(sequence), last_logits=True, probe=True)
        try:
            return self._checked_logits(sequence)
        except ModelError as error:
            # Who restored the sequence has to know that it is no good; who read it, that nothing can be saved of it.
            raise StateDamaged(error.message, error.hint) from error

    def _keep_prompt(self, sequence: int, logits: array[float]) -> None:
        """Remember the end of the prompt that was just evaluated, so that another answer costs nothing of it."""
        if self._prompt is None:
            snapshot = None if self._info.memory == "attention" else self._states.snapshot(sequence, PARTIAL_ONLY)
            self._prompt = _Prompt(sequence, self.length(sequence), logits, snapshot)

    def _put_back_logits(self, sequence: int) -> None:
        """Put the logits after the last prompt where samplers read them; llama.h allows to change them there."""
        prompt = self._prompt
        if prompt is None or (prompt.sequence, prompt.length) != (sequence, self.length(sequence)):
            raise EngineError("There is no prompt to answer again.", "Ask a question.")
        row = prompt.logits.tobytes()
        ctypes.memmove(self._ll.llama_get_logits_ith(self._context, -1), row, len(row))

    def _append(self, sequence: int, tokens: Tokens, *, stoppable: bool = False) -> None:
        """Evaluate tokens with logits after the last one; all or nothing is guaranteed only for one batch.

        A `stoppable` call ends with `EngineCancelled` after `cancel`: on processors within the batch, elsewhere after
        it. The sequence then holds an unknown part of the tokens and must be rewound.
        """
        if not tokens:
            raise EngineError("There is nothing to evaluate.", "Ask a question.")
        position = self.length(sequence)
        if stoppable:
            self._ll.llama_set_abort_callback(self._context, self._asked_to_stop, None)
        try:
            for start in range(0, len(tokens), self._settings.n_batch):
                if stoppable and self._stop.is_set():
                    raise cancelled(position + start)
                part = tokens[start : start + self._settings.n_batch]
                last = start + len(part) == len(tokens)
                self._decode(sequence, part, position + start, last_logits=last, padding=self._padding(part, position))
        finally:
            if stoppable:
                self._ll.llama_set_abort_callback(self._context, self._ll.ggml_abort_callback(), None)

    def _padding(self, tokens: Tokens, depth: int) -> int:
        """Return how many filler tokens make a short batch cheaper: see `engine.padding`."""
        if self._work is None or self._settings.n_batch < TILE_TOKENS:
            return 0
        room = self._settings.n_context - depth - len(tokens)
        return min(padding(len(tokens), depth, self._work), max(0, room))

    def _decode(
        self,
        sequence: int,
        tokens: Tokens,
        start: int,
        *,
        last_logits: bool = False,
        probe: bool = False,
        padding: int = 0,
    ) -> None:
        """Run one batch through the model; the one place where tokens are evaluated, and so where they are counted.

        `padding` adds that many filler tokens in a sequence of their own, which is cleared at once.
        """
        batch = self._batch
        filler = self._settings.n_sequences  # the sequence after the last that callers know
        rows = [(token, start + i, sequence) for i, token in enumerate(tokens)]
        rows += [(tokens[0], i, filler) for i in range(padding)]
        batch.n_tokens = len(rows)
        for i, (token, position, owner) in enumerate(rows):
            batch.token[i] = token
            batch.pos[i] = position
            batch.n_seq_id[i] = 1
            batch.seq_id[i][0] = owner
            batch.logits[i] = 0
        batch.logits[len(tokens) - 1] = last_logits
        status = self._ll.llama_decode(self._context, batch)
        if padding:
            self._ll.llama_memory_seq_rm(self._kv, filler, -1, -1)
            if status == NO_SLOT:
                return self._decode(sequence, tokens, start, last_logits=last_logits, probe=probe)
            self._spans.add(Span(filler, 0, padding, padding=True))
        if status == NO_SLOT:
            raise ContextFull(
                f"The context of {self._settings.n_context:,} tokens is full.",
                "Start a new chat, or raise chat_tokens.",
            )
        if status == ABORTED:
            raise cancelled(start)
        if status:
            raise EngineError(
                f"llama.cpp could not evaluate {len(tokens)} tokens at position {start:,} (status {status}"
                f"{self._log.because()}).",
                "Lower batch or chat_tokens if memory is short.",
            )
        self._spans.add(Span(sequence, start, len(tokens), probe))
        return None

    def _checked_logits(self, sequence: int) -> array[float]:
        """Return the last row of logits. Raises `ModelError` when they are no numbers: a sampler would not notice."""
        pointer = self._ll.llama_get_logits_ith(self._context, -1)
        row = array("f")
        row.frombytes(ctypes.string_at(pointer, 4 * self._info.vocabulary.n_vocab))
        if not are_numbers(row):
            self._poisoned = True
            raise no_numbers(self.length(sequence))
        return row

    # -- sequences -------------------------------------------------------------------------------------------------

    def fork(self, source: int, target: int) -> None:
        """See the protocol."""
        length = self.length(source)
        if self._shares(source, target, length):
            # What the target has of its own is cut off: noting it as the owner of all cells again would take 0.1 to
            # 0.2 µs for each. A range without cells first gives it a hybrid's recurrent state, which has no range.
            self._ll.llama_memory_seq_cp(self._kv, source, target, length, length + 1)
            self._cut(target, length)
            self._marks.cut(target, 0)
            self._marks.copy(source, target)
            return
        self.clear(target)
        if self._poisoned and not self._settings.flash_attention and not self._others(source):
            self._purge(source)
        self._shared[target] = (source, length)
        if length:
            if self._info.memory == "sliding":
                # Cells behind the window that two sequences share are never free again, and the ring of cells is full
                # after two windows: loaded back, the source holds only the cells that its window still sees.
                self._states.load(source, self._states.snapshot(source, PARTIAL_ONLY), PARTIAL_ONLY)
            self._ll.llama_memory_seq_cp(self._kv, source, target, -1, -1)
            self._marks.copy(source, target)

    def _shares(self, source: int, target: int, length: int) -> bool:
        """Tell whether the target still holds the first `length` tokens in the source's own cells, and that is all.

        Windows hold the last tokens only, and a ring of cells must not be filled by two of them.
        """
        usable = length > 0 and not self._poisoned and self._info.memory != "sliding"
        return usable and self._shared.get(target) == (source, length)

    def _others(self, sequence: int | None) -> bool:
        """Tell whether any other sequence holds something."""
        return any(self.length(other) for other in range(self._settings.n_sequences) if other != sequence)

    def _purge(self, kept: int | None) -> None:
        """Empty all cells but those of one sequence, which go through memory.

        A cell that was given back keeps its values, and plain attention multiplies them by nothing: what is no number
        would stay none.
        """
        state = self._states.snapshot(kept, WHOLE) if kept is not None and self.length(kept) else None
        self._ll.llama_memory_clear(self._kv, True)
        if kept is not None and state is not None:
            try:
                self._states.load(kept, state, WHOLE)
            except EngineError as error:  # no error to go on after: whoever asks next would be answered without a book
                raise RuntimeError("what the cache held is lost") from error
        self._poisoned = False

    def mark(self, sequence: int) -> None:
        """See the protocol."""
        length = self.length(sequence)
        if self._info.memory != "attention" and length:
            self._marks.put(sequence, length, self._states.snapshot(sequence, PARTIAL_ONLY))

    def rewind_to_prompt(self, sequence: int, length: int) -> bool:
        """See the protocol."""
        prompt = self._prompt
        if prompt is None or (prompt.sequence, prompt.length) != (sequence, length) or self.length(sequence) < length:
            return False
        if not self._ll.llama_get_logits_ith(self._context, -1):  # the last batch had none: there is no place for them
            return False
        if prompt.snapshot is not None:
            self._states.load(sequence, prompt.snapshot, PARTIAL_ONLY)
        self._cut(sequence, length)
        return True

    def rewind(self, sequence: int, length: int) -> bool:
        """See the protocol."""
        current = self.length(sequence)
        if not 0 <= length <= current:
            raise EngineError(f"A sequence of {current:,} tokens cannot be rewound to {length:,}.", "Ask again.")
        if length == current:
            return True
        if length == 0:
            self.clear(sequence)
            return True
        if self._info.memory != "attention":
            snapshot = self._marks.get(sequence, length)
            if snapshot is None:
                return False
            # The snapshot first, then the cut: the cut alone is refused, the snapshot alone leaves later cells behind.
            self._states.load(sequence, snapshot, PARTIAL_ONLY)
        self._cut(sequence, length)
        return True

    def _cut(self, sequence: int, length: int) -> None:
        if not self._ll.llama_memory_seq_rm(self._kv, sequence, length, -1) or self.length(sequence) != length:
            raise EngineError(f"The cache could not be cut at {length:,}.", "Open the book again.")
        self._marks.cut(sequence, length)
        self._forget_prompt(sequence, length)
        self._forget_shared(sequence, length)

    def _forget_shared(self, sequence: int, length: int) -> None:
        """Forget which forks share more than `length` tokens with the sequence, as one or the other."""
        self._shared = {
            target: (source, shared)
            for target, (source, shared) in self._shared.items()
            if sequence not in (source, target) or shared <= length
        }

    def _forget_prompt(self, sequence: int, length: int) -> None:
        """Forget the last prompt when its sequence no longer reaches it."""
        if self._prompt is not None and self._prompt.sequence == sequence and self._prompt.length > length:
            self._prompt = None

    def clear(self, sequence: int) -> None:
        """See the protocol."""
        self._ll.llama_memory_seq_rm(self._kv, sequence, -1, -1)
        self._marks.cut(sequence, 0)
        self._forget_prompt(sequence, 0)
        self._forget_shared(sequence, 0)
        if self._poisoned and not self._others(None):
            self._purge(None)

    # -- files -----------------------------------------------------------------------------------------------------

    def state_size(self, sequence: int) -> int:
        """See the protocol."""
        return self._states.size(sequence, WHOLE)

    def save(self, sequence: int, path: Path) -> tuple[Blob, Transfer]:
        """See the protocol."""
        if not self.length(sequence):
            raise EngineError("An empty sequence is not worth saving.", "Read the book first.")
        began = time.perf_counter()
        written = self._states.write(sequence, self.length(sequence), path, WHOLE)
        return written, Transfer(written.size_bytes, time.perf_counter() - began)

    def save_boundary(self, sequence: int, path: Path) -> Blob | None:
        """See the protocol."""
        if self._info.memory == "attention":
            return None
        return self._states.write(sequence, self.length(sequence), path, PARTIAL_ONLY)

    def restore(self, sequence: int, path: Path, blob: Blob) -> Transfer:
        """See the protocol."""
        began = time.perf_counter()
        self.clear(sequence)
        self._read(sequence, path, blob, WHOLE)
        if self.length(sequence) != blob.n_tokens:
            reached = self.length(sequence)
            self._poisoned = True
            self.clear(sequence)
            raise StateDamaged(
                f"{path} restored {reached:,} tokens where {blob.n_tokens:,} were saved.",
                "The book has to be read again.",
            )
        return Transfer(blob.size_bytes, time.perf_counter() - began)

    def restore_boundary(self, sequence: int, path: Path, blob: Blob) -> None:
        """See the protocol."""
        if self.length(sequence) < blob.n_tokens:
            raise EngineError(
                f"A boundary at {blob.n_tokens:,} needs the sequence to reach it.", "Restore the book first."
            )
        self._read(sequence, path, blob, PARTIAL_ONLY)
        self._cut(sequence, blob.n_tokens)
        self.mark(sequence)

    def _read(self, sequence: int, path: Path, blob: Blob, what: int) -> None:
        with self._states.opened(path, blob, what) as mapped:
            try:
                self._states.load_checked(sequence, mapped, path, blob, what)
            except StateDamaged:
                self._poisoned = True  # what was copied may be anything
                self.clear(sequence)
                raise

    # -- the rest --------------------------------------------------------------------------------------------------

    def take_spans(self) -> list[Span]:
        """See the protocol."""
        return self._spans.take()

    def cancel(self) -> None:
        """See the protocol."""
        self._stop.set()

    def close(self) -> None:
        """See the protocol."""
        if self._context:
            self._ll.llama_batch_free(self._batch)
            self._ll.llama_free(self._context)
            self._ll.llama_model_free(self._model)
            self._context = None

    def _describe(self) -> ModelInfo:
        ll, model = self._ll, self._model
        description = ctypes.create_string_buffer(256)
        ll.llama_model_desc(model, description, len(description))
        system = ll.llama_print_system_info().decode(errors="replace").strip()
        return ModelInfo(
            description=description.value.decode(errors="replace"),
            build=f"llama-cpp-python {package_version()}, {system}",
            vocabulary=self._words.vocabulary(),
            n_context_trained=ll.llama_model_n_ctx_train(model),
            memory=memory_kind(ll, model),
            n_layers=ll.llama_model_n_layer(model),
            size_bytes=ll.llama_model_size(model),
            rotated_kv=rotated(self._settings.kv_type),
            system=system,
            buffers=tuple(self._log.buffers),
        )


def cancelled(position: int) -> EngineCancelled:
    """Return the error of a call that was cancelled there."""
    return EngineCancelled(f"Stopped at token {position:,}.", "The same command goes on there.")

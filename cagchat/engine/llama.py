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
from typing import Any, Literal

from cagchat.engine import blob as blobs
from cagchat.engine.bindings import (
    LogTail,
    bindings,
    default_threads,
    expert_overrides,
    load_model,
    package_version,
)
from cagchat.engine.logits import are_numbers, largest, no_numbers
from cagchat.engine.marks import Marks
from cagchat.engine.padding import TILE_TOKENS, Work, padding
from cagchat.engine.pieces import PIECE_BYTES, damaged, digests, first_difference, map_existing, map_new
from cagchat.engine.protocol import (
    BOOK,
    Blob,
    EngineSettings,
    Finish,
    Memory,
    ModelInfo,
    Part,
    Piece,
    Probe,
    Progress,
    Sampling,
    Span,
    Tokens,
    Transfer,
)
from cagchat.engine.rotation import rotated
from cagchat.engine.spans import SpanLog
from cagchat.engine.words import Words
from cagchat.errors import ContextFull, EngineCancelled, EngineError, ModelError, StateDamaged

WHOLE = 0
PARTIAL_ONLY = 1  # LLAMA_STATE_SEQ_FLAGS_PARTIAL_ONLY: only what a cut cannot bring back (recurrent state, window)
FLASH_ATTENTION_OFF, FLASH_ATTENTION_ON = 0, 1
PENALTY_WINDOW = 256  # tokens of the answer that repetition penalties look back on
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
        self._model = self._load(settings)
        self._words = Words(self._ll, self._model)
        self._context = self._allocate(settings)
        self._kv = self._ll.llama_get_memory(self._context)
        self._settings = settings
        self._info = self._describe()
        self._extended_cells = self._ll.llama_model_rope_type(self._model) in (
            self._ll.LLAMA_ROPE_TYPE_MROPE,
            self._ll.LLAMA_ROPE_TYPE_IMROPE,
        )
        self._batch = self._ll.llama_batch_init(settings.n_batch, 0, 1)
        self._marks = Marks(settings.mark_budget_bytes)
        self._prompt: _Prompt | None = None
        self._shared: dict[int, tuple[int, int]] = {}  # fork: what it is of, and how many tokens in the same cells
        self._poisoned = False  # whether the cache may hold what is no number
        self._spans = SpanLog()
        self._work = self._attention_work()
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
        sampler = self._sampler(sampling)
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
        snapshot = None if self._info.memory == "attention" else self._partial_state(sequence)
        try:
            return self._probe_logits(sequence, token)
        finally:
            if snapshot is not None:
                self._load_partial(sequence, snapshot)
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
            snapshot = None if self._info.memory == "attention" else self._partial_state(sequence)
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

    def _sampler(self, sampling: Sampling) -> Any:
        ll = self._ll
        chain = ll.llama_sampler_chain_init(ll.llama_sampler_chain_default_params())
        add = ll.llama_sampler_chain_add
        if sampling.repeat_penalty != 1 or sampling.presence_penalty:
            penalties = ll.llama_sampler_init_penalties(
                self._info.vocabulary.n_vocab, PENALTY_WINDOW, sampling.repeat_penalty, 0.0, sampling.presence_penalty
            )
            add(chain, penalties)
        if sampling.temperature <= 0:
            add(chain, ll.llama_sampler_init_greedy())
            return chain
        add(chain, ll.llama_sampler_init_top_k(sampling.top_k))
        add(chain, ll.llama_sampler_init_top_p(sampling.top_p, 1))
        add(chain, ll.llama_sampler_init_min_p(sampling.min_p, 1))
        add(chain, ll.llama_sampler_init_temp(sampling.temperature))
        add(chain, ll.llama_sampler_init_dist(sampling.seed & 0xFFFFFFFF))
        return chain

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
                self._load_partial(source, self._partial_state(source))
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
        state = self._state(kept, WHOLE) if kept is not None and self.length(kept) else None
        self._ll.llama_memory_clear(self._kv, True)
        if kept is not None and state is not None:
            try:
                self._load_state(kept, state, WHOLE)
            except EngineError as error:  # no error to go on after: whoever asks next would be answered without a book
                raise RuntimeError("what the cache held is lost") from error
        self._poisoned = False

    def mark(self, sequence: int) -> None:
        """See the protocol."""
        length = self.length(sequence)
        if self._info.memory != "attention" and length:
            self._marks.put(sequence, length, self._partial_state(sequence))

    def rewind_to_prompt(self, sequence: int, length: int) -> bool:
        """See the protocol."""
        prompt = self._prompt
        if prompt is None or (prompt.sequence, prompt.length) != (sequence, length) or self.length(sequence) < length:
            return False
        if not self._ll.llama_get_logits_ith(self._context, -1):  # the last batch had none: there is no place for them
            return False
        if prompt.snapshot is not None:
            self._load_partial(sequence, prompt.snapshot)
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
            self._load_partial(sequence, snapshot)
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

    def _partial_state(self, sequence: int) -> bytearray:
        return self._state(sequence, PARTIAL_ONLY)

    def _load_partial(self, sequence: int, snapshot: Any) -> None:
        self._load_state(sequence, snapshot, PARTIAL_ONLY)

    def _state(self, sequence: int, what: int) -> bytearray:
        size = self._ll.llama_state_seq_get_size_ext(self._context, sequence, what)
        snapshot = bytearray(size)
        written = self._ll.llama_state_seq_get_data_ext(self._context, _pointer(snapshot), size, sequence, what)
        if written != size:
            raise EngineError(f"A snapshot of {size:,} bytes could not be taken.", "Open the book again.")
        return snapshot

    def _load_state(self, sequence: int, snapshot: Any, what: int) -> None:
        size = len(snapshot)
        read = self._ll.llama_state_seq_set_data_ext(self._context, _pointer(snapshot), size, sequence, what)
        if read != size:
            raise EngineError("A snapshot could not be loaded back.", "Open the book again.")

    # -- files -----------------------------------------------------------------------------------------------------

    def state_size(self, sequence: int) -> int:
        """See the protocol."""
        return int(self._ll.llama_state_seq_get_size_ext(self._context, sequence, WHOLE))

    def save(self, sequence: int, path: Path) -> tuple[Blob, Transfer]:
        """See the protocol."""
        if not self.length(sequence):
            raise EngineError("An empty sequence is not worth saving.", "Read the book first.")
        began = time.perf_counter()
        written = self._write(sequence, path, WHOLE)
        return written, Transfer(written.size_bytes, time.perf_counter() - began)

    def save_boundary(self, sequence: int, path: Path) -> Blob | None:
        """See the protocol."""
        return None if self._info.memory == "attention" else self._write(sequence, path, PARTIAL_ONLY)

    def _write(self, sequence: int, path: Path, what: int) -> Blob:
        length = self.length(sequence)
        size = self._ll.llama_state_seq_get_size_ext(self._context, sequence, what)
        with map_new(path, size) as mapped:
            written = self._ll.llama_state_seq_get_data_ext(self._context, _pointer(mapped), size, sequence, what)
            if written != size:
                raise EngineError(f"The state came out as {written:,} bytes instead of {size:,}.", "Try again.")
            with memoryview(mapped) as view:
                parts = self._parse(view, what)
                if blobs.n_tokens(parts) != length:
                    raise EngineError("The state that was written does not describe its sequence.", "Try again.")
                return Blob(length, size, PIECE_BYTES, digests(view), parts)

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
        if not self._ll.llama_memory_seq_rm(self._kv, sequence, blob.n_tokens, -1):
            raise EngineError(f"The cache could not be cut at {blob.n_tokens:,}.", "Open the book again.")
        self._marks.cut(sequence, blob.n_tokens)
        self._forget_prompt(sequence, blob.n_tokens)
        self._forget_shared(sequence, blob.n_tokens)
        self.mark(sequence)

    def _read(self, sequence: int, path: Path, blob: Blob, what: int) -> None:
        with map_existing(path, blob) as mapped, memoryview(mapped) as view:
            try:
                parts = self._parse(view, what)
            except StateDamaged as damage:
                raise StateDamaged(f"{path} is damaged: {damage.message}", damage.hint) from damage
            if parts != blob.parts:
                raise StateDamaged(f"{path} does not have the layout that was recorded.", "Read the book again.")
            # The structure is known to be sound, so llama.cpp may copy while another thread checks the content.
            checker = _Checker(view, blob)
            checker.start()
            try:
                pointer = _pointer(mapped)
                read = self._ll.llama_state_seq_set_data_ext(self._context, pointer, blob.size_bytes, sequence, what)
                del pointer
                self._ll.llama_synchronize(self._context)
            finally:
                checker.join()
            if checker.damaged_piece is not None or read != blob.size_bytes:
                self._poisoned = True  # what was copied may be anything
                self.clear(sequence)
            if checker.damaged_piece is not None:
                raise damaged(path, blob, checker.damaged_piece)
            if read != blob.size_bytes:
                raise StateDamaged(
                    f"llama.cpp did not accept {path}{self._log.because()}.", "The book has to be read again."
                )

    def _parse(self, view: memoryview, what: int) -> tuple[Part, ...]:
        table = blobs.FULL_PARTS if what == WHOLE else blobs.BOUNDARY_PARTS
        parts = blobs.parse(
            view,
            table[self._info.memory],
            extended_cells=self._extended_cells,
            flash_attention=self._settings.flash_attention,
        )
        if what == WHOLE:
            blobs.check_complete(parts)
        return parts

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

    def _load(self, settings: EngineSettings) -> Any:
        params = self._ll.llama_model_default_params()
        params.n_gpu_layers = settings.gpu_layers
        params.use_extra_bufts = settings.fast_kernels
        overrides = expert_overrides(settings.experts_in_ram)  # read while the model is loaded
        params.tensor_buft_overrides = ctypes.cast(overrides, ctypes.c_void_p)
        return load_model(self._ll, settings.model, params, self._log)

    def _allocate(self, settings: EngineSettings) -> Any:
        ll = self._ll
        params = ll.llama_context_default_params()
        params.n_ctx = settings.n_context
        params.n_batch = params.n_ubatch = settings.n_batch
        params.n_seq_max = settings.n_sequences + self._fillers()
        params.n_outputs_max = params.n_seq_max  # no batch asks for more logits: room for one row, not for all tokens
        params.n_threads = params.n_threads_batch = settings.threads or default_threads()
        params.flash_attn_type = FLASH_ATTENTION_ON if settings.flash_attention else FLASH_ATTENTION_OFF
        params.swa_full = False  # rewinds use snapshots, so sliding layers may keep only their window
        params.kv_unified = True  # sequences share cells: a fork of the book costs no copy
        params.type_k = params.type_v = blobs.GGML_TYPES[settings.kv_type]
        params.no_perf = True
        if settings.rope.yarn_factor != 1:
            params.rope_scaling_type = ll.LLAMA_ROPE_SCALING_TYPE_YARN
            params.rope_freq_scale = 1 / settings.rope.yarn_factor
            params.yarn_orig_ctx = settings.rope.yarn_original_context
        context = ll.llama_init_from_model(self._model, params)
        if not context:
            raise EngineError(
                f"llama.cpp could not allocate a context of {settings.n_context:,} tokens with {settings.kv_type} KV"
                f"{self._log.because()}.",
                "Lower chat_tokens or batch, or choose --kv q8_0 or q4_0.",
            )
        if ll.llama_n_ctx(context) < settings.n_context:
            ll.llama_free(context)
            raise EngineError(
                f"llama.cpp holds no context of {settings.n_context:,} tokens.", "Lower chat_tokens, or --truncate."
            )
        return context

    def _fillers(self) -> int:
        """Return how many sequences beside the callers' are needed: one for padding, where it costs no memory."""
        return 1 if self._memory_kind() == "attention" else 0

    def _attention_work(self) -> Work | None:
        """Return what padding is decided by; None where fillers make nothing faster."""
        ll, model = self._ll, self._model
        on_gpu = ll.llama_supports_gpu_offload() and self._settings.gpu_layers != 0
        untiled = self._settings.kv_type != "f16" or not self._settings.flash_attention
        if on_gpu or untiled or not self._fillers():
            return None
        elements = ll.llama_model_n_layer(model) * ll.llama_model_n_embd(model)
        return Work(elements_per_position=elements, parameters=ll.llama_model_n_params(model))

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
            memory=self._memory_kind(),
            n_layers=ll.llama_model_n_layer(model),
            size_bytes=ll.llama_model_size(model),
            rotated_kv=rotated(self._settings.kv_type),
            system=system,
            buffers=tuple(self._log.buffers),
        )

    def _memory_kind(self) -> Memory:
        ll, model = self._ll, self._model
        if ll.llama_model_is_hybrid(model):
            return "hybrid"
        if ll.llama_model_is_recurrent(model):
            return "recurrent"
        return "sliding" if ll.llama_model_n_swa(model) else "attention"


class _Checker(threading.Thread):
    """Compares checksums while llama.cpp copies the same bytes."""

    def __init__(self, view: memoryview, blob: Blob) -> None:
        super().__init__(name="checksums")
        self._view, self._blob = view, blob
        self.damaged_piece: int | None = None

    def run(self) -> None:
        """Record the first damaged piece."""
        self.damaged_piece = first_difference(self._view, self._blob)


def cancelled(position: int) -> EngineCancelled:
    """Return the error of a call that was cancelled there."""
    return EngineCancelled(f"Stopped at token {position:,}.", "The same command goes on there.")


def _pointer(buffer: Any) -> Any:
    return (ctypes.c_uint8 * len(buffer)).from_buffer(buffer)

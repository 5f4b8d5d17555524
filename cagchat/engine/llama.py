"""The llama.cpp engine, on llama-cpp-python's low-level functions: the only file that imports `llama_cpp`.

The package's `Llama` class is not used: it evaluates a hybrid model's whole prompt again after every rewind and copies
a state three times in memory. Runs in a child process (`engine.serve`), because a native crash ends the process it
happens in.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
import re
import sys
import threading
import time
import types
from array import array
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, cast

from cagchat.engine import blob as blobs
from cagchat.engine.marks import Marks
from cagchat.engine.padding import TILE_TOKENS, Work, padding
from cagchat.engine.pieces import PIECE_BYTES, damaged, digests, first_difference, map_existing, map_new
from cagchat.engine.protocol import (
    BOOK,
    Blob,
    Buffer,
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
    Vocabulary,
)
from cagchat.engine.rotation import rotated
from cagchat.engine.spans import SpanLog
from cagchat.errors import ContextFull, EngineCancelled, EngineError, ModelError, StateDamaged

WHOLE = 0
PARTIAL_ONLY = 1  # LLAMA_STATE_SEQ_FLAGS_PARTIAL_ONLY: only what a cut cannot bring back (recurrent state, window)
FLASH_ATTENTION_ON = 1
EXPERTS = r"\.ffn_(up|down|gate|gate_up)_(ch|)exps"  # LLM_FFN_EXPS_REGEX in llama.cpp's common.h
BUFFER_LINE = re.compile(r"(\S+) +(model|KV|RS|compute|output) buffer size = +([\d.]+) MiB")
PENALTY_WINDOW = 256  # tokens of the answer that repetition penalties look back on
NO_SLOT = 1  # llama_decode's return value when no free cell is left; the cache is unchanged


def bindings() -> Any:
    """Import the ctypes bindings without the package's `__init__`, which takes 90 ms more (jinja2, numpy, servers)."""
    if "llama_cpp" not in sys.modules:
        spec = importlib.util.find_spec("llama_cpp")
        if spec is None or spec.submodule_search_locations is None:
            raise EngineError("llama-cpp-python is not installed.", "pip install llama-cpp-python")
        package = types.ModuleType("llama_cpp")
        package.__path__ = list(spec.submodule_search_locations)
        sys.modules["llama_cpp"] = package
    import llama_cpp.llama_cpp

    return llama_cpp.llama_cpp


def high_level() -> Any:
    """Import the package's own high-level interface: what `cagchat bench` compares itself with."""
    import llama_cpp

    return llama_cpp


@dataclass(frozen=True, slots=True)
class System:
    """The installed library: its version, its line about processor features and devices, and whether it uses GPUs."""

    version: str
    features: str
    gpu_offload: bool


def system() -> System:
    """Load the library and ask what it was built for; no model is needed."""
    ll = bindings()
    features = ll.llama_print_system_info().decode(errors="replace").strip(" |")
    return System(_package_version(), features, bool(ll.llama_supports_gpu_offload()))


class LlamaEngine:
    """Implements `engine.protocol.Engine` with llama.cpp."""

    def __init__(self, settings: EngineSettings) -> None:
        """Load the model and allocate the cache.

        Raises `ModelError` when the file cannot be loaded, `EngineError` when the cache cannot be allocated.
        """
        self._ll = bindings()
        self._log = _LogTail(self._ll)
        self._ll.llama_backend_init()
        self._model = self._load(settings)
        self._words = _Words(self._ll, self._model)
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
        self._spans = SpanLog()
        self._work = self._attention_work()
        self._stop = threading.Event()

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
            self._decode(sequence, tokens[done : done + size], start + done)
            self._ll.llama_synchronize(self._context)
            done += size
            yield Progress(self.length(sequence), time.perf_counter() - began)
            if self._stop.is_set() and done < len(tokens):
                raise EngineCancelled(f"Stopped at token {self.length(sequence):,}.", "The same command goes on there.")

    def generate(
        self, sequence: int, prompt: Tokens, sampling: Sampling, *, max_tokens: int
    ) -> Iterator[Piece | Finish]:
        """See the protocol."""
        self._stop.clear()
        began = time.perf_counter()
        self._append(sequence, prompt)
        position = self.length(sequence)
        sampler = self._sampler(sampling)
        reason: Literal["stop", "length", "cancelled", "full"] = "length"
        first_token_s = 0.0
        try:
            for count in range(max_tokens):
                token = int(self._ll.llama_sampler_sample(sampler, self._context, -1))
                if not count:
                    first_token_s = time.perf_counter() - began
                if self._words.ends_turn(token):
                    reason = "stop"
                    break
                yield Piece(token, self._words.piece(token))
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
        return self._last_logits()

    def probe(self, sequence: int, token: int, top: int) -> Probe:
        """See the protocol."""
        spare = next((s for s in range(self._settings.n_sequences) if not self.length(s)), None)
        if spare is None:
            raise EngineError("A probe needs a free sequence.", "Clear the chat first.")
        self.fork(sequence, spare)
        try:
            self._decode(spare, [token], self.length(spare), last_logits=True, probe=True)
            logits = self._last_logits()
        finally:
            self.clear(spare)
        best = sorted(range(len(logits)), key=logits.__getitem__, reverse=True)[:top]
        return Probe(token, tuple((i, logits[i]) for i in best))

    def _append(self, sequence: int, tokens: Tokens) -> None:
        """Evaluate tokens with logits after the last one; all or nothing is guaranteed only for one batch."""
        if not tokens:
            raise EngineError("There is nothing to evaluate.", "Ask a question.")
        position = self.length(sequence)
        for start in range(0, len(tokens), self._settings.n_batch):
            part = tokens[start : start + self._settings.n_batch]
            last = start + len(part) == len(tokens)
            self._decode(sequence, part, position + start, last_logits=last, padding=self._padding(part, position))

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
        if status:
            raise EngineError(
                f"llama.cpp could not evaluate {len(tokens)} tokens at position {start:,} (status {status}"
                f"{self._log.because()}).",
                "Lower batch or chat_tokens if memory is short.",
            )
        self._spans.add(Span(sequence, start, len(tokens), probe))
        return None

    def _last_logits(self) -> array[float]:
        pointer = self._ll.llama_get_logits_ith(self._context, -1)
        row = array("f")
        row.frombytes(ctypes.string_at(pointer, 4 * self._info.vocabulary.n_vocab))
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
        self.clear(target)
        if self.length(source):
            self._ll.llama_memory_seq_cp(self._kv, source, target, -1, -1)
            self._marks.copy(source, target)

    def mark(self, sequence: int) -> None:
        """See the protocol."""
        length = self.length(sequence)
        if self._info.memory != "attention" and length:
            self._marks.put(sequence, length, self._partial_state(sequence))

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
        if not self._ll.llama_memory_seq_rm(self._kv, sequence, length, -1) or self.length(sequence) != length:
            raise EngineError(f"The cache could not be cut at {length:,}.", "Open the book again.")
        self._marks.cut(sequence, length)
        return True

    def clear(self, sequence: int) -> None:
        """See the protocol."""
        self._ll.llama_memory_seq_rm(self._kv, sequence, -1, -1)
        self._marks.cut(sequence, 0)

    def _partial_state(self, sequence: int) -> bytearray:
        size = self._ll.llama_state_seq_get_size_ext(self._context, sequence, PARTIAL_ONLY)
        snapshot = bytearray(size)
        written = self._ll.llama_state_seq_get_data_ext(self._context, _pointer(snapshot), size, sequence, PARTIAL_ONLY)
        if written != size:
            raise EngineError(f"A snapshot of {size:,} bytes could not be taken.", "Open the book again.")
        return snapshot

    def _load_partial(self, sequence: int, snapshot: Any) -> None:
        size = len(snapshot)
        read = self._ll.llama_state_seq_set_data_ext(self._context, _pointer(snapshot), size, sequence, PARTIAL_ONLY)
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
        self.mark(sequence)

    def _read(self, sequence: int, path: Path, blob: Blob, what: int) -> None:
        with map_existing(path, blob) as mapped, memoryview(mapped) as view:
            if self._parse(view, what) != blob.parts:
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
            if checker.damaged_piece is not None:
                self.clear(sequence)
                raise damaged(path, blob, checker.damaged_piece)
            if read != blob.size_bytes:
                self.clear(sequence)
                raise StateDamaged(
                    f"llama.cpp did not accept {path}{self._log.because()}.", "The book has to be read again."
                )

    def _parse(self, view: memoryview, what: int) -> tuple[Part, ...]:
        table = blobs.FULL_PARTS if what == WHOLE else blobs.BOUNDARY_PARTS
        parts = blobs.parse(view, table[self._info.memory], extended_cells=self._extended_cells)
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
        overrides = _experts_in_ram(settings.experts_in_ram)  # read while the model is loaded
        params.tensor_buft_overrides = ctypes.cast(overrides, ctypes.c_void_p)
        return _load_model(self._ll, settings.model, params, self._log)

    def _allocate(self, settings: EngineSettings) -> Any:
        ll = self._ll
        params = ll.llama_context_default_params()
        params.n_ctx = settings.n_context
        params.n_batch = params.n_ubatch = settings.n_batch
        params.n_seq_max = settings.n_sequences + self._fillers()
        params.n_outputs_max = params.n_seq_max  # no batch asks for more logits: room for one row, not for all tokens
        params.n_threads = params.n_threads_batch = settings.threads or default_threads()
        params.flash_attn_type = FLASH_ATTENTION_ON  # quantised V needs it, and V rows stay cell by cell
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
                "Lower chat_tokens, or choose --kv q8_0 or q4_0.",
            )
        return context

    def _fillers(self) -> int:
        """Return how many sequences beside the callers' are needed: one for padding, where it costs no memory."""
        return 1 if self._memory_kind() == "attention" else 0

    def _attention_work(self) -> Work | None:
        """Return what padding is decided by; None where short batches have no slow path (GPU, quantised K and V)."""
        ll, model = self._ll, self._model
        on_gpu = ll.llama_supports_gpu_offload() and self._settings.gpu_layers != 0
        if on_gpu or self._settings.kv_type != "f16" or not self._fillers():
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
            build=f"llama-cpp-python {_package_version()}, {system}",
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


class LlamaTokenizer:
    """Implements `engine.protocol.VocabularyReader`: a model's tokenizer without its weights."""

    def __init__(self, model: Path) -> None:
        """Load the vocabulary of a GGUF. Raises `ModelError` when it cannot be loaded."""
        self._ll = bindings()
        log = _LogTail(self._ll)
        self._ll.llama_backend_init()
        params = self._ll.llama_model_default_params()
        params.vocab_only = True
        params.n_gpu_layers = 0
        self._model = _load_model(self._ll, model, params, log)
        self._words = _Words(self._ll, self._model)

    @property
    def vocabulary(self) -> Vocabulary:
        """See the protocol."""
        return self._words.vocabulary()

    def tokenize(self, texts: Sequence[str], *, special: bool) -> list[array[int]]:
        """See the protocol."""
        return [self._words.tokenize(text, special) for text in texts]

    def text_of(self, tokens: Tokens) -> bytes:
        """See the protocol."""
        return b"".join(map(self._words.piece, tokens))

    def close(self) -> None:
        """See the protocol."""
        if self._model:
            self._ll.llama_model_free(self._model)
            self._model = None


class BareLoop:
    """The least code that reads a text and continues it: what `cagchat bench` measures the engine against.

    Model, context and their settings are the engine's, with one sequence for text. What it leaves out is the engine's
    own work around llama_decode: filling batches, counting spans, messages to the program, looking for a cancel.
    """

    def __init__(self, settings: EngineSettings) -> None:
        """Load the model. Raises what the engine raises."""
        self._engine = LlamaEngine(replace(settings, n_sequences=1))
        self.settings = self._engine.settings
        self.info = self._engine.info

    def read(self, tokens: Tokens) -> float:
        """Evaluate tokens in an empty cache, a batch at a time; return the seconds that took."""
        engine, n_batch = self._engine, self.settings.n_batch
        engine.clear(BOOK)
        ids = (ctypes.c_int32 * len(tokens))(*tokens)
        began = time.perf_counter()
        for start in range(0, len(ids), n_batch):
            self._decode(ids, start, min(n_batch, len(ids) - start))
        engine._ll.llama_synchronize(engine._context)
        return time.perf_counter() - began

    def decode(self, last: int, count: int) -> float:
        """Go on greedily after the token `last` for `count` tokens; return the seconds from the first of them on."""
        ll, context = self._engine._ll, self._engine._context
        sampler = ll.llama_sampler_init_greedy()
        token = (ctypes.c_int32 * 1)(last)
        try:
            self._decode(token, 0, 1)
            token[0] = ll.llama_sampler_sample(sampler, context, -1)
            began = time.perf_counter()
            for _ in range(count):
                self._decode(token, 0, 1)
                token[0] = ll.llama_sampler_sample(sampler, context, -1)
            return time.perf_counter() - began
        finally:
            ll.llama_sampler_free(sampler)

    def _decode(self, ids: Any, start: int, count: int) -> None:
        ll = self._engine._ll
        pointer = ctypes.cast(ctypes.byref(ids, start * ctypes.sizeof(ctypes.c_int32)), ll.llama_token_p)
        if status := ll.llama_decode(self._engine._context, ll.llama_batch_get_one(pointer, count)):
            raise EngineError(f"llama_decode returned {status} in the bare loop.", "Raise chat_tokens, lower batch.")


class _Words:
    """Text to tokens and back, with the vocabulary of a loaded model."""

    def __init__(self, ll: Any, model: Any) -> None:
        self._ll = ll
        self._vocab = ll.llama_model_get_vocab(model)

    def vocabulary(self) -> Vocabulary:
        ll, vocab = self._ll, self._vocab
        return Vocabulary(
            n_vocab=ll.llama_vocab_n_tokens(vocab),
            add_bos=bool(ll.llama_vocab_get_add_bos(vocab)),
            bos_text=self._text(ll.llama_vocab_bos(vocab)),
            eos_text=self._text(ll.llama_vocab_eos(vocab)),
        )

    def tokenize(self, text: str, special: bool) -> array[int]:
        content = text.encode("utf-8", "replace")
        room = len(content) + 8
        tokens = (ctypes.c_int32 * room)()
        count = self._ll.llama_tokenize(self._vocab, content, len(content), tokens, room, False, special)
        if count < 0:
            raise EngineError(f"A text of {len(content):,} bytes cannot be tokenised.", "Check the text.")
        ids = array("i")
        ids.frombytes(memoryview(tokens).cast("B")[: 4 * count])
        return ids

    def piece(self, token: int) -> bytes:
        room = 64
        while True:
            buffer = ctypes.create_string_buffer(room)
            size = self._ll.llama_token_to_piece(self._vocab, token, buffer, room, 0, True)
            if size >= 0:
                return buffer.raw[:size]
            room = -size

    def ends_turn(self, token: int) -> bool:
        return bool(self._ll.llama_vocab_is_eog(self._vocab, token))

    def _text(self, token: int) -> str:
        return self.piece(token).decode(errors="replace") if token >= 0 else ""


class _Checker(threading.Thread):
    """Compares checksums while llama.cpp copies the same bytes."""

    def __init__(self, view: memoryview, blob: Blob) -> None:
        super().__init__(name="checksums")
        self._view, self._blob = view, blob
        self.damaged_piece: int | None = None

    def run(self) -> None:
        """Record the first damaged piece."""
        self.damaged_piece = first_difference(self._view, self._blob)


class _LogTail:
    """Keeps llama.cpp's last warnings and errors, and passes them on to stderr (a log file in the child process)."""

    def __init__(self, ll: Any) -> None:
        self._lines: deque[str] = deque(maxlen=20)
        self.buffers: list[Buffer] = []
        warning, continued = 3, 5  # GGML_LOG_LEVEL_WARN, ..._CONT: it goes on with the line before, whatever that was
        last = 0

        def receive(level: int, text: bytes, _user_data: object) -> None:
            nonlocal last
            last = last if level == continued else level
            if found := BUFFER_LINE.search(text.decode(errors="replace")):
                device, kind, mib = found.groups()
                self.buffers.append(Buffer(device, cast(Any, kind), round(float(mib) * (1 << 20))))
            if last >= warning and (line := text.decode(errors="replace").strip()):
                self._lines.append(line)
                print(line, file=sys.stderr, flush=True)

        self._callback = ll.llama_log_callback(receive)  # kept: llama.cpp holds only a pointer
        ll.llama_log_set(self._callback, None)

    def because(self) -> str:
        """Return ": the last line", or nothing."""
        return f": {self._lines[-1]}" if self._lines else ""


def _load_model(ll: Any, path: Path, params: Any, log: _LogTail) -> Any:
    model = ll.llama_model_load_from_file(os.fsencode(path), params)
    if not model:
        raise ModelError(
            f"llama.cpp cannot load {path}{log.because()}.", "Fetch the file again, or choose another with --model."
        )
    return model


class _BufferOverride(ctypes.Structure):
    """llama_model_tensor_buft_override, which the bindings leave out."""

    _fields_ = (("pattern", ctypes.c_char_p), ("buffer_type", ctypes.c_void_p))


def _experts_in_ram(n_layers: int) -> Any:
    """Return the NULL-terminated array that keeps the experts of the first layers in the processor's memory."""
    from llama_cpp._ggml import libggml

    cpu = libggml.ggml_backend_cpu_buffer_type
    cpu.restype = ctypes.c_void_p
    rules = [_BufferOverride(rf"blk\.{layer}{EXPERTS}".encode(), cpu()) for layer in range(n_layers)]
    return (_BufferOverride * (n_layers + 1))(*rules)


def default_threads() -> int:
    """Return how many threads to use: one less than the cores, for spinning threads on busy cores are 100x slower."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, cores - 1)


def _package_version() -> str:
    """Read the package's version from its source: importing it, or its metadata, takes longer than a restore."""
    text = (Path(cast(Any, sys.modules["llama_cpp"]).__path__[0]) / "__init__.py").read_text(encoding="utf-8")
    match = re.search(r'__version__ = "([^"]+)"', text)
    return match[1] if match else "unknown"


def _pointer(buffer: Any) -> Any:
    return (ctypes.c_uint8 * len(buffer)).from_buffer(buffer)

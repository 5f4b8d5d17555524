"""What an engine does, in tokens: it knows nothing of books, chats or what its files mean.

Two engines implement this protocol and pass one contract suite: `engine.llama.LlamaEngine` (llama.cpp) and
`engine.fake.FakeEngine` (deterministic, for tests, screenshots and demonstrations). `engine.process.EngineProcess`
runs either in a child process and has the same methods.

Sequence `BOOK` holds the book and is never decoded into after it was read; a chat runs on a fork of it. A sequence's
positions are always 0, 1, 2, ... without a gap, so its length is also its next position.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

BOOK = 0
CHAT = 1

KvType = Literal["f16", "q8_0", "q4_0"]
KV_TYPES: tuple[KvType, ...] = ("f16", "q8_0", "q4_0")

Memory = Literal["attention", "sliding", "hybrid", "recurrent"]

Tokens = Sequence[int]


@dataclass(frozen=True, slots=True)
class RopeSettings:
    """How positions are scaled. `yarn_factor` 1 means the model's own setting; above 1 YaRN stretches the context."""

    yarn_factor: float = 1.0
    yarn_original_context: int = 0


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """Everything an engine is started with.

    `n_context` is in tokens for all sequences together (they share cells). `n_sequences` counts the book's.
    `fast_kernels` lets llama.cpp repack weights for this processor (AMX, ARM dot products); on some machines that path
    crashes, see `engine.fastpath`. `threads` 0 means one less than there are cores. `mark_budget_bytes` bounds the
    memory that snapshots for rewinds may take. `gpu_layers` -1 puts all of them on the GPU; of the first
    `experts_in_ram` layers the routed experts stay in RAM all the same. Without `flash_attention` the scores of a batch
    are written out and V is kept transposed: see `plan.attention`. Quantised K and V need it.
    """

    model: Path
    n_context: int
    n_batch: int = 512
    n_sequences: int = 2
    kv_type: KvType = "f16"
    flash_attention: bool = True
    rope: RopeSettings = field(default_factory=RopeSettings)
    threads: int = 0
    gpu_layers: int = -1
    experts_in_ram: int = 0
    fast_kernels: bool = True
    mark_budget_bytes: int = 1 << 30


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """What prompts need to know of a tokenizer; `bos_text` and `eos_text` are empty when it has no such token."""

    n_vocab: int
    add_bos: bool
    bos_text: str
    eos_text: str


@dataclass(frozen=True, slots=True)
class Buffer:
    """Memory that the engine allocated: `device` as llama.cpp names it ("CPU_Mapped"), `kind` what it holds."""

    device: str
    kind: Literal["model", "KV", "RS", "compute", "output"]
    size_bytes: int


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """What the engine learnt from the loaded model.

    `build` names the library and its commit or version; `memory` decides how a sequence can be rewound; `system` is
    the engine's own line about processor features and devices. `rotated_kv` tells whether quantised K and V are
    rotated by a Hadamard matrix before they are stored (LLAMA_ATTN_ROT_DISABLE switches it off).
    """

    description: str
    build: str
    vocabulary: Vocabulary
    n_context_trained: int
    memory: Memory
    n_layers: int
    size_bytes: int
    rotated_kv: bool
    system: str
    buffers: tuple[Buffer, ...] = ()


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the next token is chosen; temperature 0 is greedy. `seed` makes a draw repeatable."""

    temperature: float = 0.0
    top_k: int = 40
    top_p: float = 0.95
    min_p: float = 0.05
    repeat_penalty: float = 1.0
    presence_penalty: float = 0.0
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Span:
    """Tokens that went through the model: `count` positions from `start` of `sequence`.

    `probe` marks a self-check, `padding` fillers that make a short batch cheaper; neither is anybody's text.
    """

    sequence: int
    start: int
    count: int
    probe: bool = False
    padding: bool = False


@dataclass(frozen=True, slots=True)
class Progress:
    """`position` tokens of the sequence are in the cache; `elapsed_s` is this call's time inside the engine so far."""

    position: int
    elapsed_s: float


@dataclass(frozen=True, slots=True)
class Piece:
    """One generated token and its bytes (a character may span several tokens)."""

    token: int
    text: bytes


@dataclass(frozen=True, slots=True)
class Finish:
    """The end of a generation: why, and the sequence's length. `stop` is the model's own end of turn."""

    reason: Literal["stop", "length", "cancelled", "full"]
    position: int
    first_token_s: float
    decode_s: float


@dataclass(frozen=True, slots=True)
class Part:
    """One memory inside a blob. `cells` is how many positions it stores; `layers` lists K (or R) rows, then V (or S).

    A row is (ggml type number, bytes a cell).
    """

    kind: Literal["kv", "recurrent"]
    cells: int
    first_position: int
    last_position: int
    layers: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Blob:
    """A sequence's state in a file: its size, its layout as parsed from its own header, and checksums.

    `pieces` are xxh3_128 digests (hexadecimal) of consecutive `piece_bytes` of the file; the last may be shorter.
    """

    n_tokens: int
    size_bytes: int
    piece_bytes: int
    pieces: tuple[str, ...]
    parts: tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class Transfer:
    """A finished save or restore: bytes moved and seconds taken, checks included."""

    size_bytes: int
    elapsed_s: float


@dataclass(frozen=True, slots=True)
class Probe:
    """The largest logits after one fixed token at the end of a sequence: what a restored state must reproduce."""

    token: int
    top: tuple[tuple[int, float], ...]


class Tokenizer(Protocol):
    """A model's tokenizer, with or without its weights."""

    def tokenize(self, texts: Sequence[str], *, special: bool) -> list[array[int]]:
        """Return the token ids of each text, array type "i". With `special` off, `<|im_end|>` in a text stays text."""
        ...

    def text_of(self, tokens: Tokens) -> bytes:
        """Return the bytes of the tokens, control tokens included."""
        ...

    def close(self) -> None:
        """Free what was loaded. Calling it twice is harmless."""
        ...


class VocabularyReader(Tokenizer, Protocol):
    """A tokenizer alone: it loads in a moment, so that a book's tokens are counted before memory is asked for."""

    @property
    def vocabulary(self) -> Vocabulary:
        """What prompts need to know of it."""
        ...


class Engine(Tokenizer, Protocol):
    """A loaded model with a KV cache of several sequences.

    Errors: `EngineDied` from any call when the engine's process has ended; `EngineError` with a reason otherwise.
    """

    @property
    def info(self) -> ModelInfo:
        """What was learnt from the model when it was loaded."""
        ...

    @property
    def settings(self) -> EngineSettings:
        """What the engine was started with; `n_context` is what llama.cpp granted, never less than asked for."""
        ...

    def length(self, sequence: int) -> int:
        """Return how many tokens of the sequence are in the cache, read from the cache itself."""
        ...

    def evaluate(self, sequence: int, tokens: Tokens) -> Iterator[Progress]:
        """Append tokens to the sequence, a batch at a time; yield after each batch.

        Batches end at multiples of `settings.n_batch`, so that a resumed reading splits as an uninterrupted one.
        Raises `EngineCancelled` after `cancel`, `ContextFull` when no cell is left.
        """
        ...

    def generate(
        self, sequence: int, prompt: Tokens, sampling: Sampling, *, max_tokens: int
    ) -> Iterator[Piece | Finish]:
        """Append the prompt, then sample up to `max_tokens` and yield each; the last item is a `Finish`.

        An empty prompt answers the last one again, right after `rewind_to_prompt`: nothing of it is evaluated.
        The model's end-of-turn token is not yielded and not kept in the cache. Raises `ContextFull` when the prompt
        does not fit; a cache that fills later ends with reason "full". Raises `EngineCancelled` after a `cancel` that
        comes before the first token; the sequence must then be rewound to where the prompt began.
        """
        ...

    def logits(self, sequence: int, tokens: Tokens) -> array[float]:
        """Append tokens to the sequence in one batch and return the logits after the last: array "f" of n_vocab."""
        ...

    def probe(self, sequence: int, token: int, top: int) -> Probe:
        """Return the `top` largest logits after one token; the sequence is left as it was.

        The book's is evaluated on a fork, which needs a free sequence; another's is taken back.
        """
        ...

    def fork(self, source: int, target: int) -> None:
        """Make `target` a copy of `source` that shares its cells; what `target` held is dropped."""
        ...

    def mark(self, sequence: int) -> None:
        """Remember the sequence's current length as a place to rewind to. Free for attention models."""
        ...

    def rewind(self, sequence: int, length: int) -> bool:
        """Cut the sequence back to `length`; False when the model needs a mark there and has none (nothing changed)."""
        ...

    def rewind_to_prompt(self, sequence: int, length: int) -> bool:
        """Cut back to where the last prompt that was answered ends, if it is kept and ends at `length`; else False."""
        ...

    def clear(self, sequence: int) -> None:
        """Forget the sequence and its marks."""
        ...

    def state_size(self, sequence: int) -> int:
        """Return how many bytes `save` would write."""
        ...

    def save(self, sequence: int, path: Path) -> tuple[Blob, Transfer]:
        """Write the sequence's state to `path` (created 0600), check its header and sync it; return what was written.

        The caller names a path beside the final one and renames it. Raises `StorageError` on a full disk.
        """
        ...

    def restore(self, sequence: int, path: Path, blob: Blob) -> Transfer:
        """Load a saved state into the sequence. Header and checksums are verified; `StateDamaged` leaves it empty."""
        ...

    def save_boundary(self, sequence: int, path: Path) -> Blob | None:
        """Write what a rewind to the current length needs; None (and no file) when the model needs nothing."""
        ...

    def restore_boundary(self, sequence: int, path: Path, blob: Blob) -> None:
        """Rewind the sequence to the boundary that was saved at `blob.n_tokens`; the sequence must reach that far."""
        ...

    def take_spans(self) -> list[Span]:
        """Return every span evaluated since the last call, in order; counted where tokens are decoded."""
        ...

    def cancel(self) -> None:
        """Ask the running `evaluate` to end after its current batch, or `generate` as soon as it can.

        Other calls go on to their end, and later ones are not touched. Safe from a signal handler.
        """
        ...

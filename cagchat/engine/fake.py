"""A deterministic engine without a model: for tests, screenshots and `--fake` demonstrations.

It keeps every promise of the protocol, bitwise: logits are a hash of the whole sequence, states are files with checked
pieces, a "hybrid" one refuses to be cut where it was not marked. Tokens are the bytes of UTF-8, and three control
tokens. Answers come from a script, or else quote the sentence of the book that shares most words with the question.
"""

from __future__ import annotations

import hashlib
import re
import struct
import threading
import time
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from cagchat.engine.marks import Marks
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
    Vocabulary,
)
from cagchat.engine.spans import SpanLog
from cagchat.errors import ContextFull, EngineCancelled, EngineError, StateDamaged

CONTROLS = ("<|im_start|>", "<|im_end|>", "<|endoftext|>")
IM_END = 257
N_VOCAB = 259
ROW_BYTES = 4
MARK_BYTES = 32
VOCABULARY = Vocabulary(n_vocab=N_VOCAB, add_bos=False, bos_text="", eos_text=CONTROLS[1])
MAGIC = b"CAGFAKE1"
CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>' + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
_CONTROL = re.compile("|".join(map(re.escape, CONTROLS)))
_WORD = re.compile(r"\w{4,}")
_SENTENCE = re.compile(r"[^.!?\n]+[.!?]")


@dataclass(frozen=True, slots=True)
class FakeScript:
    """How a fake behaves: answers by a phrase of the question, seconds per batch and token, and when to crash.

    `crash_at` ends the process, as a native crash would, when the cache reaches that many tokens.
    """

    answers: Mapping[str, str] = field(default_factory=dict)
    memory: Memory = "attention"
    chat_template: str = CHATML
    context_trained: int = 1 << 20
    batch_s: float = 0.0
    token_s: float = 0.0
    crash_at: int = 0


class FakeEngine:
    """Implements `engine.protocol.Engine` without a model."""

    def __init__(
        self,
        settings: EngineSettings,
        script: FakeScript | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._settings = settings
        self._script = script or FakeScript()
        self._sleep = sleep
        self._sequences = [array("i") for _ in range(settings.n_sequences)]
        self._digests: list[list[bytes]] = [[] for _ in range(settings.n_sequences)]
        self._shared = [0] * settings.n_sequences  # tokens at the start of each that its source holds
        self._marks = Marks(settings.mark_budget_bytes)
        self._prompt: tuple[int, int, str] | None = None  # the last one's sequence, where it ends, and its text
        self._spans = SpanLog()
        self._stop = threading.Event()

    @property
    def vocabulary(self) -> Vocabulary:
        """See the protocol."""
        return VOCABULARY

    @property
    def info(self) -> ModelInfo:
        """See the protocol."""
        return ModelInfo(
            description="a fake model of bytes",
            build="cagchat fake 1",
            vocabulary=VOCABULARY,
            n_context_trained=self._script.context_trained,
            memory=self._script.memory,
            n_layers=1,
            size_bytes=0,
            rotated_kv=False,
            system="no model, no processor features",
        )

    @property
    def settings(self) -> EngineSettings:
        """See the protocol."""
        return self._settings

    def tokenize(self, texts: Sequence[str], *, special: bool) -> list[array[int]]:
        """See the protocol."""
        return [_tokenize(text, special) for text in texts]

    def text_of(self, tokens: Tokens) -> bytes:
        """See the protocol."""
        return b"".join(bytes([t]) if t < 256 else CONTROLS[t - 256].encode() for t in tokens)

    def length(self, sequence: int) -> int:
        """See the protocol."""
        return len(self._sequences[sequence])

    def evaluate(self, sequence: int, tokens: Tokens) -> Iterator[Progress]:
        """See the protocol."""
        self._stop.clear()
        began = time.perf_counter()
        done = 0
        while done < len(tokens):
            size = min(self._settings.n_batch - self.length(sequence) % self._settings.n_batch, len(tokens) - done)
            self._append(sequence, tokens[done : done + size])
            self._sleep(self._script.batch_s)
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
        size = self._settings.n_batch
        for start in range(0, len(prompt), size):
            if start:
                self._sleep(self._script.batch_s)
                if self._stop.is_set():
                    raise EngineCancelled(f"Stopped at token {self.length(sequence):,}.", "Ask again when you like.")
            self._append(sequence, prompt[start : start + size])
        if prompt:
            text = bytes(t for t in prompt if t < 256).decode(errors="replace")
            self._prompt = (sequence, self.length(sequence), text)
        if self._prompt is None or self._prompt[:2] != (sequence, self.length(sequence)):
            raise EngineError("There is no prompt to answer again.", "Ask a question.")
        answer = self._answer(sequence, self._prompt[2], sampling)
        first_token_s = time.perf_counter() - began
        reason: Literal["stop", "length", "cancelled", "full"] = "stop"
        for count, token in enumerate(answer):
            if count == max_tokens:
                reason = "length"
                break
            yield Piece(token, bytes([token]))
            self._sleep(self._script.token_s)
            try:
                self._append(sequence, [token])
            except ContextFull:
                reason = "full"
                break
            if self._stop.is_set():
                reason = "cancelled"
                break
        yield Finish(reason, self.length(sequence), first_token_s, time.perf_counter() - began - first_token_s)

    def logits(self, sequence: int, tokens: Tokens) -> array[float]:
        """See the protocol."""
        self._append(sequence, tokens)
        return self._last_logits(sequence)

    def probe(self, sequence: int, token: int, top: int) -> Probe:
        """See the protocol."""
        where = sequence if sequence != BOOK else self._spare()
        length = self.length(where)
        if where != sequence:
            self.fork(sequence, where)
        try:
            self._append(where, [token], probe=True)
            logits = self._last_logits(where)
        finally:
            self._cut(where, length)
        best = sorted(range(N_VOCAB), key=logits.__getitem__, reverse=True)[:top]
        return Probe(token, tuple((i, logits[i]) for i in best))

    def _spare(self) -> int:
        for sequence in range(self._settings.n_sequences):
            if not self.length(sequence):
                return sequence
        raise EngineError("A probe of the book needs a free sequence.", "Clear the chat first.")

    def fork(self, source: int, target: int) -> None:
        """See the protocol."""
        self.clear(target)
        self._sequences[target] = self._sequences[source][:]
        self._digests[target] = self._digests[source][:]
        self._shared[target] = self.length(source)
        self._marks.copy(source, target)

    def mark(self, sequence: int) -> None:
        """See the protocol."""
        if self._script.memory != "attention" and self.length(sequence):
            self._marks.put(sequence, self.length(sequence), bytearray(MARK_BYTES))

    def rewind(self, sequence: int, length: int) -> bool:
        """See the protocol."""
        current = self.length(sequence)
        if not 0 <= length <= current:
            raise EngineError(f"A sequence of {current:,} tokens cannot be rewound to {length:,}.", "Ask again.")
        needs_mark = self._script.memory != "attention" and 0 < length < current
        if needs_mark and self._marks.get(sequence, length) is None:
            return False
        self._cut(sequence, length)
        return True

    def rewind_to_prompt(self, sequence: int, length: int) -> bool:
        """See the protocol."""
        if self._prompt is None or self._prompt[:2] != (sequence, length) or self.length(sequence) < length:
            return False
        self._cut(sequence, length)
        return True

    def clear(self, sequence: int) -> None:
        """See the protocol."""
        self._cut(sequence, 0)

    def state_size(self, sequence: int) -> int:
        """See the protocol."""
        return len(MAGIC) + 4 + ROW_BYTES * self.length(sequence)

    def save(self, sequence: int, path: Path) -> tuple[Blob, Transfer]:
        """See the protocol."""
        if not self.length(sequence):
            raise EngineError("An empty sequence is not worth saving.", "Read the book first.")
        began = time.perf_counter()
        blob = self._write(sequence, path)
        return blob, Transfer(blob.size_bytes, time.perf_counter() - began)

    def restore(self, sequence: int, path: Path, blob: Blob) -> Transfer:
        """See the protocol."""
        began = time.perf_counter()
        self.clear(sequence)
        self._load(sequence, self._read(path, blob))
        return Transfer(blob.size_bytes, time.perf_counter() - began)

    def save_boundary(self, sequence: int, path: Path) -> Blob | None:
        """See the protocol."""
        return None if self._script.memory == "attention" else self._write(sequence, path)

    def restore_boundary(self, sequence: int, path: Path, blob: Blob) -> None:
        """See the protocol."""
        if self.length(sequence) < blob.n_tokens:
            raise EngineError(
                f"A boundary at {blob.n_tokens:,} needs the sequence to reach it.", "Restore the book first."
            )
        self._read(path, blob)
        self._cut(sequence, blob.n_tokens)
        self.mark(sequence)

    def take_spans(self) -> list[Span]:
        """See the protocol."""
        return self._spans.take()

    def cancel(self) -> None:
        """See the protocol."""
        self._stop.set()

    def close(self) -> None:
        """See the protocol."""

    def _append(self, sequence: int, tokens: Tokens, *, probe: bool = False) -> None:
        """Take tokens into the cache; the one place where they are counted."""
        if not tokens:
            raise EngineError("There is nothing to evaluate.", "Ask a question.")
        start = self.length(sequence)
        if self._cells() + len(tokens) > self._settings.n_context:
            raise ContextFull(
                f"The context of {self._settings.n_context:,} tokens is full.",
                "Start a new chat, or raise chat_tokens.",
            )
        if 0 < self._script.crash_at <= start + len(tokens):
            import os
            import signal

            os.kill(os.getpid(), signal.SIGSEGV)
        rolling = self._digests[sequence][-1] if start else b""
        for token in tokens:
            rolling = hashlib.blake2b(rolling + struct.pack("<i", token), digest_size=16).digest()
            self._digests[sequence].append(rolling)
        self._sequences[sequence].extend(tokens)
        self._spans.add(Span(sequence, start, len(tokens), probe))

    def _cells(self) -> int:
        """Count cells as a unified cache does: what a fork shares with its source is stored once."""
        return sum(len(tokens) - shared for tokens, shared in zip(self._sequences, self._shared, strict=True))

    def _cut(self, sequence: int, length: int) -> None:
        del self._sequences[sequence][length:]
        del self._digests[sequence][length:]
        self._shared[sequence] = min(self._shared[sequence], length)
        self._marks.cut(sequence, length)
        if self._prompt is not None and self._prompt[0] == sequence and self._prompt[1] > length:
            self._prompt = None

    def _last_logits(self, sequence: int) -> array[float]:
        raw = hashlib.shake_128(self._digests[sequence][-1]).digest(4 * N_VOCAB)
        return array("f", (word / 2**29 for word in struct.unpack(f"<{N_VOCAB}I", raw)))

    def _answer(self, sequence: int, prompt: str, sampling: Sampling) -> bytes:
        asked = prompt.lower()
        for phrase in sorted(self._script.answers, key=len, reverse=True):
            if phrase.lower() in asked:
                return self._script.answers[phrase].encode()
        book = bytes(t for t in self._sequences[BOOK] if t < 256).decode(errors="replace")
        words = set(_WORD.findall(asked))
        best = max(
            _SENTENCE.findall(book), key=lambda s: (len(words & set(_WORD.findall(s.lower()))), -len(s)), default=book
        )
        draw = "" if sampling.temperature <= 0 else f" (draw {sampling.seed})"
        return f"The book says: “{best.strip()}”{draw}".encode()

    def _write(self, sequence: int, path: Path) -> Blob:
        tokens = self._sequences[sequence]
        content = MAGIC + struct.pack("<I", len(tokens)) + tokens.tobytes()
        with map_new(path, len(content)) as mapped:
            mapped[:] = content
            with memoryview(mapped) as view:
                return Blob(len(tokens), len(content), PIECE_BYTES, digests(view), _parts(len(tokens)))

    def _read(self, path: Path, blob: Blob) -> array[int]:
        with map_existing(path, blob) as mapped, memoryview(mapped) as view:
            piece = first_difference(view, blob)
            if piece is not None:
                raise damaged(path, blob, piece)
            header = len(MAGIC) + 4
            tokens = array("i")
            tokens.frombytes(view[header:])
            (count,) = struct.unpack("<I", view[len(MAGIC) : header])
        if count != len(tokens) or _parts(count) != blob.parts:
            raise StateDamaged(f"{path} does not have the layout that was recorded.", "Read the book again.")
        return tokens

    def _load(self, sequence: int, tokens: array[int]) -> None:
        log, self._spans = self._spans, SpanLog()  # loading is not evaluating
        script, self._script = self._script, replace(self._script, crash_at=0)
        try:
            self._append(sequence, tokens)
        finally:
            self._spans, self._script = log, script


def _tokenize(text: str, special: bool) -> array[int]:
    if not special:
        return _bytes(text)
    tokens = array("i")
    position = 0
    for match in _CONTROL.finditer(text):
        tokens.extend(_bytes(text[position : match.start()]))
        tokens.append(256 + CONTROLS.index(match[0]))
        position = match.end()
    tokens.extend(_bytes(text[position:]))
    return tokens


def _bytes(text: str) -> array[int]:
    return array("i", list(text.encode("utf-8", "replace")))


def _parts(count: int) -> tuple[Part, ...]:
    return (Part("kv", count, 0, count - 1, ((0, ROW_BYTES),)),)

"""An engine, or only its tokenizer, in a process of its own: the same methods, and a crash there is an error here."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path

from cagchat.engine.child import Child, Spare
from cagchat.engine.protocol import (
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
    Vocabulary,
)
from cagchat.engine.wire import Start


class TokenizerProcess:
    """Implements `engine.protocol.VocabularyReader` in a child process."""

    def __init__(self, start: Start) -> None:
        self._child = Child(start)

    @property
    def vocabulary(self) -> Vocabulary:
        """See the protocol."""
        return self._child.greeting()

    def tokenize(self, texts: Sequence[str], *, special: bool) -> list[array[int]]:
        """See the protocol."""
        return self._child.call("tokenize", list(texts), special=special)

    def text_of(self, tokens: Tokens) -> bytes:
        """See the protocol."""
        return self._child.call("text_of", array("i", tokens))

    def close(self) -> None:
        """See the protocol."""
        self._child.close()


class EngineProcess:
    """Implements `engine.protocol.Engine` in a child process.

    It is built while this process goes on; the first call that needs it waits, and raises what building it raised
    (`ModelError`, `EngineError`, `EngineDied`).
    """

    def __init__(self, start: Start, spare: Spare | None = None) -> None:
        self._child = Child(start, spare)

    @property
    def info(self) -> ModelInfo:
        """See the protocol."""
        return self._child.greeting()[1]

    @property
    def settings(self) -> EngineSettings:
        """See the protocol."""
        return self._child.greeting()[0]

    @property
    def pid(self) -> int:
        """The child's process number."""
        return self._child.pid

    def tokenize(self, texts: Sequence[str], *, special: bool) -> list[array[int]]:
        """See the protocol."""
        return self._child.call("tokenize", list(texts), special=special)

    def text_of(self, tokens: Tokens) -> bytes:
        """See the protocol."""
        return self._child.call("text_of", array("i", tokens))

    def length(self, sequence: int) -> int:
        """See the protocol."""
        return self._child.call("length", sequence)

    def evaluate(self, sequence: int, tokens: Tokens) -> Iterator[Progress]:
        """See the protocol."""
        return self._child.stream("evaluate", sequence, array("i", tokens))

    def generate(
        self, sequence: int, prompt: Tokens, sampling: Sampling, *, max_tokens: int
    ) -> Iterator[Piece | Finish]:
        """See the protocol."""
        return self._child.stream("generate", sequence, array("i", prompt), sampling, max_tokens=max_tokens)

    def logits(self, sequence: int, tokens: Tokens) -> array[float]:
        """See the protocol."""
        return self._child.call("logits", sequence, array("i", tokens))

    def probe(self, sequence: int, token: int, top: int) -> Probe:
        """See the protocol."""
        return self._child.call("probe", sequence, token, top)

    def fork(self, source: int, target: int) -> None:
        """See the protocol."""
        self._child.call("fork", source, target)

    def mark(self, sequence: int) -> None:
        """See the protocol."""
        self._child.call("mark", sequence)

    def rewind(self, sequence: int, length: int) -> bool:
        """See the protocol."""
        return self._child.call("rewind", sequence, length)

    def rewind_to_prompt(self, sequence: int, length: int) -> bool:
        """See the protocol."""
        return self._child.call("rewind_to_prompt", sequence, length)

    def clear(self, sequence: int) -> None:
        """See the protocol."""
        self._child.call("clear", sequence)

    def state_size(self, sequence: int) -> int:
        """See the protocol."""
        return self._child.call("state_size", sequence)

    def save(self, sequence: int, path: Path) -> tuple[Blob, Transfer]:
        """See the protocol."""
        return self._child.call("save", sequence, path)

    def restore(self, sequence: int, path: Path, blob: Blob) -> Transfer:
        """See the protocol."""
        return self._child.call("restore", sequence, path, blob)

    def save_boundary(self, sequence: int, path: Path) -> Blob | None:
        """See the protocol."""
        return self._child.call("save_boundary", sequence, path)

    def restore_boundary(self, sequence: int, path: Path, blob: Blob) -> None:
        """See the protocol."""
        self._child.call("restore_boundary", sequence, path, blob)

    def take_spans(self) -> list[Span]:
        """See the protocol."""
        return self._child.call("take_spans")

    def cancel(self) -> None:
        """See the protocol."""
        self._child.cancel()

    def close(self) -> None:
        """See the protocol."""
        self._child.close()

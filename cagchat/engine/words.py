"""Text to tokens and back with llama.cpp's tokenizer, with or without a model's weights."""

from __future__ import annotations

import ctypes
from array import array
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cagchat.engine.bindings import LogTail, bindings, load_model
from cagchat.engine.protocol import Tokens, Vocabulary
from cagchat.errors import EngineError


class Words:
    """Text to tokens and back, with the vocabulary of a loaded model."""

    def __init__(self, ll: Any, model: Any) -> None:
        self._ll = ll
        self._vocab = ll.llama_model_get_vocab(model)

    def vocabulary(self) -> Vocabulary:
        """Return what prompts need to know of it."""
        ll, vocab = self._ll, self._vocab
        return Vocabulary(
            n_vocab=ll.llama_vocab_n_tokens(vocab),
            add_bos=bool(ll.llama_vocab_get_add_bos(vocab)),
            bos_text=self._text(ll.llama_vocab_bos(vocab)),
            eos_text=self._text(ll.llama_vocab_eos(vocab)),
        )

    def tokenize(self, text: str, special: bool) -> array[int]:
        """Return the token ids of a text, array type "i"; control tokens are recognised only with `special`."""
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
        """Return the bytes of a token."""
        room = 64
        while True:
            buffer = ctypes.create_string_buffer(room)
            size = self._ll.llama_token_to_piece(self._vocab, token, buffer, room, 0, True)
            if size >= 0:
                return buffer.raw[:size]
            room = -size

    def ends_turn(self, token: int) -> bool:
        """Tell whether a model says with this token that it has finished."""
        return bool(self._ll.llama_vocab_is_eog(self._vocab, token))

    def _text(self, token: int) -> str:
        return self.piece(token).decode(errors="replace") if token >= 0 else ""


class LlamaTokenizer:
    """Implements `engine.protocol.VocabularyReader`: a model's tokenizer without its weights."""

    def __init__(self, model: Path) -> None:
        """Load the vocabulary of a GGUF. Raises `ModelError` when it cannot be loaded."""
        self._ll = bindings()
        log = LogTail(self._ll)
        self._ll.llama_backend_init()
        params = self._ll.llama_model_default_params()
        params.vocab_only = True
        params.n_gpu_layers = 0
        self._model = load_model(self._ll, model, params, log)
        self._words = Words(self._ll, self._model)

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

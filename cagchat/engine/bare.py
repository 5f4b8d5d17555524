"""The least code around llama_decode: what `cagchat bench` measures the engine against."""

from __future__ import annotations

import ctypes
import time
from dataclasses import replace
from typing import Any

from cagchat.engine.llama import LlamaEngine
from cagchat.engine.protocol import BOOK, EngineSettings, Tokens
from cagchat.errors import EngineError


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

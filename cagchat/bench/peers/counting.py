"""llama-cpp-python made comparable from outside: every token that it decodes is counted, its kernels are ours.

Imports nothing of cagchat: it is loaded into the processes of other environments too.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def count_decoded(low_level: Any, note: Callable[[list[int]], None]) -> None:
    """Pass the positions of every batch to `note` where it is decoded, whoever asks for that."""
    decode = low_level.llama_decode

    def counting(context: Any, batch: Any) -> Any:
        note([int(batch.pos[i]) for i in range(batch.n_tokens)])
        return decode(context, batch)

    low_level.llama_decode = counting


def use_kernels(low_level: Any, *, fast: bool) -> None:
    """Set what `Llama` has no argument for: some processors crash on the path that llama.cpp takes by default."""
    defaults = low_level.llama_model_default_params

    def parameters() -> Any:
        chosen = defaults()
        chosen.use_extra_bufts = fast
        return chosen

    low_level.llama_model_default_params = parameters

"""When a short batch deep in a book is cheaper with filler tokens in it.

On CPUs llama.cpp's flash attention takes its fast, tiled path only for 64 or more tokens at once (GGML_FA_TILE_Q in
ggml-cpu); below that every token walks the whole cache alone. At 3,100 tokens of SmolLM2 63 tokens took 4.5 s and 64
took 1.1 s, one thread on a busy machine. A question has some 30 tokens, so it is filled up to 64: the fillers stand in
a sequence of their own, attend only to themselves and are dropped at once.

The rule depends on nothing but sizes, so that the same question is always evaluated in the same way, bit for bit.
"""

from __future__ import annotations

from dataclasses import dataclass

TILE_TOKENS = 64

# Measured with SmolLM2-135M (30 layers, 576 wide), relative to one element of the cache read on the slow path.
TILED_COST = 0.1
PARAMETER_COST = 0.05


@dataclass(frozen=True, slots=True)
class Work:
    """A model's sizes: query elements that meet each position of the cache, and weights that meet each token."""

    elements_per_position: int
    parameters: int


def padding(n_tokens: int, depth: int, work: Work) -> int:
    """Return how many fillers to add to a batch of `n_tokens` that attends to `depth` positions; 0 if none pay."""
    if not 1 < n_tokens < TILE_TOKENS:
        return 0
    attention = work.elements_per_position * (depth + n_tokens)
    fillers = TILE_TOKENS - n_tokens
    plain = n_tokens * attention
    tiled = TILE_TOKENS * attention * TILED_COST + fillers * work.parameters * PARAMETER_COST
    return fillers if tiled < plain else 0

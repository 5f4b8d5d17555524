"""The buffers llama.cpp keeps beside a model's weights: K and V of every position, and recurrent states.

Sizes are those of contexts as `engine.llama` makes them: one pool of cells for all sequences, sliding layers that keep
only their window. Follows llama-context.cpp, llama-kv-cache.cpp, llama-kv-cache-iswa.cpp, llama-memory-recurrent.cpp.
"""

from __future__ import annotations

from cagchat.engine.protocol import KvType
from cagchat.models.shape import ModelShape, Recurrent

CELL_PADDING = 256  # contexts and windows are rounded up to it
F32 = 4
BLOCKS: dict[KvType, tuple[int, int]] = {"f16": (1, 2), "q8_0": (32, 34), "q4_0": (32, 18)}  # elements, bytes


def n_cells(n_context: int) -> int:
    """Return how many positions a context of `n_context` tokens really gets."""
    return padded(n_context)


def n_window_cells(shape: ModelShape, n_context: int, n_ubatch: int, n_sequences: int) -> int:
    """Return how many positions sliding layers keep: a window for each sequence and a batch, not more than all."""
    return padded(min(n_cells(n_context), shape.window * n_sequences + min(n_ubatch, n_context)))


def engine_sequences(shape: ModelShape, n_sequences: int) -> int:
    """Return how many sequences llama.cpp is asked for: attention models get one more, for padding (`engine.padding`).

    Their sequences cost no memory. `n_sequences` is `EngineSettings`', the book's included.
    """
    return n_sequences if shape.recurrent or shape.slides else n_sequences + 1


def row_bytes(elements: int, kv_type: KvType) -> int:
    """Return the size of one position's K or V in one layer."""
    block, size = BLOCKS[kv_type]
    return elements // block * size


def layer_bytes(shape: ModelShape, layer: int, kv_type: KvType) -> int:
    """Return the size of one position's K and V in one layer, 0 where it keeps none."""
    heads = shape.kv_heads[layer]
    return row_bytes(heads * shape.key_length, kv_type) + row_bytes(heads * shape.value_length, kv_type)


def token_bytes(shape: ModelShape, kv_type: KvType) -> int:
    """Return how much the cache grows with each position, in the layers that keep all of them."""
    return sum(layer_bytes(shape, layer, kv_type) for layer in range(shape.n_layers) if not shape.is_windowed(layer))


def kv_bytes(shape: ModelShape, n_context: int, kv_type: KvType, n_ubatch: int = 512, n_sequences: int = 2) -> int:
    """Return the size of llama.cpp's KV buffers, exactly; `n_sequences` as in `EngineSettings`."""
    layers = range(shape.n_layers)
    return sum(kv_layer_bytes(layer, shape, n_context, kv_type, n_ubatch, n_sequences) for layer in layers)


def kv_layer_bytes(
    layer: int, shape: ModelShape, n_context: int, kv_type: KvType, n_ubatch: int = 512, n_sequences: int = 2
) -> int:
    """Return one layer's part of `kv_bytes`."""
    cells = n_cells(n_context)
    if shape.is_windowed(layer):
        cells = n_window_cells(shape, n_context, n_ubatch, engine_sequences(shape, n_sequences))
    return cells * layer_bytes(shape, layer, kv_type)


def recurrent_bytes(shape: ModelShape, n_sequences: int = 2) -> int:
    """Return the size of the recurrent states, exactly: every sequence has its own from the start, in f32."""
    return sum(recurrent_layer_bytes(layer, shape, n_sequences) for layer in range(shape.n_layers))


def recurrent_layer_bytes(layer: int, shape: ModelShape, n_sequences: int = 2) -> int:
    """Return one layer's part of `recurrent_bytes`."""
    if shape.recurrent is None or shape.kv_heads[layer]:
        return 0
    return n_sequences * state_elements(shape.recurrent) * F32


def state_elements(recurrent: Recurrent) -> int:
    """Return the numbers a recurrent layer keeps for one sequence."""
    return recurrent.history_size + recurrent.memory_size


def padded(cells: int) -> int:
    """Round up to a multiple of `CELL_PADDING`."""
    return -(-cells // CELL_PADDING) * CELL_PADDING

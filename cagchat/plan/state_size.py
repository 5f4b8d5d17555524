"""The exact size of a saved state and of a boundary, from the layout that `engine.blob` parses."""

from __future__ import annotations

from collections.abc import Sequence

from cagchat.engine.protocol import KvType
from cagchat.models.shape import ModelShape
from cagchat.plan.caches import F32, layer_bytes, state_elements

OPENING = 8  # magic, sequence
KV_HEADER = 16  # streams, cells, V layout, layers
CELL = 12  # position, owners, sequence
CELL_EXTENSION = 12  # M-RoPE: the position's height and width, and the token id
LAYER_HEADER = 12  # type, row bytes
RECURRENT_HEADER = 20  # cells, position, owners, S layout, layers


def state_bytes(shape: ModelShape, n_tokens: int, kv_type: KvType) -> int:
    """Return how many bytes `Engine.save` writes for a sequence of `n_tokens`."""
    windowed = [layer for layer in range(shape.n_layers) if shape.is_windowed(layer)]
    whole = [layer for layer, heads in enumerate(shape.kv_heads) if heads and not shape.is_windowed(layer)]
    size = OPENING + _kv(shape, n_tokens, whole, kv_type)
    if windowed:
        size += _kv(shape, min(n_tokens, shape.window), windowed, kv_type)
    return size + _recurrent(shape)


def boundary_bytes(shape: ModelShape, n_tokens: int, kv_type: KvType) -> int:
    """Return how many bytes `Engine.save_boundary` writes at `n_tokens`; 0 for models that need no boundary."""
    windowed = [layer for layer in range(shape.n_layers) if shape.is_windowed(layer)]
    if windowed:
        return OPENING + _kv(shape, min(n_tokens, shape.window), windowed, kv_type)
    return OPENING + _recurrent(shape) if shape.recurrent else 0


def _kv(shape: ModelShape, cells: int, layers: Sequence[int], kv_type: KvType) -> int:
    cell = CELL + (CELL_EXTENSION if shape.recurrent else 0)  # the hybrids are the models with M-RoPE
    rows = sum(2 * LAYER_HEADER + cells * layer_bytes(shape, layer, kv_type) for layer in layers)
    return KV_HEADER + cells * cell + rows


def _recurrent(shape: ModelShape) -> int:
    if shape.recurrent is None:
        return 0
    row_bytes = state_elements(shape.recurrent) * F32
    return RECURRENT_HEADER + shape.recurrent_layers * (2 * LAYER_HEADER + row_bytes)

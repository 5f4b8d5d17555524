"""The buffers llama.cpp computes in: what one batch needs while it passes the model, and the logits it hands out.

On a processor they are what llama.cpp reports as its compute buffer, to the byte. On a GPU they follow the same graph
with CUDA's alignment and its f16 copies of quantised K and V (ggml-cuda's fattn.cu), but were not compared there.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Literal

from cagchat.engine.protocol import KvType
from cagchat.models.shape import ModelShape
from cagchat.plan.allocator import Graph
from cagchat.plan.caches import F32, engine_sequences, n_cells, n_window_cells
from cagchat.plan.graph import Batch, batch_graph

Backend = Literal["cpu", "cuda"]

ALIGNMENT: dict[Backend, int] = {"cpu": 32, "cuda": 128}
ROTATED_HEADS = 64  # quantised K and V are rotated when a head's length divides by it


@lru_cache(maxsize=4096)
def compute_bytes(
    shape: ModelShape,
    n_context: int,
    n_ubatch: int,
    n_sequences: int,
    kv_type: KvType,
    backend: Backend = "cpu",
    *,
    n_outputs: int = 0,
    flash_attention: bool = True,
) -> int:
    """Return the size of the compute buffer; `n_sequences` and `flash_attention` as in `EngineSettings`.

    `n_outputs` bounds how many tokens of a batch may have logits (llama.cpp's n_outputs_max); 0 means one a sequence,
    which is what the engine asks for.
    """
    sizes = (shape, n_context, n_ubatch, n_sequences, kv_type, backend)
    graph = worst_graph(*sizes, n_outputs=n_outputs, flash_attention=flash_attention)
    return graph.buffer_bytes(ALIGNMENT[backend])


@lru_cache(maxsize=4096)
def input_bytes(
    shape: ModelShape,
    n_context: int,
    n_ubatch: int,
    n_sequences: int,
    kv_type: KvType,
    *,
    flash_attention: bool = True,
) -> int:
    """Return what a GPU's batch holds in RAM as well: its inputs (the mask is the large one) and the embeddings."""
    sizes = (shape, n_context, n_ubatch, n_sequences, kv_type)
    graph = worst_graph(*sizes, "cuda", flash_attention=flash_attention)
    return sum(tensor.size_bytes for tensor in graph.inputs) + shape.n_embed * n_ubatch * F32


def output_bytes(shape: ModelShape, n_sequences: int) -> int:
    """Return the size of the buffer in RAM that logits are copied to."""
    return shape.n_vocab * engine_sequences(shape, n_sequences) * F32


def worst_graph(
    shape: ModelShape,
    n_context: int,
    n_ubatch: int,
    n_sequences: int,
    kv_type: KvType,
    backend: Backend,
    *,
    n_outputs: int = 0,
    flash_attention: bool = True,
) -> Graph:
    """Return the graph that llama.cpp reserves for: a full batch from all sequences that sees a full cache."""
    sequences = engine_sequences(shape, n_sequences)
    n_tokens = min(n_context, n_ubatch)
    quantised = kv_type != "f16"
    batch = Batch(
        n_tokens=-(-n_tokens // sequences) * sequences,
        n_outputs=min(n_tokens, n_outputs or sequences),
        n_sequences=sequences,
        n_cells=n_cells(n_context),
        n_window_cells=n_window_cells(shape, n_context, n_ubatch, sequences) if shape.slides else 0,
        rotated=quantised and shape.key_length % ROTATED_HEADS == 0,
        widened=quantised and backend == "cuda",
        flash_attention=flash_attention,
    )
    return batch_graph(shape, batch)

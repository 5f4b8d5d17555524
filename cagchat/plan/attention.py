"""Whether a model attends to the book with llama.cpp's flash attention or without it.

On processors flash attention walks the whole cache once for every token of a short batch (ggml-cpu tiles only batches
of 64 tokens or more), while plain attention is two matrix products over all of them. Measured with SmolLM2-135M, f16
and one thread at a depth of 3,200 tokens: one token took 37 ms without it and 97 with it, a question of 30 tokens
0.35 s and 2.3 (0.73 with fillers up to 64: `engine.padding`). Reading is slower without it, by 12 % up to that depth.
A book is read once and asked about often, so plain attention is preferred where

- no layer is on a GPU, whose kernels are made for flash attention;
- K and V are f16: quantised V cannot be transposed, which plain attention wants;
- no layer slides: its cells are reused in a ring, and the sums of plain attention would depend on where it stands,
  so that a rewound chat would not answer to the bit as before;
- the architecture is known in detail: others may have windows, or V of other widths, that only llama.cpp knows of;
- the scores of a batch fit in memory, which grow with the context: therefore batches are small.
"""

from __future__ import annotations

from cagchat.engine.protocol import KvType
from cagchat.models.shape import ModelShape

F16 = 2


def plain_suits(shape: ModelShape, kv_type: KvType, *, on_gpu: bool) -> bool:
    """Tell whether a model is better asked without flash attention, if there is memory for it."""
    return kv_type == "f16" and not on_gpu and shape.exact and not shape.slides and any(shape.kv_heads)


def work_bytes(shape: ModelShape, n_cells: int, n_tokens: int) -> int:
    """Return the buffer in which ggml turns a batch's scores to f16 before it multiplies them with V.

    llama.cpp does not report it: it belongs to the processor's kernels.
    """
    return shape.n_heads * n_cells * n_tokens * F16

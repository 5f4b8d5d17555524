"""What an engine is made of: the loaded model, the context with its cache, and what they are.

Every function takes the bindings (`engine.bindings.bindings`) and llama.cpp's own handles.
"""

from __future__ import annotations

import ctypes
from typing import Any

from cagchat.engine import blob as blobs
from cagchat.engine.bindings import LogTail, expert_overrides, load_model, threads_for
from cagchat.engine.padding import Work
from cagchat.engine.protocol import EngineSettings, Memory
from cagchat.errors import EngineError

FLASH_ATTENTION_OFF, FLASH_ATTENTION_ON = 0, 1


def load(ll: Any, settings: EngineSettings, log: LogTail) -> Any:
    """Load the model. Raises `ModelError` when the file cannot be loaded."""
    params = ll.llama_model_default_params()
    params.n_gpu_layers = settings.gpu_layers
    params.use_extra_bufts = settings.fast_kernels
    overrides = expert_overrides(settings.experts_in_ram)  # read while the model is loaded
    params.tensor_buft_overrides = ctypes.cast(overrides, ctypes.c_void_p)
    return load_model(ll, settings.model, params, log)


def allocate(ll: Any, model: Any, settings: EngineSettings, log: LogTail) -> Any:
    """Allocate the context and its cache. Raises `EngineError` with what to lower when that is impossible."""
    params = ll.llama_context_default_params()
    params.n_ctx = settings.n_context
    params.n_batch = params.n_ubatch = settings.n_batch
    params.n_seq_max = settings.n_sequences + fillers(memory_kind(ll, model))
    params.n_outputs_max = params.n_seq_max  # no batch asks for more logits: room for one row, not for all tokens
    params.n_threads = params.n_threads_batch = threads_for(settings.threads)
    params.flash_attn_type = FLASH_ATTENTION_ON if settings.flash_attention else FLASH_ATTENTION_OFF
    params.swa_full = False  # rewinds use snapshots, so sliding layers may keep only their window
    params.kv_unified = True  # sequences share cells: a fork of the book costs no copy
    params.type_k = params.type_v = blobs.GGML_TYPES[settings.kv_type]
    params.no_perf = True
    if settings.rope.yarn_factor != 1:
        params.rope_scaling_type = ll.LLAMA_ROPE_SCALING_TYPE_YARN
        params.rope_freq_scale = 1 / settings.rope.yarn_factor
        params.yarn_orig_ctx = settings.rope.yarn_original_context
    context = ll.llama_init_from_model(model, params)
    if not context:
        raise EngineError(
            f"llama.cpp could not allocate a context of {settings.n_context:,} tokens with {settings.kv_type} KV"
            f"{log.because()}.",
            "Lower chat_tokens or batch, or choose --kv q8_0 or q4_0.",
        )
    if ll.llama_n_ctx(context) < settings.n_context:
        ll.llama_free(context)
        raise EngineError(
            f"llama.cpp holds no context of {settings.n_context:,} tokens.", "Lower chat_tokens, or --truncate."
        )
    return context


def memory_kind(ll: Any, model: Any) -> Memory:
    """Return what the model remembers with, which decides how a sequence can be rewound."""
    if ll.llama_model_is_hybrid(model):
        return "hybrid"
    if ll.llama_model_is_recurrent(model):
        return "recurrent"
    return "sliding" if ll.llama_model_n_swa(model) else "attention"


def extended_cells(ll: Any, model: Any) -> bool:
    """Tell whether each cell has three positions: time, height and width, as models that may see images have."""
    return ll.llama_model_rope_type(model) in (ll.LLAMA_ROPE_TYPE_MROPE, ll.LLAMA_ROPE_TYPE_IMROPE)


def fillers(memory: Memory) -> int:
    """Return how many sequences beside the callers' are needed: one for padding, where it costs no memory."""
    return 1 if memory == "attention" else 0


def attention_work(ll: Any, model: Any, settings: EngineSettings) -> Work | None:
    """Return what padding is decided by; None where fillers make nothing faster."""
    on_gpu = ll.llama_supports_gpu_offload() and settings.gpu_layers != 0
    untiled = settings.kv_type != "f16" or not settings.flash_attention
    if on_gpu or untiled or not fillers(memory_kind(ll, model)):
        return None
    elements = ll.llama_model_n_layer(model) * ll.llama_model_n_embd(model)
    return Work(elements_per_position=elements, parameters=ll.llama_model_n_params(model))

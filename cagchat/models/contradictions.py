"""Sizes over which llama.cpp ends its process, where it should refuse the file.

Found by loading damaged files (tests/models/test_gguf_fuzz.py); each is an assertion or a division in llama-model.cpp,
models/qwen35.cpp or ggml-cpu/ops.cpp.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cagchat.models.gguf import Header

MAX_LAYERS, MAX_EXPERTS = 512, 1024  # LLAMA_MAX_LAYERS, LLAMA_MAX_EXPERTS
LARGEST = {  # what llama.cpp multiplies or adds in 32 bits without looking
    "attention.head_count": 1 << 12,
    "attention.head_count_kv": 1 << 12,
    "attention.key_length": 1 << 16,
    "attention.value_length": 1 << 16,
    "attention.sliding_window": 1 << 30,
}
ROPE_SCALINGS = ("none", "linear", "yarn", "longrope")
HYBRIDS = ("qwen35", "qwen35moe")
FAMILIAR = ("llama", "qwen2", "qwen3", "gemma3", *HYBRIDS)  # others may mean something else by the same names
ELEMENTWISE = ("_norm.weight", ".bias", ".ssm_a")


def contradictions(header: Header) -> Iterator[str]:
    """Find what cannot be in the metadata of a model that is to be loaded; each is a clause for a message."""
    yield from in_layers(header)
    yield from in_experts(header)
    yield from in_positions(header)
    if header.architecture in FAMILIAR:
        yield from in_tensors(header)
    if header.architecture in HYBRIDS:
        yield from in_recurrence(header)


def in_layers(header: Header) -> Iterator[str]:
    """Check how many layers there are, and what they share."""
    for layers in header.numbers("block_count"):
        if not 0 < layers <= MAX_LAYERS:
            yield f"a model of {layers} layers cannot be"
    if header.number("nextn_predict_layers") > header.number("block_count"):
        yield "more of its layers predict further tokens than there are"
    for key, largest in LARGEST.items():
        for number in header.numbers(key):
            if number > largest:
                yield f"{key} is {number}, which cannot be"
    for epsilon in header.numbers("attention.layer_norm_rms_epsilon"):
        if not (math.isfinite(epsilon) and epsilon >= 0):
            yield f"its norms add {epsilon}"
    if header.architecture == "gemma3" and header.number("attention.sliding_window_pattern") == 1:
        yield "it has a window and no layer that uses it"


def in_tensors(header: Header) -> Iterator[str]:
    """Check the tensors that are added or multiplied element by element: ggml's CPU code does that in F32 only."""
    for tensor in header.tensors:
        if tensor.name.endswith(ELEMENTWISE) and len(tensor.dimensions) == 1 and tensor.type_name != "F32":
            yield f"tensor {tensor.name} is of the type {tensor.type_name}, not F32"


def in_experts(header: Header) -> Iterator[str]:
    """Check the routed experts and their groups."""
    experts = header.number("expert_count")
    used = max(header.numbers("expert_used_count"), default=0)
    if experts > MAX_EXPERTS:
        yield f"a model of {experts} experts cannot be"
    if used > experts or (experts and used < 1):
        yield f"it uses {used} of {experts} experts"
    groups, groups_used = header.number("expert_group_count"), header.number("expert_group_used_count")
    if groups and (groups >= experts or experts % groups or (groups > 1 and not 0 < groups_used < groups)):
        yield f"it uses {groups_used} of {groups} groups of {experts} experts"


def in_positions(header: Header) -> Iterator[str]:
    """Check how positions turn the keys: an even number of elements of a head, in sections that are inside it."""
    scaling = header.metadata.get(f"{header.architecture}.rope.scaling.type", "none")
    if isinstance(scaling, str) and scaling not in ROPE_SCALINGS:
        yield f"its positions are scaled by {scaling[:20]!r}"
    if header.architecture not in FAMILIAR:
        return
    heads = max((int(count) for count in header.numbers("attention.head_count")), default=0)
    width = header.number("attention.key_length") or header.number("embedding_length") // max(1, heads)
    turned = header.number("rope.dimension_count")
    if turned % 2 or turned > width or header.numbers("rope.dimension_count") == (0,):
        yield f"positions turn {turned} elements of heads that have {width}"
    sections = header.numbers("rope.dimension_sections")
    if any(section < 0 for section in sections) or sum(sections) > width:
        yield f"positions turn sections of {', '.join(map(str, sections[:8]))} elements of heads that have {width}"


def in_recurrence(header: Header) -> Iterator[str]:
    """Check the layers of a hybrid that keep a recurrent state."""
    if header.numbers("full_attention_interval") == (0,):
        yield "it has full attention in every 0th layer"
    heads, wide, inner = (header.number(f"ssm.{key}") for key in ("time_step_rank", "state_size", "inner_size"))
    if inner != heads * wide:
        yield f"its recurrent layers have an inner size {inner} and {heads} heads of {wide}"

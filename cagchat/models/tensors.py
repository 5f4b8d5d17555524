"""Which tensors a model of a given shape has, and the type that llama-quantize gives each: a file's size without it.

Names and sizes are those that llama.cpp's src/models/*.cpp ask for, the types those that src/llama-quant.cpp chooses
in the pinned build. Published files may differ: those with MTP layers (nextn) count one layer more, older builds did
not take attn_qkv for a V (an IQ4_XS of a hybrid was 3 % smaller, other mixtures differ by 0.2 % at most), and what its
makers mixed tensor by tensor ("UD-", "_XL", "_L", "-MP-", APEX, imatrix solvers) follows no rule that is known here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from math import prod

from cagchat.errors import ModelError, UsageError
from cagchat.models.gguf import DEFAULT_ALIGNMENT, TENSOR_TYPES, TensorInfo
from cagchat.models.shape import ModelShape, Recurrent

Part = tuple[str, tuple[int, ...]]
Parts = Iterator[Part]

# By the name of a quantisation: its number in llama.h (llama_ftype), and the type of tensors without a rule.
QUANTISATIONS: Mapping[str, tuple[int, str]] = {
    "F16": (1, "F16"),
    "Q4_0": (2, "Q4_0"),
    "Q4_1": (3, "Q4_1"),
    "Q8_0": (7, "Q8_0"),
    "Q5_0": (8, "Q5_0"),
    "Q5_1": (9, "Q5_1"),
    "Q2_K": (10, "Q2_K"),
    "Q3_K_S": (11, "Q3_K"),
    "Q3_K_M": (12, "Q3_K"),
    "Q3_K_L": (13, "Q3_K"),
    "Q4_K_S": (14, "Q4_K"),
    "Q4_K_M": (15, "Q4_K"),
    "Q5_K_S": (16, "Q5_K"),
    "Q5_K_M": (17, "Q5_K"),
    "Q6_K": (18, "Q6_K"),
    "IQ4_NL": (25, "IQ4_NL"),
    "IQ4_XS": (30, "IQ4_XS"),
    "BF16": (32, "BF16"),
}

BLOCKS = {name: (elements, size_bytes) for name, elements, size_bytes in TENSOR_TYPES.values()}
FLOATS = ("F32", "F16", "BF16")
# Where a row does not divide into blocks: the type that takes its place, if that one fits.
FALLBACKS = {
    "Q2_K": "Q4_0",
    "Q3_K": "Q4_0",
    "Q4_K": "Q5_0",
    "Q5_K": "Q5_1",
    "Q6_K": "Q8_0",
    "IQ4_XS": "IQ4_NL",
}
KEPT_F32 = ("_norm.weight", "ffn_gate_inp.weight", "ssm_conv1d.weight")


def tensors(
    shape: ModelShape, quantisation: str, *, tied: bool = False, imatrix: bool = False
) -> tuple[TensorInfo, ...]:
    """Return every tensor of the model with its type, place and size in the file.

    `tied` models use the token embeddings for the output as well. `imatrix` is whether the file was made with an
    importance matrix, which spares a few tensors of Q4_0 and IQ4 files. Raises `ModelError` for an architecture whose
    tensors are not known and `UsageError` for an unknown quantisation.
    """
    if quantisation not in QUANTISATIONS:
        raise UsageError(
            f"The tensor types of a {quantisation} file are not known.", f"Choose from {', '.join(QUANTISATIONS)}."
        )
    mixture = Mixture(shape, quantisation, tied=tied, imatrix=imatrix)
    found, offset = [], 0
    for name, dimensions in parts(shape, tied=tied):
        type_name = mixture.type_of(name, dimensions)
        size_bytes = bytes_of(type_name, dimensions)
        found.append(TensorInfo(name, dimensions, type_name, offset, size_bytes))
        offset += aligned(size_bytes)
    return tuple(found)


def data_bytes(infos: tuple[TensorInfo, ...]) -> int:
    """Return how many bytes the tensors take in a file; its header (about 11 MB for 250,000 tokens) comes on top."""
    return infos[-1].offset + aligned(infos[-1].size_bytes)


def bytes_of(type_name: str, dimensions: tuple[int, ...]) -> int:
    """Return the size of a tensor."""
    elements, size_bytes = BLOCKS[type_name]
    return prod(dimensions) // elements * size_bytes


def aligned(size_bytes: int) -> int:
    """Return the size with the padding that follows it in a file."""
    return -(-size_bytes // DEFAULT_ALIGNMENT) * DEFAULT_ALIGNMENT


# -- which type --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Mixture:
    """The rules of one quantisation for one model (llama_tensor_get_type and what it calls)."""

    shape: ModelShape
    quantisation: str
    tied: bool
    imatrix: bool

    @property
    def base(self) -> str:
        """The type of tensors without a rule."""
        return QUANTISATIONS[self.quantisation][1]

    def type_of(self, name: str, dimensions: tuple[int, ...]) -> str:
        """Return the type of a tensor: F32 for what is never quantised, else by rule, else what its rows allow."""
        if len(dimensions) < 2 or not name.endswith("weight") or name.endswith(KEPT_F32):
            return "F32"
        if self.base in FLOATS:
            return self.base
        chosen = self.by_rule(name, dimensions[0])
        if dimensions[0] % BLOCKS[chosen][0]:
            chosen = FALLBACKS.get(chosen, chosen)
        return chosen if dimensions[0] % BLOCKS[chosen][0] == 0 else "F16"

    def by_rule(self, name: str, width: int) -> str:
        """Return the type the rules choose, before it is known whether rows of that `width` divide into its blocks."""
        if name == "output.weight" or (name == "token_embd.weight" and self.tied):
            return "Q8_0" if self.base == "Q8_0" or width % BLOCKS[self.base][0] else "Q6_K"
        if name == "token_embd.weight":
            return self.base
        _, number, role = name.split(".", 2)
        layer = int(number)
        if role.startswith(("attn_v.", "attn_qkv.")):
            return self.value_type(layer)
        if role.startswith("ffn_down"):
            return self.down_type(layer)
        if role.startswith("attn_output."):
            return self.output_type()
        if role.startswith("attn_k.") and self.eight_experts:
            return "Q8_0"
        return self.base

    def value_type(self, layer: int) -> str:
        """Return the type of a layer's V, or of Q, K and V together: every layer has one of the two."""
        if self.eight_experts:
            return "Q8_0"
        chosen = self.base
        if self.quantisation == "Q2_K":
            chosen = "Q4_K" if self.queries_a_head >= 4 else "Q3_K"
        elif self.quantisation == "Q3_K_M":
            chosen = "Q5_K" if layer < 2 else "Q4_K"
        elif (
            self.quantisation == "Q3_K_L"
            or (self.quantisation == "Q4_K_S" and layer < 4)
            or (self.base.startswith("IQ4") and self.queries_a_head >= 4)
        ):
            chosen = "Q5_K"
        elif self.quantisation in ("Q4_K_M", "Q5_K_M") and self.more_bits(layer):
            chosen = "Q6_K"
        return "Q5_K" if self.seventy_billion and chosen in ("Q3_K", "Q4_K") else chosen

    def down_type(self, layer: int) -> str:
        """Return the type of a layer's way down from the feed-forward, of its experts too."""
        first_eighth = layer < self.shape.n_layers // 8
        match self.quantisation:
            case "Q2_K":
                return "Q3_K"
            case "Q3_K_M":
                return "Q5_K" if layer < self.shape.n_layers // 16 else "Q4_K"
            case "Q3_K_L":
                return "Q5_K"
            case "Q4_K_S" if first_eighth:
                return "Q5_K"
            case "Q4_K_M" | "Q5_K_M" if self.more_bits(layer):
                return "Q6_K"
            case "IQ4_NL" | "IQ4_XS" if first_eighth and not self.imatrix:
                return "Q5_K"
            case "Q4_0" | "Q5_0" if first_eighth and self.imatrix:
                return self.base.replace("_0", "_1")
        return self.base

    def output_type(self) -> str:
        """Return the type of the attention's way out."""
        if self.eight_experts:
            spared = ("Q2_K", "Q3_K_S", "Q3_K_M", "Q4_K_S", "Q4_K_M", "IQ4_NL", "IQ4_XS")
            return "Q5_K" if self.quantisation in spared else self.base
        return {"Q2_K": "Q3_K", "Q3_K_M": "Q4_K", "Q3_K_L": "Q5_K"}.get(self.quantisation, self.base)

    def more_bits(self, layer: int) -> bool:
        """Tell whether a layer is among the first or last eighth, or every third between."""
        n_layers = self.shape.n_layers
        first = n_layers // 8
        return layer < first or layer >= 7 * n_layers // 8 or (layer - first) % 3 == 2

    @property
    def queries_a_head(self) -> int:
        """How many query heads share a KV head."""
        return self.shape.n_heads // max(1, *self.shape.kv_heads)

    @property
    def eight_experts(self) -> bool:
        """Whether there are exactly eight experts: llama.cpp's rule for Mixtral, which others fall under as well."""
        return self.shape.experts is not None and self.shape.experts.count == 8

    @property
    def seventy_billion(self) -> bool:
        """Whether llama.cpp takes the model for Llama 2 70B or its kind."""
        shared = self.shape.architecture == "qwen2" or self.queries_a_head > 1
        return self.shape.architecture in ("llama", "qwen2") and self.shape.n_layers == 80 and shared


# -- which tensors -----------------------------------------------------------------------------------------------------


def parts(shape: ModelShape, *, tied: bool) -> Parts:
    """Yield name and dimensions of every tensor, the length of a row first; optional ones that no model has are not."""
    if shape.architecture not in LAYERS:
        raise ModelError(
            f"The tensors of the architecture {shape.architecture!r} are not known.", f"Known: {', '.join(LAYERS)}."
        )
    yield "token_embd.weight", (shape.n_embed, shape.n_vocab)
    yield "output_norm.weight", (shape.n_embed,)
    if not tied:
        yield "output.weight", (shape.n_embed, shape.n_vocab)
    for layer in range(shape.n_layers):
        for role, dimensions in LAYERS[shape.architecture](shape, layer):
            yield f"blk.{layer}.{role}", dimensions


def llama_layer(shape: ModelShape, layer: int) -> Parts:
    """Yield a layer of attention and a gated feed-forward, dense or of experts."""
    yield "attn_norm.weight", (shape.n_embed,)
    yield from attention(shape, layer)
    yield "ffn_norm.weight", (shape.n_embed,)
    yield from feed_forward(shape)


def qwen2_layer(shape: ModelShape, layer: int) -> Parts:
    """Yield a layer whose Q, K and V have a bias."""
    yield from llama_layer(shape, layer)
    yield "attn_q.bias", (shape.n_heads * shape.key_length,)
    yield "attn_k.bias", (shape.kv_heads[layer] * shape.key_length,)
    yield "attn_v.bias", (shape.kv_heads[layer] * shape.value_length,)


def qwen3_layer(shape: ModelShape, layer: int) -> Parts:
    """Yield a layer whose Q and K are normed."""
    yield from llama_layer(shape, layer)
    yield from head_norms(shape)


def gemma3_layer(shape: ModelShape, layer: int) -> Parts:
    """Yield a layer whose two halves are normed after as well as before."""
    yield from qwen3_layer(shape, layer)
    yield "post_attention_norm.weight", (shape.n_embed,)
    yield "post_ffw_norm.weight", (shape.n_embed,)


def hybrid_layer(shape: ModelShape, layer: int) -> Parts:
    """Yield full attention whose queries carry a gate, or a delta net where the layer keeps no K and V."""
    yield "attn_norm.weight", (shape.n_embed,)
    yield "post_attention_norm.weight", (shape.n_embed,)
    if shape.kv_heads[layer] or shape.recurrent is None:
        yield from attention(shape, layer, query_rows=2 * shape.n_heads * shape.key_length)
        yield from head_norms(shape)
    else:
        yield from delta_net(shape.n_embed, shape.recurrent)
    yield from feed_forward(shape)
    if shape.experts is not None:
        yield from shared_expert(shape.n_embed, shape.experts.shared_width or shape.n_feed_forward)


LAYERS: Mapping[str, Callable[[ModelShape, int], Parts]] = {
    "llama": llama_layer,
    "qwen2": qwen2_layer,
    "qwen3": qwen3_layer,
    "gemma3": gemma3_layer,
    "qwen35": hybrid_layer,
    "qwen35moe": hybrid_layer,
}


def attention(shape: ModelShape, layer: int, query_rows: int = 0) -> Parts:
    """Yield the four matrices of attention."""
    values = shape.n_heads * shape.value_length
    yield "attn_q.weight", (shape.n_embed, query_rows or shape.n_heads * shape.key_length)
    yield "attn_k.weight", (shape.n_embed, shape.kv_heads[layer] * shape.key_length)
    yield "attn_v.weight", (shape.n_embed, shape.kv_heads[layer] * shape.value_length)
    yield "attn_output.weight", (values, shape.n_embed)


def head_norms(shape: ModelShape) -> Parts:
    """Yield the norms of single heads."""
    yield "attn_q_norm.weight", (shape.key_length,)
    yield "attn_k_norm.weight", (shape.key_length,)


def delta_net(n_embed: int, sizes: Recurrent) -> Parts:
    """Yield a gated delta net."""
    values = sizes.state_size * sizes.value_heads
    mixed = 2 * sizes.state_size * sizes.key_heads + values
    yield "attn_qkv.weight", (n_embed, mixed)
    yield "attn_gate.weight", (n_embed, values)
    yield "ssm_conv1d.weight", (sizes.conv_kernel, mixed)
    yield "ssm_dt.bias", (sizes.value_heads,)
    yield "ssm_a", (sizes.value_heads,)
    yield "ssm_beta.weight", (n_embed, sizes.value_heads)
    yield "ssm_alpha.weight", (n_embed, sizes.value_heads)
    yield "ssm_norm.weight", (sizes.state_size,)
    yield "ssm_out.weight", (values, n_embed)


def feed_forward(shape: ModelShape) -> Parts:
    """Yield a gated feed-forward: dense, or a router and its experts."""
    if shape.experts is None:
        yield "ffn_gate.weight", (shape.n_embed, shape.n_feed_forward)
        yield "ffn_up.weight", (shape.n_embed, shape.n_feed_forward)
        yield "ffn_down.weight", (shape.n_feed_forward, shape.n_embed)
        return
    count, width = shape.experts.count, shape.experts.width or shape.n_feed_forward
    yield "ffn_gate_inp.weight", (shape.n_embed, count)
    yield "ffn_gate_exps.weight", (shape.n_embed, width, count)
    yield "ffn_up_exps.weight", (shape.n_embed, width, count)
    yield "ffn_down_exps.weight", (width, shape.n_embed, count)


def shared_expert(n_embed: int, width: int) -> Parts:
    """Yield the expert that all tokens go through, and its gate."""
    yield "ffn_gate_inp_shexp.weight", (n_embed,)
    yield "ffn_gate_shexp.weight", (n_embed, width)
    yield "ffn_up_shexp.weight", (n_embed, width)
    yield "ffn_down_shexp.weight", (width, n_embed)

"""The sizes that decide what a model takes: its layers, its caches, its experts.

They come from a GGUF's metadata, or for a model that is not on disk from the catalogue, which uses the same keys.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from cagchat.errors import ModelError
from cagchat.models.gguf import ArrayInfo, Header, Scalar, Value

HYBRIDS = ("qwen35", "qwen35moe")
SLIDING = {"gemma3": 6}  # architecture: every n-th layer sees everything, as llama.cpp has it when the file is silent
FULL_EVERY = 4  # hybrids: as llama.cpp has it when the file is silent
KNOWN = ("llama", "qwen2", "qwen3", "gemma3", *HYBRIDS)


@dataclass(frozen=True, slots=True)
class Experts:
    """A mixture's routed experts, `used` of `count` for each token, each `width` wide; `shared_width` 0 for none."""

    count: int
    used: int
    width: int
    shared_width: int


@dataclass(frozen=True, slots=True)
class Recurrent:
    """The sizes of a gated delta net layer (ssm.* in the metadata); `value_heads` is the time step rank."""

    conv_kernel: int
    inner_size: int
    state_size: int
    key_heads: int
    value_heads: int

    @property
    def mixed_size(self) -> int:
        """Elements of a token's query, key and value, which pass the convolution together."""
        return self.inner_size + 2 * self.key_heads * self.state_size

    @property
    def history_size(self) -> int:
        """Elements of R: the tokens before this one that the convolution still sees."""
        return max(0, self.conv_kernel - 1) * self.mixed_size

    @property
    def memory_size(self) -> int:
        """Elements of S: the matrix of each value head."""
        return self.state_size * self.inner_size


@dataclass(frozen=True, slots=True)
class ModelShape:
    """A model's sizes. `kv_heads` has one number a layer, 0 where the layer keeps no K and V.

    `windowed` says of each layer whether it sees only the last `window` tokens. Widths count elements. `exact` is
    false for an architecture whose layers we do not know in detail: what is computed from it is an estimate.
    """

    architecture: str
    n_vocab: int
    n_embed: int
    n_feed_forward: int
    n_heads: int
    kv_heads: tuple[int, ...]
    key_length: int
    value_length: int
    n_context_trained: int
    window: int = 0
    windowed: tuple[bool, ...] = ()
    experts: Experts | None = None
    recurrent: Recurrent | None = None
    exact: bool = True

    @property
    def n_layers(self) -> int:
        """How many layers compute; those that only predict further tokens (MTP) are left out."""
        return len(self.kv_heads)

    @property
    def attention_layers(self) -> int:
        """How many layers keep K and V."""
        return sum(heads > 0 for heads in self.kv_heads)

    @property
    def recurrent_layers(self) -> int:
        """How many layers keep a recurrent state."""
        return self.n_layers - self.attention_layers if self.recurrent else 0

    @property
    def slides(self) -> bool:
        """Whether some layers see only a window."""
        return any(self.windowed)

    def is_windowed(self, layer: int) -> bool:
        """Tell whether a layer keeps K and V only of the last `window` tokens."""
        return bool(self.windowed) and self.windowed[layer] and self.kv_heads[layer] > 0


def shape_of(header: Header) -> ModelShape:
    """Return the shape that a GGUF's header describes. Raises `ModelError` when a size is missing or absurd."""
    prefix = f"{header.architecture}."
    own = {key.removeprefix(prefix): value for key, value in header.metadata.items() if key.startswith(prefix)}
    own["vocab_size"] = header.vocabulary_size or own.get("vocab_size", 0)
    return parse_shape(header.architecture, own, str(header.path))


def parse_shape(architecture: str, sizes: Mapping[str, Value], place: str) -> ModelShape:
    """Return the shape from GGUF keys without the architecture's prefix, as "attention.head_count".

    A number may stand for all layers or be an array with one for each. `place` is for the message of `ModelError`.
    """

    def number(key: str, default: int | None = None) -> int:
        value = sizes.get(key, default)
        if isinstance(value, ArrayInfo):
            value = max((int(item) for item in value.values), default=default)
        if not isinstance(value, int) or not 0 <= value < 1 << 31:
            raise ModelError(f"{place}: {architecture}.{key} is {value!r}, not a size.", "Fetch the model again.")
        return value

    layers = number("block_count") - number("nextn_predict_layers", 0)
    if not 0 < layers <= 1 << 12:
        raise ModelError(f"{place}: {layers} layers cannot be right.", "Fetch the model again.")
    embed, heads = number("embedding_length"), max(1, number("attention.head_count"))
    each = per_layer(sizes.get("attention.head_count_kv", heads), layers)
    hybrid = architecture in HYBRIDS
    if hybrid:
        every = max(1, number("full_attention_interval", FULL_EVERY))
        each = tuple(count if (layer + 1) % every == 0 else 0 for layer, count in enumerate(each))
    window = number("attention.sliding_window", 0)
    full_every = max(1, number("attention.sliding_window_pattern", SLIDING.get(architecture, 1)))
    windowed = tuple(bool(window) and (layer + 1) % full_every != 0 for layer in range(layers))
    experts = number("expert_count", 0)
    return ModelShape(
        architecture=architecture,
        n_vocab=number("vocab_size", 0),
        n_embed=embed,
        n_feed_forward=number("feed_forward_length", 0),
        n_heads=heads,
        kv_heads=each,
        key_length=number("attention.key_length", embed // heads),
        value_length=number("attention.value_length", embed // heads),
        n_context_trained=number("context_length", 0),
        window=window,
        windowed=windowed,
        experts=Experts(
            count=experts,
            used=number("expert_used_count", 0),
            width=number("expert_feed_forward_length", 0),
            shared_width=number("expert_shared_feed_forward_length", 0),
        )
        if experts
        else None,
        recurrent=Recurrent(
            conv_kernel=number("ssm.conv_kernel"),
            inner_size=number("ssm.inner_size"),
            state_size=number("ssm.state_size"),
            key_heads=number("ssm.group_count"),
            value_heads=number("ssm.time_step_rank"),
        )
        if hybrid
        else None,
        exact=architecture in KNOWN,
    )


def per_layer(value: Value, layers: int) -> tuple[int, ...]:
    """Return one number a layer from a number or an array of them."""
    items: tuple[Scalar, ...] = value.values if isinstance(value, ArrayInfo) else ()
    if isinstance(value, int):
        return (int(value),) * layers
    return tuple(int(item) for item in items[:layers]) + (0,) * (layers - len(items))

"""Scale a model's shape down without changing its kind: what a small machine can run of a large one."""

from __future__ import annotations

from dataclasses import replace

from cagchat.errors import UsageError
from cagchat.models.shape import Experts, ModelShape, Recurrent

STEP = 256  # rows of a multiple of this keep the types of every quantisation (the super-blocks of K quants)


def scaled(
    shape: ModelShape,
    *,
    layers: int | None = None,
    experts: int | None = None,
    width: int | None = None,
    n_vocab: int | None = None,
) -> ModelShape:
    """Return the shape with fewer layers, experts, or columns (`width` is the new embedding length).

    Heads keep their size and each KV head its queries; everything else follows the width, in steps of 256. Raises
    `UsageError` for what no model can be.
    """
    if layers is not None:
        shape = fewer_layers(shape, layers)
    if experts is not None:
        shape = fewer_experts(shape, experts)
    if width is not None:
        shape = narrower(shape, width)
    return shape if n_vocab is None else replace(shape, n_vocab=n_vocab)


def fewer_layers(shape: ModelShape, layers: int) -> ModelShape:
    """Return the shape with its first layers only."""
    if not 1 <= layers <= shape.n_layers:
        raise UsageError(f"The model has {shape.n_layers} layers, not {layers}.", "Ask for 1 or more, up to its own.")
    if not any(shape.kv_heads[:layers]):
        first = next(layer for layer, heads in enumerate(shape.kv_heads, start=1) if heads)
        raise UsageError(
            f"The first {layers} layers have no attention, so there would be no KV cache.",
            f"Ask for {first} layers or more.",
        )
    return replace(shape, kv_heads=shape.kv_heads[:layers], windowed=shape.windowed[:layers])


def fewer_experts(shape: ModelShape, experts: int) -> ModelShape:
    """Return the shape with fewer routed experts; a token uses as many as before, or all."""
    if shape.experts is None:
        raise UsageError("The model has no experts.", "Leave --experts out.")
    if not 1 <= experts <= shape.experts.count:
        raise UsageError(f"The model has {shape.experts.count} experts, not {experts}.", "Ask for no more than those.")
    return replace(shape, experts=replace(shape.experts, count=experts, used=min(experts, shape.experts.used)))


def narrower(shape: ModelShape, width: int) -> ModelShape:
    """Return the shape with another embedding length and everything else in proportion."""
    if width < STEP or width % STEP or width > shape.n_embed:
        raise UsageError(
            f"A width of {width} is not a multiple of {STEP} up to the model's {shape.n_embed}.",
            f"Ask for {STEP} or a multiple of it.",
        )

    def part(size: int) -> int:
        return max(STEP, round(size * width / shape.n_embed / STEP) * STEP) if size else 0

    def few(count: int) -> int:
        return max(1, round(count * width / shape.n_embed)) if count else 0

    most = max(shape.kv_heads)
    mixture, recurrent = shape.experts, shape.recurrent
    return replace(
        shape,
        n_embed=width,
        n_feed_forward=part(shape.n_feed_forward),
        n_heads=few(most) * (shape.n_heads // most),
        kv_heads=tuple(map(few, shape.kv_heads)),
        experts=mixture and Experts(mixture.count, mixture.used, part(mixture.width), part(mixture.shared_width)),
        recurrent=recurrent and narrower_net(recurrent, few(recurrent.key_heads)),
    )


def narrower_net(net: Recurrent, key_heads: int) -> Recurrent:
    """Return a delta net with fewer heads of the same size."""
    value_heads = key_heads * (net.value_heads // net.key_heads)
    return replace(net, key_heads=key_heads, value_heads=value_heads, inner_size=value_heads * net.state_size)

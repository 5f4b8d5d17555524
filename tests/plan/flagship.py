"""Shapes of real models, from their published configurations."""

from __future__ import annotations

from cagchat.models.shape import Experts, ModelShape, Recurrent

FLAGSHIP = ModelShape(  # Qwen3.5-35B-A3B
    architecture="qwen35moe",
    n_vocab=248_320,
    n_embed=2048,
    n_feed_forward=0,
    n_heads=16,
    kv_heads=(0, 0, 0, 2) * 10,
    key_length=256,
    value_length=256,
    n_context_trained=262_144,
    windowed=(False,) * 40,
    experts=Experts(count=256, used=8, width=512, shared_width=512),
    recurrent=Recurrent(conv_kernel=4, inner_size=4096, state_size=128, key_heads=16, value_heads=32),
)
QWEN35_9B = ModelShape(
    architecture="qwen35",
    n_vocab=248_320,
    n_embed=4096,
    n_feed_forward=12_288,
    n_heads=16,
    kv_heads=(0, 0, 0, 4) * 8,
    key_length=256,
    value_length=256,
    n_context_trained=262_144,
    windowed=(False,) * 32,
    recurrent=Recurrent(conv_kernel=4, inner_size=4096, state_size=128, key_heads=16, value_heads=32),
)
QWEN35_27B = ModelShape(
    architecture="qwen35",
    n_vocab=248_320,
    n_embed=5120,
    n_feed_forward=17_408,
    n_heads=24,
    kv_heads=(0, 0, 0, 4) * 16,
    key_length=256,
    value_length=256,
    n_context_trained=262_144,
    windowed=(False,) * 64,
    recurrent=Recurrent(conv_kernel=4, inner_size=6144, state_size=128, key_heads=16, value_heads=48),
)
GEMMA3_4B = ModelShape(
    architecture="gemma3",
    n_vocab=262_208,
    n_embed=2560,
    n_feed_forward=10_240,
    n_heads=8,
    kv_heads=(4,) * 34,
    key_length=256,
    value_length=256,
    n_context_trained=131_072,
    window=1024,
    windowed=tuple(layer % 6 != 5 for layer in range(34)),
)

"""Write tiny random-weight GGUFs that llama.cpp loads: one for each kind of memory a real model may have.

Their answers are noise, but their caches behave like the large ones': qwen3 is plain attention, qwen35 and qwen35moe
are hybrids (full attention in every 4th layer, recurrent in between), gemma3 slides a window over most layers. The
tokenizer is real: every byte is a token, so any text survives the round trip. Metadata and tensors are those that
llama.cpp's src/models/*.cpp ask for. Needs the `bench` extra.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

import gguf
import numpy as np

from cagchat.errors import UsageError
from cagchat.files import partial_path, publish, storage_errors

Architecture = Literal["qwen3", "qwen35", "qwen35moe", "gemma3"]
ARCHITECTURES: tuple[Architecture, ...] = get_args(Architecture)

HEAD_DIM = 64  # A multiple of 32, so that q8_0 and q4_0 caches are possible
FULL_EVERY = 4  # hybrids: this layer of each group has full attention
WINDOW_EVERY = 6  # gemma3: this layer of each group sees everything, the others a window
STATE = 64  # hybrids: width of a recurrent head
KEY_HEADS, VALUE_HEADS = 2, 4
CONVOLUTION = 4
EXPERTS, EXPERTS_USED, EXPERT_WIDTH = 8, 2, 64

ENDOFTEXT, IM_START, IM_END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"

# Pairs of tokens that merge, most eager first; the line ends are here because prompts are glued together at them.
MERGES = ((" ", "t"), ("h", "e"), (" t", "he"), ("i", "n"), ("a", "n"), ("e", "r"), (" ", "a"), ("\n", "\n"))

CHATML = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)

# Forgets what earlier answers thought, and closes an empty thought itself when thinking is switched off.
THINKING = (
    "{% for message in messages %}"
    "{% set said = message.content.split('</think>')[-1] if message.role == 'assistant' else message.content %}"
    "{{ '<|im_start|>' + message.role + '\\n' + said + '<|im_end|>\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n<think>\\n' }}"
    "{% if enable_thinking is defined and not enable_thinking %}{{ '\\n</think>\\n\\n' }}{% endif %}"
    "{% endif %}"
)

NO_TEMPLATE = ""


@dataclass(frozen=True, slots=True)
class Shape:
    """The sizes that architectures share; heads are `HEAD_DIM` wide, `window` counts tokens."""

    layers: int = 8
    embed: int = 256
    heads: int = 4
    kv_heads: int = 2
    feed_forward: int = 512
    window: int = 64


@dataclass(frozen=True, slots=True)
class Weights:
    """Random tensors by name, in the order they are drawn: matrices in f16, everything small in f32."""

    random: np.random.Generator
    tensors: dict[str, np.ndarray[Any, Any]] = field(default_factory=dict)

    def matrix(self, name: str, *shape: int, gain: float = 1.0) -> None:
        """Draw a matrix whose product with a unit-variance vector has variance `gain` squared."""
        self.tensors[f"{name}.weight"] = self._normal(*shape, deviation=gain * shape[-1] ** -0.5).astype(np.float16)

    def small(self, name: str, *shape: int, deviation: float) -> None:
        """Draw a tensor that llama.cpp wants in f32."""
        self.tensors[name] = self._normal(*shape, deviation=deviation)

    def norm(self, name: str, size: int, value: float = 1.0) -> None:
        """Add the factors of an RMS norm."""
        self.tensors[f"{name}.weight"] = np.full(size, value, np.float32)

    def _normal(self, *shape: int, deviation: float) -> np.ndarray[Any, Any]:
        return self.random.standard_normal(shape, dtype=np.float32) * np.float32(deviation)


def write_model(
    path: Path,
    architecture: Architecture,
    *,
    seed: int = 0,
    layers: int = 8,
    embed: int = 256,
    heads: int = 4,
    kv_heads: int = 2,
    feed_forward: int = 512,
    window: int = 64,
    context: int = 4096,
    template: str = CHATML,
) -> Path:
    """Write a GGUF of about 10 MB to `path` and return it; the same arguments always give the same bytes.

    `context` is the length the model claims to be trained for, `template` a Jinja chat template or `NO_TEMPLATE`.
    Hybrids need `FULL_EVERY` layers to have attention at all, gemma3 `WINDOW_EVERY` for one that sees everything.
    """
    if architecture not in ARCHITECTURES:
        raise UsageError(f"There is no synthetic {architecture!r} model.", f"Choose from {', '.join(ARCHITECTURES)}.")
    shape = Shape(layers, embed, heads, kv_heads, feed_forward, window)
    tokens, merges = byte_vocabulary()
    partial = partial_path(path)
    with storage_errors(path):
        try:
            writer = gguf.GGUFWriter(partial, architecture)
            writer.add_name(f"Synthetic {architecture}")
            add_sizes(writer, architecture, shape, context)
            add_tokenizer(writer, tokens, merges, template)
            for name, tensor in draw(architecture, shape, len(tokens), seed).items():
                writer.add_tensor(name, tensor)
            writer.write_header_to_file()
            writer.write_kv_data_to_file()
            writer.write_tensors_to_file()
            writer.close()
            publish(partial, path)
        finally:
            partial.unlink(missing_ok=True)
    return path


def byte_alphabet() -> list[str]:
    """Return GPT-2's printable stand-in for each byte: itself where it prints in Latin-1, else one from U+0100 on."""
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    spare = iter(range(0x100, 0x200))
    return [chr(byte) if byte in printable else chr(next(spare)) for byte in range(0x100)]


def byte_vocabulary() -> tuple[list[str], list[str]]:
    """Return the tokens (id 0 to 255 is that byte, then merges, then control tokens) and the merges."""
    alphabet = byte_alphabet()

    def spell(text: str) -> str:
        return "".join(alphabet[byte] for byte in text.encode())

    pairs = [(spell(left), spell(right)) for left, right in MERGES]
    tokens = [*alphabet, *(left + right for left, right in pairs), ENDOFTEXT, IM_START, IM_END]
    return tokens, [f"{left} {right}" for left, right in pairs]


def add_tokenizer(writer: gguf.GGUFWriter, tokens: list[str], merges: list[str], template: str) -> None:
    """Describe a byte-level BPE tokenizer whose answers end with <|im_end|>."""
    control = {ENDOFTEXT, IM_START, IM_END}
    kinds = [gguf.TokenType.CONTROL if token in control else gguf.TokenType.NORMAL for token in tokens]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    writer.add_token_merges(merges)
    writer.add_vocab_size(len(tokens))
    writer.add_bos_token_id(tokens.index(ENDOFTEXT))
    writer.add_eos_token_id(tokens.index(IM_END))
    writer.add_eot_token_id(tokens.index(IM_END))
    writer.add_pad_token_id(tokens.index(ENDOFTEXT))
    writer.add_add_bos_token(False)
    if template:
        writer.add_chat_template(template)


def add_sizes(writer: gguf.GGUFWriter, architecture: Architecture, shape: Shape, context: int) -> None:
    """Write the hyperparameters that llama.cpp reads for the architecture."""
    writer.add_context_length(context)
    writer.add_embedding_length(shape.embed)
    writer.add_block_count(shape.layers)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.kv_heads)
    writer.add_key_length(HEAD_DIM)
    writer.add_value_length(HEAD_DIM)
    writer.add_feed_forward_length(shape.feed_forward)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_rope_freq_base(10000.0)
    if architecture == "gemma3":
        writer.add_sliding_window(shape.window)
        writer.add_sliding_window_pattern(WINDOW_EVERY)
    if architecture in ("qwen35", "qwen35moe"):
        writer.add_full_attention_interval(FULL_EVERY)
        writer.add_rope_dimension_count(HEAD_DIM // 2)
        writer.add_rope_dimension_sections([6, 5, 5, 0])  # M-RoPE: pairs for time, height, width
        writer.add_ssm_conv_kernel(CONVOLUTION)
        writer.add_ssm_state_size(STATE)
        writer.add_ssm_inner_size(STATE * VALUE_HEADS)
        writer.add_ssm_time_step_rank(VALUE_HEADS)
        writer.add_ssm_group_count(KEY_HEADS)
    if architecture == "qwen35moe":
        writer.add_expert_count(EXPERTS)
        writer.add_expert_used_count(EXPERTS_USED)
        writer.add_expert_feed_forward_length(EXPERT_WIDTH)
        writer.add_expert_shared_feed_forward_length(EXPERT_WIDTH)


def draw(architecture: Architecture, shape: Shape, n_vocab: int, seed: int) -> dict[str, np.ndarray[Any, Any]]:
    """Draw every tensor of the model; shapes are (out, in), which GGUF lists in reverse."""
    weights = Weights(np.random.default_rng(seed))
    # llama.cpp multiplies gemma's embeddings by the square root of their length.
    weights.matrix("token_embd", n_vocab, shape.embed, gain=1.0 if architecture == "gemma3" else shape.embed**0.5)
    for layer in range(shape.layers):
        LAYERS[architecture](weights, f"blk.{layer}.", shape, layer)
    weights.norm("output_norm", shape.embed)
    # Logits with a deviation of 3: the likeliest token stands out, as a trained model's does.
    weights.matrix("output", n_vocab, shape.embed, gain=3.0)
    return weights.tensors


def qwen3_layer(weights: Weights, block: str, shape: Shape, layer: int) -> None:
    """Add a layer of attention and a gated feed-forward."""
    weights.norm(f"{block}attn_norm", shape.embed)
    attention(weights, block, shape, query_rows=shape.heads * HEAD_DIM)
    weights.norm(f"{block}ffn_norm", shape.embed)
    feed_forward(weights, block, shape)


def gemma3_layer(weights: Weights, block: str, shape: Shape, layer: int) -> None:
    """Add a layer of attention and a gated feed-forward, each normed after as well as before."""
    qwen3_layer(weights, block, shape, layer)
    weights.norm(f"{block}post_attention_norm", shape.embed)
    weights.norm(f"{block}post_ffw_norm", shape.embed)


def qwen35_layer(weights: Weights, block: str, shape: Shape, layer: int) -> None:
    """Add a hybrid's layer with a gated feed-forward."""
    hybrid_mixer(weights, block, shape, layer)
    feed_forward(weights, block, shape)


def qwen35moe_layer(weights: Weights, block: str, shape: Shape, layer: int) -> None:
    """Add a hybrid's layer with routed experts and a shared one."""
    hybrid_mixer(weights, block, shape, layer)
    weights.small(f"{block}ffn_gate_inp.weight", EXPERTS, shape.embed, deviation=shape.embed**-0.5)
    weights.matrix(f"{block}ffn_gate_exps", EXPERTS, EXPERT_WIDTH, shape.embed)
    weights.matrix(f"{block}ffn_up_exps", EXPERTS, EXPERT_WIDTH, shape.embed)
    weights.matrix(f"{block}ffn_down_exps", EXPERTS, shape.embed, EXPERT_WIDTH)
    weights.small(f"{block}ffn_gate_inp_shexp.weight", shape.embed, deviation=shape.embed**-0.5)
    weights.matrix(f"{block}ffn_gate_shexp", EXPERT_WIDTH, shape.embed)
    weights.matrix(f"{block}ffn_up_shexp", EXPERT_WIDTH, shape.embed)
    weights.matrix(f"{block}ffn_down_shexp", shape.embed, EXPERT_WIDTH)


LAYERS: dict[Architecture, Callable[[Weights, str, Shape, int], None]] = {
    "qwen3": qwen3_layer,
    "qwen35": qwen35_layer,
    "qwen35moe": qwen35moe_layer,
    "gemma3": gemma3_layer,
}


def attention(weights: Weights, block: str, shape: Shape, *, query_rows: int) -> None:
    """Add full attention whose norms sharpen it, so that single positions matter and a wrong cache shows."""
    weights.matrix(f"{block}attn_q", query_rows, shape.embed)
    weights.matrix(f"{block}attn_k", shape.kv_heads * HEAD_DIM, shape.embed)
    weights.matrix(f"{block}attn_v", shape.kv_heads * HEAD_DIM, shape.embed)
    weights.matrix(f"{block}attn_output", shape.embed, shape.heads * HEAD_DIM)
    weights.norm(f"{block}attn_q_norm", HEAD_DIM, 1.5)
    weights.norm(f"{block}attn_k_norm", HEAD_DIM, 1.5)


def feed_forward(weights: Weights, block: str, shape: Shape) -> None:
    """Add a dense gated feed-forward."""
    weights.matrix(f"{block}ffn_gate", shape.feed_forward, shape.embed)
    weights.matrix(f"{block}ffn_up", shape.feed_forward, shape.embed)
    weights.matrix(f"{block}ffn_down", shape.embed, shape.feed_forward)


def hybrid_mixer(weights: Weights, block: str, shape: Shape, layer: int) -> None:
    """Add full attention in every 4th layer (its queries carry a gate, so they are twice as tall), else a delta net."""
    weights.norm(f"{block}attn_norm", shape.embed)
    weights.norm(f"{block}post_attention_norm", shape.embed)
    if (layer + 1) % FULL_EVERY == 0:
        attention(weights, block, shape, query_rows=2 * shape.heads * HEAD_DIM)
    else:
        delta_net(weights, block, shape)


def delta_net(weights: Weights, block: str, shape: Shape) -> None:
    """Add a gated delta net that forgets slowly enough to remember a few hundred tokens."""
    value_rows = STATE * VALUE_HEADS
    mixed_rows = 2 * STATE * KEY_HEADS + value_rows
    weights.matrix(f"{block}attn_qkv", mixed_rows, shape.embed)
    weights.matrix(f"{block}attn_gate", value_rows, shape.embed)
    weights.small(f"{block}ssm_conv1d.weight", mixed_rows, CONVOLUTION, deviation=0.5)
    weights.small(f"{block}ssm_dt.bias", VALUE_HEADS, deviation=0.1)
    weights.tensors[f"{block}ssm_a"] = np.linspace(-0.005, -0.05, VALUE_HEADS, dtype=np.float32)
    weights.matrix(f"{block}ssm_beta", VALUE_HEADS, shape.embed)
    weights.matrix(f"{block}ssm_alpha", VALUE_HEADS, shape.embed, gain=0.2)
    weights.norm(f"{block}ssm_norm", STATE)
    weights.matrix(f"{block}ssm_out", shape.embed, value_rows)

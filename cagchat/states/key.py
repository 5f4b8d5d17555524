"""The key of a saved state: everything that changes what its bytes mean.

llama.cpp checks almost none of this when it loads a state; a wrong one loads silently and answers nonsense.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

from cagchat.errors import StateMismatch

FORMAT_VERSION = 1  # of the folder, its files and its manifest


@dataclass(frozen=True, slots=True)
class StateKey:
    """Two states with the same key are interchangeable.

    `model_weights` and `model_metadata` are digests of the model file's tensors and of its hyperparameters and
    tokenizer; `token_ids` is one of the cached tokens. `rotated_kv` is llama.cpp's Hadamard rotation of quantised
    K and V. The llama.cpp build is not part of it: another build is proved anew by its probe.
    """

    format_version: int
    prompt_version: int
    model_weights: str
    model_metadata: str
    chat_template: str
    instructions: str
    token_ids: str
    n_tokens: int
    kv_type: str
    flash_attention: bool
    yarn_factor: float
    yarn_original_context: int
    rotated_kv: bool

    @property
    def wording(self) -> str:
        """What the token ids of a chat mean: the same with every model file that has this tokenizer and template."""
        return f"{self.prompt_version} {self.model_metadata} {self.chat_template}"


NAMES = {
    "format_version": "format version",
    "prompt_version": "prompt version",
    "model_weights": "model weights",
    "model_metadata": "model metadata",
    "chat_template": "chat template",
    "instructions": "instructions",
    "token_ids": "token ids",
    "n_tokens": "number of tokens",
    "kv_type": "KV type",
    "flash_attention": "flash attention",
    "yarn_factor": "YaRN factor",
    "yarn_original_context": "YaRN original context",
    "rotated_kv": "rotation of quantised K and V (LLAMA_ATTN_ROT_DISABLE)",
}

# What nobody switches to and fro: cagchat's own versions, and what the folder itself says of how it was read.
_NOT_SWITCHED = {"format_version", "prompt_version", "token_ids", "n_tokens", "flash_attention"}


def identity(key: StateKey) -> str:
    """Return what tells a book's states apart: all that a user may switch, so that each switch has a state of its own.

    A state stays where it is when something of this changes, and is found again when it changes back.
    """
    kept = (f.name for f in fields(StateKey) if f.name not in _NOT_SWITCHED)
    return "\n".join(f"{name} {getattr(key, name)}" for name in kept)


def differences(saved: StateKey, wanted: StateKey) -> tuple[str, ...]:
    """Return the names of the fields that differ, in their order."""
    return tuple(f.name for f in fields(StateKey) if getattr(saved, f.name) != getattr(wanted, f.name))


def mismatch(saved: StateKey, wanted: StateKey) -> StateMismatch | None:
    """Return the error that names the first field that differs, or None when the state fits."""
    found = differences(saved, wanted)
    if not found:
        return None
    field = found[0]
    before, now = getattr(saved, field), getattr(wanted, field)
    shown = "" if isinstance(before, str) and len(before) >= 16 else f" ({before}, now {now})"
    also = f" and {len(found) - 1} more" if len(found) > 1 else ""
    return StateMismatch(
        f"The saved state was made with another {NAMES[field]}{shown}{also}.",
        "The book has to be read again with the present settings, or opened with those it was read with.",
        field=field,
    )

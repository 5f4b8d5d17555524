"""How much context a book and a chat about it need, and what to do when the model has less."""

from __future__ import annotations

from cagchat.prompt import Prefix

LEAST_CHAT_TOKENS = 512  # with less room beside the book no conversation is possible
CONTEXT_STEP = 256  # llama.cpp pads contexts to this


def context_for(n_tokens: int, chat_tokens: int, trained: int) -> int:
    """Return the context to allocate for a prefix and a chat about it, in tokens.

    The chat's room shrinks to what the model was trained for (`trained`, 0 for unknown).
    """
    wanted = -(-(n_tokens + chat_tokens) // CONTEXT_STEP) * CONTEXT_STEP
    return min(wanted, trained) if trained else wanted


def excess(n_tokens: int, chat_tokens: int, trained: int) -> int:
    """Return by how many tokens a prefix and the least chat exceed the model's context; 0 or less when they fit."""
    return n_tokens + min(LEAST_CHAT_TOKENS, chat_tokens) - trained if trained else 0


def beginning(prefix: Prefix, chat_tokens: int, trained: int) -> Prefix:
    """Return as much of the prefix as fits beside a chat, all of it if it does.

    The chat gets its `chat_tokens`, but no more than half of the model's context.
    """
    if excess(len(prefix.tokens), chat_tokens, trained) <= 0:
        return prefix
    return prefix.cut(max(trained - min(chat_tokens, trained // 2), prefix.n_head + prefix.n_opening + 1))

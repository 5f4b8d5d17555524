"""The tokenizer of a synthetic model: borrowed from another GGUF or our own bytes, padded to the real number of tokens.

A vocabulary's size decides what embeddings, output and sampling cost, so it is kept even where there are no words.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import gguf

from cagchat.bench.synth import CHATML, ENDOFTEXT, IM_END, IM_START, byte_vocabulary
from cagchat.errors import ModelError, UsageError
from cagchat.models.gguf import (
    ARRAY,
    HEADER_LIMIT_BYTES,
    SCALARS,
    STRING,
    TEMPLATE_KEY,
    U32,
    U64,
    Reader,
    Scalar,
    mapped,
    read_any_header,
)

PREFIX = "tokenizer.ggml."
NORMAL, CONTROL, UNUSED = int(gguf.TokenType.NORMAL), int(gguf.TokenType.CONTROL), int(gguf.TokenType.UNUSED)
VALUE_TYPES = {
    bool: gguf.GGUFValueType.BOOL,
    int: gguf.GGUFValueType.UINT32,
    float: gguf.GGUFValueType.FLOAT32,
    str: gguf.GGUFValueType.STRING,
}


@dataclass(frozen=True, slots=True)
class Words:
    """A byte-level BPE tokenizer as a GGUF stores it; `others` are its single keys without their prefix."""

    tokens: tuple[bytes, ...]
    kinds: tuple[int, ...]
    merges: tuple[bytes, ...]
    others: Mapping[str, Scalar | str] = field(default_factory=dict)
    template: str = CHATML


def own_words() -> Words:
    """Return the vocabulary of bytes that the tiny models have."""
    tokens, merges = byte_vocabulary()
    control = {ENDOFTEXT, IM_START, IM_END}
    end, turn = tokens.index(ENDOFTEXT), tokens.index(IM_END)
    return Words(
        tokens=tuple(token.encode() for token in tokens),
        kinds=tuple(CONTROL if token in control else NORMAL for token in tokens),
        merges=tuple(merge.encode() for merge in merges),
        others={
            "model": "gpt2",
            "pre": "gpt-2",
            "bos_token_id": end,
            "eos_token_id": turn,
            "eot_token_id": turn,
            "padding_token_id": end,
            "add_bos_token": False,
        },
    )


def words_of(path: Path) -> Words:
    """Return the tokenizer of a GGUF, with or without weights. Raises `ModelError` when it has none of our kind."""
    header = read_any_header(path)
    if header.text(f"{PREFIX}model") != "gpt2":
        raise ModelError(f"{path} has no byte-level BPE tokenizer.", "Name a GGUF of the same family as the model.")
    lists = dict(read_lists(path))
    return Words(
        tokens=lists["tokens"],
        kinds=tuple(int.from_bytes(kind, "little") for kind in lists["token_type"]),
        merges=lists["merges"],
        others={
            key.removeprefix(PREFIX): value
            for key, value in header.metadata.items()
            if key.startswith(PREFIX) and isinstance(value, int | float | str)
        },
        template=header.text(TEMPLATE_KEY) or CHATML,
    )


def read_lists(path: Path) -> Iterator[tuple[str, tuple[bytes, ...]]]:
    """Yield the tokenizer's arrays, which the reader of headers only counts: each item as its bytes."""
    with mapped(path) as data:
        reader = Reader(data, path)
        reader.version()
        reader.number(U64)
        for _ in range(reader.number(U64)):
            key = reader.name("key", HEADER_LIMIT_BYTES)
            at = reader.position
            if reader.number(U32) == ARRAY and key.startswith(PREFIX):
                kind, count = reader.number(U32), reader.number(U64)
                yield key.removeprefix(PREFIX), tuple(item(reader, kind) for _ in range(count))
            reader.position = at
            reader.value(key)


def item(reader: Reader, kind: int) -> bytes:
    """Read the bytes of one string or number."""
    if kind == STRING:
        return reader.bytes_of_string()
    start = reader.skip(SCALARS[kind][1].size)
    return reader.data[start : reader.position]


def padded(words: Words, n_vocab: int) -> Words:
    """Return the vocabulary with unused tokens up to `n_vocab`, as converters pad one to the embeddings' rows."""
    if n_vocab < len(words.tokens):
        raise UsageError(
            f"A vocabulary of {len(words.tokens):,} tokens does not fit a model of {n_vocab:,}.",
            "Name the vocabulary of the model's own family.",
        )
    missing = range(len(words.tokens), n_vocab)
    return replace(
        words,
        tokens=words.tokens + tuple(f"[PAD{number}]".encode() for number in missing),
        kinds=words.kinds + (UNUSED,) * len(missing),
    )


def add_words(writer: gguf.GGUFWriter, words: Words) -> None:
    """Describe the tokenizer in a GGUF's metadata."""
    writer.add_token_list(words.tokens)
    writer.add_token_types(words.kinds)
    writer.add_token_merges(words.merges)
    for name, value in words.others.items():
        writer.add_key_value(f"{PREFIX}{name}", value, VALUE_TYPES[type(value)])
    writer.add_chat_template(words.template)

"""Where a character of the book falls among the tokens that are cached: exactly, and never beyond it.

The cached prefix is [head | book | opening], and every section of the book ends between two tokens.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable

from cagchat.documents.document import Document
from cagchat.engine.protocol import Tokens

TextOf = Callable[[Tokens], bytes]


def token_at(
    offset: int, document: Document, tokens: array[int], n_head: int, section_tokens: tuple[int, ...], text_of: TextOf
) -> int:
    """Return how many tokens of the prefix hold nothing of the book beyond the character `offset`: the most that do.

    `section_tokens` are the token indices at which the sections end. A token that spans the limit is left out, and so
    is a part of a character.
    """
    start = n_head
    for section, end in zip(document.sections, section_tokens, strict=True):
        if offset < section.end:
            wanted = document.text[section.start : max(offset, section.start)].encode("utf-8", "replace")
            return start + whole_tokens(tokens[start:end], wanted, text_of)
        start = end
    return start


def whole_tokens(tokens: array[int], wanted: bytes, text_of: TextOf) -> int:
    """Return how many tokens, the most there are, spell nothing but a beginning of `wanted` that ends with a character.

    Found by halving, so that a section is turned into text about twice, in few calls. Where a tokenizer changed the
    text, the tokens before the change are what is returned: fewer than could be, never more.
    """
    if not wanted or not tokens:
        return 0
    if text_of(tokens[:1])[:1] == b" " != wanted[:1]:  # some tokenizers put a blank before every text
        wanted = b" " + wanted
    count, at = _agreeing(tokens, wanted, text_of)
    while count and at < len(wanted) and wanted[at] & 0xC0 == 0x80:
        count -= 1
        at -= len(text_of(tokens[count : count + 1]))
    return count


def _agreeing(tokens: array[int], wanted: bytes, text_of: TextOf) -> tuple[int, int]:
    """Return how many tokens spell a beginning of `wanted`, and its length in bytes."""
    low, high, at = 0, len(tokens), 0
    while low < high:
        middle = (low + high + 1) // 2
        piece = text_of(tokens[low:middle])
        if wanted.startswith(piece, at):
            low, at = middle, at + len(piece)
        else:
            high = middle - 1
    return low, at

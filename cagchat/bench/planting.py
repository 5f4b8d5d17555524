"""Plant sentences in a book that was cut to a length in tokens, each at the paragraph border nearest to its depth."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate

from cagchat.bench.facts import Fact

FIRST, LAST = 0.05, 0.95  # the shallowest and the deepest planting

Tokenize = Callable[[Sequence[str]], Sequence[Sequence[int]]]
_BORDER = re.compile(r"\n[ \t]*\n\s*")


@dataclass(frozen=True, slots=True)
class Planting:
    """A fact in a text: the share of the text that was wanted before it, and the share of tokens that is there."""

    fact: Fact
    wanted: float
    depth: float


@dataclass(frozen=True, slots=True)
class Planted:
    """A text with facts in it, in the order of the text."""

    text: str
    n_tokens: int
    plantings: tuple[Planting, ...]


def depths(count: int) -> tuple[float, ...]:
    """Return so many shares from 5 % to 95 %, evenly spread; one alone is the middle."""
    if count == 1:
        return ((FIRST + LAST) / 2,)
    return tuple(round(FIRST + (LAST - FIRST) * step / (count - 1), 4) for step in range(count))


def paragraphs(text: str) -> list[str]:
    """Return the paragraphs of a text: what empty lines part."""
    return [part.strip("\n") for part in _BORDER.split(text) if part.strip()]


def cut(text: str, n_tokens: int, tokenize: Tokenize, text_of: Callable[[Sequence[int]], bytes]) -> str:
    """Return the first `n_tokens` tokens of a text, all of it when it has no more."""
    (tokens,) = tokenize([text])
    return text_of(tokens[:n_tokens]).decode(errors="ignore")  # the cut may go through a character


def plant(text: str, wanted: Sequence[tuple[Fact, float]], tokenize: Tokenize) -> Planted:
    """Put each fact, a paragraph of its own, at the border that is nearest to its share of the text's tokens.

    A border that several facts are nearest to takes them in the order of their shares.
    """
    parts = paragraphs(text)
    borders = [0, *accumulate(len(tokens) for tokens in tokenize(parts))]
    total = max(1, borders[-1])
    chosen: dict[int, list[tuple[Fact, float]]] = {}
    for fact, share in sorted(wanted, key=lambda pair: pair[1]):
        border = min(range(len(borders)), key=lambda number: abs(borders[number] / total - share))
        chosen.setdefault(border, []).append((fact, share))
    content: list[str] = []
    places: list[tuple[Fact, float, int]] = []
    for number in range(len(borders)):
        for fact, share in chosen.get(number, []):
            places.append((fact, share, len(content)))
            content.append(fact.sentence)
        content += parts[number : number + 1]
    starts = [0, *accumulate(len(tokens) for tokens in tokenize(content))]
    whole = max(1, starts[-1])
    found = tuple(Planting(fact, share, starts[index] / whole) for fact, share, index in places)
    return Planted("\n\n".join(content) + "\n", starts[-1], found)

"""A plan for a book on any machine, this one or one that somebody thinks of buying."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from cagchat.engine.protocol import VocabularyReader
from cagchat.models.catalogue import GIB
from cagchat.models.gguf import Header, read_any_header
from cagchat.plan.card import Card
from cagchat.plan.choose import Machine, Option, Wish, first_fit
from cagchat.plan.estimate import LARGEST_ERROR, estimated_tokens
from cagchat.plan.planner import sold_as

CARD_SIZES_GIB = (4, 6, 8, 12, 16, 24, 32, 48, 80, 96)  # as cards are sold
FAMILIES = {"qwen35": "qwen35", "qwen35moe": "qwen35"}  # architecture: the pre-tokenizer its models share

Count = Callable[[VocabularyReader, str], int]


@dataclass(frozen=True, slots=True)
class Tally:
    """A book's tokens with its frame; `source` says who counted them, "" for an estimate."""

    n_tokens: int
    source: str

    @property
    def exact(self) -> bool:
        """Whether a tokenizer counted them."""
        return bool(self.source)

    @property
    def words(self) -> str:
        """How they were counted."""
        return f"by {self.source}" if self.exact else f"estimated, within {LARGEST_ERROR:.1%} on English novels"


class Counter:
    """Counts a book's tokens for any model: by its own tokenizer, by one of the same vocabulary, or by estimate.

    A book is tokenised once for each vocabulary and chat template.
    """

    def __init__(
        self,
        text: str,
        open_tokenizer: Callable[[Path], VocabularyReader],
        count: Count,
        tokenizer: Path | None = None,
        here: Sequence[Card] = (),
    ) -> None:
        """Take the book's text; `count` frames and counts it with a tokenizer and a chat template.

        `tokenizer` is a GGUF whose vocabulary is used for every model of its family that is not here; `here` are the
        models on disk, whose vocabularies serve others of theirs. Raises `ModelError` when `tokenizer` is not readable.
        """
        self._text = text
        self._open = open_tokenizer
        self._count = count
        self._header = read_any_header(tokenizer) if tokenizer else None
        self._here = {family(card): card for card in reversed(here) if card.path}
        self._known: dict[object, Tally] = {}

    def tally(self, card: Card) -> Tally:
        """Return the tokens of the book for a model."""
        kind = family(card)
        if card.path is None and self._header is not None and serves(self._header, card):
            return self._counted("given", self._header.path, card.chat_template)
        reader = card if card.path is not None else self._here.get(kind, card)
        if reader.path is not None:
            return self._counted(kind, reader.path, reader.chat_template)
        if None not in self._known:
            self._known[None] = Tally(estimated_tokens(self._text), "")
        return self._known[None]

    def _counted(self, vocabulary: str, path: Path, template: str) -> Tally:
        key = vocabulary, template
        if key not in self._known:
            with closing(self._open(path)) as tokenizer:
                self._known[key] = Tally(self._count(tokenizer, template), path.name)
        return self._known[key]


def family(card: Card) -> str:
    """Return what models share their vocabulary under: a family that is known to, else the weights' own name."""
    return FAMILIES.get(card.shape.architecture, card.model)


def serves(header: Header, card: Card) -> bool:
    """Tell whether the vocabulary in a GGUF, which may hold nothing else, is that of a model.

    A family's is known by its pre-tokenizer; a file of it may list fewer tokens than the model, whose last are unused.
    """
    wanted = FAMILIES.get(card.shape.architecture)
    if wanted is None:
        return (header.architecture, header.vocabulary_size) == (card.shape.architecture, card.shape.n_vocab)
    return header.text("tokenizer.ggml.pre") == wanted or FAMILIES.get(header.architecture) == wanted


def imagined(vram_gib: float, ram_gib: float) -> Machine:
    """Return a machine with a card sold with `vram_gib` (0 for none) and `ram_gib` of RAM (0 for not known)."""
    host = int(ram_gib * GIB)
    if not vram_gib:
        return Machine(0, host, size_bytes=host)
    return Machine(sold_as(vram_gib), host, backend="cuda", size_bytes=int(vram_gib * GIB))


def smallest_card(
    cards_for: Callable[[Machine], Sequence[Card]], count: Callable[[Card], int], wish: Wish, machine: Machine
) -> tuple[float, Option] | None:
    """Return the smallest card sold, in GiB, that holds the book whole, and how; None when none does."""
    for size in CARD_SIZES_GIB:
        if machine.device_bytes and size * GIB <= machine.size_bytes:
            continue
        larger = imagined(size, 0)
        if option := first_fit(cards_for(larger), count, wish, larger):
            return float(size), option
    return None

"""A plan for a book on any machine, this one or one that somebody thinks of buying."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from cagchat.engine.protocol import VocabularyReader
from cagchat.models.catalogue import GIB
from cagchat.models.gguf import read_any_header
from cagchat.plan.card import Card
from cagchat.plan.choose import Machine, Option, Wish, choose
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
    """Counts a book's tokens for any model: by its own tokenizer, by one of the same vocabulary, or by estimate."""

    def __init__(
        self,
        text: str,
        open_tokenizer: Callable[[Path], VocabularyReader],
        count: Count,
        tokenizer: Path | None = None,
        here: Sequence[Card] = (),
    ) -> None:
        """Take the book's text; `count` frames and counts it with a tokenizer and a chat template.

        `tokenizer` is a GGUF whose vocabulary is used for every model of its family; `here` are the models on disk,
        whose vocabularies serve others of theirs.
        """
        self._text = text
        self._open = open_tokenizer
        self._count = count
        self._given = tokenizer
        self._here = {family(card.shape.architecture): card for card in reversed(here) if card.path}
        self._known: dict[object, Tally] = {}

    def tally(self, card: Card) -> Tally:
        """Return the tokens of the book for a model."""
        if card.path is not None:
            return self._counted(card.path, card.chat_template)
        kind = family(card.shape.architecture)
        if self._given is not None and kind in (vocabulary_family(self._given), ""):
            return self._counted(self._given, card.chat_template)
        if other := self._here.get(kind):
            assert other.path is not None
            return self._counted(other.path, other.chat_template)
        if None not in self._known:
            self._known[None] = Tally(estimated_tokens(self._text), "")
        return self._known[None]

    def _counted(self, path: Path, template: str) -> Tally:
        if path not in self._known:
            with closing(self._open(path)) as tokenizer:
                self._known[path] = Tally(self._count(tokenizer, template), path.name)
        return self._known[path]


def family(architecture: str) -> str:
    """Return what models of an architecture share their vocabulary under."""
    return FAMILIES.get(architecture, architecture)


def vocabulary_family(path: Path) -> str:
    """Return the family whose vocabulary a GGUF holds, which may hold nothing else. Raises `ModelError`."""
    header = read_any_header(path)
    named = header.text("tokenizer.ggml.pre")
    return named if named in FAMILIES.values() else family(header.architecture)


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
        if size * GIB <= machine.size_bytes and machine.device_bytes:
            continue
        larger = imagined(size, 0)
        if option := choose(cards_for(larger), count, wish, larger).chosen:
            return float(size), option
    return None

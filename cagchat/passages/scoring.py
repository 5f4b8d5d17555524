"""Score the paragraphs of a book for a query: BM25 with our own weights, over what stands in and beside each."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import log

from cagchat.passages.index import Instance, PassageIndex
from cagchat.passages.query import Query

K1, B = 1.2, 0.4  # BM25's saturation and length; paragraphs are of about one length, so that it matters little
IN_TITLE = 0.5  # an occurrence in the section's title, for every paragraph of the section
BESIDE = 0.2  # an occurrence in the paragraph before or after, of the same section
COVERAGE = 0.5  # the score of a paragraph that has next to nothing of what is asked, as a share of one that has all

Visible = Callable[[Instance], bool]


@dataclass(frozen=True, slots=True)
class Score:
    """How well a paragraph fits: `value` orders them; `share` is the part of the query's information it has, 0 to 1."""

    paragraph: int
    value: float
    share: float


def scores(index: PassageIndex, query: Query, visible: Visible) -> list[Score]:
    """Return the paragraphs that hold anything of the query, the best first; only `visible` words count."""
    scorer = _Scorer(index, visible)
    for term in query.terms:
        counts: dict[int, float] = defaultdict(float)
        for word, fit in term.variants:
            for number, in_title, _ in scorer.places(word):
                counts[number] += fit * (IN_TITLE if in_title else 1.0)
        scorer.add(counts, term.weight, is_asked=True)
    for words, weight in query.phrases:
        scorer.add(scorer.phrase(words), weight, is_asked=False)
    return scorer.ranked()


class _Scorer:
    def __init__(self, index: PassageIndex, visible: Visible) -> None:
        self._index = index
        self._visible = visible
        self._places: dict[str, list[Instance]] = {}
        self._values: dict[int, float] = defaultdict(float)
        self._shares: dict[int, float] = defaultdict(float)
        self._asked = 0.0
        lengths = [len(paragraph) for paragraph in index.paragraphs]
        self._usual = max(1.0, sum(lengths) / max(1, len(lengths)))

    def places(self, word: str) -> list[Instance]:
        if word not in self._places:
            self._places[word] = [place for place in self._index.instances(word) if self._visible(place)]
        return self._places[word]

    def phrase(self, words: Sequence[str]) -> dict[int, float]:
        """Return how often each paragraph has the words one after another."""
        starts = {(number, in_title, offset) for number, in_title, offset in self.places(words[0])}
        for distance, word in enumerate(words[1:], 1):
            if not starts:
                break
            starts &= {(number, in_title, offset - distance) for number, in_title, offset in self.places(word)}
        counts: dict[int, float] = defaultdict(float)
        for number, in_title, _ in starts:
            counts[number] += IN_TITLE if in_title else 1.0
        return counts

    def add(self, counts: dict[int, float], weight: float, *, is_asked: bool) -> None:
        """Count something that was asked for; `is_asked` says that lacking it is lacking information."""
        n_all, n_with = len(self._index.paragraphs), len(counts)
        information = weight * log(1 + (n_all - n_with + 0.5) / (n_with + 0.5))
        if is_asked:
            self._asked += information
        for number, count in self._spread(counts).items():
            length = max(1.0, len(self._index.paragraphs[number]) / self._usual)
            self._values[number] += information * count * (K1 + 1) / (count + K1 * (1 - B + B * length))
            if is_asked:
                self._shares[number] += information * min(1.0, count)

    def _spread(self, counts: dict[int, float]) -> dict[int, float]:
        """Let what stands in a paragraph count a little for those before and after it."""
        spread = defaultdict(float, counts)
        for number, count in counts.items():
            for beside in self._beside(number):
                spread[beside] += BESIDE * count
        return spread

    def _beside(self, number: int) -> Iterable[int]:
        paragraphs = self._index.paragraphs
        section = paragraphs[number].section
        for beside in (number - 1, number + 1):
            if 0 <= beside < len(paragraphs) and paragraphs[beside].section == section:
                yield beside

    def ranked(self) -> list[Score]:
        asked = self._asked or 1.0
        found = []
        for number, value in self._values.items():
            share = self._shares[number] / asked
            found.append(Score(number, value * (COVERAGE + (1 - COVERAGE) * share), share))
        return sorted(found, key=lambda score: (-score.value, score.paragraph))

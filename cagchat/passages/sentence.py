"""Choose the one sentence of a book that a question and the draft of its answer point to together.

A question alone points to sentences that are about the same things: most of those hold its words and not the answer.
What a model would answer tells them apart, and its mistakes do little harm, because what it makes up the book does not
have. A sentence must hold a fifth of the question's information (see `choose`), and together with what it holds of the
draft's more than a third of that sum. With SmolLM2-135M's answers to 20 questions about the demonstration's story, 14
of 19 sentences held what was asked for; without these bounds, 11 of 20.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from math import log

from cagchat.passages.choose import Passage, visible_before
from cagchat.passages.index import PassageIndex
from cagchat.passages.paragraphs import sentence_ends
from cagchat.passages.query import NEAR, Query, Term, query
from cagchat.passages.scoring import Visible, scores

LEAST_SHARE, LEAST_TOGETHER = 0.2, 0.35
PARAGRAPHS = 24  # whose sentences are looked at
SHORTEST, LONGEST = 40, 320  # characters: "She said so." says nothing alone, and nobody reads a page as a quote
LENGTH = 0.01  # how much each word costs: of two sentences that hold the same, the shorter is the better quote

_BLANK_LINES = re.compile(r"\n[^\S\n]*\n\s*")
_ENDED = re.compile(r"[.!?…。！？][\"'”’»)\]_」』）]*\Z")
_PAUSE = re.compile(r"[,;:—]+[\"'”’»)\]_]*\s+|\s+")


def supporting(
    index: PassageIndex, question: str, draft: str, earlier: Sequence[str] = (), *, until: int | None = None
) -> Passage | None:
    """Return the sentence that fits question and draft best; None when none fits well enough.

    Short sentences are taken with the next one of their paragraph, a long one in parts. No character at or beyond the
    offset `until` is in it, nor does one count. `earlier` is what was said before, the newest last.
    """
    document = index.document
    until = len(document.text) if until is None else until
    visible = visible_before(index, until)
    asked = query(index, question, earlier)
    known = {term.text for term in asked.terms}
    said = tuple(term for term in query(index, draft).terms if term.text not in known)
    ranked = scores(index, Query((*asked.terms, *said), asked.phrases), visible)[:PARAGRAPHS]
    paragraphs = [index.paragraphs[score.paragraph] for score in ranked]
    spans = [span for p in paragraphs if p.start < until for span in _sentences(document.text, p.start, p.end)]
    spans = [(start, end) for start, end in spans if end <= until]
    asked_worth = [(term, _worth(index, term, visible)) for term in map(_spelt, asked.terms)]
    said_worth = [(term, _worth(index, term, visible)) for term in map(_spelt, said)]
    whole = sum(worth for _, worth in asked_worth)
    if not whole:
        return None
    best: tuple[float, int, int] | None = None
    for (start, end), stems in zip(spans, index.stems([document.text[start:end] for start, end in spans]), strict=True):
        words = frozenset(stems)
        share, together = _held(asked_worth, words), _held(asked_worth + said_worth, words)
        value = together / (1 + LENGTH * len(stems))
        if share < LEAST_SHARE * whole or together < LEAST_TOGETHER * whole or (best and value <= best[0]):
            continue
        best = value, start, end
    if best is None:
        return None
    value, start, end = best
    return Passage(start, end, document.text[start:end], document.place(start), value)


def _spelt(term: Term) -> Term:
    """Return a term without what it may be misspelt for: a quote about Magnolia is no answer about Mongolia."""
    return replace(term, variants=tuple(variant for variant in term.variants if variant[1] != NEAR))


def _worth(index: PassageIndex, term: Term, visible: Visible) -> float:
    """Return the information of a term. A name weighs no more than a word: beside the answer stands often "he"."""
    n_with = len({place[0] for word, _ in term.variants for place in index.instances(word) if visible(place)})
    n_all = len(index.paragraphs)
    return min(1.0, term.weight) * log(1 + (n_all - n_with + 0.5) / (n_with + 0.5))


def _held(terms: Sequence[tuple[Term, float]], words: frozenset[str]) -> float:
    return sum(worth * max((fit for word, fit in term.variants if word in words), default=0.0) for term, worth in terms)


def _sentences(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Yield the sentences in a range; what ends like none (a title, a line of a table) is left out."""
    at = start
    while at < end:
        blank = _BLANK_LINES.search(text, at, end)
        for first, last in _joined(text, at, blank.start() if blank else end):
            if _ENDED.search(text, first, last):
                yield from _parts(text, first, last)
        at = blank.end() if blank else end


def _joined(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Yield sentences of one block without blanks around them, a short one together with the next."""
    at = start
    for border in (*sentence_ends(text, start, end), end):
        last = at + len(text[at:border].rstrip())
        if last - at >= SHORTEST or border == end:
            yield at, last
            at = border


def _parts(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Yield a sentence, or when it is long the parts of it that end at a comma, at a blank where there is none."""
    while end - start > LONGEST:
        breaks = list(_PAUSE.finditer(text, start + SHORTEST, start + LONGEST))
        commas = [match for match in breaks if not match[0].isspace()]
        if not breaks:
            return  # no blank for so long is no prose
        cut = (commas or breaks)[-1]
        yield start, cut.start() + len(cut[0].rstrip())
        start = cut.end()
    yield start, end

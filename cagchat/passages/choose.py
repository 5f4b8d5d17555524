"""Choose the passages of a book that are shown to the model again with a question, within a budget of tokens.

The rule for what matches well enough: one paragraph must hold at least two fifths of the question's information (the
words' rarity in the book times their weight, where a word that the book does not have counts as the rarest), counting
what stands beside it at a fifth; otherwise nothing is shown. The others must hold a fifth of it (a question may ask
two things), and score at least a third of the best.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from cagchat.documents.document import Document
from cagchat.passages.index import Instance, PassageIndex
from cagchat.passages.paragraphs import Paragraph, sentence_ends
from cagchat.passages.query import query
from cagchat.passages.scoring import Score, Visible, scores

LEAST_SHARE, LEAST_OTHER_SHARE = 0.4, 0.2
LEAST_OF_BEST = 0.33
MAX_PASSAGES = 32

Count = Callable[[str], int]


@dataclass(frozen=True, slots=True)
class Passage:
    """`text`, which is `document.text[start:end]`, and its place as a reader would name it."""

    start: int
    end: int
    text: str
    place: str
    score: float


def passages(
    index: PassageIndex,
    question: str,
    earlier: Sequence[str] = (),
    *,
    budget_tokens: int,
    count: Count,
    until: int | None = None,
    render: Callable[[Sequence[Passage]], str] | None = None,
) -> tuple[Passage, ...]:
    """Return the passages that fit the question best, in the order of the book; none when none fits well enough.

    `count` of what `render` makes of them (their texts, a line each, by default) is never above `budget_tokens`: those
    that fit worst are left out. No character at or beyond the offset `until` is shown, nor does one count. `earlier`
    is what was said before, the newest last.
    """
    worded = render or _texts
    until = len(index.document.text) if until is None else until
    document = index.document
    good = _good(index, scores(index, query(index, question, earlier), visible_before(index, until)), until)
    chosen: list[Score] = []
    left = budget_tokens
    for score in good[:MAX_PASSAGES]:
        paragraph = index.paragraphs[score.paragraph]
        left -= count(document.text[paragraph.start : min(paragraph.end, until)])
        if left < 0 and chosen:
            break
        chosen.append(score)
    # Tokens of a whole are not the sum of its parts', and places take some too: the last word is the whole's.
    while chosen:
        found = _merged(index, chosen, until)
        if count(worded(found)) <= budget_tokens:
            return found
        if len(chosen) == 1:
            return _shortened(document, found[0], lambda passage: count(worded((passage,))) <= budget_tokens)
        chosen.pop()
    return ()


def _good(index: PassageIndex, ranked: Sequence[Score], until: int) -> list[Score]:
    """Return the scores of those that match well enough and begin before the limit."""
    # The paragraph after the last visible one may have a score from what it borders on.
    found = [score for score in ranked if index.paragraphs[score.paragraph].start < until]
    if not any(score.share >= LEAST_SHARE for score in found):
        return []
    least = LEAST_OF_BEST * found[0].value
    return [score for score in found if score.share >= LEAST_OTHER_SHARE and score.value >= least]


def _texts(found: Sequence[Passage]) -> str:
    return "\n".join(passage.text for passage in found)


def visible_before(index: PassageIndex, until: int) -> Visible:
    """Return which words may count: those before the limit. In the paragraph that it cuts, they are numbered."""
    reached = sum(paragraph.end <= until for paragraph in index.paragraphs)
    cut = index.paragraphs[reached : reached + 1]
    n_words = 0
    if cut and cut[0].start < until:
        text = index.document.text
        is_word_cut = text[until - 1].isalnum() and text[until].isalnum()
        n_words = len(index.stems([text[cut[0].start : until]])[0]) - is_word_cut

    def visible_word(instance: Instance) -> bool:
        number, in_title, offset = instance
        return number < reached or (number == reached and not in_title and offset < n_words)

    return visible_word


def _merged(index: PassageIndex, chosen: Iterable[Score], until: int) -> tuple[Passage, ...]:
    """Return passages in the order of the book; paragraphs that follow each other in a section are one."""
    spans: list[tuple[Paragraph, float]] = []
    last = -2
    for score in sorted(chosen, key=lambda score: score.paragraph):
        paragraph = index.paragraphs[score.paragraph]
        if score.paragraph == last + 1 and spans[-1][0].section == paragraph.section:
            before, value = spans.pop()
            spans.append((Paragraph(before.start, paragraph.end, before.section), max(value, score.value)))
        else:
            spans.append((paragraph, score.value))
        last = score.paragraph
    return tuple(_passage(index.document, span.start, min(span.end, until), value) for span, value in spans)


def _shortened(document: Document, passage: Passage, fits: Callable[[Passage], bool]) -> tuple[Passage, ...]:
    """Return the passage without its last sentences, as many as must go; nothing when not one sentence fits."""
    for end in reversed(sentence_ends(document.text, passage.start, passage.end)):
        shorter = _passage(document, passage.start, end, passage.score)
        if fits(shorter):
            return (shorter,)
    return ()


def _passage(document: Document, start: int, end: int, score: float) -> Passage:
    text = document.text[start:end].rstrip()
    return Passage(start, start + len(text), text, document.place(start), score)

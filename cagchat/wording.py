"""Word a question for the model: passages of the book that may hold its answer, the request to quote, or a quote.

What a model read long ago it finds less surely than what it read last. So the passages that a search finds are put
after the question, in the book's order, and the question again after them: 1 to 2 thousand tokens that are evaluated
anew, instead of trust in the middle of a long context.

A model that is too small to quote when it is asked to is guided: its answer is begun for it with a sentence of the
book, which is the book's own by construction, and the model goes on from there.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from cagchat.passages.choose import Passage
    from cagchat.passages.index import PassageIndex

Choice = Literal["auto", "always", "off"]
Quoting = Literal["auto", "always", "guided", "off"]

# Measured by `cagchat bench recall` with SmolLM2-135M, 20 planted facts: in 1,024 tokens 18 were found without passages
# and 16 with them, in 3,072 tokens 12 without and 18 with.
EVIDENCE_FROM_TOKENS = 2_000
# Asked to quote, SmolLM2-135M (98 MB) makes quotes up: of the demo's four answers one stayed right. Guided, all four
# did, and of 10 facts planted in 3,072 tokens it gave all, each with its sentence, where it gave 4 unguided.
QUOTES_FROM_BYTES = 500_000_000
QUOTE_REQUEST = "Quote the words of the book that say it, in quotation marks; then answer."
LEAST_EVIDENCE_TOKENS = 64
DRAFT_TOKENS = 24  # of the answer that says which sentence is looked for: one sentence
_MARKS = re.compile('["“”„‟«»]')


@dataclass(frozen=True, slots=True)
class Extras:
    """What is put beside a question: passages of the book up to `evidence_tokens`, and the request to quote.

    Or what its answer begins with, when quoting is guided.
    """

    evidence: Choice = "off"
    evidence_tokens: int = 1000
    quoting: Quoting = "off"

    def wants_evidence(self, n_book: int, model_bytes: int) -> bool:
        """Tell whether passages are looked for in a book of so many tokens. Where a quote is, auto wants no more."""
        wanted = self.evidence == "auto" and n_book >= EVIDENCE_FROM_TOKENS and not self.guides(model_bytes)
        return self.evidence == "always" or wanted

    def wants_quotes(self, model_bytes: int) -> bool:
        """Tell whether a model of this size is asked to quote."""
        return self.quoting == "always" or (self.quoting == "auto" and model_bytes >= QUOTES_FROM_BYTES)

    def guides(self, model_bytes: int) -> bool:
        """Tell whether the answer of a model of this size is begun with a quote; 0 bytes are no model."""
        return self.quoting == "guided" or (self.quoting == "auto" and 0 < model_bytes < QUOTES_FROM_BYTES)


def beginning(sentence: str) -> str:
    """Return how a guided answer begins: with the words of a sentence on one line, marks in it turned to single ones.

    Inside double marks, double ones would end the quotation early.
    """
    words = _MARKS.sub("'", " ".join(sentence.split()))
    return f"The book says: “{words}” So the answer is"


@dataclass(frozen=True, slots=True)
class Asked:
    """What the model is asked, and the passages in it, which take `n_tokens` with their places."""

    text: str
    passages: tuple[Passage, ...] = ()
    n_tokens: int = 0


def with_passages(
    question: str,
    index: PassageIndex,
    earlier: Sequence[str],
    *,
    budget_tokens: int,
    count: Callable[[str], int],
    until: int | None = None,
) -> Asked:
    """Return the question with the passages that fit it best, as it is when none fits well enough or has room."""
    from cagchat.passages.choose import passages
    from cagchat.passages.render import appended, quoted

    if budget_tokens < LEAST_EVIDENCE_TOKENS:
        return Asked(question)
    found = passages(index, question, earlier, budget_tokens=budget_tokens, count=count, until=until, render=quoted)
    if not found:
        return Asked(question)
    return Asked(appended(question, found), found, count(quoted(found)))

"""Word a question for the model: passages of the book that may hold its answer, and the request to quote.

What a model read long ago it finds less surely than what it read last. So the passages that a search finds are put
after the question, in the book's order, and the question again after them: 1 to 2 thousand tokens that are evaluated
anew, instead of trust in the middle of a long context.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from cagchat.passages.choose import Passage
    from cagchat.passages.index import PassageIndex

Choice = Literal["auto", "always", "off"]

# Measured by `cagchat bench recall` with SmolLM2-135M, 20 planted facts: in 1,024 tokens 18 were found without passages
# and 16 with them, in 3,072 tokens 12 without and 18 with.
EVIDENCE_FROM_TOKENS = 2_000
# Asked to quote, SmolLM2-135M (98 MB) makes quotes up: of the demo's four answers one stayed right.
QUOTES_FROM_BYTES = 500_000_000
QUOTE_REQUEST = "Quote the words of the book that say it, in quotation marks; then answer."
LEAST_EVIDENCE_TOKENS = 64


@dataclass(frozen=True, slots=True)
class Extras:
    """What is put beside a question: passages of the book up to `evidence_tokens`, and the request to quote."""

    evidence: Choice = "off"
    evidence_tokens: int = 1000
    quoting: Choice = "off"

    def wants_evidence(self, n_book: int) -> bool:
        """Tell whether passages are looked for in a book of so many tokens."""
        return self.evidence == "always" or (self.evidence == "auto" and n_book >= EVIDENCE_FROM_TOKENS)

    def wants_quotes(self, model_bytes: int) -> bool:
        """Tell whether a model of this size is asked to quote."""
        return self.quoting == "always" or (self.quoting == "auto" and model_bytes >= QUOTES_FROM_BYTES)


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

"""The proof line of an answer: what the engine evaluated for it, from the engine's own count."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from cagchat.engine.protocol import Span, Transfer
from cagchat.units import duration, size


@dataclass(frozen=True, slots=True)
class Proof:
    """Tokens and seconds of one answer.

    `book_evaluated` counts positions of the book that went through the model since the last answer (or since the book
    was opened); the rest, `book_reused`, came from the cache. `evaluated` counts the question's tokens and the frame
    around it (`reread` of them passages of the book beside it), `history_evaluated` those of earlier turns that were
    read back, `generated` the answer's. `other` is what was evaluated beside any text: a token that proves a restored
    state, fillers of a short batch.

    `reading` says that the book was being read in this run, so that evaluating it was the purpose; otherwise any
    `book_evaluated` is a failure, and the line says so loudly.
    """

    book_tokens: int
    book_evaluated: int
    evaluated: int
    history_evaluated: int
    generated: int
    other: int
    restored_bytes: int
    restored_s: float
    first_token_s: float
    decode_s: float
    chat_tokens: int
    context_tokens: int
    reading: bool
    seed: int
    reread: int = 0

    @property
    def book_reused(self) -> int:
        """Book tokens that were not evaluated."""
        return self.book_tokens - self.book_evaluated

    @property
    def tokens_per_s(self) -> float:
        """Speed of the answer after its first token; 0 when there was none."""
        return self.generated / self.decode_s if self.generated and self.decode_s > 0 else 0.0

    def as_dict(self) -> dict[str, object]:
        """Return every figure, the derived ones too, for JSON."""
        return {**asdict(self), "book_reused": self.book_reused, "tokens_per_s": round(self.tokens_per_s, 2)}

    def line(self) -> str:
        """Return the line a reader sees under an answer."""
        parts = []
        if self.book_reused or not self.book_evaluated:
            parts.append(f"book {self.book_reused:,} tokens reused")
        if self.book_evaluated:
            what = "book tokens read" if self.reading else "BOOK TOKENS READ AGAIN"
            parts.append(f"{self.book_evaluated:,} {what}")
        passages = f" ({self.reread:,} of passages)" if self.reread else ""
        parts.append(f"{self.evaluated:,} evaluated{passages}")
        if self.history_evaluated:
            parts.append(f"{self.history_evaluated:,} of earlier turns")
        if self.restored_bytes:
            parts.append(f"restored {size(self.restored_bytes)} in {duration(self.restored_s)}")
        parts.append(f"first token {duration(self.first_token_s)}")
        if self.generated:
            parts.append(f"{self.tokens_per_s:.0f} tok/s")
        return ", ".join(parts)


def recorded(values: Mapping[str, object]) -> Proof | None:
    """Return the proof that `as_dict` wrote down; None when there is none, or another version wrote it."""
    known: dict[str, Any] = {field.name: values.get(field.name) for field in fields(Proof)}
    known["reread"] = values.get("reread", 0)  # proofs of the first version have none
    if any(not isinstance(value, int | float) for value in known.values()):
        return None
    return Proof(**known)


def count_evaluated(spans: Iterable[Span], n_book: int) -> tuple[int, int, int]:
    """Return how many evaluated positions were the book's, how many came after it, and how many were nobody's text."""
    book = after = other = 0
    for span in spans:
        if span.probe or span.padding:
            other += span.count
            continue
        inside = max(0, min(span.start + span.count, n_book) - span.start)
        book += inside
        after += span.count - inside
    return book, after, other


def prove(
    spans: Iterable[Span],
    *,
    n_book: int,
    generated: int,
    history: int,
    restored: Transfer | None,
    first_token_s: float,
    decode_s: float,
    position: int,
    n_context: int,
    reading: bool = False,
    seed: int = 0,
    reread: int = 0,
) -> Proof:
    """Make the proof of one answer from everything that was evaluated since the last one.

    `generated` and `history` are positions after the book, so what is left of those counted is the question's.
    """
    book, after, other = count_evaluated(spans, n_book)
    return Proof(
        book_tokens=n_book,
        book_evaluated=min(book, n_book),
        evaluated=after - generated - history,
        history_evaluated=history,
        generated=generated,
        other=other,
        restored_bytes=restored.size_bytes if restored else 0,
        restored_s=restored.elapsed_s if restored else 0.0,
        first_token_s=first_token_s,
        decode_s=decode_s,
        chat_tokens=position - n_book,
        context_tokens=n_context,
        reading=reading,
        seed=seed,
        reread=reread,
    )

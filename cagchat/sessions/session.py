"""A chat and its turns as every other part sees them."""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from typing import Literal

Status = Literal["running", "done", "stopped", "failed"]


@dataclass(frozen=True, slots=True)
class Session:
    """One chat about one book. Times are seconds since 1970; `n_turns` counts the current turns only."""

    id: str
    title: str
    book_digest: str
    book_title: str
    book_path: str
    model: str
    created_at: float
    updated_at: float
    n_turns: int


@dataclass(frozen=True, slots=True)
class Turn:
    """One question and its answer; `number` counts from 1 within the session.

    `tokens` (type code "i") is exactly what the turn added to the KV cache; it is empty for a turn whose program died,
    where only the text is known. `tokenizer` says what they mean (`StateKey.wording`), "" where nobody noted it.
    `error` says why a turn was stopped or failed; `proof` is what the engine counted.
    """

    number: int
    question: str
    answer: str
    thinking: str
    tokens: array[int]
    status: Status
    error: str
    proof: dict[str, object]
    created_at: float
    tokenizer: str = ""


@dataclass(frozen=True, slots=True)
class Hit:
    """A turn that a search found; `snippet` is the best passage with the matching words between marks."""

    session: Session
    turn_number: int
    snippet: str

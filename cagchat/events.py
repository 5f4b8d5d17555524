"""What happens while a book is prepared and a question answered; front ends only render it.

`Library.prepare` yields `Notice`, `Waiting`, `Opening`, `Planned`, `Resumed`, `Reading`, `Checkpointed`, `Sealed`,
`Restored` and at last `Ready`; `Conversation.ask` yields `Notice`, `Restored`, `Limited`, `Reading`, `HistoryRead`,
`Reread`, `Thinking`, `Answer` and at last `Answered`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cagchat.opened import OpenBook
    from cagchat.proof import Proof
    from cagchat.quotes.check import Checks
    from cagchat.sessions.session import Status


@dataclass(frozen=True, slots=True)
class Notice:
    """Something the reader should know: a sentence."""

    text: str


@dataclass(frozen=True, slots=True)
class Waiting:
    """Another process is reading the same book; this one goes on when it has finished or given up."""

    title: str
    pid: int


@dataclass(frozen=True, slots=True)
class Planned:
    """What is about to be done, before the wait: tokens to read, context to allocate, how K and V are stored.

    `memory_bytes` is what the engine takes, `disk_bytes` the saved state; 0 where it is not known. `reasons` are lines
    that say why it is done so.
    """

    title: str
    n_tokens: int
    n_context: int
    model: str
    kv_type: str
    memory_bytes: int = 0
    disk_bytes: int = 0
    estimated_s: float | None = None
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Opening:
    """A saved state was found and its engine is starting: a moment in which a front end can do work of its own."""

    title: str
    n_tokens: int


@dataclass(frozen=True, slots=True)
class Resumed:
    """A reading that was interrupted goes on at this token."""

    position: int
    n_tokens: int


@dataclass(frozen=True, slots=True)
class Reading:
    """The prefill's progress. Speed and remaining time are measured over this run, None before the first batch."""

    position: int
    n_tokens: int
    elapsed_s: float
    tokens_per_s: float | None
    remaining_s: float | None
    section: str


@dataclass(frozen=True, slots=True)
class Checkpointed:
    """What was read so far is on disk."""

    position: int
    size_bytes: int
    elapsed_s: float


@dataclass(frozen=True, slots=True)
class Sealed:
    """The whole book's state is on disk."""

    n_tokens: int
    size_bytes: int
    elapsed_s: float


@dataclass(frozen=True, slots=True)
class Restored:
    """A saved state was loaded and proved; `exact` when the probe's logits were bitwise the recorded ones."""

    n_tokens: int
    size_bytes: int
    elapsed_s: float
    exact: bool


@dataclass(frozen=True, slots=True)
class Ready:
    """The book can be asked."""

    book: OpenBook


PrepareEvent = Notice | Waiting | Planned | Opening | Resumed | Reading | Checkpointed | Sealed | Restored | Ready


@dataclass(frozen=True, slots=True)
class HistoryRead:
    """Earlier turns of a continued chat were read back into the context."""

    n_turns: int
    n_tokens: int


@dataclass(frozen=True, slots=True)
class Limited:
    """The chat knows the book only up to the character `offset`: its first `n_tokens` tokens. `words` name the place.

    `to_read` tokens of it are about to be evaluated, which `Reading` events follow; 0 where the cache is simply cut.
    """

    offset: int
    n_tokens: int
    to_read: int
    words: str


@dataclass(frozen=True, slots=True)
class Reread:
    """Passages of the book at these places were put beside the question: `n_tokens` that are evaluated again."""

    places: tuple[str, ...]
    n_tokens: int


@dataclass(frozen=True, slots=True)
class Thinking:
    """A fragment of what the model thinks before it answers."""

    text: str


@dataclass(frozen=True, slots=True)
class Answer:
    """A fragment of the answer."""

    text: str


@dataclass(frozen=True, slots=True)
class Answered:
    """The turn is over and recorded; `proof` is counted by the engine, `quotes` are those of the answer, looked up."""

    session_id: str
    number: int
    answer: str
    thinking: str
    status: Status
    proof: Proof
    quotes: Checks | None = None


AskEvent = Notice | Restored | Limited | Reading | HistoryRead | Reread | Thinking | Answer | Answered

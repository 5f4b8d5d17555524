"""What every way is asked to do, and what it reports: the script of questions, the prompts, the answers."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, TypeVar

Way = Literal["cagchat", "plain", "save_state", "disk_cache", "server", "slots", "slots_own"]
Phase = Literal["read", "again"]
Step = Literal["first", "second", "regenerate", "new_chat"]
STEPS: tuple[Step, ...] = ("first", "second", "regenerate", "new_chat")

ANSWER_TOKENS = 4
QUESTIONS = (  # one for each step but "regenerate"
    "Who is the most important person in this book?",
    "Where does it take place?",
    "What is the last thing that happens?",
)


@dataclass(frozen=True, slots=True)
class Job:
    """What one process has to do: read the book and keep it ("read") or take it back ("again"), then answer the script.

    Prompts are made of tokens (`book`, `opening` between turns, `bodies` of questions) or, for those who take no
    tokens, of the same pieces as texts; cagchat makes its own from `path` and `questions`, in `home` with `settings`.
    `folder` is where the others keep files. The way "slots_own" leaves batch and attention to the server. `forced` is
    the only token that servers may answer, None for any: noise is no text, and they stream text.
    """

    way: Way
    phase: Phase
    folder: str
    model: str
    home: str
    path: str
    settings: dict[str, Any]
    questions: list[str]
    n_context: int = 0
    n_batch: int = 0
    threads: int = 1
    gpu_layers: int = 0
    kv_type: str = "f16"
    flash_attention: bool = True
    fast_kernels: bool = False
    is_attention: bool = True
    book: list[int] = field(default_factory=list)
    opening: list[int] = field(default_factory=list)
    bodies: list[list[int]] = field(default_factory=list)
    book_text: str = ""
    opening_text: str = ""
    body_texts: list[str] = field(default_factory=list)
    forced: int | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer: seconds from asking to its first token, and book tokens that were evaluated for it."""

    step: Step
    first_token_s: float
    book_evaluated: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one process gave: its answers and the most memory it held, None where the system does not say."""

    answers: tuple[Answer, ...]
    memory_bytes: int | None


Here = Callable[[], None]
Ask = Callable[[Step, Here], int]

P = TypeVar("P", list[int], str)  # a prompt: tokens or text


class Prompts(Generic[P]):
    """The prompts of one chat after another, out of tokens or out of texts."""

    def __init__(self, book: P, opening: P, bodies: Sequence[P]) -> None:
        """Ask the questions `bodies` in turn; `opening` stands before all but a chat's first."""
        self._book: P = book
        self._opening: P = opening
        self._bodies: Iterator[P] = iter(bodies)
        self._asked: P = book
        self._answer: P | None = None

    def take(self, step: Step) -> P:
        """Return the prompt of the next step: a new chat, the next question in it, or the last one again."""
        if step == "regenerate":
            return self._asked
        body = next(self._bodies)
        if step == "second":
            assert self._answer is not None, "a second question follows an answer"
            self._asked = self._asked + self._answer + self._opening + body
        else:
            self._asked = self._book + body
        return self._asked

    def add(self, answer: P) -> None:
        """Take what was answered into the chat, in place of an earlier answer to the same question."""
        self._answer = answer


def answer_all(ask: Ask, began: float, timer: Callable[[], float] = time.perf_counter) -> tuple[Answer, ...]:
    """Put every question of the script.

    `ask` answers one, calls back at each token, and returns the book tokens evaluated since the last call. The first
    answer's seconds run from `began`, so they include reading the book or taking it back.
    """
    answers = []
    for step in STEPS:
        came: list[float] = []

        def here(came: list[float] = came) -> None:
            came.append(timer())

        book_evaluated = ask(step, here)
        answers.append(Answer(step, came[0] - began, book_evaluated))
        began = timer()
    return tuple(answers)

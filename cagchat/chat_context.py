"""What stands in a chat's sequence: the book, whole or up to a limit, and behind it the turns, as tokens.

A turn is what stands before its question, the question, what ends it, and the answer as it was sampled; nothing that a
model sampled is rendered or tokenised a second time, unless another model has to read it.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from cagchat.engine.protocol import CHAT
from cagchat.errors import ContextFull
from cagchat.events import AskEvent, HistoryRead, Notice
from cagchat.limits.ground import Ground
from cagchat.opened import OpenBook
from cagchat.sessions.session import Turn

LEAST_ANSWER_TOKENS = 64  # with less room than this, the oldest turns make way first
KEPT_SHARE = 0.5  # of the chat's room, after old turns left: so that this does not happen at every question

Bodies: TypeAlias = "list[tuple[int, array[int]]]"  # turns by number: tokens, without what stands before the question


@dataclass(slots=True)
class Placed:
    """A turn that is in the context: where it starts and the tokens it is made of, without what stands before it."""

    number: int
    start: int
    body: array[int]


class ChatContext:
    """The chat's sequence of one open book. One owner calls it.

    `still_wanted` is called between the steps of what takes long, and raises when nobody waits for it any more.
    """

    def __init__(self, book: OpenBook, ground: Ground, still_wanted: Callable[[], None]) -> None:
        self.ground = ground
        self.is_loaded = False  # whether the sequence holds what it should; if not, the record is read back into it
        self._book = book
        self._still_wanted = still_wanted
        self._placed: list[Placed] = []

    @property
    def opening(self) -> array[int]:
        """The tokens that stand before the next question."""
        return self._book.pieces.before(is_first=not self._placed)

    @property
    def length(self) -> int:
        """The sequence's length, as the engine says it."""
        return self._book.engine.length(CHAT)

    @property
    def room(self) -> int:
        """How many more tokens the sequence can hold."""
        return self.ground.capacity - self.length

    def lose(self) -> None:
        """Take the sequence for unknown: whatever it holds, what it should hold is loaded before the next question."""
        self.is_loaded = False

    def load(self, turns: Sequence[Turn], model: str) -> Generator[AskEvent, None, int]:
        """Fork the book and read back recorded turns, the newest that fit; returns how many tokens that took.

        `model` is the name of the one that the chat began with, for turns of which nothing else is known.
        """
        told = [turn for turn in turns if turn.tokens or turn.answer]
        strange = [turn for turn in told if turn.tokens and not self._speaks(turn, model)]
        if strange:
            yield Notice(_strange(len(strange)))
        bodies = [(turn.number, self._retold(turn) if turn in strange else self._body_of(turn)) for turn in told]
        self._placed = []
        yield from self.ground.place(self._still_wanted)
        self.is_loaded = True
        return (yield from self._read_back(bodies))

    def begin(self, number: int, body: array[int]) -> int:
        """Note that a turn begins where the sequence ends, so that it can be rewound to; returns where that is."""
        start = self.length
        self._book.engine.mark(CHAT)
        self.note(number, start, body)
        return start

    def note(self, number: int, start: int, body: array[int]) -> None:
        """Note a turn that is in the sequence from `start`."""
        self._placed.append(Placed(number, start, body))

    def end(self, body: array[int]) -> None:
        """Note what the last turn came to be."""
        self._placed[-1].body = body

    def rewind_before(self, number: int, prompt_end: int | None = None) -> bool:
        """Cut the sequence back to where turn `number` starts; where that is impossible it is loaded again later.

        With `prompt_end`, where its prompt ends, only the answer is cut off if the engine can do so; tells whether it
        was.
        """
        if not self.is_loaded:
            return False
        engine = self._book.engine
        self.is_loaded = False  # until it is known to be cut, whatever the engine raises
        for index, placed in enumerate(self._placed):
            if placed.number == number:
                start = placed.start
                del self._placed[index:]
                at_prompt = prompt_end is not None and engine.rewind_to_prompt(CHAT, prompt_end)
                self.is_loaded = at_prompt or engine.rewind(CHAT, start)
                return at_prompt
        return False

    def make_room(self, needed: int) -> Generator[AskEvent, None, int]:
        """Let the oldest turns leave the context (not the record) when `needed` tokens and an answer would not fit.

        Returns how many tokens were read back. Raises `ContextFull` when they do not fit beside the book alone.
        """
        capacity = self.ground.capacity
        if self.length + needed + LEAST_ANSWER_TOKENS <= capacity:
            return 0
        if self.ground.n_tokens + needed + LEAST_ANSWER_TOKENS > capacity:
            raise ContextFull(
                f"The question takes {needed:,} tokens; beside the book there is room for "
                f"{capacity - self.ground.n_tokens - LEAST_ANSWER_TOKENS:,}.",
                "Shorten it, or raise chat_tokens.",
            )
        bodies = [(placed.number, placed.body) for placed in self._placed]
        self._placed = []
        yield from self.ground.place(self._still_wanted)
        fitting = self._fitting(bodies)
        while fitting and self._length_of(fitting) + needed + LEAST_ANSWER_TOKENS > capacity:
            fitting.pop(0)
        yield Notice(_left(len(bodies) - len(fitting)))
        return (yield from self._read_back(fitting))

    def _read_back(self, bodies: Bodies) -> Generator[AskEvent, None, int]:
        """Evaluate earlier turns, the newest that fit; each start is marked so that it can be rewound to."""
        fitting = self._fitting(bodies)
        if len(fitting) < len(bodies):
            yield Notice(_left(len(bodies) - len(fitting)))
        count = 0
        for number, body in fitting:
            tokens = self.opening + body
            start = self.length
            self._book.engine.mark(CHAT)
            self._still_wanted()
            for _ in self._book.engine.evaluate(CHAT, tokens):
                self._still_wanted()
            self.note(number, start, body)
            count += len(tokens)
        if count:
            yield HistoryRead(len(fitting), count)
        return count

    def _fitting(self, bodies: Bodies) -> Bodies:
        """Return the newest turns that take no more than their share of the chat's room."""
        room = int((self.ground.capacity - self.ground.n_tokens) * KEPT_SHARE)
        opening = len(self._book.pieces.next_opening)
        kept: Bodies = []
        for number, body in reversed(bodies):
            room -= len(body) + opening
            if room < 0:
                break
            kept.insert(0, (number, body))
        return kept

    def _length_of(self, bodies: Bodies) -> int:
        opening = len(self._book.pieces.next_opening)
        return self.ground.n_tokens + sum(len(body) + opening for _, body in bodies)

    def _speaks(self, turn: Turn, model: str) -> bool:
        """Tell whether a recorded turn's token ids mean to this model what they meant to the one that made them."""
        manifest = self._book.manifest
        return turn.tokenizer == manifest.key.wording if turn.tokenizer else model == manifest.model_name

    def _body_of(self, turn: Turn) -> array[int]:
        """Return a recorded turn's tokens; one whose program died has only its text."""
        return turn.tokens or self._retold(turn)

    def _retold(self, turn: Turn) -> array[int]:
        """Return a recorded turn's text as tokens of this model."""
        question, answer = self._book.engine.tokenize([turn.question, turn.answer], special=False)
        return self._book.pieces.body(question, thinking=False) + answer


def _left(count: int) -> str:
    turns = "The oldest turn has" if count == 1 else f"The {count} oldest turns have"
    return f"{turns} left the context to make room; the record keeps them."


def _strange(count: int) -> str:
    turns = "An earlier turn was" if count == 1 else f"{count} earlier turns were"
    return f"{turns} made with another model: what was said is read, in this model's tokens."

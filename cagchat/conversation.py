"""A chat about an open book: turns are appended as tokens, and every answer comes with its proof.

The context holds [book | turn | turn | ...], the book whole or up to a limit. A turn is what stands before its
question, the question, what ends it, and the answer as it was sampled, token by token; nothing is ever rendered or
tokenised a second time.
"""

from __future__ import annotations

import codecs
import secrets
import time
from array import array
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field, replace

from cagchat.engine.protocol import CHAT, Finish, Sampling
from cagchat.errors import CagchatError, ContextFull, EngineCancelled, EngineDied, EngineError, Stopped, UsageError
from cagchat.events import Answer, Answered, AskEvent, HistoryRead, Notice, Reread, Thinking
from cagchat.guiding import Begun, begin
from cagchat.limits.ground import Ground
from cagchat.limits.limit import Limit, check_forward, last_limit
from cagchat.opened import OpenBook
from cagchat.proof import Proof, prove
from cagchat.sessions.session import Session, Status, Turn
from cagchat.sessions.store import Sessions
from cagchat.thinking import ThinkingSplitter
from cagchat.wording import QUOTE_REQUEST, Asked, Extras, with_passages

LEAST_ANSWER_TOKENS = 64  # with less room than this, the oldest turns make way first
KEPT_SHARE = 0.5  # of the chat's room, after old turns left: so that this does not happen at every question

EVIDENCE_SHARE = 0.5  # of the chat's room, for the passages of one question at most
BEGINNING_SHARE = 0.75  # of an answer, for the quote that it is begun with

Asking = Generator[AskEvent, None, None]  # who stops listening early closes it: that settles the turn


@dataclass(frozen=True, slots=True)
class AskOptions:
    """How one question is answered. A negative seed means a new one."""

    sampling: Sampling
    max_tokens: int = 1024
    thinking: bool = False
    extras: Extras = field(default_factory=Extras)


@dataclass(frozen=True, slots=True)
class Prompted:
    """What was asked and how, the tokens of it, and what its answer begins with.

    It stands in the context from `start`, its opening included, to `end`, the answer's beginning included.
    """

    question: str
    options: AskOptions
    asked: Asked
    body: array[int]
    begun: Begun
    start: int
    end: int

    def is_for(self, question: str, options: AskOptions) -> bool:
        """Tell whether the same would be asked again, however it is sampled."""
        own = (self.question, self.options.extras, self.options.thinking)
        return own == (question, options.extras, options.thinking)


@dataclass(slots=True)
class Placed:
    """A turn that is in the context: where it starts and the tokens it is made of, without what stands before it.

    `prompt` is how it was asked, None for a turn that was read back.
    """

    number: int
    start: int
    body: array[int]
    prompt: Prompted | None = None


class Conversation:
    """One session about one open book. One owner calls it; `stop` may be called from anywhere."""

    def __init__(
        self,
        book: OpenBook,
        sessions: Sessions,
        session: Session | None = None,
        *,
        limit: Limit | None = None,
        timer: Callable[[], float] = time.perf_counter,
        new_seed: Callable[[], int] = lambda: secrets.randbits(31),
    ) -> None:
        """Continue `session`, or start a new one with the first question.

        The chat knows the book up to `limit`. Without one, a chat that is continued keeps its own, and a new one has
        the book's (`OpenBook.limit`). A limit at the book's end means all of it. Raises `UsageError` when the chat
        knows more already.
        """
        self.book = book
        self.session = session
        self._sessions = sessions
        self._timer = timer
        self._new_seed = new_seed
        self._placed: list[Placed] = []
        self._again: Prompted | None = None  # where the context ends, when that is to be answered anew
        self._loaded = False
        self._died: EngineDied | None = None
        self._stopping = False
        self._at: Ground | None = None
        if limit is not None:
            self.limit_to(limit)

    @property
    def _ground(self) -> Ground:
        if self._at is None:
            self._at = Ground(self.book, last_limit(self.turns(), self.book.limit), self._timer)
        return self._at

    @property
    def limit(self) -> Limit | None:
        """How far the chat knows the book; None for all of it."""
        return self._ground.limit

    @property
    def until(self) -> int | None:
        """The character of the book that the chat knows nothing beyond; None for all of it."""
        return self.limit.offset if self.limit else None

    @property
    def to_read(self) -> int:
        """How many of the book's tokens the next question has to evaluate for the chat's limit."""
        return 0 if self._loaded else self._ground.to_read

    def limit_to(self, limit: Limit) -> None:
        """Let the same chat go on knowing more of the book: its turns are read back after the new limit.

        Raises `UsageError` when the chat knows more already: its answers would tell; that takes a new chat.
        """
        ground = Ground(self.book, limit, self._timer)
        check_forward(ground.limit, self.turns())
        if self._at is None or ground.limit != self._at.limit:
            self._at, self._loaded = ground, False

    def stop(self) -> None:
        """End the running answer; its text and its place in the context are kept."""
        self._stopping = True
        self.book.cancel()

    def turns(self) -> list[Turn]:
        """Return the session's turns."""
        return self._sessions.turns(self.session.id) if self.session else []

    def ask(self, question: str, options: AskOptions) -> Asking:
        """Answer a question; the last event is `Answered`.

        The question is recorded before anything can fail. Raises `EngineDied` when the engine's process ends: the
        turn is recorded as failed with what was said, and the next question starts the engine anew. Raises `Stopped`
        when `stop` came before the answer had begun.
        """
        question = _checked(question)
        self._stopping = False
        return (yield from self._ask(question, options))

    def _ask(self, question: str, options: AskOptions) -> Asking:
        session = self._session()
        noted = self.limit.noted() if self.limit else {}  # a program that is killed must not leave a chat without it
        number = self._sessions.begin_turn(session.id, question, noted)
        draft = _Draft(number)
        try:
            answered = yield from self._answer(draft, question, options)
        except EngineDied as died:
            self._died, self._loaded = died, False
            self._finish(draft, "failed", {}, died.message)
            raise
        except (Stopped, EngineCancelled) as stop:
            self._abandon(draft, "stopped")
            raise Stopped("Stopped before the answer began.", "Ask again when you like.") from stop
        except CagchatError as error:
            self._abandon(draft, "failed", error.message)
            raise
        except GeneratorExit:
            self._abandon(draft, "stopped")
            raise
        yield answered  # after the turn is settled: who stops listening now leaves nothing open

    def regenerate(self, options: AskOptions, number: int | None = None) -> Asking:
        """Answer the last question (or question `number`) anew; it and what followed stay in the record, superseded."""
        turn = self._turn(number)
        return self._repeat(turn, turn.question, options)

    def edit(self, number: int, question: str, options: AskOptions) -> Asking:
        """Ask another question in place of question `number`; it and what followed stay in the record, superseded."""
        return self._repeat(self._turn(number), question, options)

    def _repeat(self, turn: Turn, question: str, options: AskOptions) -> Asking:
        question = _checked(question)  # before anything is superseded
        self._stopping = False
        session = self._session()
        self._sessions.supersede_from(session.id, turn.number)
        self._rewind_before(turn.number, question, options)
        yield from self._ask(question, options)

    def _turn(self, number: int | None) -> Turn:
        turns = self.turns()
        if not turns:
            raise UsageError("There is no question to ask again.", "Ask one first.")
        for turn in turns:
            if turn.number == (number or turns[-1].number):
                return turn
        raise UsageError(f"This chat has no question {number}.", f"It has {len(turns)}.")

    def _session(self) -> Session:
        if self.session is None:
            book = self.book.manifest.book
            self.session = self._sessions.create(
                book_digest=book.digest,
                book_title=book.title,
                book_path=book.path,
                model=self.book.manifest.model_name,
            )
        return self.session

    # -- the context -----------------------------------------------------------------------------------------------

    def _answer(self, draft: _Draft, question: str, options: AskOptions) -> Generator[AskEvent, None, Answered]:
        if self._died is not None:
            notices: list[str] = []
            restored = self.book.revive(self._died, notices.append)
            self._died = None
            for sentence in notices:
                yield Notice(sentence)
            yield restored
        pieces, engine = self.book.pieces, self.book.engine
        history = 0
        prompt, self._again = self._again, None
        if prompt is not None and not prompt.is_for(question, options):  # something came between
            self._loaded = False
        if not self._loaded:
            prompt = None
            history += yield from self._load(draft.number)
        self._still_wanted()
        tokens, reread = array("i"), 0
        if prompt is None:
            asked = self._worded(question, draft.number, options)
            if asked.passages:
                yield Reread(tuple(passage.place for passage in asked.passages), asked.n_tokens)
            body = pieces.body(engine.tokenize([asked.text], special=False)[0], thinking=options.thinking)
            history += yield from self._make_room(len(body) + len(pieces.next_opening), draft.number)
            tokens = pieces.before(is_first=not self._placed) + body
            start = engine.length(CHAT)
            engine.mark(CHAT)
            draft.body = body
            self._placed.append(Placed(draft.number, start, body))
            begun = self._begun(question, tokens, draft.number, options)
            prompt = Prompted(question, options, asked, body, begun, start, start + len(tokens) + len(begun.tokens))
            tokens = begun.tokens if begun.is_prompted else tokens + begun.tokens
            self._placed[-1].prompt, reread = prompt, asked.n_tokens
        else:
            if prompt.asked.passages:
                yield Reread(tuple(passage.place for passage in prompt.asked.passages), 0)
            begun = replace(prompt.begun, elapsed_s=0.0)
            draft.body = prompt.body
            self._placed.append(Placed(draft.number, prompt.start, prompt.body, prompt))
        sampling = options.sampling
        if sampling.seed < 0:
            sampling = replace(sampling, seed=self._new_seed())
        finish = yield from self._generate(draft, tokens, begun, sampling, options)
        # The engine's position, not the number of fragments, says which of the answer's tokens are in the context.
        generated = finish.position - prompt.end
        draft.body = prompt.body + draft.tokens[: len(begun.tokens) + generated]
        draft.placed = True
        self._placed[-1].body = draft.body
        spans, transfer, reading = self.book.take_evidence()
        proof = prove(
            self._ground.counted(spans),
            n_book=self._ground.n_book,
            generated=generated,
            history=history,
            restored=transfer,
            reading=reading,
            first_token_s=finish.first_token_s + begun.elapsed_s,
            decode_s=finish.decode_s,
            position=finish.position,
            n_context=self._ground.capacity,
            seed=sampling.seed,
            reread=reread,
        )
        if finish.reason == "full":
            yield Notice("The context is full, so the answer ends here.")
        elif finish.reason == "length":
            yield Notice(f"The answer reached its limit of {options.max_tokens:,} tokens (max_tokens).")
        status: Status = "stopped" if finish.reason == "cancelled" else "done"
        return self._finished(draft, status, proof)

    def _worded(self, question: str, number: int, options: AskOptions) -> Asked:
        """Return what the model is asked: the question, and what the options put beside it."""
        engine, extras = self.book.engine, options.extras
        request = f" {QUOTE_REQUEST}" if extras.wants_quotes(engine.info.size_bytes) else ""
        if not extras.wants_evidence(self._ground.n_book, engine.info.size_bytes):
            return Asked(question + request)

        def count(text: str) -> int:
            return len(engine.tokenize([text], special=False)[0])

        room = self._ground.capacity - self._ground.n_tokens - LEAST_ANSWER_TOKENS - count(question) - len(request)
        asked = with_passages(
            question,
            self.book.passages,
            self._earlier(number),
            budget_tokens=min(extras.evidence_tokens, int(room * EVIDENCE_SHARE)),
            count=count,
            until=self.until,
        )
        return replace(asked, text=asked.text + request)

    def _earlier(self, number: int) -> list[str]:
        """Return what was said in the turns just before one."""
        return [text for turn in self.turns()[-2:] if turn.number < number for text in (turn.question, turn.answer)]

    def _begun(self, question: str, prompt: array[int], number: int, options: AskOptions) -> Begun:
        """Return what the answer begins with: nothing, unless quoting is guided."""
        guides = options.extras.guides(self.book.engine.info.size_bytes)
        if not guides or ThinkingSplitter(self._closing(options)).is_thinking:
            return Begun()
        room = self._ground.capacity - self.book.engine.length(CHAT) - len(prompt)
        return begin(
            self.book,
            question,
            prompt,
            options.sampling,
            most_tokens=int(BEGINNING_SHARE * min(room, options.max_tokens)),
            earlier=self._earlier(number),
            until=self.until,
            still_wanted=self._still_wanted,
        )

    def _closing(self, options: AskOptions) -> str:
        """Return what stands between a question and its answer."""
        frame = self.book.manifest.frame
        thinking = frame.thinking_closing if options.thinking else None
        return frame.closing if thinking is None else thinking

    def _load(self, number: int) -> Generator[AskEvent, None, int]:
        """Fork the book and read back the turns that the record has before `number`; returns how many tokens."""
        turns = [turn for turn in self.turns() if turn.number < number and (turn.tokens or turn.answer)]
        bodies = [(turn.number, self._body_of(turn)) for turn in turns]
        self._placed = []
        yield from self._ground.place(self._still_wanted)
        self._loaded = True
        return (yield from self._read_back(bodies))

    def _read_back(self, bodies: list[tuple[int, array[int]]]) -> Generator[AskEvent, None, int]:
        """Evaluate earlier turns, the newest that fit; each start is marked so that it can be rewound to."""
        engine, pieces = self.book.engine, self.book.pieces
        fitting = self._fitting(bodies)
        if len(fitting) < len(bodies):
            yield Notice(_left(len(bodies) - len(fitting)))
        count = 0
        for number, body in fitting:
            start = engine.length(CHAT)
            engine.mark(CHAT)
            tokens = pieces.before(is_first=not self._placed) + body
            self._still_wanted()
            for _ in engine.evaluate(CHAT, tokens):
                self._still_wanted()
            self._placed.append(Placed(number, start, body))
            count += len(tokens)
        if count:
            yield HistoryRead(len(fitting), count)
        return count

    def _still_wanted(self) -> None:
        if self._stopping:
            raise Stopped("Stopped.")

    def _fitting(self, bodies: list[tuple[int, array[int]]]) -> list[tuple[int, array[int]]]:
        """Return the newest turns that take no more than their share of the chat's room."""
        room = int((self._ground.capacity - self._ground.n_tokens) * KEPT_SHARE)
        opening = len(self.book.pieces.next_opening)
        kept: list[tuple[int, array[int]]] = []
        for number, body in reversed(bodies):
            room -= len(body) + opening
            if room < 0:
                break
            kept.insert(0, (number, body))
        return kept

    def _make_room(self, needed: int, number: int) -> Generator[AskEvent, None, int]:
        """Let the oldest turns leave the context (not the record) when the question would not fit; returns tokens."""
        engine = self.book.engine
        n_context = self._ground.capacity
        if engine.length(CHAT) + needed + LEAST_ANSWER_TOKENS <= n_context:
            return 0
        if self._ground.n_tokens + needed + LEAST_ANSWER_TOKENS > n_context:
            raise ContextFull(
                f"The question takes {needed:,} tokens; beside the book there is room for "
                f"{n_context - self._ground.n_tokens - LEAST_ANSWER_TOKENS:,}.",
                "Shorten it, or raise chat_tokens.",
            )
        bodies = [(placed.number, placed.body) for placed in self._placed]
        self._placed = []
        yield from self._ground.place(self._still_wanted)
        fitting = self._fitting(bodies)
        while fitting and self._length_of(fitting) + needed + LEAST_ANSWER_TOKENS > n_context:
            fitting.pop(0)
        yield Notice(_left(len(bodies) - len(fitting)))
        return (yield from self._read_back(fitting))

    def _length_of(self, bodies: list[tuple[int, array[int]]]) -> int:
        opening = len(self.book.pieces.next_opening)
        return self._ground.n_tokens + sum(len(body) + opening for _, body in bodies)

    def _rewind_before(self, number: int, question: str = "", options: AskOptions | None = None) -> None:
        """Cut the context back to where turn `number` starts; where that is impossible it is loaded again later.

        Will the same be asked again, then only its answer is cut off, where the engine can do so.
        """
        self._again = None
        if not self._loaded:
            return
        engine = self.book.engine
        for index, placed in enumerate(self._placed):
            if placed.number == number:
                prompt = placed.prompt
                try:
                    if options and prompt and prompt.is_for(question, options):
                        self._again = prompt if engine.rewind_to_prompt(CHAT, prompt.end) else None
                    self._loaded = self._again is not None or engine.rewind(CHAT, placed.start)
                except EngineDied as died:
                    self._died, self._loaded = died, False
                except CagchatError:  # the record says what the context should hold: it is loaded again
                    self._loaded = False
                del self._placed[index:]
                return
        self._loaded = False

    def _body_of(self, turn: Turn) -> array[int]:
        """Return a recorded turn's tokens; one whose program died has only its text, which is tokenised now."""
        if turn.tokens:
            return turn.tokens
        question, answer = self.book.engine.tokenize([turn.question, turn.answer], special=False)
        return self.book.pieces.body(question, thinking=False) + answer

    # -- the answer ------------------------------------------------------------------------------------------------

    def _generate(
        self, draft: _Draft, prompt: array[int], begun: Begun, sampling: Sampling, options: AskOptions
    ) -> Generator[AskEvent, None, Finish]:
        """Stream the answer's text after what it begins with; returns the engine's `Finish`.

        The prompt ends with what the answer begins with; it is empty when the last one is answered again.
        """
        self._still_wanted()  # so that the prompt is not read for nobody
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        splitter = ThinkingSplitter(self._closing(options))
        draft.tokens.extend(begun.tokens)
        yield from self._recorded(draft, draft.add(splitter.feed(begun.text)))
        most = options.max_tokens - len(begun.tokens)
        for item in self.book.engine.generate(CHAT, prompt, sampling, max_tokens=most):
            if isinstance(item, Finish):
                rest = [*splitter.feed(decoder.decode(b"", final=True)), *splitter.finish()]
                yield from self._recorded(draft, draft.add(iter(rest)))
                return item
            if self._stopping:  # a stop may have come before the engine was at work
                self.book.cancel()
            draft.tokens.append(item.token)
            yield from self._recorded(draft, draft.add(splitter.feed(decoder.decode(item.text))))
        raise EngineError("The engine's answer had no end.", "Ask again.")

    def _recorded(self, draft: _Draft, fragments: Iterator[AskEvent]) -> Iterator[AskEvent]:
        """Keep fragments of the answer, then show them: a program that is killed loses nothing that was seen."""
        if shown := list(fragments):  # 0.02 ms for 100 characters, 0.2 ms for 16,000: little beside a token
            self._sessions.update_answer(self._session().id, draft.number, draft.answer, draft.thinking)
        yield from shown

    def _abandon(self, draft: _Draft, status: Status, error: str = "") -> None:
        """Settle a turn that has no proof; its tokens must not count for the next one's."""
        if draft.tokens:
            self._loaded = False  # whatever the context holds now, the record says what it should hold
        else:
            self._rewind_before(draft.number)
        self._finish(draft, status, {}, error)
        try:
            self.book.forget_evidence(self._ground.n_book)
        except EngineDied as died:
            self._died = died

    def _finished(self, draft: _Draft, status: Status, proof: Proof) -> Answered:
        self._finish(draft, status, proof.as_dict(), "")
        answer = draft.answer.strip()
        quotes = self.book.quotes.check(answer, until=self.until)
        return Answered(self._session().id, draft.number, answer, draft.thinking.strip(), status, proof, quotes)

    def _finish(self, draft: _Draft, status: Status, proof: dict[str, object], error: str) -> None:
        self._sessions.finish_turn(
            self._session().id,
            draft.number,
            answer=draft.answer.strip(),
            thinking=draft.thinking.strip(),
            tokens=draft.recorded(),
            status=status,
            proof=proof | (self.limit.noted() if self.limit else {}),
            error=error,
        )


class _Draft:
    """An answer that is being made."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.body = array("i")
        self.tokens = array("i")
        self.placed = False
        self._answer: list[str] = []
        self._thinking: list[str] = []

    def recorded(self) -> array[int]:
        """Return what the turn adds to the context: once `placed`, `body` says it; until then, what was sampled so far.

        A question that got no answer at all leaves nothing.
        """
        if self.placed:
            return self.body
        return self.body + self.tokens if self.tokens else array("i")

    @property
    def answer(self) -> str:
        """The answer so far."""
        return "".join(self._answer)

    @property
    def thinking(self) -> str:
        """What was thought so far."""
        return "".join(self._thinking)

    def add(self, fragments: Iterator[tuple[bool, str]]) -> Iterator[AskEvent]:
        """Take fragments of text, thought or said, and yield them as events."""
        for thought, text in fragments:
            (self._thinking if thought else self._answer).append(text)
            yield Thinking(text) if thought else Answer(text)


def _left(count: int) -> str:
    turns = "The oldest turn has" if count == 1 else f"The {count} oldest turns have"
    return f"{turns} left the context to make room; the record keeps them."


def _checked(question: str) -> str:
    """Return the question without blanks around it. Raises `UsageError` when nothing is left."""
    question = question.strip()
    if not question:
        raise UsageError("The question is empty.", 'Ask something: cagchat ask BOOK "question".')
    return question

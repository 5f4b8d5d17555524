"""A chat about an open book: turns are appended as tokens, and every answer comes with its proof.

What stands in the context is `chat_context`'s; here a question becomes a prompt, an answer, a proof and a record.
"""

from __future__ import annotations

import codecs
import secrets
import time
from array import array
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass, field, replace

from cagchat.chat_context import LEAST_ANSWER_TOKENS, ChatContext
from cagchat.engine.protocol import CHAT, Finish, Sampling
from cagchat.errors import CagchatError, EngineCancelled, EngineDied, EngineError, Stopped, UsageError
from cagchat.events import Answer, Answered, AskEvent, Notice, Reread, Thinking
from cagchat.guiding import Begun, begin
from cagchat.limits.ground import Ground
from cagchat.limits.limit import Limit, check_forward, last_limit
from cagchat.opened import OpenBook
from cagchat.proof import Proof, prove
from cagchat.sessions.session import Session, Status, Turn
from cagchat.sessions.store import Sessions
from cagchat.thinking import ThinkingSplitter
from cagchat.wording import QUOTE_REQUEST, Asked, Extras, with_passages

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
    """What was asked in turn `number` and how, the tokens of it, and what its answer begins with.

    It stands in the context from `start`, its opening included, to `end`, the answer's beginning included.
    """

    number: int
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
        self._asked: Prompted | None = None  # the last question, as long as the context ends with its answer
        self._rows: dict[int, int] = {}  # the record's rows of the turns that were read back or asked here
        self._changed_elsewhere = False  # whether another window's changes are still to be told of
        self._again: Prompted | None = None  # where the context ends, when that is to be answered anew
        self._died: EngineDied | None = None
        self._stop = _Stop()
        self._placed: ChatContext | None = None
        if limit is not None:
            self.limit_to(limit)

    @property
    def _context(self) -> ChatContext:
        if self._placed is None:
            limit = last_limit(self.turns(), self.book.limit)
            self._placed = ChatContext(self.book, Ground(self.book, limit, self._timer), self._stop.check)
        return self._placed

    @property
    def _ground(self) -> Ground:
        return self._context.ground

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
        return 0 if self._context.is_loaded else self._ground.to_read

    def limit_to(self, limit: Limit) -> None:
        """Let the same chat go on knowing more of the book: its turns are read back after the new limit.

        Raises `UsageError` when the chat knows more already: its answers would tell; that takes a new chat.
        """
        ground = Ground(self.book, limit, self._timer)
        check_forward(ground.limit, self.turns())
        if self._placed is None or ground.limit != self._ground.limit:
            self._placed = ChatContext(self.book, ground, self._stop.check)

    def stop(self) -> None:
        """End the running answer; its text and its place in the context are kept."""
        self._stop.wanted = True
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
        self._stop.wanted = False
        return (yield from self._ask(question, options))

    def _ask(self, question: str, options: AskOptions, instead_of: int | None = None) -> Asking:
        session = self._session()
        noted = self.limit.noted() if self.limit else {}  # a program that is killed must not leave a chat without it
        number = self._begin(session, question, options, noted, instead_of)
        draft = _Draft(number)
        try:
            status, proof = yield from self._answer(draft, question, options)
            self._finish(draft, status, proof.as_dict(), "")
        except EngineDied as died:
            self._lost_engine(died)
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
        # From here on the turn is settled: who stops listening leaves nothing open, and nothing takes its proof away.
        answer = draft.answer.strip()
        try:
            quotes = self.book.quotes.check(answer, until=self.until)
        except CagchatError as error:  # the book's text was damaged or deleted meanwhile
            yield Notice(f"Quotes cannot be looked up: {error.message}")
            quotes = None
        yield Answered(session.id, number, answer, draft.thinking.strip(), status, proof, quotes)

    def _begin(
        self,
        session: Session,
        question: str,
        options: AskOptions,
        noted: Mapping[str, object],
        instead_of: int | None,
    ) -> int:
        """Record a question, in place of an earlier one or behind the last; returns its number.

        Where another window has changed the chat, the context is what the record was, so it is loaded again.
        """
        earlier = _before(instead_of, self._sessions.rows(session.id))
        if earlier != _before(instead_of, self._rows) and self._context.is_loaded:
            self._context.lose()
            self._changed_elsewhere = True
        number = self._sessions.begin_turn(session.id, question, noted, instead_of=instead_of)
        self._rows = earlier | {number: self._sessions.rows(session.id).get(number, 0)}
        if instead_of is not None:
            self._rewind_before(number, question, options)
        return number

    def regenerate(self, options: AskOptions, number: int | None = None) -> Asking:
        """Answer the last question (or question `number`) anew; it and what followed stay in the record, superseded."""
        turn = self._turn(number)
        return self._repeat(turn, turn.question, options)

    def edit(self, number: int, question: str, options: AskOptions) -> Asking:
        """Ask another question in place of question `number`; it and what followed stay in the record, superseded."""
        return self._repeat(self._turn(number), question, options)

    def _repeat(self, turn: Turn, question: str, options: AskOptions) -> Asking:
        question = _checked(question)  # before anything is superseded
        self._stop.wanted = False
        yield from self._ask(question, options, turn.number)

    def _turn(self, number: int | None) -> Turn:
        turns = self.turns()
        if not turns:
            raise UsageError("There is no question to ask again.", "Ask one first.")
        for turn in turns:
            if turn.number == (turns[-1].number if number is None else number):
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

    def _answer(
        self, draft: _Draft, question: str, options: AskOptions
    ) -> Generator[AskEvent, None, tuple[Status, Proof]]:
        if self._died is not None:
            yield from self._revive(self._died)
        if self._changed_elsewhere:
            self._changed_elsewhere = False
            yield Notice("Another window has changed this chat; its turns are read again.")
        history, prompt = 0, self._again
        self._again = None
        if prompt is not None and not prompt.is_for(question, options):  # something came between
            self._context.lose()
        if not self._context.is_loaded:
            prompt = None
            history += yield from self._load(draft.number)
        self._stop.check()
        if prompt is None:
            asked = self._worded(question, draft.number, options)
            if asked.passages:
                yield Reread(tuple(passage.place for passage in asked.passages), asked.n_tokens)
            ids = self.book.engine.tokenize([asked.text], special=False)[0]
            draft.body = self.book.pieces.body(ids, thinking=options.thinking)
            needed = len(draft.body) + len(self.book.pieces.next_opening)
            history += yield from self._context.make_room(needed)
            prompt, tokens = self._prompted(draft, question, asked, options)
            reread = asked.n_tokens
            if sentence := self.book.take_notice():
                yield Notice(sentence)
        else:
            if prompt.asked.passages:
                yield Reread(tuple(passage.place for passage in prompt.asked.passages), 0)
            prompt = replace(prompt, begun=replace(prompt.begun, elapsed_s=0.0))
            draft.body, tokens, reread = prompt.body, array("i"), 0
            self._context.note(draft.number, prompt.start, prompt.body)
        self._asked = prompt
        sampling = options.sampling
        if sampling.seed < 0:
            sampling = replace(sampling, seed=self._new_seed())
        finish = yield from self._generate(draft, tokens, prompt.begun, sampling, options)
        # The engine's position, not the number of fragments, says which of the answer's tokens are in the context.
        generated = finish.position - prompt.end
        draft.body = prompt.body + draft.tokens[: len(prompt.begun.tokens) + generated]
        draft.placed = True
        self._context.end(draft.body)
        spans, transfer, reading = self.book.take_evidence()
        proof = prove(
            self._ground.counted(spans),
            n_book=self._ground.n_book,
            generated=generated,
            history=history,
            restored=transfer,
            reading=reading,
            first_token_s=finish.first_token_s + prompt.begun.elapsed_s,
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
        return "stopped" if finish.reason == "cancelled" else "done", proof

    def _revive(self, died: EngineDied) -> Generator[AskEvent, None, None]:
        """Start the engine anew after its process ended, with the book restored."""
        notices: list[str] = []
        restored = self.book.revive(died, notices.append)
        self._died = None
        for sentence in notices:
            yield Notice(sentence)
        yield restored

    def _load(self, number: int) -> Generator[AskEvent, None, int]:
        """Fill the context with the book and the turns before `number`; returns how many tokens these took."""
        self._asked = None
        turns = [turn for turn in self.turns() if turn.number < number]
        return (yield from self._context.load(turns, self._session().model))

    def _prompted(self, draft: _Draft, question: str, asked: Asked, options: AskOptions) -> tuple[Prompted, array[int]]:
        """Place a question at the context's end; returns its prompt, and the tokens of it to evaluate."""
        tokens = self._context.opening + draft.body
        start = self._context.begin(draft.number, draft.body)
        begun = self._begun(question, tokens, draft.number, options)
        end = start + len(tokens) + len(begun.tokens)
        prompt = Prompted(draft.number, question, options, asked, draft.body, begun, start, end)
        return prompt, begun.tokens if begun.is_prompted else tokens + begun.tokens

    def _worded(self, question: str, number: int, options: AskOptions) -> Asked:
        """Return what the model is asked: the question, and what the options put beside it."""
        engine, extras = self.book.engine, options.extras
        request = f" {QUOTE_REQUEST}" if extras.wants_quotes(engine.info.size_bytes) else ""
        if not extras.wants_evidence(self._ground.n_book, engine.info.size_bytes):
            return Asked(question + request)

        def count(text: str) -> int:
            return len(engine.tokenize([text], special=False)[0])

        room = self._ground.capacity - self._ground.n_tokens - LEAST_ANSWER_TOKENS - count(question + request)
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
        """Return what was said in the turn just before one."""
        before = [turn for turn in self.turns() if turn.number < number][-1:]
        return [text for turn in before for text in (turn.question, turn.answer)]

    def _begun(self, question: str, prompt: array[int], number: int, options: AskOptions) -> Begun:
        """Return what the answer begins with: nothing, unless quoting is guided."""
        guides = options.extras.guides(self.book.engine.info.size_bytes)
        if not guides or ThinkingSplitter(self._closing(options)).is_thinking:
            return Begun()
        room = self._context.room - len(prompt)
        return begin(
            self.book,
            question,
            prompt,
            options.sampling,
            most_tokens=int(BEGINNING_SHARE * min(room, options.max_tokens)),
            earlier=self._earlier(number),
            until=self.until,
            still_wanted=self._stop.check,
        )

    def _closing(self, options: AskOptions) -> str:
        """Return what stands between a question and its answer."""
        frame = self.book.manifest.frame
        thinking = frame.thinking_closing if options.thinking else None
        return frame.closing if thinking is None else thinking

    def _rewind_before(self, number: int, question: str = "", options: AskOptions | None = None) -> None:
        """Cut the context back to where turn `number` starts.

        Will the same be asked again, then only its answer is cut off, where the engine can do so.
        """
        self._again = None
        last, same = self._asked, None
        if last is not None and last.number >= number:
            self._asked = None
            same = last if options and last.number == number and last.is_for(question, options) else None
        try:
            if self._context.rewind_before(number, same.end if same else None):
                self._again = same
        except EngineDied as died:
            self._lost_engine(died)
        except CagchatError:  # the record says what the context should hold: it is loaded again
            self._context.lose()

    def _lost_engine(self, died: EngineDied) -> None:
        """Note that the engine's process ended, and its cache with it."""
        self._died = died
        self._context.lose()

    # -- the answer ------------------------------------------------------------------------------------------------

    def _generate(
        self, draft: _Draft, prompt: array[int], begun: Begun, sampling: Sampling, options: AskOptions
    ) -> Generator[AskEvent, None, Finish]:
        """Stream the answer's text after what it begins with; returns the engine's `Finish`.

        The prompt ends with what the answer begins with; it is empty when the last one is answered again.
        """
        self._stop.check()  # so that the prompt is not read for nobody
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
            if self._stop.wanted:  # a stop may have come before the engine was at work
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
            self._context.lose()  # whatever it holds now, the record says what it should hold
        else:
            self._rewind_before(draft.number)
        try:
            n_book = self._ground.n_book
        except CagchatError:  # the book's tokens cannot be read: then nothing of them was evaluated for this turn
            n_book = 0
        try:
            self.book.forget_evidence(n_book)
        except EngineDied as died:
            self._died = died
        self._finish(draft, status, {}, error)

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
            tokenizer=self.book.manifest.key.wording,
        )


class _Stop:
    """Whether the reader wants no more of the answer.

    An object of its own, so that what asks it holds no conversation: one that is left is freed at once, tokens and all.
    """

    def __init__(self) -> None:
        self.wanted = False

    def check(self) -> None:
        """Raise `Stopped` when a stop is wanted."""
        if self.wanted:
            raise Stopped("Stopped.")


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


def _before(number: int | None, rows: Mapping[int, int]) -> dict[int, int]:
    """Return the rows of the turns before a number, of all turns without one."""
    return {known: row for known, row in rows.items() if number is None or known < number}


def _checked(question: str) -> str:
    """Return the question without blanks around it. Raises `UsageError` when nothing is left."""
    question = question.strip()
    if not question:
        raise UsageError("The question is empty.", 'Ask something: cagchat ask BOOK "question".')
    return question

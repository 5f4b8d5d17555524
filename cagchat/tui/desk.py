"""The one thread that owns library, book and conversation: it takes jobs from a queue and posts what happens in them.

Screens call `submit`, `stop` and `leave` and never wait; everything comes back as `Happened` and `Ended`.
"""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from textual.message_pump import MessagePump

from cagchat.conversation import AskOptions, Conversation
from cagchat.errors import CagchatError, Stopped, UsageError
from cagchat.events import Answer, AskEvent, PrepareEvent, Ready, Thinking
from cagchat.files import storage_error
from cagchat.limits.cost import cost_of
from cagchat.tui.jobs import Answering, Ask, Edit, Job, Knowing, LimitTo, Load, Prepare, Regenerate, Weigh
from cagchat.tui.messages import Ended, Happened

if TYPE_CHECKING:
    from cagchat.library import Library
    from cagchat.limits.limit import Limit
    from cagchat.opened import OpenBook
    from cagchat.sessions.session import Session
    from cagchat.sessions.store import Sessions

JOIN_S = (
    0.06  # fragments of an answer are posted together for so long: one message a token drains slower than tokens come
)
LEAVE_S = 0.6  # what leaving waits for the running job to write down what it has; quitting takes less than a second


@dataclass(slots=True, eq=False)
class Queued:
    """A job in the queue. `began` tells whether its turn has come: one that is stopped before then never begins."""

    number: int
    job: Job
    listener: MessagePump
    book: OpenBook | None
    began: bool = False


class Desk:
    """Runs jobs one after the other on a thread of its own, which never keeps the program from ending."""

    def __init__(
        self,
        library: Library,
        sessions: Sessions,
        answering: AskOptions,
        broke: Callable[[Exception], object],
        *,
        timer: Callable[[], float] = time.perf_counter,
    ) -> None:
        """`broke` hears of a defect of ours, which ends the thread."""
        self._library = library
        self._sessions = sessions
        self._answering = answering
        self._broke = broke
        self._timer = timer
        self._queue: queue.SimpleQueue[Queued | None] = queue.SimpleQueue()
        self._submitted = 0  # jobs are numbered, so that a stop ends those before it and none after it
        self._stopped = 0
        self._beginning = threading.Lock()  # a job has either begun or been stopped before
        self._leaving = threading.Event()
        self._book: OpenBook | None = None
        self._conversation: Conversation | None = None
        self._last_session: Session | None = None
        self._limit: Limit | None = None  # of the conversation, which looks it up in the record
        self._teller: _Teller | None = None
        self._kept = threading.Event()
        self._thread = threading.Thread(target=self._work, name="desk", daemon=True)
        self._thread.start()

    @property
    def session(self) -> Session | None:
        """The chat that is at the desk, or was when it was left."""
        conversation = self._conversation
        return conversation.session if conversation is not None else self._last_session

    def submit(self, job: Job, listener: MessagePump, book: OpenBook | None = None) -> Queued:
        """Queue a job and return its place there; `listener` is posted what happens in it.

        A job about `book` is refused when another one is open by its turn. Without it the job is about what is open.
        """
        self._submitted += 1
        queued = Queued(self._submitted, job, listener, book)
        self._queue.put(queued)
        return queued

    def stop(self) -> None:
        """End what was submitted so far soon, keeping what it did. Never waits."""
        with self._beginning:
            self._stopped = self._submitted
        self._interrupt()

    def flush(self) -> None:
        """Post the fragments of the running answer that wait for more: an engine may pause at any of them."""
        teller = self._teller
        if teller is not None:
            teller.flush()

    def leave(self, patience_s: float = LEAVE_S) -> None:
        """Stop, and wait so long for what was done to be recorded; the engine's process ends by itself."""
        self._leaving.set()
        self.stop()
        self._queue.put(None)
        self._kept.wait(patience_s)

    def _work(self) -> None:
        try:
            while (queued := self._queue.get()) is not None and not self._leaving.is_set():
                self._run(queued)
            self._kept.set()
            self._close()
        except Exception as error:  # the outer border of this thread
            if not self._leaving.is_set():
                self._broke(error)
            self._kept.set()

    def _interrupt(self) -> None:
        self._library.stop()
        conversation = self._conversation  # the desk's thread may take it away between two looks
        if conversation is not None:
            conversation.stop()

    def _run(self, queued: Queued) -> None:
        job, book = queued.job, queued.book
        error: CagchatError | None = None
        try:
            if book is not None and book is not self._book:
                raise Stopped("This book is not open any more.", "Open it again from the library.")
            self._do(queued)
        except CagchatError as raised:
            error = raised
        except OSError as refused:  # the system may refuse anything at any time: that is no defect of ours
            error = storage_error(refused, Path(refused.filename or self._sessions.path))
            error.__cause__ = refused
        queued.listener.post_message(Ended(job, error, self.session, self._limit))

    def _do(self, queued: Queued) -> None:
        job, listener = queued.job, queued.listener
        if isinstance(job, Load | Weigh | LimitTo):
            if self._book is not None:
                self._know(self._book, job, listener)
            return
        with self._beginning:
            queued.began = queued.number > self._stopped
        if not queued.began:
            raise Stopped("Stopped before it began.", "The same can be asked for again.")
        self._teller = teller = _Teller(job, listener, self._timer)
        try:
            for event in self._events(job):
                if queued.number <= self._stopped:
                    self._interrupt()  # the job forgets a stop that came before it had begun
                if isinstance(event, Ready):
                    self._book = event.book
                    self._conversation = Conversation(event.book, self._sessions)
                teller.tell(event)
        finally:
            teller.flush()
            self._teller = None

    def _know(self, book: OpenBook, job: Knowing, listener: MessagePump) -> None:
        """Change chat or limit, or say what that costs."""
        if isinstance(job, Load):
            self._conversation = conversation = Conversation(book, self._sessions, job.session)
            self._limit = conversation.limit
        elif (present := self._conversation) is not None:
            conversation = present
        else:
            return
        if isinstance(job, Weigh):
            listener.post_message(Happened(job, cost_of(job.limit, book, conversation.turns())))
        elif job.limit is not None:
            conversation.limit_to(job.limit)
            book.limit, self._limit = job.limit, conversation.limit

    def _events(self, job: Prepare | Answering) -> Iterable[PrepareEvent | AskEvent]:
        if isinstance(job, Prepare):
            self._close()
            self._last_session = None
            return self._library.prepare(job.book, job.options)
        conversation = self._conversation
        if conversation is None:
            raise UsageError("No book is open.", "Open one first.")
        match job:
            case Ask(question):
                return conversation.ask(question, self._answering)
            case Regenerate(number):
                return conversation.regenerate(self._answering, number)
            case Edit(number, question):
                return conversation.edit(number, question, self._answering)

    def _close(self) -> None:
        book, self._last_session = self._book, self.session
        self._book, self._conversation = None, None
        if book is not None:
            book.close()


class _Teller:
    """Posts events in their order; the fragments of a text are joined while they come fast. Two threads may flush."""

    def __init__(self, job: Job, listener: MessagePump, timer: Callable[[], float]) -> None:
        self._job = job
        self._listener = listener
        self._timer = timer
        self._lock = threading.Lock()
        self._kind: type[Answer | Thinking] = Answer
        self._texts: list[str] = []
        self._flushed_at = -JOIN_S

    def tell(self, event: PrepareEvent | AskEvent) -> None:
        """Post an event, or keep a fragment for a moment."""
        with self._lock:
            if not isinstance(event, self._kind):
                self._post_joined()
            if isinstance(event, Answer | Thinking):
                self._kind = type(event)
                self._texts.append(event.text)
                if self._timer() - self._flushed_at >= JOIN_S:
                    self._post_joined()
            else:
                self._post(Happened(self._job, event))

    def flush(self) -> None:
        """Post the fragments that wait."""
        with self._lock:
            self._post_joined()

    def _post_joined(self) -> None:
        if self._texts:
            texts, self._texts = self._texts, []
            self._flushed_at = self._timer()
            self._post(Happened(self._job, self._kind("".join(texts)), len(texts)))

    def _post(self, message: Happened) -> None:
        """Post by way of the event loop, whoever calls.

        Textual takes what its own thread posts at once, before what is on its way there from another.
        """
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:  # the desk's thread: its messages go that way anyhow
            self._listener.post_message(message)
        else:
            loop.call_soon(self._listener.post_message, message)

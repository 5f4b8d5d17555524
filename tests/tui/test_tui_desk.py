"""The desk: one owner thread, stops that arrive at any moment, and events that are joined while they come fast."""

from __future__ import annotations

import asyncio
import queue
import threading
from pathlib import Path

from textual.message import Message
from textual.message_pump import MessagePump

from cagchat.engine.backend import FakeBackend
from cagchat.engine.fake import FakeScript
from cagchat.errors import Stopped, UsageError
from cagchat.events import Answer, Answered, Ready
from cagchat.library import Options
from cagchat.limits.cost import Cost
from cagchat.limits.limit import Limit
from cagchat.tui.desk import Desk, _Teller
from cagchat.tui.jobs import Ask, Job, LimitTo, Load, Prepare, Regenerate, Weigh
from cagchat.tui.messages import Ended, Happened
from tests.reading_cases import chapters, write_book
from tests.tui.pilot import ANSWERING, ANSWERS, DEADLINE_S, Desktop, Gate

LANTERNS = "How many lanterns were there?"


class Listener(MessagePump):
    """Keeps what is posted."""

    def __init__(self) -> None:
        super().__init__()
        self.inbox: queue.SimpleQueue[Message] = queue.SimpleQueue()

    def post_message(self, message: Message) -> bool:
        self.inbox.put(message)
        return True

    def until_end(self, job: Job) -> tuple[list[Happened], Ended]:
        """Return what happened in a job, and its end."""
        happened = []
        while True:
            message = self.inbox.get(timeout=DEADLINE_S)
            if isinstance(message, Happened) and message.job is job:
                happened.append(message)
            elif isinstance(message, Ended) and message.job is job:
                return happened, message


class Bench:
    """A desk with a book on it."""

    def __init__(self, home: Path, gate: Gate | None = None) -> None:
        script = FakeScript(answers=ANSWERS, token_s=1.0)
        self.desktop = Desktop(home, FakeBackend(script, sleep=gate or Gate()))
        self.defects: list[Exception] = []
        self.now = 0.0
        self.desk = Desk(
            self.desktop.library, self.desktop.sessions, ANSWERING, self.defects.append, timer=lambda: self.now
        )
        self.listener = Listener()

    def do(self, job: Job) -> tuple[list[Happened], Ended]:
        """Run a job to its end."""
        self.desk.submit(job, self.listener)
        return self.listener.until_end(job)

    def opened(self) -> Bench:
        """Open the book."""
        happened, ended = self.do(Prepare(self.desktop.book, Options()))
        assert isinstance(happened[-1].event, Ready)
        assert ended.error is None
        return self


def answers(happened: list[Happened]) -> list[Happened]:
    """Return the messages with text of an answer."""
    return [message for message in happened if isinstance(message.event, Answer)]


def test_fragments_that_come_fast_are_joined(tmp_path: Path) -> None:
    """While no time passes, all fragments but the first come as one message, in order and complete."""
    bench = Bench(tmp_path).opened()
    happened, ended = bench.do(Ask(LANTERNS))
    texts = [message.event.text for message in answers(happened) if isinstance(message.event, Answer)]
    assert len(texts) == 2
    assert "".join(texts) == ANSWERS["lanterns"]
    assert sum(message.n_tokens for message in answers(happened)) == len(ANSWERS["lanterns"])
    assert isinstance(happened[-1].event, Answered)
    assert ended.session is not None


def test_a_flush_overtakes_nothing(tmp_path: Path) -> None:
    """What the app's own thread posts comes behind what the desk's thread has posted before."""

    async def go() -> list[str]:
        loop, home = asyncio.get_running_loop(), threading.get_ident()

        class Pump(Listener):
            """Takes messages as Textual does: its own thread's at once, others' by way of the loop."""

            def post_message(self, message: Message) -> bool:
                if threading.get_ident() == home:
                    return super().post_message(message)
                loop.call_soon_threadsafe(self.inbox.put, message)
                return True

        pump = Pump()
        teller = _Teller(Ask(LANTERNS), pump, timer=lambda: 0.0)

        def tell() -> None:
            for text in ("he ", "counted"):
                teller.tell(Answer(text))

        thread = threading.Thread(target=tell)
        thread.start()
        thread.join()
        teller.flush()
        await asyncio.sleep(0)
        found = [pump.inbox.get_nowait() for _ in range(2)]
        return [message.event.text for message in found]  # type: ignore[attr-defined]  # what happened: two answers

    assert asyncio.run(go()) == ["he ", "counted"]


def test_fragments_that_wait_can_be_flushed(tmp_path: Path) -> None:
    """When the engine pauses, a flush posts what was said so far."""
    gate = Gate()
    bench = Bench(tmp_path, gate).opened()
    gate.hold(10)
    job = Ask(LANTERNS)
    bench.desk.submit(job, bench.listener)
    assert gate.waiting.wait(DEADLINE_S)
    bench.desk.flush()
    first, second = bench.listener.inbox.get(), bench.listener.inbox.get()
    gate.release()
    bench.listener.until_end(job)
    told = [message.event.text for message in (first, second) if isinstance(message, Happened)]  # type: ignore[union-attr]  # answers
    assert "".join(told) == ANSWERS["lanterns"][:10]


def test_a_job_about_another_book_is_refused(tmp_path: Path) -> None:
    """A question about a book in whose place another was opened is not asked to that one."""
    bench = Bench(tmp_path)
    happened, _ = bench.do(Prepare(bench.desktop.book, Options()))
    ready = happened[-1].event
    assert isinstance(ready, Ready)
    bench.do(Prepare(write_book(tmp_path, chapters(3), "second.txt"), Options()))
    for job in (Ask(LANTERNS), Load(None), LimitTo(Limit(10, "there"))):
        bench.desk.submit(job, bench.listener, ready.book)
        happened, ended = bench.listener.until_end(job)
        assert not happened
        assert isinstance(ended.error, Stopped)
    assert not bench.desktop.sessions.list()


def test_a_stop_before_the_job_has_begun_counts(tmp_path: Path) -> None:
    """A question that is stopped while it waits for the desk is never asked."""
    gate = Gate()
    bench = Bench(tmp_path, gate).opened()
    gate.hold(5)
    running, waiting = Ask("Tell me everything"), Ask(LANTERNS)
    bench.desk.submit(running, bench.listener)
    assert gate.waiting.wait(DEADLINE_S)
    bench.desk.submit(waiting, bench.listener)
    bench.desk.stop()
    gate.release()
    _, ended = bench.listener.until_end(waiting)
    assert isinstance(ended.error, Stopped)
    (session,) = bench.desktop.sessions.list()
    assert [turn.status for turn in bench.desktop.sessions.turns(session.id)] == ["stopped"]


def test_a_stop_ends_nothing_that_comes_later(tmp_path: Path) -> None:
    """A question that is asked after a stop is answered."""
    bench = Bench(tmp_path).opened()
    bench.desk.stop()
    _, ended = bench.do(Ask(LANTERNS))
    assert ended.error is None


def test_without_a_book_nothing_is_asked(tmp_path: Path) -> None:
    """A question without an open book is refused with a sentence."""
    _, ended = Bench(tmp_path).do(Ask(LANTERNS))
    assert isinstance(ended.error, UsageError)


def test_a_chat_without_a_question_cannot_be_asked_again(tmp_path: Path) -> None:
    """Regenerating in a new chat is a refusal, after which the desk goes on."""
    bench = Bench(tmp_path).opened()
    _, ended = bench.do(Regenerate())
    assert isinstance(ended.error, UsageError)
    assert bench.do(Ask(LANTERNS))[1].error is None


def test_a_chat_is_loaded(tmp_path: Path) -> None:
    """After loading a chat the next question belongs to it, after loading none to a new one."""
    bench = Bench(tmp_path).opened()
    first = bench.do(Ask(LANTERNS))[1].session
    assert bench.do(Load(None))[1].session is None
    second = bench.do(Ask(LANTERNS))[1].session
    assert first is not None
    assert second is not None
    assert second.id != first.id
    bench.do(Load(first))
    bench.do(Ask("Who is Perrin?"))
    assert len(bench.desktop.sessions.turns(first.id)) == 2


def test_leaving_records_the_running_answer(tmp_path: Path) -> None:
    """What was said when the app is left is in the record, marked as stopped."""
    gate = Gate()
    bench = Bench(tmp_path, gate).opened()
    gate.hold(20)
    bench.desk.submit(Ask("Tell me everything"), bench.listener)
    assert gate.waiting.wait(DEADLINE_S)
    bench.desk.leave(0)
    gate.release()
    bench.desk.leave(DEADLINE_S)
    (session,) = bench.desktop.sessions.list()
    (turn,) = bench.desktop.sessions.turns(session.id)
    assert turn.status == "stopped"
    assert turn.answer == ANSWERS["everything"][:20].strip()


def test_leaving_does_not_wait_for_an_engine(tmp_path: Path) -> None:
    """An engine that does not answer keeps nobody from leaving."""
    gate = Gate()
    bench = Bench(tmp_path, gate).opened()
    gate.hold(5)
    bench.desk.submit(Ask(LANTERNS), bench.listener)
    assert gate.waiting.wait(DEADLINE_S)
    bench.desk.leave(0.01)
    assert not bench.defects
    gate.release()


def test_a_limit_is_weighed_and_nothing_is_changed(tmp_path: Path) -> None:
    """What a limit costs is told without moving it; then it is moved, for this chat and for new ones."""
    bench = Bench(tmp_path).opened()
    limit = Limit(100, "the first page")
    assert bench.do(Load(None))[1].limit is None
    (told,), ended = bench.do(Weigh(limit))
    assert (told.event, ended.error, ended.limit) == (Cost(limit, 0), None, None)
    assert bench.do(LimitTo(limit))[1].limit == limit
    assert bench.do(Load(None))[1].limit == limit


def test_a_limit_behind_what_a_chat_knows_is_refused(tmp_path: Path) -> None:
    """Neither weighing nor moving nor going on takes back what a chat knows; the chat is at the desk as it was."""
    bench = Bench(tmp_path).opened()
    session = bench.do(Ask(LANTERNS))[1].session
    limit = Limit(100, "the first page")
    for job in (Weigh(limit), LimitTo(limit), Load(session, limit)):
        ended = bench.do(job)[1]
        assert isinstance(ended.error, UsageError)
        assert ended.session == session
        assert ended.limit is None

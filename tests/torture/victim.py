"""The program that the torture kills: it reads, asks and deletes as the commands do, and says what it is at.

python -m tests.torture.victim

It imports everything once. For each `Job` that comes on stdin, a line of JSON, it forks: the child does the job and
says on stdout, a line of JSON each, what a reader would have been shown and which phase begins. The parent, which is
never killed, says how the child ended.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import FrameType
from typing import Any

import filelock  # noqa: F401 - loaded here, once, and not by every victim

import cagchat.passages.index
import cagchat.plan.planner
import cagchat.quotes.check  # noqa: F401
from cagchat.conversation import AskOptions, Conversation
from cagchat.engine.backend import Backend, FakeBackend, LlamaBackend, Notify
from cagchat.engine.child import Spare
from cagchat.engine.fake import FakeScript
from cagchat.engine.process import EngineProcess
from cagchat.engine.protocol import (
    BOOK,
    Blob,
    Engine,
    EngineSettings,
    Finish,
    Memory,
    Piece,
    Probe,
    Progress,
    Sampling,
    Tokens,
    Transfer,
)
from cagchat.engine.wire import Start
from cagchat.errors import CagchatError, EngineDied
from cagchat.events import Answer, Answered, Checkpointed, Ready, Resumed, Sealed
from cagchat.library import Library
from cagchat.limits.limit import Limit
from cagchat.opened import OpenBook
from cagchat.proof import count_evaluated
from cagchat.sessions.session import Status
from cagchat.sessions.store import Sessions
from cagchat.settings import Settings
from cagchat.wording import LEAST_EVIDENCE_TOKENS, Extras
from tests.reading_cases import SETTINGS, locations

SPEED = 50  # how much faster than clocks the library's timer runs, so that there are many checkpoints
BATCH_S, TOKEN_S = 0.005, 0.002  # the fake's
LONGEST_LINE = 4000  # the pipe takes as much in one piece
CHANGING = {"open", "mkdir", "write", "flush", "fsync", "close", "__exit__"}  # names of what is implemented in C
CHANGING |= {"replace", "rename", "unlink", "rmdir", "utime", "flock", "execute"}


@dataclass(frozen=True, slots=True)
class Job:
    """What a victim is to do.

    `deed` is "read", "damaged" (the same, with a state to be set aside), "ask", "forget" (the chat `session`) or
    "remove" (the state `name`). `model` is a GGUF's path, or empty for the fake that plays `memory`. `questions` are
    asked in `session`, or in a new chat that knows the book up to the character `until` (0 for all of it); the last
    one once more when `again`. With `die_at` the victim kills itself before that many calls that change a file.
    """

    home: str
    book: str
    model: str
    memory: Memory
    deed: str
    questions: tuple[str, ...] = ()
    again: bool = False
    session: str = ""
    until: int = 0
    name: str = ""
    die_at: int = 0


def say(word: str, *values: object) -> None:
    """Print a line in one piece, and at once."""
    line = json.dumps([word, *values]).encode()
    if len(line) > LONGEST_LINE:
        line = json.dumps([word, *(str(value)[-LONGEST_LINE // 8 :] for value in values)]).encode()
    os.write(1, line + b"\n")


def phase(name: str) -> None:
    """Say what comes next."""
    say("phase", name)


# -- what says when it does something ----------------------------------------------------------------------------------


class ToldEngine(EngineProcess):
    """An engine in a process of its own that says what it is about to do."""

    def __init__(self, start: Start, spare: Spare | None = None) -> None:
        super().__init__(start, spare)
        say("engine", self.pid)

    def close(self) -> None:
        say("engine", 0)  # its number may soon be another process's
        super().close()

    def evaluate(self, sequence: int, tokens: Tokens) -> Iterator[Progress]:
        phase("prefill" if sequence == BOOK else "history")
        return super().evaluate(sequence, tokens)

    def generate(
        self, sequence: int, prompt: Tokens, sampling: Sampling, *, max_tokens: int
    ) -> Iterator[Piece | Finish]:
        phase("decode")
        return super().generate(sequence, prompt, sampling, max_tokens=max_tokens)

    def probe(self, sequence: int, token: int, top: int) -> Probe:
        phase("probe")
        probe = super().probe(sequence, token, top)
        phase("record")
        return probe

    def save(self, sequence: int, path: Path) -> tuple[Blob, Transfer]:
        phase("checkpoint" if path.name.startswith("checkpoint") else "save")
        saved = super().save(sequence, path)
        phase("publish")
        return saved

    def save_boundary(self, sequence: int, path: Path) -> Blob | None:
        phase("boundary")
        blob = super().save_boundary(sequence, path)
        phase("publish")
        return blob

    def restore(self, sequence: int, path: Path, blob: Blob) -> Transfer:
        phase("restore")
        return super().restore(sequence, path, blob)


class ToldLlama(LlamaBackend):
    """llama.cpp in a process of its own, taken from a spare one as the commands do."""

    def open_engine(self, settings: EngineSettings, notify: Notify) -> Engine:
        return ToldEngine(Start("llama", (replace(settings, fast_kernels=False),)), self._spare)


class ToldFake(FakeBackend):
    """The fake in a process of its own."""

    def open_engine(self, settings: EngineSettings, notify: Notify) -> Engine:
        return ToldEngine(Start("fake", (settings, self.script)))


class ToldSessions(Sessions):
    """Chats that say when they write: "asked" and "finished" are what a reader may rely on from then on."""

    def begin_turn(
        self,
        session_id: str,
        question: str,
        proof: Mapping[str, object] | None = None,
        *,
        instead_of: int | None = None,
    ) -> int:
        phase("question")
        number = super().begin_turn(session_id, question, proof, instead_of=instead_of)
        say("asked", session_id, number, question)
        return number

    def update_answer(self, session_id: str, number: int, answer: str, thinking: str) -> None:
        phase("write answer")
        super().update_answer(session_id, number, answer, thinking)
        phase("decode")

    def finish_turn(
        self,
        session_id: str,
        number: int,
        *,
        answer: str,
        thinking: str,
        tokens: Sequence[int],
        status: Status,
        proof: Mapping[str, object],
        error: str = "",
        tokenizer: str = "",
    ) -> None:
        phase("finish turn")
        super().finish_turn(
            session_id,
            number,
            answer=answer,
            thinking=thinking,
            tokens=tokens,
            status=status,
            proof=proof,
            error=error,
            tokenizer=tokenizer,
        )
        say("finished", status)

    def delete(self, session_id: str) -> None:
        phase("delete chat")
        super().delete(session_id)
        say("forgotten", session_id)


# -- the deeds ---------------------------------------------------------------------------------------------------------


def settings_for(job: Job) -> Settings:
    """Return the settings under which everything of a job is done, also what is done after it."""
    share = 1.0 if job.model else 5.0  # some ten checkpoints with either engine
    return replace(SETTINGS, checkpoint_share=share, batch=32, chat_tokens=1024, max_tokens=16, model=job.model)


def script(job: Job) -> FakeScript:
    """Return how the fake behaves."""
    return FakeScript(memory=job.memory, batch_s=BATCH_S, token_s=TOKEN_S)


def answering(settings: Settings) -> AskOptions:
    """Return how questions are answered."""
    sampling = Sampling(temperature=settings.temperature, seed=settings.seed)
    return AskOptions(sampling, max_tokens=settings.max_tokens, extras=Extras("always", LEAST_EVIDENCE_TOKENS))


def opened(job: Job, backend: Backend) -> OpenBook:
    """Open the book, as every command does that needs it, and say what of it was read."""
    library = Library(locations(Path(job.home)), settings_for(job), backend, timer=lambda: SPEED * time.perf_counter())
    for event in library.prepare(Path(job.book)):
        match event:
            case Checkpointed(position):
                say("checkpointed", position)
            case Resumed(position):
                say("resumed", position)
            case Sealed():
                say("sealed")
            case Ready(book):
                spans = book.engine.take_spans()
                say("ready", count_evaluated(spans, book.n_tokens)[0], book.n_tokens)
                return book
    raise AssertionError("prepare ends with Ready")


def ask(job: Job, backend: Backend) -> None:
    """Ask the questions; an answer whose engine dies is followed by the next one."""
    with closing(opened(job, backend)) as book, ToldSessions(locations(Path(job.home)).sessions_db) as sessions:
        phase("open chats")
        sessions.recover()
        session = sessions.find(job.session) if job.session else None
        limit = Limit(job.until, f"character {job.until}") if job.until else None
        conversation = Conversation(book, sessions, session, limit=limit)
        options = answering(settings_for(job))
        for number, question in enumerate((*job.questions, *job.questions[-1:] * job.again)):
            again = number == len(job.questions)
            events = conversation.regenerate(options) if again else conversation.ask(question, options)
            try:
                for event in events:
                    match event:
                        case Answer(text):
                            say("shown", text)
                        case Answered(answer=text, proof=proof):
                            say("answered", text, 0 if proof.reading else proof.book_evaluated)
            except EngineDied as died:
                say("died", died.reason, died.hint)


def do(job: Job, spare: Spare | None) -> None:
    """Do the job."""
    folders = locations(Path(job.home))
    backend = ToldLlama(folders, "off", spare) if job.model else ToldFake(script(job))
    match job.deed:
        case "read" | "damaged":
            opened(job, backend).close()
        case "ask":
            ask(job, backend)
        case "forget":
            with ToldSessions(folders.sessions_db) as sessions:
                sessions.delete(job.session)
        case "remove":
            states = Library(folders, settings_for(job), backend).states
            phase("delete state")
            states.delete(states.find(job.name))
            say("removed")


# -- the victim and its parent -----------------------------------------------------------------------------------------


class Steps:
    """Counts the calls of the main thread that change a file, and ends this process by SIGKILL before `die_at`."""

    def __init__(self, die_at: int) -> None:
        self.taken = 0
        self._die_at = die_at
        sys.setprofile(self._watch)

    def _watch(self, frame: FrameType, event: str, called: Any) -> None:
        if event == "c_call" and called.__name__ in CHANGING and called is not os.write:  # that is for what is said
            self.taken += 1
            if self.taken == self._die_at:
                os.kill(os.getpid(), signal.SIGKILL)


def live(job: Job) -> int:
    """Do the job in this process, which somebody may kill; return its exit code."""
    os.environ["CAGCHAT_HOME"] = job.home  # by this, whoever kills this process finds what it has left running
    steps = Steps(job.die_at)
    spare = Spare() if job.model and job.deed in ("read", "damaged", "ask") else None
    try:
        phase("begin")
        do(job, spare)
        say("done", steps.taken)
    except CagchatError as error:
        say("failed", type(error).__name__, error.message, error.hint)
    except Exception:  # the outer border: a traceback is what the torture looks for
        say("traceback", traceback.format_exc())
        return 1
    finally:
        if spare is not None:
            spare.close()
    return 0


def main() -> None:
    """Fork a victim for each job on stdin."""
    for line in sys.stdin:
        job = Job(**json.loads(line))
        job = replace(job, questions=tuple(job.questions))
        pid = os.fork()
        if not pid:
            os._exit(live(job))
        say("born", pid)
        say("ended", os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))


def written(job: Job) -> str:
    """Return the line that brings a job."""
    return f"{json.dumps(asdict(job))}\n"


if __name__ == "__main__":
    main()

"""The engine's process: every way it can end, and what crosses the pipe."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from cagchat import errors
from cagchat.engine.child import LOG_TAIL_LINES, how_it_ended
from cagchat.engine.fake import FakeScript
from cagchat.engine.process import EngineProcess, TokenizerProcess
from cagchat.engine.protocol import BOOK, CHAT, EngineSettings, Finish, Progress, Sampling
from cagchat.engine.wire import Failure, Start, read_message, write_message
from cagchat.errors import CagchatError, EngineCancelled, EngineDied, EngineError, ModelError, StateMismatch
from cagchat.files import process_runs
from tests.waiting import has_ended, open_files, wait_until

SETTINGS = EngineSettings(model=Path("fake"), n_context=1 << 16, n_batch=8)
SLOW = FakeScript(answers={"?": "word " * 4000}, batch_s=0.005, token_s=0.005)
SIGNALS = [signal.SIGKILL, signal.SIGSEGV]


class InChild:
    """A sleep for the fake engine that is made in the child from its source: what the fake does at each batch."""

    def __init__(self, source: str) -> None:
        self._source = source

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return eval, (f"lambda seconds: {self._source}",)


def start(script: FakeScript = SLOW, sleep: InChild | None = None) -> EngineProcess:
    return EngineProcess(Start("fake", (SETTINGS, script, *([sleep] if sleep else []))))


@pytest.fixture
def engine() -> Iterator[EngineProcess]:
    engine = start()
    yield engine
    engine.close()


def tokens(count: int) -> list[int]:
    return [ord("x")] * count


def read(engine: EngineProcess, count: int = 8) -> None:
    for _ in engine.evaluate(BOOK, tokens(count)):
        pass


# -- dying -------------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not Path("/proc/self/limits").exists(), reason="limits of another process are read from /proc")
def test_a_crash_leaves_no_core_file(engine: EngineProcess) -> None:
    """The engine's process may write no core file: the book's text would be in it."""
    read(engine)
    limits = Path(f"/proc/{engine.pid}/limits").read_text().splitlines()
    (core,) = (line for line in limits if line.startswith("Max core file size"))
    assert core.split()[-3:-1] == ["0", "0"]


@pytest.mark.parametrize("number", SIGNALS)
def test_death_in_idle_is_an_error_of_the_next_call(engine: EngineProcess, number: signal.Signals) -> None:
    """An engine that died between two calls says so in the next one, with the signal's name."""
    read(engine)
    os.kill(engine.pid, number)
    wait_until(lambda: has_ended(engine.pid), "the engine did not end")
    with pytest.raises(EngineDied, match=number.name) as caught:
        engine.length(BOOK)
    assert caught.value.reason == number.name
    assert caught.value.hint


@pytest.mark.parametrize("number", SIGNALS)
def test_death_while_reading_ends_the_stream(engine: EngineProcess, number: signal.Signals) -> None:
    """An engine that dies in the middle of a reading ends it with the signal's name."""
    stream = engine.evaluate(BOOK, tokens(8000))
    next(stream)
    os.kill(engine.pid, number)
    with pytest.raises(EngineDied) as caught:
        list(stream)
    assert caught.value.reason == number.name


@pytest.mark.parametrize("number", SIGNALS)
def test_death_while_answering_ends_the_stream(engine: EngineProcess, number: signal.Signals) -> None:
    """An engine that dies in the middle of an answer ends it with the signal's name."""
    read(engine)
    engine.fork(BOOK, CHAT)
    stream = engine.generate(CHAT, [ord("?")], Sampling(), max_tokens=4000)
    next(stream)
    os.kill(engine.pid, number)
    with pytest.raises(EngineDied) as caught:
        list(stream)
    assert caught.value.reason == number.name


def test_death_comes_with_the_last_log_lines() -> None:
    """The end of what the engine wrote to stderr is in the error, and no more of it than is readable."""
    source = "[__import__('os').write(2, b'line %d\\n' % n) for n in range(50)] and __import__('os').abort()"
    engine = start(sleep=InChild(source))
    try:
        with pytest.raises(EngineDied) as caught:
            read(engine)
        assert caught.value.reason == "SIGABRT"
        assert 0 < len(caught.value.log_lines) <= LOG_TAIL_LINES
    finally:
        engine.close()


def test_a_native_fault_leaves_its_trace_in_the_log(engine: EngineProcess) -> None:
    """What faulthandler wrote about a SIGSEGV is among the log lines."""
    stream = engine.evaluate(BOOK, tokens(8000))
    next(stream)
    os.kill(engine.pid, signal.SIGSEGV)
    with pytest.raises(EngineDied) as caught:
        list(stream)
    assert any("serve.py" in line for line in caught.value.log_lines)


def test_every_call_after_death_says_the_same(engine: EngineProcess) -> None:
    """A dead engine answers every further call with the reason of its death."""
    os.kill(engine.pid, signal.SIGKILL)
    for _ in range(3):
        with pytest.raises(EngineDied, match="SIGKILL"):
            engine.length(BOOK)


def test_death_while_it_is_built_is_an_error_of_the_first_call() -> None:
    """An engine that dies before it is ready raises where it is first needed."""
    engine = EngineProcess(Start("fake", (SETTINGS, 5, 5, 5, 5)))  # too many arguments: a defect inside the child
    try:
        with pytest.raises(EngineDied, match="exit code 70") as caught:
            engine.length(BOOK)
        assert any("TypeError" in line for line in caught.value.log_lines)
    finally:
        engine.close()


def test_a_model_that_ends_the_process_is_what_the_hint_is_about() -> None:
    """When the engine dies before it is ready, the hint is to take another model, not to ask again."""
    engine = EngineProcess(Start("fake", (SETTINGS, 5, 5, 5, 5)))
    try:
        with pytest.raises(EngineDied) as caught:
            engine.length(BOOK)
        assert "--model" in caught.value.hint
    finally:
        engine.close()


@pytest.mark.parametrize(
    ("reason", "lines", "said"),
    [
        ("SIGSEGV", (), "The engine's process ended (SIGSEGV)."),
        ("SIGKILL", (), "as when memory runs out"),
        ("SIGABRT", ("/a/b.cpp:7: GGML_ASSERT(n > 0) failed", "#0 0x7f in abort"), "GGML_ASSERT(n > 0) failed)."),
        ("SIGABRT", ("terminate called", "  what():  std::bad_alloc", "Aborted"), "bad_alloc), as when memory runs"),
        ("SIGABRT", ("Fatal signal: Aborted", "error creating backtrace: mmap: 12"), "(SIGABRT), as when memory runs"),
        ("SIGABRT", ("/a.c:9: GGML_ASSERT(ctx->mem_buffer != NULL) failed",), "failed), as when memory runs"),
        ("exit code 70", ("Traceback:", "RuntimeError: can't start new thread"), "as when memory runs out"),
        ("SIGABRT", ("CUDA error: out of memory", "in function alloc"), "CUDA error: out of memory), as when memory"),
    ],
)
def test_how_it_ended_is_told_by_its_last_words(reason: str, lines: tuple[str, ...], said: str) -> None:
    """The sentence has the line that says why, and what takes less when it was memory."""
    sentence = how_it_ended(reason, lines)
    assert said in sentence
    assert sentence.endswith(".")
    assert ("--kv" in sentence) == ("memory runs out" in said or "as when memory" in said)


def test_an_exit_code_is_named_too() -> None:
    """A child that exits instead of crashing is named by its exit code."""
    engine = start(sleep=InChild("__import__('os')._exit(3)"))
    try:
        with pytest.raises(EngineDied) as caught:
            read(engine)
        assert caught.value.reason == "exit code 3"
    finally:
        engine.close()


# -- closing -----------------------------------------------------------------------------------------------------------


def test_closing_ends_the_process(engine: EngineProcess) -> None:
    """After `close` the process is gone, although it was in the middle of a reading."""
    stream = engine.evaluate(BOOK, tokens(8000))
    next(stream)
    engine.close()
    assert has_ended(engine.pid)
    with contextlib.suppress(EngineDied):
        list(stream)


def test_closing_twice_is_harmless() -> None:
    """The first `close` leaves no process and no open file, pipes and log among them; a second does nothing."""
    before = open_files()
    engine = start()
    read(engine)
    engine.close()
    assert (process_runs(engine.pid), open_files() <= before) == (False, True)
    engine.close()
    assert (process_runs(engine.pid), open_files() <= before) == (False, True)


def test_closing_a_dead_engine_is_harmless() -> None:
    """`close` after a crash tidies up: no zombie, pipe or log is left."""
    before = open_files()
    engine = start()
    os.kill(engine.pid, signal.SIGKILL)
    engine.close()
    assert (process_runs(engine.pid), open_files() <= before) == (False, True)


def test_a_closed_engine_says_so(engine: EngineProcess) -> None:
    """A call after `close` is an error with a hint, not a traceback of a closed file."""
    read(engine)
    engine.close()
    with pytest.raises(EngineDied, match="closed"):
        engine.length(BOOK)


def test_the_child_ends_with_its_parent(tmp_path: Path) -> None:
    """When this program is killed outright, the engine ends by itself, in the middle of a reading too."""
    program = tmp_path / "parent.py"
    program.write_text(
        "from pathlib import Path\n"
        "from cagchat.engine.fake import FakeScript\n"
        "from cagchat.engine.process import EngineProcess\n"
        "from cagchat.engine.protocol import EngineSettings\n"
        "from cagchat.engine.wire import Start\n"
        "settings = EngineSettings(model=Path('fake'), n_context=1 << 20, n_batch=1)\n"
        "engine = EngineProcess(Start('fake', (settings, FakeScript(batch_s=0.01))))\n"
        "for progress in engine.evaluate(0, [1] * 100_000):\n"
        "    if progress.position == 3:\n"
        "        print(engine.pid, flush=True)\n"
    )
    parent = subprocess.Popen([sys.executable, str(program)], stdout=subprocess.PIPE, text=True)
    with parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert not has_ended(pid)
        parent.kill()
    wait_until(lambda: has_ended(pid), "the engine outlived its parent")


# -- cancelling --------------------------------------------------------------------------------------------------------


def test_a_reading_is_cancelled_from_another_thread(engine: EngineProcess) -> None:
    """`cancel` from another thread ends a reading, and the length is the true one."""
    stream = engine.evaluate(BOOK, tokens(8000))
    seen = [next(stream)]
    thread = threading.Thread(target=engine.cancel)
    thread.start()
    with pytest.raises(EngineCancelled):
        seen.extend(stream)
    thread.join()
    assert engine.length(BOOK) == seen[-1].position < 8000


def test_an_answer_is_cancelled_from_another_thread(engine: EngineProcess) -> None:
    """`cancel` from another thread ends an answer with what was said so far."""
    read(engine)
    engine.fork(BOOK, CHAT)
    stream = engine.generate(CHAT, [ord("?")], Sampling(), max_tokens=4000)
    items = [next(stream)]
    thread = threading.Thread(target=engine.cancel)
    thread.start()
    items.extend(stream)
    thread.join()
    last = items.pop()
    assert isinstance(last, Finish)
    assert last.reason == "cancelled"
    assert last.position == 8 + 1 + len(items)


def test_a_cancel_between_calls_is_harmless(engine: EngineProcess) -> None:
    """A cancel that comes when nothing is running does not stop the next call."""
    read(engine)
    engine.cancel()
    read(engine, 24)
    assert engine.length(BOOK) == 32


def test_an_abandoned_stream_does_not_answer_the_next_call(engine: EngineProcess) -> None:
    """Items of a stream that nobody listens to any more are not taken for later results."""
    stream = engine.evaluate(BOOK, tokens(8000))
    assert isinstance(next(stream), Progress)
    stream.close()  # type: ignore[attr-defined]  # the protocol promises an iterator, and this one is a generator
    length = engine.length(BOOK)
    assert 8 <= length < 8000
    assert engine.text_of(tokens(2)) == b"xx"


# -- what crosses the pipe ---------------------------------------------------------------------------------------------


def error_classes() -> list[type[CagchatError]]:
    found = [value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, CagchatError)]
    return sorted(found, key=lambda kind: kind.__name__)


@pytest.mark.parametrize("kind", error_classes())
def test_every_error_crosses_the_pipe(kind: type[CagchatError]) -> None:
    """An error comes out of the pipe with its class, message, hint and whatever else it knows."""
    sent = kind("What happened.", "What to do.", **({"field": "kv_type"} if kind is StateMismatch else {}))
    pipe = io.BytesIO()
    write_message(pipe, Failure(7, sent))
    pipe.seek(0)
    received = read_message(pipe)
    assert received.number == 7
    assert type(received.error) is kind
    assert (received.error.message, received.error.hint, str(received.error)) == (
        "What happened.",
        "What to do.",
        "What happened.",
    )
    assert vars(received.error) == vars(sent)


def test_an_error_of_the_child_is_raised_here() -> None:
    """An error raised in the child arrives with class, message, hint and field, and the child goes on."""
    source = (
        "(_ for _ in ()).throw(__import__('cagchat.errors', fromlist=['x'])"
        ".StateMismatch('What happened.', 'What to do.', field='kv_type'))"
    )
    engine = start(sleep=InChild(source))
    try:
        with pytest.raises(StateMismatch) as caught:
            read(engine)
        assert (caught.value.message, caught.value.hint, caught.value.field) == (
            "What happened.",
            "What to do.",
            "kv_type",
        )
        assert engine.length(BOOK) == 8
    finally:
        engine.close()


@pytest.mark.parametrize("raised", ["OSError(28, 'No space left on device')", "MemoryError()"])
def test_an_error_of_the_system_is_an_engine_error(raised: str) -> None:
    """What the system refuses in the child is an `EngineError` with a hint here, and the child goes on."""
    engine = start(sleep=InChild(f"(_ for _ in ()).throw({raised})"))
    try:
        with pytest.raises(EngineError) as caught:
            read(engine)
        assert not isinstance(caught.value, EngineDied)
        assert caught.value.hint
        assert engine.length(BOOK) == 8
    finally:
        engine.close()


def test_a_flood_of_log_lines_blocks_nothing() -> None:
    """A child that writes megabytes to stderr is not slowed by a pipe that nobody reads."""
    engine = start(sleep=InChild("__import__('os').write(2, b'noise\\n' * 200_000)"))
    try:
        read(engine, 40)
        assert engine.length(BOOK) == 40
    finally:
        engine.close()


def test_prints_in_the_child_do_not_disturb_the_pipe() -> None:
    """Whatever a library prints to stdout in the child goes to its log, not between the messages."""
    engine = start(sleep=InChild("print('a library says hello', flush=True)"))
    try:
        read(engine, 16)
        assert engine.length(BOOK) == 16
    finally:
        engine.close()


def test_a_file_that_is_no_model_is_a_model_error(tmp_path: Path) -> None:
    """A file that llama.cpp cannot load is a `ModelError` with its path, from the engine and from the tokenizer."""
    path = tmp_path / "novel.gguf"
    path.write_bytes(b"this is not a model" * 100)
    settings = EngineSettings(model=path, n_context=256, threads=1, fast_kernels=False)
    engine, tokenizer = EngineProcess(Start("llama", (settings,))), TokenizerProcess(Start("tokenizer", (path,)))
    try:
        with pytest.raises(ModelError, match=r"novel\.gguf") as caught:
            engine.length(BOOK)
        assert caught.value.hint
        with pytest.raises(ModelError, match=r"novel\.gguf"):
            tokenizer.tokenize(["text"], special=False)
    finally:
        engine.close()
        tokenizer.close()

"""Loading in a process of its own: what comes back, what is refused, and that limits hold."""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from cagchat.documents.document import Document, Page, Section
from cagchat.documents.password import PasswordNeeded
from cagchat.documents.sandbox import Limits, apart
from cagchat.errors import BookError, BookTooLong

ROOT = Path(__file__).resolve().parents[2]
MIB = 1 << 20


class Loaders:
    """Functions in a module that only the child imports."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environ = {**os.environ, "PYTHONPATH": f"{folder}{os.pathsep}{ROOT}"}

    def run(self, body: str, content: bytes = b"x", password: str = "", **limits: float) -> Document:
        """Load with a function of this body, whose arguments are `content`, `name` and `password`."""
        lines = [
            "import ctypes, os, resource, sys, threading",
            "from cagchat.documents.document import Document, Page, Section",
            "from cagchat.documents.password import PasswordNeeded",
            "from cagchat.errors import BookError, BookTooLong",
            "def document(text, **fields):",
            "    return Document('Title', text, (Section('', 0, len(text)),), 'kind', **fields)",
            "def load(content, name, password):",
            textwrap.indent(textwrap.dedent(body), "    "),
        ]
        (self.folder / "loader_of_a_test.py").write_text("\n".join(lines), encoding="utf-8")
        chosen = Limits(**limits)  # type: ignore[arg-type]  # whole numbers where the field is one
        return apart("loader_of_a_test:load", content, "lamp.pdf", password, limits=chosen, environ=self.environ)


@pytest.fixture
def loaders(tmp_path: Path) -> Loaders:
    return Loaders(tmp_path)


def test_the_document_comes_back_whole(loaders: Loaders) -> None:
    """Every field crosses the pipe as it was, with text that is hard to encode."""
    text = "one\n\nZwölf 灯台 \U0001f56f \ufffd\n"
    document = loaders.run(
        f"""
        text = {text!r}
        sections = (Section("Front", 0, 5, 0), Section("One", 5, len(text), 2))
        return Document(name, text, sections, "pdf", "Author", "de", ("A note.",), (Page("xii", 0), Page("1", 5)))
        """
    )
    assert document == Document(
        "lamp.pdf",
        text,
        (Section("Front", 0, 5, 0), Section("One", 5, len(text), 2)),
        "pdf",
        "Author",
        "de",
        ("A note.",),
        (Page("xii", 0), Page("1", 5)),
    )


def test_content_and_password_reach_the_loader(loaders: Loaders) -> None:
    """Bytes of any value arrive; the password does not stand on the command line or in the environment."""
    content = bytes(range(256)) * 1000
    text = loaders.run(
        """
        seen = open("/proc/self/cmdline").read() + str(os.environ) if os.path.exists("/proc") else ""
        assert password not in seen
        return document(password + str(hash(content) == hash(bytes(range(256)) * 1000)))
        """,
        content,
        "Ölkanne",
    ).text
    assert text == "ÖlkanneTrue"


def test_what_a_loader_prints_does_not_touch_the_answer(loaders: Loaders) -> None:
    """Native libraries may print to stdout."""
    assert loaders.run("os.write(1, b'noise' * 100)\nprint('noise')\nreturn document('text')").text == "text"


def test_the_order_of_sets_is_the_same_in_every_run(loaders: Loaders) -> None:
    """A loader that goes through a set of strings makes the same text each time."""
    body = "return document(''.join({str(number) for number in range(50)}))"
    assert loaders.run(body).digest == loaders.run(body).digest


def test_errors_keep_their_sentence_and_hint(loaders: Loaders) -> None:
    """A loader's `BookError` is raised here with its message and its hint."""
    with pytest.raises(BookError, match="It is damp") as caught:
        loaders.run("raise BookError('It is damp.', 'Dry it.')")
    assert caught.value.hint == "Dry it."


def test_a_locked_document_can_be_told_from_others(loaders: Loaders) -> None:
    """`PasswordNeeded` keeps its class, so that a front end asks; other subclasses are plain `BookError`s."""
    with pytest.raises(PasswordNeeded):
        loaders.run("raise PasswordNeeded('It is locked.', '')")
    with pytest.raises(BookError) as caught:
        loaders.run("raise BookTooLong('It is long.', '')")
    assert not isinstance(caught.value, BookTooLong)


def test_a_bug_in_a_loader_is_one_error_with_its_reason(loaders: Loaders) -> None:
    """An unexpected exception names itself, not its traceback."""
    with pytest.raises(BookError, match=r"^Reading lamp\.pdf failed: KeyError: 'wick'\.$") as caught:
        loaders.run("{}['wick']")
    assert caught.value.hint


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("os.abort()", "SIGABRT"),
        ("ctypes.string_at(8)", "SIGSEGV"),
        ("os._exit(3)", "exit code 3"),
        ("os.kill(os.getpid(), 9)", "SIGKILL"),
    ],
)
def test_a_crash_is_one_error(loaders: Loaders, body: str, reason: str) -> None:
    """A child that ends without an answer is described by its signal or exit code."""
    with pytest.raises(BookError, match=f"failed: {reason}"):
        loaders.run(body)


def test_memory_is_limited(loaders: Loaders) -> None:
    """A loader that asks for more memory than it may have is refused."""
    with pytest.raises(BookError, match="needs more than 400 MiB of memory"):
        loaders.run("return document('x' * (1 << 30))", memory_bytes=400 * MIB)


def test_a_loop_is_ended(loaders: Loaders) -> None:
    """Work without an end is stopped by the limit on processor time."""
    with pytest.raises(BookError, match="more than 1 s of work"):
        loaders.run("while True: pass", cpu_s=1)


def test_waiting_is_ended(loaders: Loaders) -> None:
    """A child that does nothing is stopped by the clock."""
    with pytest.raises(BookError, match=r"took longer than 0\.5 s"):
        loaders.run("threading.Event().wait()", wall_s=0.5)


def test_a_child_that_does_not_read_is_ended(loaders: Loaders) -> None:
    """A child that never takes its input cannot hold the parent."""
    (loaders.folder / "sitecustomize.py").write_text("import threading\nthreading.Event().wait()\n", encoding="utf-8")
    with pytest.raises(BookError, match="took longer than"):
        loaders.run("return document('never')", b"x" * MIB, wall_s=0.5)


def test_files_are_limited(loaders: Loaders) -> None:
    """A loader can neither fill the disk nor hold many files open, and leaves no core."""
    document = loaders.run(
        """
        kinds = (resource.RLIMIT_FSIZE, resource.RLIMIT_NOFILE, resource.RLIMIT_CORE)
        return document(str([resource.getrlimit(kind)[0] for kind in kinds]))
        """,
        log_bytes=5000,
        open_files=20,
    )
    assert document.text == "[5000, 20, 0]"


def test_a_flood_of_messages_is_cut_off(loaders: Loaders) -> None:
    """What a loader writes to stderr is bounded, and the end of it is the reason."""
    with pytest.raises(BookError, match=r"failed: .{1,200}"):
        loaders.run("sys.stderr.write('noise ' * 1_000_000)\nos._exit(1)", log_bytes=10_000)


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        ("return Document('t', 'abc', (Section('', 0, 2),), 'k')", "do not cover"),
        ("return Document('t', 'abc', (), 'k')", "do not cover"),
        ("return Document('t', 'abc', (Section('', 0, 2), Section('', 1, 3)), 'k')", "overlap"),
        ("return document('abc', pages=(Page('1', 2), Page('2', 1)))", "out of order"),
        ("return document('abc', pages=(Page('1', 99),))", "out of order"),
        ("return document('abc', notes=(1,))", "wrong form"),
        ("return Document(7, 'abc', (Section('', 0, 3),), 'k')", "title is no text"),
        ("return Document('t', 'abc', (Section('', 0, True),), 'k')", "wrong form"),
    ],
)
def test_an_answer_that_is_no_document_is_refused(loaders: Loaders, body: str, complaint: str) -> None:
    """Fields are checked before anything uses them."""
    with pytest.raises(BookError, match=complaint):
        loaders.run(body)


@pytest.mark.parametrize(
    "answer",
    [b"[1]", b"{", b"[" * 100_000, b'{"error": 1}', b'{"error": "SystemExit", "message": 5}', b'{"text": null}'],
)
def test_a_child_that_was_taken_over_can_only_be_refused(loaders: Loaders, answer: bytes) -> None:
    """Whatever bytes stand where the answer should be, they are one error."""
    # 3 is the child's copy of its stdout, the first file that it opens.
    body = f"""
    answer = eval({str(answer)!r})
    os.write(3, len(answer).to_bytes(8, 'little') + answer)
    os._exit(0)
    """
    with pytest.raises(BookError, match="without a usable answer"):
        loaders.run(body)


def test_an_answer_that_is_too_large_is_refused(loaders: Loaders) -> None:
    """The parent takes no more bytes than it was told to."""
    with pytest.raises(BookError, match="too large"):
        loaders.run("return document('x' * 100_000)", answer_bytes=50_000)


def test_nothing_is_left_running(loaders: Loaders, tmp_path: Path) -> None:
    """The child is gone when the call returns, after an answer and after a refusal."""
    for body in ("return document('x')", "threading.Event().wait()"):
        note = tmp_path / "pid"
        with contextlib.suppress(BookError):
            loaders.run(f"open({str(note)!r}, 'w').write(str(os.getpid()))\n{body}", wall_s=1.0)
        with pytest.raises(ProcessLookupError):
            os.kill(int(note.read_text(encoding="utf-8")), 0)


def test_the_child_ends_with_its_parent(loaders: Loaders, tmp_path: Path) -> None:
    """When the process that waits for a document is killed, nothing goes on reading it."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    (tmp_path / "loader_of_a_test.py").write_text(
        f"import threading\ndef load(content, name, password):\n"
        f"    with open({str(pipe)!r}, 'w') as held:\n        held.write('x')\n        held.flush()\n"
        "        threading.Event().wait()\n",
        encoding="utf-8",
    )
    code = "from cagchat.documents.sandbox import apart; apart('loader_of_a_test:load', b'x', 'lamp.pdf')"
    waiting = subprocess.Popen([sys.executable, "-c", code], env=loaders.environ)
    with waiting as parent, pipe.open("rb", buffering=0) as held:
        assert held.read(1) == b"x"
        parent.kill()
        # The end of the pipe, which only the child holds open, says that it has ended.
        assert select.select([held], [], [], 30)[0]
        assert held.read(1) == b""

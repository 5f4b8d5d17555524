"""`cagchat bench peers` counts what other ways evaluate, says what it left out, and ends every server it started."""

from __future__ import annotations

import json
import os
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cagchat.bench.memory import peak_of_family
from cagchat.bench.peers import comparison, found, served
from cagchat.bench.peers.client import Server, free_port
from cagchat.bench.peers.failure import failure
from cagchat.bench.peers.found import SERVER, Found, look
from cagchat.bench.peers.job import Answer, Job, Prompts, Way, answer_all
from cagchat.bench.synth import write_model
from cagchat.bench.tables import Cell, Table
from cagchat.bench.workbench import Workbench
from cagchat.cli.main import main
from cagchat.errors import EngineError, UsageError
from cagchat.settings import Settings

SENTENCE = "Forty-one lanterns hung along the quay, and Ines Varga wrote the number on her cuff. "
ALONE = Found(sys.executable, {})  # nothing but the package that cagchat needs itself
TWO_SLOTS: tuple[Way, Way] = ("slots", "slots_own")
ON = {True: "on", False: "off"}
STEPS = ("first", "second", "regenerate", "new_chat")

# Answers like llama-server and like llama_cpp.server, of whose launcher it takes the place: the slot keeps what came
# before, the other notes that all of it is decoded.
STAND_IN = """#!{python}
import json, sys
from http.server import BaseHTTPRequestHandler, HTTPServer

options = dict(zip(sys.argv, sys.argv[1:]))
notes = sys.argv[3]
held = []

class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.reply(b"{{}}")

    def do_POST(self):
        global held
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path.startswith("/slots/0"):
            held = [1, 2, 3] if "restore" in self.path else held
            return self.reply(b"{{}}")
        prompt = body["prompt"]
        if prompt == "fail":
            return self.send_error(400, "no such thing")
        if self.path == "/v1/completions":
            print(0, len(prompt), file=open(notes, "a"))
            events = [{{"choices": [{{"text": "ab"}}]}}]
        else:
            reused = next((i for i, (a, b) in enumerate(zip(held, prompt)) if a != b), min(len(held), len(prompt)))
            held = prompt
            events = [{{"tokens": [7]}}, {{"tokens": [8]}}, {{"tokens": [], "timings": {{"cache_n": reused}}}}]
        self.reply("".join(f"data: {{json.dumps(event)}}\\n\\n" for event in events).encode())

    def reply(self, content):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(content)

HTTPServer((options["--host"], int(options["--port"])), Handler).serve_forever()
"""


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("peers") / "tiny.gguf", "qwen3", layers=2)


@pytest.fixture
def bench(tiny: Path, tmp_path: Path) -> Workbench:
    book = tmp_path / "lanterns.txt"
    book.write_text(SENTENCE * 8, encoding="utf-8")
    settings = Settings(model=str(tiny), threads=1, batch=128, chat_tokens=512, fast_kernels="off")
    return Workbench(tmp_path / "home", settings, book, repeat=1, lengths=(), say=lambda text: None)


@pytest.fixture
def stand_in(tmp_path: Path) -> str:
    path = tmp_path / "stand-in"
    path.write_text(STAND_IN.format(python=sys.executable), encoding="utf-8")
    path.chmod(0o755)
    return str(path)


def job(way: Way, folder: Path, **others: Any) -> Job:
    """A job for the stand-in: a book of three tokens, or of three letters."""
    return Job(
        way=way,
        phase=others.pop("phase", "read"),
        folder=str(folder),
        model="none.gguf",
        home="",
        path="",
        settings={},
        questions=[],
        book=[1, 2, 3],
        opening=[4],
        bodies=[[10], [11], [12]],
        book_text="one",
        opening_text="-",
        body_texts=["?", "!", "."],
        **others,
    )


def books(rows: tuple[Any, ...], name: str, process: str) -> list[Cell]:
    """Return the book tokens that one way evaluated in one process, step by step."""
    (row,) = [row for row in rows if (row["way"], row["phase"]) == (name, process)]
    return [row[f"{step}_book"] for step in STEPS]


def test_prompts_make_chats() -> None:
    """A second question follows the last answer, regenerating asks the same again, a new chat begins at the book."""
    prompts = Prompts("book ", " | ", ["a?", "b?", "c?"])
    asked = []
    for step, answer in (("first", "A"), ("second", "B"), ("regenerate", "C"), ("new_chat", "D")):
        asked.append(prompts.take(step))  # type: ignore[arg-type]  # a tuple of words is one of strings
        prompts.add(answer)
    assert asked == ["book a?", "book a?A | b?", "book a?A | b?", "book c?"]


def test_first_token_counts() -> None:
    """Seconds run to the first of an answer's tokens, those of the first answer from before everything."""
    ticks = iter(range(1, 100))

    def ask(step: str, here: Any) -> int:
        here()
        here()
        return len(step)

    answers = answer_all(ask, 0.0, lambda: float(next(ticks)))
    assert answers[0] == Answer("first", 1.0, 5)
    assert [answer.first_token_s for answer in answers[1:]] == [1.0, 1.0, 1.0]


def test_attention_is_read_once(bench: Workbench) -> None:
    """With an attention model only the way that keeps nothing reads again; each says its bytes, no file is left."""
    rows = comparison.compare(bench, ALONE, time.perf_counter).rows
    whole = rows[0]["first_book"]
    assert whole
    for name in ALONE.ways().values():
        assert books(rows, name, "reads the book") == [whole, 0, 0, 0]
        forgot = whole if name == found.WAYS["plain"] else 0
        assert books(rows, name, "after a restart") == [forgot, 0, 0, 0]
    kept = {row["way"]: row["size"] for row in rows if row["phase"] == "reads the book"}
    assert [name for name, size in kept.items() if not size] == [found.WAYS["plain"]]
    assert not (bench.home / "peers").exists()


def test_hybrid_is_read_again_by_the_package(bench: Workbench) -> None:
    """With a hybrid cagchat reads once; the package's own ways read again unless a state is loaded each time."""
    hybrid = comparison.on_hybrid(bench, 400, layers=4, embed=128)
    rows = comparison.compare(hybrid, ALONE, time.perf_counter, is_noise=True).rows
    whole = rows[0]["first_book"]
    assert whole
    for name in (found.WAYS["cagchat"], found.WAYS["save_state"]):
        assert books(rows, name, "reads the book") == [whole, 0, 0, 0]
        assert books(rows, name, "after a restart") == [0, 0, 0, 0]
    for name in (found.WAYS["plain"], found.WAYS["disk_cache"]):
        assert books(rows, name, "reads the book") == [whole, 0, whole, whole]
        assert books(rows, name, "after a restart") == [whole, 0, whole, whole]


def test_crash_of_a_way_is_a_row(bench: Workbench) -> None:
    """A process that ends badly leaves the reason in its row, and the other ways are still measured."""

    class Odd(Found):
        def ways(self) -> dict[Way, str]:
            return {"cagchat": "cagchat", "nonsense": "Nonsense"}  # type: ignore[dict-item]  # that is the point

    rows = comparison.compare(bench, Odd(sys.executable, {}), time.perf_counter).rows
    assert books(rows, "cagchat", "after a restart") == [0, 0, 0, 0]
    (reason,) = {str(row["first"]) for row in rows if row["way"] == "Nonsense"}
    assert "KeyError" in reason


def test_missing_extra_is_a_note(bench: Workbench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the packages that write the hybrid, a note says how to get them and the other table stays."""
    monkeypatch.setitem(sys.modules, "cagchat.bench.synth", None)
    table = Table("peers", "Ways", comparison.COLUMNS, ())
    monkeypatch.setattr(comparison, "compare", lambda bench, found, timer: table)
    (shown,) = comparison.measure(bench)
    assert "pip install 'cagchat[bench]'" in shown.notes[-1]


def test_native_crash_is_named() -> None:
    """A signal is called by its name, with the last line of the log."""
    assert failure(-11, "loading\n\nmatrix kernels\n").message == "It ended with SIGSEGV: matrix kernels."


def test_what_lacks_is_left_out_and_said() -> None:
    """A server whose packages are not there is no row, and a sentence says what to install."""
    assert {"server", "slots", "slots_own"}.isdisjoint(ALONE.ways())
    server, slots = ALONE.left_out()
    assert "pip install 'llama-cpp-python[server]'" in server
    assert "uvicorn" in server
    assert "pip install xllamacpp" in slots


def test_what_is_there_is_named() -> None:
    """With all packages nothing is left out, and llama-server is named with where it comes from."""
    versions: dict[str, str | None] = dict.fromkeys((*SERVER, "xllamacpp"), "1.2")
    everything = Found("python", versions)
    assert set(everything.ways()) == set(found.WAYS)
    assert everything.ways()["slots"].endswith("(xllamacpp 1.2)")
    assert everything.left_out() == []
    assert Found("python", {}, "/bin/llama-server").ways()["slots"].endswith("(/bin/llama-server)")


def test_environment_is_looked_at() -> None:
    """An interpreter is asked for versions itself; what does not run is a usage error."""
    assert look(sys.executable).versions["llama-cpp-python"]
    with pytest.raises(UsageError):
        look("/nowhere/python")


def test_slot_reuse_is_what_the_server_reports(stand_in: str, tmp_path: Path) -> None:
    """llama-server's book tokens are those its timings do not count as cached; reading counts for the first answer."""
    there = Found("", {}, stand_in)
    read = served.run(job("slots", tmp_path), there, lambda: 0.0)
    again = served.run(job("slots", tmp_path, phase="again"), there, lambda: 0.0)
    assert [answer.book_evaluated for answer in read.answers] == [3, 0, 0, 0]
    assert [answer.book_evaluated for answer in again.answers] == [0, 0, 0, 0]


@pytest.mark.parametrize("flash", [False, True])
def test_llama_server_is_told_batch_and_attention_or_chooses(flash: bool, tmp_path: Path) -> None:
    """One row gives llama-server our batch and attention, the other leaves both to it; all else is the same."""
    for there in (Found("python", {"xllamacpp": "1.2"}), Found("", {}, "/bin/llama-server")):
        told, own = (
            options(served.slot_command(replace(job(way, tmp_path), n_batch=48, flash_attention=flash), there, 8099))
            for way in TWO_SLOTS
        )
        extra = {name: told.pop(name) for name in set(told) - set(own)}
        assert told == own
        assert sorted(map(str, extra.values())) == sorted(["48", "48", str(flash) if there.versions else ON[flash]])


def options(command: list[str]) -> dict[str, Any]:
    """Return what a server is started with, by name: JSON for the package, pairs of words for the program."""
    if command[-1].startswith("{"):
        settings: dict[str, Any] = json.loads(command[-1])
        return settings
    return dict(zip(command[1::2], command[2::2], strict=False))


def test_slots_of_its_own_are_counted_alike(stand_in: str, tmp_path: Path) -> None:
    """The row that leaves batch and attention to llama-server counts as the other does."""
    read = served.run(job("slots_own", tmp_path), Found("", {}, stand_in), lambda: 0.0)
    assert [answer.book_evaluated for answer in read.answers] == [3, 0, 0, 0]


def test_package_server_is_counted_from_notes(stand_in: str, tmp_path: Path) -> None:
    """llama_cpp.server's book tokens are those at the book's positions in the notes since the last answer."""
    outcome = served.run(job("server", tmp_path), Found(stand_in, {}), lambda: 0.0)
    assert [answer.book_evaluated for answer in outcome.answers] == [6, 3, 3, 3]


def test_notes_count_positions_of_the_book(tmp_path: Path) -> None:
    """Of each decoded batch only the positions before the book's end count, and notes are taken once."""
    notes = tmp_path / "decoded.txt"
    notes.write_text("0 512\n512 100\n600 20\n620 1\n")
    assert served.evaluated(notes, 600) == 600
    assert served.evaluated(notes, 600) == 0


def test_refusal_of_a_server_is_an_error(stand_in: str, tmp_path: Path) -> None:
    """A request that a server refuses ends with what it said."""
    command = [stand_in, "-", "-", "-", "--host", "127.0.0.1", "--port", str(port := free_port())]
    with Server(command, tmp_path, port, ready="/health") as server, pytest.raises(EngineError) as caught:
        server.post("/completion", {"prompt": "fail"})
    assert "400" in caught.value.message


def test_server_that_ends_is_named(tmp_path: Path) -> None:
    """A server that does not come up leaves its last words, not a wait."""
    with pytest.raises(EngineError, match="code 3: out of luck"):
        Server(
            [sys.executable, "-c", "print('out of luck', flush=True); raise SystemExit(3)"],
            tmp_path,
            free_port(),
            ready="/health",
        )


def test_closing_ends_the_process(stand_in: str, tmp_path: Path) -> None:
    """No server outlives its use."""
    command = [stand_in, "-", "-", "-", "--host", "127.0.0.1", "--port", str(port := free_port())]
    with Server(command, tmp_path, port, ready="/health") as server:
        os.kill(server.pid, 0)
    with pytest.raises(ProcessLookupError):
        os.kill(server.pid, 0)


def test_memory_is_a_familys(tmp_path: Path) -> None:
    """Peaks of a process and of what it started are added, others' are not."""
    for pid, parent, peak in ((5, 1, 100), (6, 5, 20), (7, 6, 3), (8, 1, 4000)):
        folder = tmp_path / str(pid)
        folder.mkdir()
        (folder / "status").write_text(f"Name:\tx\nPPid:\t{parent}\nVmHWM:\t{peak} kB\n")
    assert peak_of_family(5, tmp_path) == 123 << 10


def test_command_refuses_what_is_no_python(tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`bench peers` names an interpreter that does not run, and ends with 1."""
    book = tmp_path / "book.txt"
    book.write_text(SENTENCE, encoding="utf-8")
    assert main(["bench", "peers", "--book", str(book), "--model", str(tiny), "--python", "/nowhere/python"]) == 1
    assert "/nowhere/python" in capsys.readouterr().err

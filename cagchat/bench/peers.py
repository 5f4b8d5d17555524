"""Reopening a book the other ways there are: counted and timed beside cagchat, for attention and for a hybrid.

Each way reads the book in one process and is asked two questions in another, as after a restart.
"""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from cagchat.bench.contender import Job, Phase, Way
from cagchat.bench.tables import Cell, Column, Table, least
from cagchat.bench.workbench import QUESTIONS, Workbench, cut_book, environment, open_book
from cagchat.errors import EngineError, ModelError
from cagchat.files import private_folder, storage_errors, write_bytes

WAYS: dict[Way, str] = {
    "cagchat": "cagchat",
    "save_state": "Llama.save_state, pickled",
    "disk_cache": "LlamaDiskCache",
}
HYBRID_TOKENS = 4096
HYBRID_CONTEXT = 16_384
HYBRID_LAYERS, HYBRID_EMBED = 16, 512  # reads about a thousand tokens a second on one core: long enough to be noticed

Reports = list[tuple[float, dict[str, Any]]]

COLUMNS = (
    Column("model", "model"),
    Column("way", "way"),
    Column("tokens", "tokens", "count"),
    Column("size", "on disk", "bytes"),
    Column("first", "first answer after a restart", "seconds"),
    Column("first_book", "book tokens evaluated", "count"),
    Column("second", "second question", "seconds"),
    Column("second_book", "book tokens evaluated", "count"),
)
NOTE = (
    "Each way reads the book, keeps it and ends; another process takes it back and is asked two questions about the "
    "book, each in a chat of its own. Seconds run to the first token, the first from before the process starts. Tokens "
    "are counted where they are decoded. Same model, context, batch, threads, KV type, kernels and prompt. "
    "The synthetic hybrid has random weights and bytes for tokens: its answers are noise, its cache is a real one's."
)


@dataclass(frozen=True, slots=True)
class Answers:
    """What one process reported: seconds to each first token, and book tokens evaluated for each question."""

    first_s: float
    first_book: int
    second_s: float
    second_book: int


def measure(bench: Workbench, timer: Callable[[], float] = time.perf_counter) -> Table:
    """Compare the ways on the bench's model, then on a hybrid of random weights."""
    rows = compare(bench, timer)
    try:
        rows += compare(on_hybrid(bench), timer)
    except ModelError as error:
        rows.append({"model": "hybrid", "way": f"{error.message} {error.hint}"})
    return Table("peers", "Other ways to keep a book that was read", COLUMNS, tuple(rows), (NOTE,))


def on_hybrid(
    bench: Workbench, n_tokens: int = HYBRID_TOKENS, *, layers: int = HYBRID_LAYERS, embed: int = HYBRID_EMBED
) -> Workbench:
    """Return the bench with a random-weight hybrid, written now, and as much of the book as `n_tokens` of its own.

    Raises `ModelError` when the `bench` extra is missing.
    """
    try:
        from cagchat.bench.synth import write_model
    except ImportError as error:
        raise ModelError(
            f"The hybrid model cannot be written without the package {error.name}.", "pip install 'cagchat[bench]'"
        ) from error
    folder = private_folder(bench.home / "hybrid")
    model = write_model(
        folder / "qwen35.gguf",
        "qwen35",
        layers=layers,
        embed=embed,
        heads=embed // 64,
        feed_forward=2 * embed,
        context=HYBRID_CONTEXT,
    )
    hybrid = replace(bench, settings=replace(bench.settings, model=str(model)))
    return replace(hybrid, book=cut_book(hybrid, n_tokens))


def compare(bench: Workbench, timer: Callable[[], float]) -> list[dict[str, Cell]]:
    """Return one row for each way; they are asked in turn, round by round, so that a slow minute hits all of them."""
    bench.say(f"peers: cagchat reads {bench.book.name} with {bench.model_name}")
    job, state_bytes, memory = plan(bench)
    kept = [Kept(replace(job, way=way), bench.home / "peers" / way, state_bytes) for way in WAYS]
    for one in kept:
        with one.noting_failure():
            keep(bench, one, timer)
    for number in range(bench.repeat):
        bench.say(f"peers: two questions to each, round {number + 1} of {bench.repeat}")
        for one in (one for one in kept if not one.reason):
            with one.noting_failure():
                one.runs.append(ask(bench, one, timer))
    shutil.rmtree(bench.home / "peers", ignore_errors=True)
    model = f"{bench.model_name} ({memory})"
    return [{"model": model, "way": WAYS[one.job.way], "tokens": len(job.book), **one.row()} for one in kept]


@dataclass(slots=True)
class Kept:
    """A book as one way keeps it, and what asking it gave; `reason` says why it cannot be asked any more."""

    job: Job
    folder: Path
    size_bytes: int
    runs: list[Answers] = field(default_factory=list)
    reason: str = ""

    @contextmanager
    def noting_failure(self) -> Iterator[None]:
        """Take a process that failed inside the block for a result, not for the end of the bench."""
        try:
            yield
        except EngineError as error:
            self.reason = error.message

    def row(self) -> dict[str, Cell]:
        """Return the way's part of its row."""
        if self.reason:
            return {"first": self.reason}
        return {
            "size": self.size_bytes,
            "first": least([answers.first_s for answers in self.runs]),
            "first_book": max(answers.first_book for answers in self.runs),
            "second": least([answers.second_s for answers in self.runs]),
            "second_book": max(answers.second_book for answers in self.runs),
        }


def plan(bench: Workbench) -> tuple[Job, int, str]:
    """Read the book with cagchat and return the job for all, the bytes of cagchat's state, and the model's memory."""
    with closing(open_book(bench)) as book:
        engine = book.settings
        texts = list(QUESTIONS)
        pieces = book.pieces
        asked = [
            pieces.before(is_first=True) + pieces.body(tokens, thinking=False)
            for tokens in book.engine.tokenize(texts, special=False)
        ]
        job = Job(
            way="cagchat",
            phase="ask",
            folder="",
            model=str(engine.model),
            n_context=engine.n_context,
            n_batch=engine.n_batch,
            threads=engine.threads,
            gpu_layers=engine.gpu_layers,
            fast_kernels=engine.fast_kernels,
            kv_type=engine.kv_type,
            book=book.folder.tokens().tolist(),
            questions=[tokens.tolist() for tokens in asked],
            home=str(bench.home),
            path=str(bench.book),
            settings=asdict(bench.settings),
            texts=texts,
        )
        return job, book.folder.size_bytes(), book.engine.info.memory


def keep(bench: Workbench, kept: Kept, timer: Callable[[], float]) -> None:
    """Read the book in a process of its own and keep it; cagchat has done so."""
    if kept.job.way == "cagchat":
        return
    bench.say(f"peers: {WAYS[kept.job.way]} reads {len(kept.job.book):,} tokens")
    private_folder(kept.folder)
    run(bench, kept.job, "read", kept.folder, timer)
    kept.size_bytes = sum(file.stat().st_size for file in kept.folder.rglob("*") if file.is_file())


def ask(bench: Workbench, kept: Kept, timer: Callable[[], float]) -> Answers:
    """Ask both questions in a process of its own; the others get a copy, because some change it by answering."""
    if kept.job.way == "cagchat":
        return parse(run(bench, kept.job, "ask", bench.home, timer))
    used = kept.folder.with_name(f"{kept.folder.name}-used")
    with storage_errors(used):
        shutil.copytree(kept.folder, used)
    try:
        return parse(run(bench, kept.job, "ask", used, timer))
    finally:
        shutil.rmtree(used)


def run(bench: Workbench, job: Job, phase: Phase, folder: Path, timer: Callable[[], float]) -> Reports:
    """Run one process of a way and return its reports, each with the seconds since before it was started.

    Raises `EngineError` saying how it ended when it does not end well.
    """
    sheet = private_folder(bench.home / "peers") / "job.json"
    write_bytes(sheet, json.dumps(asdict(replace(job, phase=phase, folder=str(folder)))).encode())
    command = [sys.executable, "-P", "-m", "cagchat.bench.contender", str(sheet)]
    reports: Reports = []
    with tempfile.TemporaryFile() as log:
        began = timer()
        with subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log, env=environment(bench)
        ) as child:
            assert child.stdout is not None
            for line in child.stdout:
                reports.append((timer() - began, json.loads(line)))
        if child.returncode:
            log.seek(0)
            raise failure(child.returncode, log.read().decode(errors="replace"))
    return reports


def parse(reports: Reports) -> Answers:
    """Return what the last report counted, the first token's time being that of the first report's arrival."""
    first, second = reports[-1][1]["answers"]
    return Answers(reports[0][0], first["book_evaluated"], second["first_token_s"], second["book_evaluated"])


def failure(code: int, log: str) -> EngineError:
    """Describe a process that did not end well: the signal or code, and the last line it wrote."""
    try:
        how = signal.Signals(-code).name if code < 0 else f"code {code}"
    except ValueError:
        how = f"signal {-code}"
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    said = f": {lines[-1]}" if lines else ""
    return EngineError(f"It ended with {how}{said}.", "Run it again with `--only peers`.")

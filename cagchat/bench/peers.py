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
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from cagchat.bench.contender import Job, Phase, Way
from cagchat.bench.tables import Cell, Column, Table, least
from cagchat.bench.workbench import QUESTIONS, Workbench, cut_book, environment, open_book
from cagchat.errors import EngineError, ModelError
from cagchat.files import private_folder, write_bytes

WAYS: dict[Way, str] = {
    "cagchat": "cagchat",
    "save_state": "Llama.save_state, pickled",
    "disk_cache": "LlamaDiskCache",
}
HYBRID_TOKENS = 4096
HYBRID_CONTEXT = 16_384
HYBRID_LAYERS, HYBRID_EMBED = 16, 512  # reads about a thousand tokens a second on one core: long enough to be noticed

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
    """Return one row for each way."""
    bench.say(f"peers: cagchat reads {bench.book.name} with {bench.model_name}")
    job, size_bytes, memory = plan(bench)
    rows: list[dict[str, Cell]] = []
    for way, name in WAYS.items():
        row: dict[str, Cell] = {"model": f"{bench.model_name} ({memory})", "way": name, "tokens": len(job.book)}
        try:
            row |= run_way(bench, replace(job, way=way), size_bytes, timer)
        except EngineError as error:
            row["first"] = error.message
        rows.append(row)
    return rows


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


def run_way(bench: Workbench, job: Job, size_bytes: int, timer: Callable[[], float]) -> dict[str, Cell]:
    """Read and keep the book one way (cagchat has), then ask it in as many fresh processes as the bench repeats."""
    kept = bench.home / "peers" / f"{Path(job.model).stem}-{job.way}"
    if job.way != "cagchat":
        private_folder(kept)
        bench.say(f"peers: {WAYS[job.way]} reads {len(job.book):,} tokens")
        run(bench, job, "read", kept, timer)
        size_bytes = sum(file.stat().st_size for file in kept.rglob("*") if file.is_file())
    runs = []
    for number in range(bench.repeat):
        bench.say(f"peers: {WAYS[job.way]} is asked, run {number + 1} of {bench.repeat}")
        used = kept.with_name(f"{kept.name}-used")  # a copy: answering changes some of them
        if job.way != "cagchat":
            shutil.copytree(kept, used)
        runs.append(run(bench, job, "ask", used, timer))
        shutil.rmtree(used, ignore_errors=True)
    shutil.rmtree(kept, ignore_errors=True)
    return {
        "size": size_bytes,
        "first": least([answers.first_s for answers in runs]),
        "first_book": max(answers.first_book for answers in runs),
        "second": least([answers.second_s for answers in runs]),
        "second_book": max(answers.second_book for answers in runs),
    }


def run(bench: Workbench, job: Job, phase: Phase, folder: Path, timer: Callable[[], float]) -> Answers:
    """Run one process of a way. Raises `EngineError` saying how it ended when it does not end well."""
    sheet = private_folder(bench.home / "peers") / "job.json"
    write_bytes(sheet, json.dumps(asdict(replace(job, phase=phase, folder=str(folder)))).encode())
    command = [sys.executable, "-P", "-m", "cagchat.bench.contender", str(sheet)]
    reports: list[tuple[float, dict[str, Any]]] = []
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
    if phase == "read":
        return Answers(0, 0, 0, 0)
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

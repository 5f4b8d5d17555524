"""The comparison: every way reads the book in a process and is asked, then again in others, as after a restart."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from cagchat.bench.peers import served
from cagchat.bench.peers.failure import failure
from cagchat.bench.peers.found import Found, look
from cagchat.bench.peers.job import ANSWER_TOKENS, QUESTIONS, STEPS, Answer, Job, Outcome, Phase
from cagchat.bench.reopen import learn
from cagchat.bench.tables import Cell, Column, Table, least
from cagchat.bench.workbench import Workbench, cut_book, environment, forget_books, open_book
from cagchat.errors import EngineError, ModelError
from cagchat.files import private_folder, write_bytes
from cagchat.units import duration

HYBRID_TOKENS = 4096
HYBRID_CONTEXT = 16_384
HYBRID_LAYERS, HYBRID_EMBED = 16, 512  # reads about a thousand tokens a second on one core: long enough to be noticed
FORGETFUL = ("plain",)  # nothing is kept: after a restart everything is as it was at first, and is asked once

PHASES: dict[Phase, str] = {"read": "reads the book", "again": "after a restart"}
TITLES = {
    "first": "first answer",
    "second": "second question",
    "regenerate": "regenerate",
    "new_chat": "new chat",
}
COLUMNS = (
    Column("way", "way"),
    Column("phase", "process"),
    *(Column(step, title) for step, title in TITLES.items()),
    Column("size", "on disk", "bytes"),
    Column("memory", "memory", "bytes"),
)
NOTE = (
    "Seconds to the first token · tokens of the book that were evaluated for it. Each way reads the book, keeps it, "
    "answers four times and ends; then other processes take the book back and answer four times. First answers are "
    f"timed from before the process starts. Answers have {ANSWER_TOKENS} tokens at temperature 0; the model's file, "
    "context, batch, threads, attention, KV type, chat template and questions are the same for all, but that the last "
    "row keeps the batch and the attention that llama-server chooses. Each is used as well as its interface permits: "
    "`load_state` is called again for every new chat and before regenerating where a cache cannot "
    "be cut, and a slot is saved when it holds the book alone. Evaluated tokens are counted inside llama_decode; "
    "llama-server, which is compiled by others, reports its own. On disk: what is kept after the first four answers. "
    "Memory: the peaks of all processes that take part, added, the pages of the model's file among them."
)
NOISE = (
    "The synthetic hybrid has random weights and bytes for tokens: its answers are noise, its cache is a real one's. "
    "The servers, which stream text, are made to answer one letter."
)


@dataclass(slots=True)
class Kept:
    """A book as one way keeps it, and what asking it gave; `reason` says why it cannot be asked any more."""

    job: Job
    name: str
    outcomes: dict[Phase, list[Outcome]] = field(default_factory=lambda: {"read": [], "again": []})
    size_bytes: int = 0
    reason: str = ""

    @contextmanager
    def noting_failure(self) -> Iterator[None]:
        """Take a process that failed inside the block for a result, not for the end of the bench."""
        try:
            yield
        except EngineError as error:
            self.reason = error.message

    def rows(self) -> list[dict[str, Cell]]:
        """Return a row for each phase that was measured, with figures and counts beside the cells that are shown."""
        rows = []
        for phase, outcomes in self.outcomes.items():
            row: dict[str, Cell] = {"way": self.name, "phase": PHASES[phase]}
            if outcomes:
                row["memory"] = max((one.memory_bytes for one in outcomes if one.memory_bytes), default=None)
                row["size"] = self.size_bytes if phase == "read" else None
                for number, step in enumerate(STEPS):
                    row |= cells(step, [one.answers[number] for one in outcomes])
            elif self.reason:
                row["first"] = self.reason
            rows.append(row)
        return rows


def cells(step: str, answers: list[Answer]) -> dict[str, Cell]:
    """Return a step's cell as it is read, and what it is made of: the least seconds, the most book tokens."""
    seconds = least([answer.first_token_s for answer in answers])
    book = max(answer.book_evaluated for answer in answers)
    return {step: f"{duration(seconds.best)} · {book:,}", f"{step}_s": seconds, f"{step}_book": book}


def measure(
    bench: Workbench, *, python: str = sys.executable, timer: Callable[[], float] = time.perf_counter
) -> tuple[Table, ...]:
    """Compare the ways on the bench's model, then on a hybrid of random weights; `python` has the servers."""
    found = look(python)
    tables = [compare(bench, found, timer)]
    try:
        hybrid = on_hybrid(bench)
    except ModelError as error:
        (first,) = tables
        return (replace(first, notes=(*first.notes, f"{error.message} {error.hint}")),)
    return (*tables, compare(hybrid, found, timer, is_noise=True))


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


def compare(bench: Workbench, found: Found, timer: Callable[[], float], *, is_noise: bool = False) -> Table:
    """Return a model's table; the ways are asked in turn, round by round, so that a slow minute hits all of them."""
    learn(bench)
    forget_books(bench)
    kept = []
    job = ours(bench)
    for way, name in found.ways().items():
        bench.say(f"peers: {name} reads {bench.book.name}")
        one = Kept(replace(job, way=way, folder=str(private_folder(bench.home / "peers" / way))), name)
        with one.noting_failure():
            one.outcomes["read"].append(run(bench, one.job, found, timer))
            one.size_bytes = size_of(bench, one.job)
        kept.append(one)
        if way == "cagchat":
            job, model = everyones(bench, job, is_noise=is_noise)
    for number in range(bench.repeat):
        bench.say(f"peers: after a restart, round {number + 1} of {bench.repeat}")
        for one in kept:
            if not (one.reason or (number and one.job.way in FORGETFUL)):
                with one.noting_failure():
                    one.outcomes["again"].append(run(bench, replace(one.job, phase="again"), found, timer))
    shutil.rmtree(bench.home / "peers", ignore_errors=True)
    rows = tuple(row for one in kept for row in one.rows())
    runs = (
        f"Rows that say “{PHASES['read']}” are one run; “{PHASES['again']}” is the best of {bench.repeat}, but one run "
        "where nothing is kept."
    )
    notes = (NOTE, runs, *([NOISE] if is_noise else []), *found.left_out())
    return Table("peers", f"Ways to keep a book that was read: {model}", COLUMNS, rows, notes)


def ours(bench: Workbench) -> Job:
    """Return the job for cagchat, which needs no more than what a user gives it."""
    return Job(
        way="cagchat",
        phase="read",
        folder="",
        model=str(bench.model),
        home=str(bench.home),
        path=str(bench.book),
        settings=asdict(bench.settings),
        questions=list(QUESTIONS),
    )


def everyones(bench: Workbench, job: Job, *, is_noise: bool) -> tuple[Job, str]:
    """Return the job for all, from the book as cagchat keeps it, and the model in words."""
    with closing(open_book(bench)) as book:
        engine, pieces, frame, info = book.settings, book.pieces, book.manifest.frame, book.engine.info
        words = info.vocabulary
        bodies = [pieces.body(ids, thinking=False) for ids in book.engine.tokenize(QUESTIONS, special=False)]
        (letter,) = book.engine.tokenize(["a"], special=False)
        prefix = frame.head + book.document.text + frame.opening
        job = replace(
            job,
            n_context=engine.n_context,
            n_batch=engine.n_batch,
            threads=engine.threads,
            gpu_layers=engine.gpu_layers,
            kv_type=engine.kv_type,
            flash_attention=engine.flash_attention,
            fast_kernels=engine.fast_kernels,
            is_attention=info.memory == "attention",
            book=book.folder.tokens().tolist(),
            opening=pieces.next_opening.tolist(),
            bodies=[body.tolist() for body in bodies],
            book_text=prefix.removeprefix(words.bos_text) if words.add_bos else prefix,
            opening_text=frame.next_opening,
            body_texts=[question + frame.closing for question in QUESTIONS],
            forced=letter[0] if is_noise else None,
        )
        return job, f"{bench.model_name} ({info.memory}), {len(job.book):,} tokens"


def size_of(bench: Workbench, job: Job) -> int:
    """Return the bytes that a way keeps on disk."""
    places = [bench.locations.states, bench.locations.sessions_db] if job.way == "cagchat" else [Path(job.folder)]
    files = [file for place in places for file in (place, *place.rglob("*")) if file.is_file()]
    return sum(file.stat().st_size for file in files)


def run(bench: Workbench, job: Job, found: Found, timer: Callable[[], float]) -> Outcome:
    """Run one process of a way. Raises `EngineError` saying how it ended when it does not end well."""
    if job.way in ("server", "slots", "slots_own"):
        return served.run(job, found, timer)
    sheet = bench.home / "peers" / "job.json"
    write_bytes(sheet, json.dumps(asdict(job)).encode())
    command = [sys.executable, "-P", "-m", "cagchat.bench.peers.contender", str(sheet)]
    with tempfile.TemporaryFile() as log:
        done = subprocess.run(
            [*command, str(timer())],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            env=environment(bench),
            check=False,
        )
        if done.returncode:
            log.seek(0)
            raise failure(done.returncode, log.read().decode(errors="replace"))
    told = json.loads(done.stdout)
    return Outcome(tuple(Answer(**answer) for answer in told["answers"]), told["memory_bytes"])

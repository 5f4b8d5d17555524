"""From the start of a process to the first byte of an answer: with the book's state on disk, and without it."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from cagchat.bench.tables import Cell, Column, Table, least, of_how_many, ratio
from cagchat.bench.workbench import (
    QUESTIONS,
    Workbench,
    count_tokens,
    cut_book,
    environment,
    flags,
    forget_books,
    open_book,
)
from cagchat.errors import EngineError

ANSWER_TOKENS = 16
LEARNT_FROM_TOKENS = 64
COLD_S = 15.0  # readings are repeated until they have taken this long: a long one is steady enough when run once

REUSED = re.compile(r"\bbook ([\d,]+) tokens reused")  # the words of proof.Proof.line
EVALUATED = re.compile(r"([\d,]+) (?:book tokens read|BOOK TOKENS READ AGAIN)")

COLUMNS = (
    Column("tokens", "tokens", "count"),
    Column("cold", "cold, first token", "seconds"),
    Column("cold_book", "book tokens evaluated", "count"),
    Column("restored", "restored, first token", "seconds"),
    Column("restored_book", "book tokens evaluated", "count"),
    Column("ratio", "cold / restored", "times"),
)
NOTE = (
    "Each run is a process of its own, `cagchat ask`, timed from before its start to the first byte of the answer. "
    "Cold, there is no state of the book; the model's file and what is known about it and the processor are the same. "
    "Book tokens are the engine's count for that very answer."
)


@dataclass(frozen=True, slots=True)
class Asked:
    """One run of `cagchat ask`: seconds to the first byte of the answer, and what its proof counted."""

    first_byte_s: float
    book_tokens: int
    book_evaluated: int


def measure(bench: Workbench, timer: Callable[[], float] = time.perf_counter) -> Table:
    """Time the first answer about the book cut to each length, and about the whole of it, read and restored."""
    whole = count_tokens(bench)
    learn(bench)
    rows = [
        compare(replace(bench, book=cut_book(bench, length)), timer)
        for length in sorted(bench.lengths)
        if length < whole
    ]
    rows.append(compare(bench, timer))  # last, so that its state is there for the other measurements
    return Table("reopen", "Opening a book and asking it", COLUMNS, tuple(rows), (NOTE, *of_how_many(COLUMNS, rows)))


def learn(bench: Workbench) -> None:
    """Let the program find out about the model and the processor, with a short book, before anything is timed."""
    open_book(replace(bench, book=cut_book(bench, LEARNT_FROM_TOKENS))).close()


def compare(bench: Workbench, timer: Callable[[], float]) -> dict[str, Cell]:
    """Ask about one book without its state until that has taken long enough, then with it."""
    cold: list[Asked] = []
    while not cold or (len(cold) < bench.repeat and sum(run.first_byte_s for run in cold) < COLD_S):
        forget_books(bench)
        bench.say(f"reopen: {bench.book.name}, cold, run {len(cold) + 1}")
        cold.append(ask(bench, timer))
    restored = []
    for number in range(bench.repeat):
        bench.say(f"reopen: {bench.book.name}, restored, run {number + 1} of {bench.repeat}")
        restored.append(ask(bench, timer))
    cold_s, restored_s = (least([run.first_byte_s for run in runs]) for runs in (cold, restored))
    return {
        "tokens": cold[0].book_tokens,
        "cold": cold_s,
        "cold_book": min(run.book_evaluated for run in cold),
        "restored": restored_s,
        "restored_book": max(run.book_evaluated for run in restored),
        "ratio": ratio(cold_s, restored_s),
    }


def ask(bench: Workbench, timer: Callable[[], float]) -> Asked:
    """Run `cagchat ask` once. Raises `EngineError` with what it said when it gives no answer."""
    options = ["--temperature", "0", "--max-tokens", str(ANSWER_TOKENS), *flags(bench.settings)]
    # Nothing is put beside the question: what is measured is what the cache gives.
    plain = ("--evidence", "off", "--quoting", "off")
    command = [sys.executable, "-P", "-m", "cagchat", "ask", str(bench.book), QUESTIONS[0], *plain, *options]
    with tempfile.TemporaryFile() as log:
        began = timer()
        with subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log, bufsize=0, env=environment(bench)
        ) as child:
            assert child.stdout is not None
            first = child.stdout.read(1)
            elapsed = timer() - began
            child.stdout.read()
        log.seek(0)
        said = log.read().decode(errors="replace").strip()
    if child.returncode or not first:
        lines = said.splitlines() or ["it said nothing"]
        raise EngineError(f"`cagchat ask` ended with code {child.returncode}: {lines[0]}", lines[-1].strip())
    book_tokens, book_evaluated = read_proof(said)
    return Asked(elapsed, book_tokens, book_evaluated)


def read_proof(said: str) -> tuple[int, int]:
    """Return the book's tokens and how many of them were evaluated, from the proof line under an answer.

    Raises `EngineError` when there is no such line: nothing is taken for granted.
    """
    for line in reversed(said.splitlines()):
        reused, evaluated = (pattern.search(line) for pattern in (REUSED, EVALUATED))
        if reused or evaluated:
            counts = [int(found[1].replace(",", "")) if found else 0 for found in (reused, evaluated)]
            return sum(counts), counts[1]
    raise EngineError("`cagchat ask` printed no proof of what it evaluated.", "Run it by hand to see what it says.")

"""How fast the program reads and answers, beside a loop of llama_decode that does nothing else."""

from __future__ import annotations

import time
from array import array
from collections.abc import Callable
from contextlib import closing

from cagchat.bench.tables import Cell, Column, Figure, Table, most, of_how_many, ratio
from cagchat.bench.workbench import Workbench, open_book
from cagchat.engine.child import Child
from cagchat.engine.protocol import BOOK, CHAT, Engine, Piece, Sampling
from cagchat.engine.wire import Start
from cagchat.errors import EngineError

DECODE_TOKENS = 64
LEAST_DECODED = 8  # a model that ends its text sooner gives no speed worth comparing

COLUMNS = (
    Column("what", "what"),
    Column("tokens", "tokens", "count"),
    Column("cagchat", "cagchat", "tokens_per_s"),
    Column("bare", "bare llama_decode", "tokens_per_s"),
    Column("ratio", "cagchat / bare", "times"),
)
NOTE = (
    "Both run in a process of their own with the same model, batch, threads, KV type and kernels, in turn, round by "
    "round. cagchat's time is taken in the program, so it holds the messages between the two processes."
)


def measure(bench: Workbench, timer: Callable[[], float] = time.perf_counter) -> Table:
    """Read the book and go on from its end, in the program and in the bare loop, in turn."""
    with closing(open_book(bench)) as book:
        # Without the frame after it: a turn that has just begun would soon be ended by the model.
        tokens, engine = book.folder.tokens()[: book.manifest.book.section_tokens[-1]], book.engine
        text, last = tokens[:-1], tokens[-1]
        with closing(Child(Start("bare", (book.settings,)))) as bare:
            warm_up(engine, bare, tokens)
            ours, theirs = Rounds(), Rounds()
            for number in range(bench.repeat):
                bench.say(f"speed: {len(text):,} tokens, round {number + 1} of {bench.repeat}")
                ours.read.append(len(text) / read(engine, text, timer))
                decoded, elapsed = go_on(engine, last, timer)
                theirs.read.append(len(text) / bare.call("read", text))
                if decoded >= LEAST_DECODED:
                    ours.decode.append(decoded / elapsed)
                    theirs.decode.append(decoded / bare.call("decode", last, decoded))
    rows = (
        row("prefill", len(text), ours.read, theirs.read),
        row("decode", decoded, ours.decode, theirs.decode),
    )
    return Table("speed", "Reading and answering", COLUMNS, rows, (NOTE, *of_how_many(COLUMNS, rows)))


class Rounds:
    """Speeds of one side, tokens per second."""

    def __init__(self) -> None:
        self.read: list[float] = []
        self.decode: list[float] = []


def row(what: str, tokens: int, ours: list[float], theirs: list[float]) -> dict[str, Cell]:
    """Return one row of the table, or why there are no numbers in it."""
    if not ours:
        reason = f"the model ended its text after {tokens} tokens"
        return {"what": what, "tokens": tokens, "cagchat": reason}
    program: Figure = most(ours)
    loop: Figure = most(theirs)
    return {"what": what, "tokens": tokens, "cagchat": program, "bare": loop, "ratio": ratio(program, loop)}


def warm_up(engine: Engine, bare: Child, tokens: array[int]) -> None:
    """Run one batch through both, so that neither pays for the first touch of weights inside a round."""
    batch = tokens[: engine.settings.n_batch]
    read(engine, batch, time.perf_counter)
    bare.call("read", batch)


def read(engine: Engine, tokens: array[int], timer: Callable[[], float]) -> float:
    """Evaluate tokens from an empty cache as the program does; return the seconds that took."""
    engine.clear(CHAT)
    engine.clear(BOOK)
    engine.take_spans()
    began = timer()
    for _ in engine.evaluate(BOOK, tokens):
        pass
    elapsed = timer() - began
    evaluated = sum(span.count for span in engine.take_spans() if span.sequence == BOOK)  # fillers have their own
    if evaluated != len(tokens):
        raise EngineError(f"{evaluated:,} tokens were evaluated instead of {len(tokens):,}.", "Run the bench again.")
    return elapsed


def go_on(engine: Engine, last: int, timer: Callable[[], float]) -> tuple[int, float]:
    """Go on greedily from the book's end on a fork; return the tokens generated and the seconds after the first."""
    engine.fork(BOOK, CHAT)
    count, began = 0, 0.0
    for item in engine.generate(CHAT, [last], Sampling(temperature=0), max_tokens=DECODE_TOKENS):
        if isinstance(item, Piece):
            if not count:
                began = timer()
            count += 1
    return count, timer() - began

"""Show what a recall measurement found: counts with Wilson intervals, as tables and as JSON with every answer."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from math import sqrt

from cagchat.bench.recall import Evidence, Grid, Outcome, Recall
from cagchat.bench.tables import Cell, Column, Table
from cagchat.engine.protocol import KvType

Z95 = 1.959963984540054  # the normal quantile that leaves 2.5 % on each side
HOW = (
    "Each cell counts answers that hold the planted name or number as a whole word; the interval is Wilson's at 95 %. "
    "Every question is asked in a chat of its own, at temperature 0. Without facts, the same questions are asked about "
    "the same text without the planted sentences: anything but 0 would be guessing. Evaluated is the mean number of "
    "tokens that went through the model for a question, its own and those of passages."
)
STOPPED = "The run was stopped early: counts are of what was asked. The same command goes on where it stopped."


@dataclass(frozen=True, slots=True)
class Tally:
    """So many right of so many asked."""

    right: int
    asked: int

    @property
    def share(self) -> float:
        """The share of right answers; 0 when nothing was asked."""
        return self.right / self.asked if self.asked else 0.0

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's 95 % interval of the share."""
        return wilson(self.right, self.asked)

    def __str__(self) -> str:
        return f"{self.right}/{self.asked}" if self.asked else "–"


@dataclass(frozen=True, slots=True)
class Row:
    """One way of asking texts of one length: how many were right at each depth, in all, and without facts."""

    length: int
    kv_type: KvType
    evidence: Evidence
    cells: tuple[Tally, ...]
    all: Tally
    without: Tally
    evaluated: float

    @property
    def title(self) -> str:
        """The row's name."""
        return f"{self.length:,} · {self.kv_type} · evidence {self.evidence}"


def wilson(right: int, asked: int, z: float = Z95) -> tuple[float, float]:
    """Return Wilson's score interval of a share (Wilson 1927); all there is when nothing was asked."""
    if asked == 0:
        return 0.0, 1.0
    share, square = right / asked, z * z
    middle = (share + square / (2 * asked)) / (1 + square / asked)
    half = z / (1 + square / asked) * sqrt(share * (1 - share) / asked + square / (4 * asked * asked))
    # At the ends the formula is exactly 0 or 1, which rounding misses.
    return 0.0 if right == 0 else max(0.0, middle - half), 1.0 if right == asked else min(1.0, middle + half)


def tally(outcomes: Iterable[Outcome]) -> Tally:
    """Count what was right."""
    found = [outcome.correct for outcome in outcomes]
    return Tally(sum(found), len(found))


def rows(grid: Grid, recall: Recall) -> tuple[Row, ...]:
    """Return a row for each length, KV type and evidence, in the order of the grid."""
    found = []
    for length in sorted(set(grid.lengths)):
        for kv_type in grid.kv_types:
            here = [one for one in recall.outcomes if (one.text.length, one.kv_type) == (length, kv_type)]
            without = tally(one for one in here if not one.planted)
            for evidence in grid.evidence:
                mine = [one for one in here if one.planted and one.evidence == evidence]
                cells = tuple(tally(one for one in mine if one.question.wanted == depth) for depth in grid.depths)
                evaluated = sum(one.reply.evaluated for one in mine) / max(1, len(mine))
                found.append(Row(length, kv_type, evidence, cells, tally(mine), without, evaluated))
    return tuple(found)


def tables(grid: Grid, recall: Recall) -> tuple[Table, Table]:
    """Return the grid, and for each depth and kind of fact the counts of all lengths and KV types together."""
    notes = (HOW, *recall.left_out, *([STOPPED] if recall.stopped else []))
    columns = (
        Column("tokens", "tokens", "count"),
        Column("kv_type", "KV"),
        Column("evidence", "evidence"),
        *(Column(f"depth_{index}", percent(depth)) for index, depth in enumerate(grid.depths)),
        Column("all", "all"),
        Column("interval", "95 % interval"),
        Column("without", "without facts"),
        Column("evaluated", "evaluated", "count"),
    )
    whole = Table("recall", "Recall of planted facts by depth", columns, tuple(map(_cells, rows(grid, recall))), notes)
    return whole, _together(grid, recall)


def _cells(row: Row) -> dict[str, Cell]:
    return {
        "tokens": row.length,
        "kv_type": row.kv_type,
        "evidence": row.evidence,
        **{f"depth_{index}": str(cell) for index, cell in enumerate(row.cells)},
        "all": str(row.all),
        "interval": between(row.all),
        "without": str(row.without),
        "evaluated": round(row.evaluated) if row.all.asked else None,
    }


def _together(grid: Grid, recall: Recall) -> Table:
    planted = [one for one in recall.outcomes if one.planted]
    groups: list[tuple[str, Callable[[Outcome], bool]]] = [
        *((f"depth {percent(depth)}", lambda one, depth=depth: one.question.wanted == depth) for depth in grid.depths),
        *((f"{kind}s", lambda one, kind=kind: one.question.fact.kind == kind) for kind in ("name", "number", "place")),
    ]
    found: list[dict[str, Cell]] = []
    for title, belongs in groups:
        row: dict[str, Cell] = {"what": title}
        for evidence in grid.evidence:
            counted = tally(one for one in planted if one.evidence == evidence and belongs(one))
            row[evidence], row[f"{evidence}_interval"] = str(counted), between(counted)
        found.append(row)
    columns = [Column("what", "all lengths and KV types")]
    for evidence in grid.evidence:
        columns += [Column(evidence, f"evidence {evidence}"), Column(f"{evidence}_interval", "95 % interval")]
    return Table("recall_together", "Recall by depth and by kind of fact", tuple(columns), tuple(found))


def percent(share: float) -> str:
    """Return a share as a reader would say it: 27.5 %."""
    return f"{100 * share:.3g} %"


def between(counted: Tally) -> str:
    """Return a count's interval: 48–74 %."""
    if not counted.asked:
        return "–"
    low, high = counted.interval
    return f"{100 * low:.0f}–{100 * high:.0f} %"


def as_object(grid: Grid, recall: Recall) -> dict[str, object]:
    """Return everything for JSON: the grid, counts with intervals, and every answer with its fact and place."""
    return {
        "grid": {
            "lengths": list(grid.lengths),
            "depths": list(grid.depths),
            "facts": grid.facts,
            "kv_types": list(grid.kv_types),
            "seeds": list(grid.seeds),
            "evidence": list(grid.evidence),
        },
        "stopped": recall.stopped,
        "left_out": list(recall.left_out),
        "rows": [_row_object(grid, row) for row in rows(grid, recall)],
        "answers": [_answer_object(outcome) for outcome in recall.outcomes],
    }


def _row_object(grid: Grid, row: Row) -> dict[str, object]:
    return {
        "tokens": row.length,
        "kv_type": row.kv_type,
        "evidence": row.evidence,
        "depths": [{"depth": depth, **_counted(cell)} for depth, cell in zip(grid.depths, row.cells, strict=True)],
        "all": _counted(row.all),
        "without_facts": _counted(row.without),
        "evaluated": round(row.evaluated, 1),
    }


def _counted(counted: Tally) -> dict[str, object]:
    low, high = counted.interval
    return {"right": counted.right, "asked": counted.asked, "low": round(low, 4), "high": round(high, 4)}


def _answer_object(one: Outcome) -> dict[str, object]:
    question = one.question
    return {
        "length": one.text.length,
        "tokens": one.text.n_tokens,
        "text": one.text.digest,
        "kv_type": one.kv_type,
        "evidence": one.evidence,
        "planted": one.planted,
        "seed": question.seed,
        "wanted_depth": question.wanted,
        "depth": None if question.depth is None else round(question.depth, 4),
        "kind": question.fact.kind,
        "sentence": question.fact.sentence,
        "question": question.fact.question,
        "expected": question.fact.answer,
        "answer": one.reply.answer,
        "evaluated": one.reply.evaluated,
        "correct": one.correct,
    }

"""The status line: what it says, and what it leaves out where there is no room."""

from __future__ import annotations

import pytest
from rich.cells import cell_len

from cagchat.hardware.meter import Load
from cagchat.proof import Proof
from cagchat.tui.load import bar, memory_text, percent_text
from cagchat.tui.shown import brief
from cagchat.tui.status_bar import GAP, Field, Figures, fields, line, short
from cagchat.tui.title_bar import between

FIGURES = Figures(
    state="● ready",
    book=212_034,
    chat=3_100,
    context=262_144,
    proof="✔ 212,034 reused, 41 read",
    speed=38.2,
    model="Some-Model-35B",
)
GPU = Load("VRAM", 20_900_000_000, 24_000_000_000, percent=87)


def proof(**changes: object) -> Proof:
    """Return a proof of an answer that read nothing of the book."""
    values: dict[str, object] = dict.fromkeys(Proof.__slots__, 0)
    values |= {"book_tokens": 1000, "evaluated": 41, "reading": False, **changes}
    return Proof(**values)  # type: ignore[arg-type]  # numbers, all of them


def test_all_is_shown_where_there_is_room() -> None:
    """A wide terminal shows state, context, proof, speed, memory and model."""
    assert line(fields(FIGURES, GPU), 200) == GAP.join(
        (
            "● ready",
            "book 212k + chat 3.1k / 262k",
            "✔ 212,034 reused, 41 read",
            "38 tok/s",
            "VRAM ▓▓▓▓▓▓▓░ 20.9/24 GB 87 %",
            "Some-Model-35B",
        )
    )


def test_fields_are_dropped_by_priority() -> None:
    """As the terminal gets narrower the model goes first, then load and speed, then the memory, never the proof."""
    marks = ("Some-Model", "87 %", "tok/s", "VRAM", "book", "reused")
    last = {}
    for width in range(160, 34, -1):
        shown = line(fields(FIGURES, GPU), width)
        assert len(shown) <= width
        for mark in marks:
            if mark in shown:
                last[mark] = width
    widths = [last[mark] for mark in marks]
    assert widths == sorted(set(widths), reverse=True)
    assert last["reused"] == 35


@pytest.mark.parametrize(
    ("load", "memory", "percent"),
    [
        (GPU, "VRAM ▓▓▓▓▓▓▓░ 20.9/24 GB", "87 %"),
        (Load("RAM", 3_100_000_000, 16_000_000_000), "RAM ▓▓░░░░░░ 3.1/16 GB", ""),
        (Load("VRAM", 0, 0, percent=0), "", "0 %"),
        (Load("RAM", 0, 0), "", ""),
        (Load("VRAM", 120_000_000_000, 144_000_000_000), "VRAM ▓▓▓▓▓▓▓░ 120/144 GB", ""),
    ],
)
def test_memory_and_load_are_said_as_far_as_they_are_known(load: Load, memory: str, percent: str) -> None:
    """A bar, the figures in GB and the GPU's load; what the system does not say is left out."""
    assert (memory_text(load), percent_text(load)) == (memory, percent)
    assert line(fields(Figures("● ready"), load), 80) == GAP.join(
        filter(None, ("● ready", f"{memory} {percent}".strip()))
    )


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0"), (999, "999"), (3_100, "3.1k"), (99_949, "99.9k"), (212_034, "212k"), (1_048_576, "1.05M")],
)
def test_tokens_take_few_characters(count: int, text: str) -> None:
    """Counts are shortened to three digits or so."""
    assert short(count) == text


@pytest.mark.parametrize("share", [-1.0, 0.0, 0.5, 1.0, 7.0])
def test_a_bar_always_has_the_same_length(share: float) -> None:
    """Whatever the share, the bar is eight cells long."""
    assert len(bar(share)) == 8


def test_a_book_that_was_read_again_is_said_loudly() -> None:
    """An answer that evaluated the book without being asked to is marked as a failure in words, not in colour alone."""
    assert brief(proof(book_evaluated=1000)) == "✘ 1,000 READ AGAIN"
    assert brief(proof(book_evaluated=1000, reading=True)).startswith("✔ 1,000 read once")
    assert brief(proof()) == "✔ 1,000 reused, 41 evaluated"


def test_the_title_keeps_its_left_side() -> None:
    """The model leaves the first line before the book does, and a long title ends in an ellipsis."""
    assert between("War", "model", 12) == "War    model"
    assert between("War", "model", 9) == "War"
    assert between("War and Peace", "model", 8) == "War and…"


@pytest.mark.parametrize("width", range(40))
def test_wide_characters_are_counted_as_they_are_shown(width: int) -> None:
    """What takes two cells has the room of two: neither line is longer than it may be, and both ends are seen."""
    shown = between("紅樓夢 · 曹雪芹", "model", width)
    assert cell_len(shown) <= width
    assert shown.endswith("model") == (width >= 22)
    proof = line([Field("● 準備完了", 0), Field("book 12k", 5), Field("✔ 本を再利用", 0)], width)
    assert cell_len(proof) <= width
    assert proof.endswith("再利用") == (width >= 25)

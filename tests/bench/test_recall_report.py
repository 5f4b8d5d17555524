"""What a recall run prints: known intervals, counts that add up, and a picture that says it without colours."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cagchat.bench.facts import Fact
from cagchat.bench.heatmap import heatmap
from cagchat.bench.journal import Reply
from cagchat.bench.recall import Evidence, Grid, Outcome, Question, Recall, Text
from cagchat.bench.recall_report import Tally, as_object, between, rows, tables, wilson
from cagchat.bench.tables import markdown, texts
from cagchat.engine.protocol import KvType

FACT = Fact("name", "The cat of Senk was named Tanopamb.", "What was the name of the cat of Senk?", "Tanopamb")
GRID = Grid((1000, 2000), (0.05, 0.95), 2, ("f16",), (1,), ("off", "on"))
SVG = "{http://www.w3.org/2000/svg}"


def outcome(
    right: bool,
    *,
    length: int = 1000,
    depth: float = 0.05,
    evidence: Evidence = "off",
    kv_type: KvType = "f16",
    planted: bool = True,
) -> Outcome:
    text = Text(f"{length}", length, 1 if planted else None, "", length - 13, ())
    question = Question(FACT, 1, depth, depth if planted else None)
    return Outcome(text, kv_type, evidence, question, Reply("Tanopamb <&>" if right else "A cat.", 20))


RECALL = Recall(
    (
        outcome(True),
        outcome(True),
        outcome(False),
        outcome(False, depth=0.95),
        outcome(True, depth=0.95, evidence="on"),
        outcome(False, planted=False),
        outcome(True, length=2000, depth=0.95, evidence="on"),
    ),
    left_out=("Texts of 9,000 tokens are left out.",),
)


@pytest.mark.parametrize(
    ("right", "asked", "low", "high"),
    [
        (0, 10, 0.0, 0.2775),
        (1, 10, 0.0179, 0.4042),
        (5, 10, 0.2366, 0.7634),
        (10, 10, 0.7225, 1.0),
        (50, 100, 0.4038, 0.5962),
        (0, 0, 0.0, 1.0),
        (1, 1, 0.2065, 1.0),
    ],
)
def test_intervals_are_wilsons(right: int, asked: int, low: float, high: float) -> None:
    """Intervals agree with published ones to four digits."""
    assert wilson(right, asked) == pytest.approx((low, high), abs=5e-5)


@given(st.integers(1, 10_000).flatmap(lambda asked: st.tuples(st.integers(0, asked), st.just(asked))))
def test_interval_holds_the_share(counts: tuple[int, int]) -> None:
    """An interval lies between 0 and 1, holds the share, and mirrors that of the wrong answers."""
    right, asked = counts
    low, high = wilson(right, asked)
    assert 0 <= low <= right / asked <= high <= 1
    assert wilson(asked - right, asked) == pytest.approx((1 - high, 1 - low))


def test_rows_count_their_own() -> None:
    """Each row counts one length, KV type and evidence, by depth, in all, and without facts."""
    off, on, longer_off, longer_on = rows(GRID, RECALL)
    assert (off.cells, off.all, off.without) == ((Tally(2, 3), Tally(0, 1)), Tally(2, 4), Tally(0, 1))
    assert (on.cells, on.all) == ((Tally(0, 0), Tally(1, 1)), Tally(1, 1))
    assert longer_off.all == Tally(0, 0)
    assert (longer_on.all, longer_on.without) == (Tally(1, 1), Tally(0, 0))


def test_table_says_counts_and_intervals() -> None:
    """The table has each count, the interval in percent, and what was left out below it."""
    grid, together = tables(GRID, RECALL)
    assert texts(grid, grid.rows[0]) == ["1,000", "f16", "off", "2/3", "0/1", "2/4", "15–85 %", "0/1", "20"]
    assert texts(grid, grid.rows[2])[3:] == ["–", "–", "–", "–", "–", "–"]
    assert "Texts of 9,000 tokens are left out." in markdown(grid)
    assert texts(together, together.rows[1]) == ["depth 95 %", "0/1", "0–79 %", "2/2", "34–100 %"]
    assert [row["what"] for row in together.rows[2:]] == ["names", "numbers", "places"]


def test_stopped_run_says_so() -> None:
    """A table of a run that was stopped says that it is not whole."""
    assert "stopped early" in markdown(tables(GRID, Recall(RECALL.outcomes, stopped=True))[0])
    assert "stopped early" not in markdown(tables(GRID, RECALL)[0])


def test_json_has_every_answer() -> None:
    """JSON has counts with intervals, and each answer with its question and whether it is right."""
    content = json.loads(json.dumps(as_object(GRID, RECALL), allow_nan=False))
    assert content["rows"][0]["all"] == {"right": 2, "asked": 4, "low": 0.15, "high": 0.85}
    assert content["rows"][0]["depths"][1]["depth"] == 0.95
    assert len(content["answers"]) == 7
    assert content["answers"][0]["answer"] == "Tanopamb <&>"
    assert [answer["planted"] for answer in content["answers"]].count(False) == 1


def drawn() -> str:
    return heatmap("Recall <of> facts", GRID.depths, rows(GRID, RECALL), "SmolLM2 & a story")


def test_picture_is_well_formed() -> None:
    """The picture is XML with a title, a description, and nothing that runs or loads."""
    root = ElementTree.fromstring(drawn())
    assert root.tag == f"{SVG}svg"
    assert root.findtext(f"{SVG}title") == "Recall <of> facts"
    assert "2/4 right" in (root.findtext(f"{SVG}desc") or "")
    assert not {element.tag.removeprefix(SVG) for element in root.iter()} & {"script", "image", "use", "a"}
    assert "http" not in drawn().replace("http://www.w3.org/2000/svg", "")


def test_picture_says_every_number() -> None:
    """Each cell has its count as text and its share with the interval as a tooltip; one never asked has a dash."""
    cells = list(ElementTree.fromstring(drawn()).iter(f"{SVG}g"))
    shown = [cell.findtext(f"{SVG}text") for cell in cells]
    assert shown == ["2/3", "0/1", "2/4", "–", "1/1", "1/1", "–", "–", "–", "–", "1/1", "1/1"]
    tip = cells[0].findtext(f"{SVG}title") or ""
    assert "66.7 %" in tip
    assert between(Tally(2, 3)) in tip


def test_picture_stays_inside() -> None:
    """Nothing is drawn outside the picture, and cells do not overlap."""
    root = ElementTree.fromstring(drawn())
    width, height = float(root.attrib["width"]), float(root.attrib["height"])
    boxes = [
        tuple(float(rect.attrib.get(name, inf)) for name in ("x", "y", "width", "height"))
        for rect in root.iter(f"{SVG}rect")
        if rect.attrib["class"] == "cell"
    ]
    assert all(x + w <= width and y + h <= height for x, y, w, h in boxes)
    assert len({(x, y) for x, y, _, _ in boxes}) == len(boxes) == 12


def test_picture_is_the_same_each_time() -> None:
    """The same counts give the same bytes, and both themes have colours of their own."""
    assert drawn() == drawn()
    assert "prefers-color-scheme: dark" in drawn()


def test_colour_follows_the_share() -> None:
    """A cell is the stronger the more was right, and one of none is still there."""
    groups = list(ElementTree.fromstring(drawn()).iter(f"{SVG}g"))
    opacity = [float(group.find(f"{SVG}rect").attrib["fill-opacity"]) for group in groups]  # type: ignore[union-attr]  # each has one
    assert 0 < opacity[1] < opacity[2] < opacity[0] < opacity[4] == 1
    assert opacity[3] == 0

"""`cagchat bench scaling`: what grows with the book grows in proportion, what should not grow is not evaluated."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from cagchat.bench.scaling import Point, Subject, measure, synthetic
from cagchat.bench.synth import write_model
from cagchat.bench.tables import least
from cagchat.bench.workbench import Workbench
from cagchat.cli.bench_scaling import microseconds, panels
from cagchat.cli.main import main
from cagchat.settings import Settings


def workbench(model: Path, home: Path, said: list[str]) -> Workbench:
    settings = Settings(
        model=str(model), threads=1, batch=256, chat_tokens=512, kv_type="f16", fast_kernels="off", yarn=False
    )
    return Workbench(home, settings, home / "none.txt", repeat=1, lengths=(), say=said.append)


def ticking(step: float) -> Iterator[float]:
    """A clock on which every look takes as long."""
    now = 0.0
    while True:
        yield now
        now += step


@pytest.mark.parametrize("architecture", ["qwen3", "qwen35"])
def test_state_grows_in_proportion(architecture: str, tmp_path: Path) -> None:
    """Twice the tokens take twice the bytes beside what is fixed, and no length evaluates the book again."""
    subject = synthetic(workbench(tmp_path / "none.gguf", tmp_path, []), architecture)
    _, curves = measure([subject], minutes=60, longest=2048)
    first, second, third = curves[subject.name]
    assert (second.size_bytes - first.size_bytes) * (third.tokens - second.tokens) == (
        third.size_bytes - second.size_bytes
    ) * (second.tokens - first.tokens)
    assert [point.book_evaluated for point in (first, second, third)] == [0, 0, 0]


def test_ends_where_the_model_is_full(models: Path, tmp_path: Path) -> None:
    """A model that holds no more ends its curve, and the table says why."""
    model = write_model(models / "short.gguf", "qwen3", layers=2, context=1536)
    table, curves = measure([Subject("Short", workbench(model, tmp_path, []))], minutes=60, longest=4096)
    assert len(curves["Short"]) == 1
    assert "ends there because" in table.notes[-1]
    assert "1,536" in table.notes[-1]


def test_ends_when_the_time_is_over(models: Path, tmp_path: Path) -> None:
    """When the next length would not be done in the time given, it is not begun, and the table says so."""
    model = write_model(models / "timed.gguf", "qwen3", layers=2, context=1 << 14)
    look = ticking(7.0)
    said: list[str] = []
    table, curves = measure([Subject("Timed", workbench(model, tmp_path, said))], 5, 8192, lambda: next(look))
    assert len(curves["Timed"]) == 1
    assert "would not be done in the time given" in table.notes[-1]


def test_nothing_is_left(models: Path, tmp_path: Path) -> None:
    """After a measurement no text and no state is left in its folder."""
    model = write_model(models / "tidy.gguf", "qwen3", layers=2)
    measure([Subject("Tidy", workbench(model, tmp_path, []))], minutes=60, longest=512)
    assert not [path for path in tmp_path.rglob("*") if path.suffix in {".txt", ".bin"}]


def test_command_writes_table_json_and_svg(models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`bench scaling --model M` measures that model alone, and writes the same points as table, JSON and SVG."""
    model = write_model(models / "alone.gguf", "qwen3", layers=2)
    report, picture = tmp_path / "scaling.json", tmp_path / "scaling.svg"
    asked = ["bench", "scaling", "--model", str(model), "--threads", "1", "--fast-kernels", "off"]
    assert main([*asked, "--longest", "512", "--repeat", "1", "--json", str(report), "--svg", str(picture)]) == 0
    (row,) = json.loads(report.read_bytes())["measurements"][0]["rows"]
    assert f"{row['tokens']:,}" in capsys.readouterr().out
    assert picture.read_text(encoding="utf-8").startswith("<svg ")


def test_a_report_without_a_folder_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A report that could not be written is refused before anything is measured."""
    assert main(["bench", "scaling", "--svg", str(tmp_path / "no" / "a.svg")]) == 2
    assert "There is no folder" in capsys.readouterr().err


def test_every_quantity_has_a_panel() -> None:
    """A point without a memory figure leaves a gap in that panel only."""
    seconds = least([0.5])
    point = Point(512, 2.0, 1000, 0.1, seconds, seconds, seconds, 9e-4, 1e-4, seconds, 0, None)
    drawn = {panel.title: panel.curves["M"] for panel in panels({"M": [point]})}
    assert drawn.pop("peak memory") == []
    assert all(len(points) == 1 for points in drawn.values())


@pytest.mark.parametrize(("seconds", "said"), [(0.00014, "140 µs"), (0.0021, "2.1 ms")])
def test_short_times_keep_their_digits(seconds: float, said: str) -> None:
    """A fork takes microseconds, and is shown in them."""
    assert microseconds(seconds) == said

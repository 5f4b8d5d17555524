"""`cagchat bench --only interface` sees every key that it presses, on the engine without a model."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from cagchat.bench.interface import (
    COLUMNS,
    FAKE_SCRIPT,
    FAKE_SETTINGS,
    RecordedApp,
    fake_rows,
    keys_while_answering,
    run,
    set_stage,
    table,
    write_lanterns,
)
from cagchat.bench.tables import Figure, markdown
from cagchat.engine.backend import FakeBackend

KEYS = 6


def test_every_key_is_shown(tmp_path: Path) -> None:
    """Each key that is pressed is found on the screen, in both rows, whose cells are those of the columns."""
    rows = fake_rows(tmp_path, FakeBackend(FAKE_SCRIPT, own_process=True), KEYS, time.perf_counter)
    assert [row["work"] for row in rows] == ["reading", "answering"]
    for row in rows:
        assert set(row) == {column.key for column in COLUMNS}
        assert row["keys"] == KEYS
        best, middle, worst = row["best"], row["median"], row["worst"]
        assert isinstance(best, Figure)
        assert isinstance(middle, Figure)
        assert isinstance(worst, Figure)
        assert len(best.runs) == KEYS
        assert best.best <= middle.best <= worst.best
    assert "keys shown" in markdown(table(rows))


def test_keys_are_pressed_while_the_app_is_busy(tmp_path: Path) -> None:
    """Keys are pressed while the loop is blocked, and wait for it: those in the first half of a block for as long."""
    blocked_s, keys = 0.6, 24

    async def drive(app: RecordedApp, keys: int, timer: Callable[[], float]) -> list[float]:
        app.set_interval(1.5 * blocked_s, lambda: time.sleep(blocked_s))
        return await keys_while_answering(app, keys, timer)

    backend = FakeBackend(FAKE_SCRIPT, own_process=True)
    with set_stage(tmp_path / "stage", FAKE_SETTINGS, backend) as stage:
        latencies = run(stage, write_lanterns(tmp_path / "lanterns.txt", 10), drive, keys, time.perf_counter)
    assert len(latencies) == keys
    # One key at most would wait in each block if keys were pressed by the loop itself.
    assert sum(latency > blocked_s / 3 for latency in latencies) >= keys // 4

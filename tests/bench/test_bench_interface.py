"""`cagchat bench --only interface` sees every key that it presses, on the engine without a model."""

from __future__ import annotations

import time
from pathlib import Path

from cagchat.bench.interface import COLUMNS, FAKE_SCRIPT, fake_rows, table
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

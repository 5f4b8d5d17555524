"""How long a reading takes: the fit, what is remembered on this machine, and what was published."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cagchat.plan.rates import (
    LEAST_TOKENS,
    PUBLISHED,
    Estimate,
    Measured,
    Rate,
    bucket,
    measured,
    published,
    rates_key,
    seconds_to_read,
    stretches,
)

RATES = st.lists(
    st.builds(Rate, st.integers(0, 1 << 20), st.integers(1, 1 << 20), st.floats(1e-6, 1e6)), min_size=1, max_size=12
)
KEY = rates_key("0123456789abcdefg", "q8_0", "Some GPU", 512, 0)
OBSERVING = """
import sys
from pathlib import Path
from cagchat.plan.rates import Measured, Rate
rates = Measured(Path(sys.argv[1]))
for number in range(8):
    rates.observe(f"{sys.argv[2]} {number}", [Rate(1000, 1000, 1.0)])
"""


def rate(depth: int, each_s: float, tokens: int = 1000) -> Rate:
    return Rate(depth, tokens, each_s * tokens)


# -- the fit -----------------------------------------------------------------------------------------------------------


def test_two_depths_fix_base_and_slope() -> None:
    """Rates on a line give that line's sum: here 1 ms a token and 1 us more every 1000 tokens of depth."""
    rates = [rate(10_000, 0.001 + 10_000e-9), rate(50_000, 0.001 + 50_000e-9)]
    assert seconds_to_read(rates, 0, 100_000) == pytest.approx(100 + 1e-9 * 100_000**2 / 2)
    assert seconds_to_read(rates, 40_000, 100_000) == pytest.approx(60 + 1e-9 * (100_000**2 - 40_000**2) / 2)


def test_one_depth_fixes_the_base() -> None:
    """With one rate every token costs the same."""
    assert seconds_to_read([rate(5000, 0.002)], 100, 1100) == pytest.approx(2)


@pytest.mark.parametrize("rates", [[], [Rate(1, 0, 1.0)], [Rate(1, 10, 0.0)]])
def test_nothing_is_known_without_rates(rates: list[Rate]) -> None:
    """Without a rate, or with none that says anything, there is no estimate."""
    assert seconds_to_read(rates, 0, 10) is None
    assert measured(rates, 0, 10) is None


@given(RATES, st.integers(0, 1 << 20), st.integers(0, 1 << 20), st.integers(0, 1 << 20))
def test_longer_readings_take_longer(rates: list[Rate], start: int, first: int, more: int) -> None:
    """Whatever was measured, no time is negative, and reading further takes no less."""
    shorter = seconds_to_read(rates, start, start + first)
    longer = seconds_to_read(rates, start, start + first + more)
    assert shorter is not None
    assert longer is not None
    assert 0 <= shorter <= longer * (1 + 1e-9)


@given(RATES)
def test_estimate_agrees_with_one_rate_for_all(rates: list[Rate]) -> None:
    """Every token read at the mean depth of what was measured costs what was measured."""
    weight = sum(rate.tokens for rate in rates)
    depth = round(sum(rate.tokens * rate.depth for rate in rates) / weight)
    found = seconds_to_read(rates, depth, depth + 1)
    each = sum(rate.seconds for rate in rates) / weight
    assert found == pytest.approx(each, rel=1e-3 if depth > 10_000 else 2)


def test_shallow_measurement_is_said() -> None:
    """An estimate for more than twice the depth that was measured says how far that was."""
    rates = [rate(1000, 0.001), rate(5000, 0.001)]
    assert said(measured(rates, 0, 10_000)) == "measured here"
    assert said(measured(rates, 0, 10_001)) == "measured here, only to depth 5,000"


def said(estimate: Estimate | None) -> str:
    assert estimate is not None
    return estimate.source


# -- published ---------------------------------------------------------------------------------------------------------


def test_published_rates_are_given_back() -> None:
    """Averages over a whole reading, when read for as long, give the time that was published."""
    (found,) = [rates for rates, source in published("", "Qwen3.5 35B-A3B Q3_K_M") if "A6000" in source]
    assert seconds_to_read(found, 0, 770_000) == pytest.approx(770_000 / 540)


@pytest.mark.parametrize(
    ("gpu", "model", "count"),
    [
        ("", "Qwen3.5 35B-A3B Q3_K_M", len(PUBLISHED)),
        ("", "Qwen3.5-35B-A3B", len(PUBLISHED)),
        ("", "qwen3.5 35b a3b", len(PUBLISHED)),
        ("NVIDIA L4", "Qwen3.5-35B-A3B", 1),
        ("NVIDIA RTX A6000", "Qwen3.5-35B-A3B", 1),
        ("NVIDIA L40S", "Qwen3.5-35B-A3B", 0),
        ("NVIDIA GeForce RTX 3090", "Qwen3.5-35B-A3B", 0),
        ("", "Qwen3.5 9B", 0),
    ],
)
def test_published_rates_are_of_this_gpu_and_model(gpu: str, model: str, count: int) -> None:
    """A rate counts for the model by its name, however spelled, and for a GPU by a whole word of its name."""
    assert len(published(gpu, model)) == count


# -- remembered --------------------------------------------------------------------------------------------------------


def test_what_was_observed_is_remembered(tmp_path: Path) -> None:
    """Rates come back under their key, shallow first, in another process as well; other keys know nothing."""
    path = tmp_path / "cache" / "rates.json"
    Measured(path).observe(KEY, [rate(50_000, 0.002), rate(1000, 0.001)])
    assert Measured(path).rates(KEY) == (rate(1000, 0.001), rate(50_000, 0.002))
    assert Measured(path).rates(KEY + "x") == ()


def test_newest_rate_of_a_depth_counts(tmp_path: Path) -> None:
    """Of depths between the same powers of two the newest rate is kept, of others all."""
    known = Measured(tmp_path / "rates.json")
    known.observe(KEY, [rate(1100, 0.001), rate(40_000, 0.002)])
    known.observe(KEY, [rate(1900, 0.003)])
    assert known.rates(KEY) == (rate(1900, 0.003), rate(40_000, 0.002))


def test_short_stretches_are_not_remembered(tmp_path: Path) -> None:
    """A stretch of few tokens is mostly start-up: with nothing else, not even a file is written."""
    Measured(tmp_path / "rates.json").observe(KEY, [rate(1, 0.1, tokens=LEAST_TOKENS - 1), Rate(1, 5000, 0.0)])
    assert list(tmp_path.iterdir()) == []


def test_rates_are_private(tmp_path: Path) -> None:
    """What was read when is the user's business."""
    Measured(tmp_path / "rates.json").observe(KEY, [rate(1000, 0.001)])
    assert (tmp_path / "rates.json").stat().st_mode & 0o077 == 0


def content(rates: object, form: object = 1) -> bytes:
    return json.dumps({"format": form, "rates": rates}).encode()


@pytest.mark.parametrize(
    "damaged",
    [
        b"",
        b"\xff\xfe",
        b"[]",
        b"[" * 100_000,
        b'{"format": 1}',
        content({KEY: [[1, 1, 1.0]]}, form=2),
        content([1]),
        content({KEY: 5}),
        content({KEY: [[1, 2]]}),
        content({KEY: [["a", 1, 1.0]]}),
        content({KEY: [[1, 1, -1.0]]}),
        content({KEY: [[1, 1, float("nan")]]}),
        content({KEY: [[float("inf"), 1, 1.0]]}),
        content({KEY: [[1, 10**400, 1.0]]}),
        content({KEY: [[-5, 1, 1.0]]}),
    ],
    ids=range(15),
)
def test_damaged_file_is_as_none(tmp_path: Path, damaged: bytes) -> None:
    """A file that is no rates is ignored, and replaced by the next observation."""
    path = tmp_path / "rates.json"
    path.write_bytes(damaged)
    known = Measured(path)
    assert known.rates(KEY) == ()
    known.observe(KEY, [rate(1000, 0.001)])
    assert known.rates(KEY) == (rate(1000, 0.001),)


def test_two_processes_lose_nothing(tmp_path: Path) -> None:
    """Two processes that observe at the same time both find their rates in the file."""
    path = tmp_path / "rates.json"
    both = [
        subprocess.Popen(
            [sys.executable, "-c", OBSERVING, str(path), name], env=os.environ, cwd=Path(__file__).parents[2]
        )
        for name in "ab"
    ]
    assert [process.wait(60) for process in both] == [0, 0]
    known = Measured(path)
    assert all(known.rates(f"{name} {number}") for name in "ab" for number in range(8))


# -- from progress -----------------------------------------------------------------------------------------------------


def test_stretches_add_up() -> None:
    """The rates of a reading have all its tokens and seconds, one for each power of two of depth."""
    progress = [(position, position * 0.001) for position in range(0, 100_001, 512)]
    found = stretches(progress)
    assert sum(rate.tokens for rate in found.values()) == progress[-1][0]
    assert sum(rate.seconds for rate in found.values()) == pytest.approx(progress[-1][1])
    assert all(bucket(rate.depth) == key for key, rate in found.items())


def test_resumed_reading_counts_from_where_it_began() -> None:
    """What lies before the first position was not read now."""
    (found,) = stretches([(40_000, 1.0), (41_000, 3.0)]).values()
    assert found == Rate(40_500, 1000, 2.0)


@pytest.mark.parametrize("progress", [[], [(5, 1.0)], [(5, 1.0), (5, 2.0)]])
def test_no_progress_is_no_rate(progress: list[tuple[int, float]]) -> None:
    """A reading that did not move says nothing."""
    assert stretches(progress) == {}


def test_key_has_what_decides_a_rate() -> None:
    """Another model, KV type, device, batch or place of the experts is another rate."""
    keys = [
        KEY,
        rates_key("1123456789abcdefg", "q8_0", "Some GPU", 512, 0),
        rates_key("0123456789abcdefg", "f16", "Some GPU", 512, 0),
        rates_key("0123456789abcdefg", "q8_0", "Other GPU", 512, 0),
        rates_key("0123456789abcdefg", "q8_0", "Some GPU", 256, 0),
        rates_key("0123456789abcdefg", "q8_0", "Some GPU", 512, 4),
    ]
    assert len(set(keys)) == len(keys)

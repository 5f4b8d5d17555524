"""When quantised K and V are rotated: as llama.cpp reads its own variable."""

from __future__ import annotations

import pytest

from cagchat.engine.rotation import VARIABLE, rotated


@pytest.mark.parametrize("kv_type", ["q8_0", "q4_0"])
def test_quantised_kv_is_rotated(kv_type: str) -> None:
    """Without the variable quantised K and V are rotated."""
    assert rotated(kv_type, {})


@pytest.mark.parametrize("value", ["", "0", "1"])
def test_f16_is_never_rotated(value: str) -> None:
    """Nothing is rotated that is not quantised, whatever the variable says."""
    assert not rotated("f16", {VARIABLE: value})


@pytest.mark.parametrize(
    ("value", "number"),
    [("1", 1), ("0", 0), ("", 0), ("yes", 0), (" \t12abc", 12), ("-1", -1), ("+0", 0), ("000", 0), ("00400", 400)]
    + [("0x1", 0), ("- 1", 0), ("٣", 0)],
)
def test_the_variable_is_read_as_atoi_reads_it(value: str, number: int) -> None:
    """Whatever C's atoi makes a number other than zero of switches rotation off, and nothing else does."""
    assert rotated("q8_0", {VARIABLE: value}) == (number == 0)

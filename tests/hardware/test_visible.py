"""CUDA_VISIBLE_DEVICES and MIG: which of the listed GPUs CUDA would show."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cagchat.hardware.visible import Listed, Pick, visible

TWO = (Listed("GPU-aaaa-1"), Listed("GPU-aabb-2"), Listed("GPU-cccc-3"))
SLICED = (
    Listed("GPU-aaaa-1"),
    Listed("GPU-bbbb-2", mig=True, instances=(("MIG-1111", "MIG-GPU-bbbb-2/1/0"), ("MIG-1122", "MIG-GPU-bbbb-2/11/0"))),
)


@pytest.mark.parametrize(
    ("value", "numbers"),
    [
        (None, [0, 1, 2]),
        ("", []),
        ("-1", []),
        ("NoDevFiles", []),
        ("0", [0]),
        ("2,0", [2, 0]),
        (" 1 , 2 ", [1, 2]),
        ("0,-1,1", [0]),
        ("0,7,1", [0]),
        ("1,,2", [1]),
        ("1,1", []),
        ("2nd", [2]),
        ("99999999999999999999", []),
        ("GPU-cccc-3,0", [2, 0]),
        ("GPU-c", [2]),
        ("GPU-aa", []),
        ("GPU-aab", [1]),
        ("GPU-none,0", []),
        ("GPU-aaaa-1,0", []),
        ("MIG-1111", []),
    ],
)
def test_whole_gpus_are_chosen_as_cuda_does(value: str | None, numbers: list[int]) -> None:
    """Numbers and UUIDs choose and order; the first bad entry ends the list, an entry twice empties it."""
    assert visible(TWO, value) == [Pick(number) for number in numbers]


@pytest.mark.parametrize(
    ("value", "picks"),
    [
        (None, [Pick(1, 0)]),
        ("0", [Pick(0)]),
        ("1", [Pick(1, 0)]),
        ("0,1", [Pick(1, 0)]),
        ("MIG-1122", [Pick(1, 1)]),
        ("MIG-112", [Pick(1, 1)]),
        ("MIG-11", []),
        ("MIG-1122,MIG-1111", [Pick(1, 1)]),
        ("MIG-GPU-bbbb-2/11/0", [Pick(1, 1)]),
        ("MIG-GPU-bbbb-2/1/0", [Pick(1, 0)]),
        ("MIG-GPU-bbbb-2/2/0", []),
        ("GPU-bbbb", [Pick(1, 0)]),
    ],
)
def test_one_instance_is_all_that_cuda_shows(value: str | None, picks: list[Pick]) -> None:
    """As soon as a MIG instance is visible it is the only device."""
    assert visible(SLICED, value) == picks


def test_sliced_gpu_without_an_instance_is_not_visible() -> None:
    """A GPU in MIG mode can only be used through an instance."""
    assert visible([Listed("GPU-a", mig=True), Listed("GPU-b")], None) == [Pick(1)]
    assert visible([Listed("GPU-a", mig=True)], "0") == []


@given(st.text(alphabet="0123456789-,GPUMIabc/ \x00é", max_size=40))
def test_any_value_chooses_devices_that_exist(value: str) -> None:
    """Whatever stands in the variable, the result names listed devices, each once."""
    picks = visible(SLICED, value)
    assert len(picks) == len(set(picks))
    for pick in picks:
        assert SLICED[pick.gpu].mig == (pick.instance is not None)

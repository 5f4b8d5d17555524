"""When a restored state's probe is believed."""

from __future__ import annotations

import pytest

from cagchat.engine.protocol import Probe
from cagchat.opened import OTHER_BUILD, SAME_BUILD, agrees

TOP = ((5, 9.0), (3, 8.5), (8, 8.0), (2, 7.0))
RECORDED = Probe(1, TOP)


def shifted(by: float) -> Probe:
    return Probe(1, tuple((token, logit + by) for token, logit in TOP))


def test_the_same_logits_agree() -> None:
    """A probe agrees with itself, however strict the tolerance."""
    assert agrees(RECORDED, RECORDED, 0.0)


@pytest.mark.parametrize(
    ("by", "same_build", "other_build"), [(0.1, True, True), (0.4, False, True), (1, False, False)]
)
def test_the_build_decides_how_much_may_differ(by: float, same_build: bool, other_build: bool) -> None:
    """Another build may differ by some tenths, the same one hardly, and whole units are another text."""
    assert agrees(RECORDED, shifted(by), SAME_BUILD) == same_build
    assert agrees(RECORDED, shifted(by), OTHER_BUILD) == other_build


def test_other_likely_tokens_disagree() -> None:
    """A state after which other tokens are likely is another state, whatever the logits."""
    assert not agrees(RECORDED, Probe(1, ((5, 9.0), (40, 8.5), (41, 8.0), (42, 7.0))), OTHER_BUILD)
    assert not agrees(RECORDED, Probe(1, ((3, 8.5), (8, 8.0), (2, 7.0), (40, 6.9))), OTHER_BUILD)


def test_another_token_disagrees() -> None:
    """Probes of two different tokens say nothing about each other."""
    assert not agrees(RECORDED, Probe(2, TOP), OTHER_BUILD)

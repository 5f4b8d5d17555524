"""How many threads the engine gets."""

from __future__ import annotations

import pytest

from cagchat.engine.bindings import threads_for


@pytest.mark.parametrize(
    ("asked", "cores", "given"), [(0, 8, 7), (0, 1, 1), (1, 8, 1), (8, 8, 8), (9, 8, 8), (999, 1, 1)]
)
def test_there_are_never_more_threads_than_cores(
    asked: int, cores: int, given: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One core is left to the interface unless told otherwise; more threads than cores would stand in a spin."""
    monkeypatch.setattr("cagchat.engine.bindings.usable_cores", lambda: cores)
    assert threads_for(asked) == given

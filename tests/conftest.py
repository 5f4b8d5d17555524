"""Fixtures that many tests share."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for the tiny models that tests write once a run."""
    return tmp_path_factory.mktemp("models")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave out tests over files that lie beside some checkouts only, where there are none: nothing is skipped."""
    items[:] = [item for item in items if not has_no_cases(item)]


def has_no_cases(item: pytest.Item) -> bool:
    """Tell whether a test was parametrised with an empty list, which pytest turns into a skipped one."""
    return any("empty parameter set" in str(mark.kwargs.get("reason", "")) for mark in item.iter_markers("skip"))

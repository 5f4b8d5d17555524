"""Fixtures that many tests share."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for the tiny models that tests write once a run."""
    return tmp_path_factory.mktemp("models")

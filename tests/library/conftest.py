"""A short book and an empty home for each test."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.reading_cases import write_book


@pytest.fixture
def book(tmp_path: Path) -> Path:
    return write_book(tmp_path)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"

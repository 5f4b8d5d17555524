"""cagchat beside the other ways to keep a book that was read: counted and timed, for attention and for a hybrid."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cagchat.bench.tables import Table
    from cagchat.bench.workbench import Workbench


def measure(bench: Workbench, *, python: str = sys.executable) -> tuple[Table, ...]:
    """Compare the ways: see `comparison.measure`, which the processes that are timed need not load."""
    from cagchat.bench.peers import comparison

    return comparison.measure(bench, python=python)

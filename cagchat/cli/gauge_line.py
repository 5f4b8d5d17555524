"""How far something is, on stderr: a bar where it is a terminal, now and then a line where it is not."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from types import TracebackType
from typing import TYPE_CHECKING, Self

from cagchat.cli.app import say
from cagchat.cli.output import is_terminal
from cagchat.printable import printable

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

LINE_EVERY_S = 5.0
BAR_WIDTH = 16


class GaugeLine(AbstractContextManager["GaugeLine"]):
    """A bar that is drawn at the first `progress` and gone at the end; what is said meanwhile scrolls above it."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        self._last_line_s = -LINE_EVERY_S

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def say(self, text: str) -> None:
        """Print a line."""
        if self._bar is not None:
            self._bar.console.print(printable(text), markup=False, highlight=False)
        else:
            say(text)

    def progress(self, done: int, total: int | None, text: str) -> None:
        """Show that `done` of `total` is done, in words too; `total` is None while it is not known."""
        if is_terminal(sys.stderr):
            self._draw(done, total, printable(text))
        elif (now := self._clock()) - self._last_line_s >= LINE_EVERY_S:
            self._last_line_s = now
            say(f"  {text}")

    def _draw(self, done: int, total: int | None, text: str) -> None:
        if self._bar is None:
            from rich.console import Console  # 50 ms, only when something takes long on a terminal
            from rich.progress import BarColumn, Progress, TextColumn
            from rich.table import Column

            self._bar = Progress(
                BarColumn(bar_width=BAR_WIDTH, table_column=Column(min_width=BAR_WIDTH)),
                TextColumn("{task.fields[text]}", markup=False, table_column=Column(ratio=1, no_wrap=True)),
                console=Console(stderr=True),
                expand=True,
                transient=True,
            )
            self._task = self._bar.add_task("", total=total, text="")
            self._bar.start()
        assert self._task is not None
        self._bar.update(self._task, completed=done, total=total, text=text)

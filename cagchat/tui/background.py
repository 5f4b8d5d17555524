"""Work that takes long, beside the screen."""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable
from typing import TypeVar

from textual.message_pump import MessagePump

from cagchat.errors import CagchatError

T = TypeVar("T")
Then = Callable[[T | None, CagchatError | None], Awaitable[None]]


def in_background(work: Callable[[], object], *, to_its_end: bool = False) -> None:
    """Run on a thread that does not keep the program from ending, as those of Textual's workers do.

    With `to_its_end` it does: what was promised to be deleted is gone when the program is.
    """
    threading.Thread(target=work, name="beside", daemon=not to_its_end).start()


def beside(node: MessagePump, work: Callable[[], T], then: Then[T]) -> None:
    """Run something in the background, then `then` in the node's own task with what came of it or what it raised.

    A node that has gone meanwhile is told nothing.
    """

    def told() -> None:
        found, error = None, None
        try:
            found = work()
        except CagchatError as refused:
            error = refused
        node.call_later(then, found, error)

    in_background(told)


class Latest:
    """Runs one thing after the other beside a node; only what came of the last one is told."""

    def __init__(self, node: MessagePump) -> None:
        self._node = node
        self._asked = 0
        self._told = 0

    @property
    def waits(self) -> bool:
        """Whether something is still to be told."""
        return self._told != self._asked

    def drop(self) -> None:
        """Tell nothing of what runs now."""
        self._asked = self._told = self._asked + 1

    def beside(self, work: Callable[[], T], then: Then[T]) -> None:
        """Run something in place of what runs now."""
        self._asked += 1
        number = self._asked

        async def told(found: T | None, error: CagchatError | None) -> None:
            if number == self._asked:
                self._told = number
                await then(found, error)

        beside(self._node, work, told)

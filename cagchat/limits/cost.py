"""What it takes to let a chat know the book up to a place, before it is done."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cagchat.limits.ground import Ground
from cagchat.limits.limit import Limit, check_forward

if TYPE_CHECKING:
    from cagchat.opened import OpenBook
    from cagchat.sessions.session import Turn


@dataclass(frozen=True, slots=True)
class Cost:
    """A limit, and how many of the book's tokens the next question evaluates to reach it."""

    limit: Limit
    to_read: int


def cost_of(limit: Limit, book: OpenBook, turns: Sequence[Turn]) -> Cost:
    """Return what a limit costs a chat with these turns.

    Raises `UsageError` when the chat knows more already, and what the engine raises.
    """
    ground = Ground(book, limit)
    check_forward(ground.limit, turns)
    return Cost(limit, ground.to_read)

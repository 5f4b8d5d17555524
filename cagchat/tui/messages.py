"""What the desk tells a screen: that something happened in a job, and that a job is over."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.message import Message

if TYPE_CHECKING:
    from cagchat.errors import CagchatError
    from cagchat.events import AskEvent, PrepareEvent
    from cagchat.limits.cost import Cost
    from cagchat.limits.limit import Limit
    from cagchat.sessions.session import Session
    from cagchat.tui.jobs import Job


class Happened(Message, bubble=False):
    """An event of a running job; `n_tokens` counts the fragments of text that were joined into it."""

    def __init__(self, job: Job, event: PrepareEvent | AskEvent | Cost, n_tokens: int = 0) -> None:
        super().__init__()
        self.job = job
        self.event = event
        self.n_tokens = n_tokens


class Ended(Message, bubble=False):
    """A job is over. `error` is None when it did what it was for.

    `session` is the chat that is at the desk now, `limit` how far it knows the book; None for all of it.
    """

    def __init__(
        self, job: Job, error: CagchatError | None, session: Session | None, limit: Limit | None = None
    ) -> None:
        super().__init__()
        self.job = job
        self.error = error
        self.session = session
        self.limit = limit

"""What a screen can ask the desk to do. Jobs are told apart by identity: the same question asked twice is two jobs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cagchat.documents import Source
    from cagchat.library import Options
    from cagchat.limits.limit import Limit
    from cagchat.recorded import Recorded
    from cagchat.sessions.session import Session


@dataclass(frozen=True, slots=True, eq=False)
class Prepare:
    """Open a book in place of the one that is open."""

    book: Path | Source | Recorded
    options: Options


@dataclass(frozen=True, slots=True, eq=False)
class Ask:
    """Answer a question."""

    question: str


@dataclass(frozen=True, slots=True, eq=False)
class Regenerate:
    """Answer question `number` anew, the last one when it is None."""

    number: int | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Edit:
    """Ask another question in place of question `number`."""

    number: int
    question: str


@dataclass(frozen=True, slots=True, eq=False)
class Load:
    """Go on with a chat about the open book, with a new one when it is None.

    With a `limit` this chat and new ones know the book up to there.
    """

    session: Session | None
    limit: Limit | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Weigh:
    """Say what it costs to let the chat know the book up to a limit."""

    limit: Limit


@dataclass(frozen=True, slots=True, eq=False)
class LimitTo:
    """Let the chat, and new ones, know the book up to a limit."""

    limit: Limit


Answering = Ask | Regenerate | Edit
Knowing = Load | Weigh | LimitTo
Job = Prepare | Answering | Knowing

"""An error as an entry of the transcript: what failed, why, and what to do."""

from __future__ import annotations

from textual.widgets import Static

from cagchat.errors import CagchatError, EngineDied
from cagchat.tui.shown import clean


class ErrorCard(Static):
    """Says what failed, why and what to do; the chat goes on below it."""

    DEFAULT_CSS = """
    ErrorCard {
        height: auto;
        margin: 0 1 1 1;
        padding: 0 1;
        border: round $error;
        border-title-color: $error;
    }
    """

    def __init__(self, error: CagchatError) -> None:
        super().__init__(clean(card_text(error)), markup=False)
        self.border_title = "✘ error"


def card_text(error: CagchatError) -> str:
    """Return the card's lines."""
    lines = [f"what  {error.message}"]
    lines += [f"why   {reason}" for reason in reasons(error)]
    if error.hint:
        lines.append(f"do    {error.hint}")
    return "\n".join(lines)


def reasons(error: CagchatError) -> list[str]:
    """Return what is known of the cause: the last lines of an engine that died, or what the system refused."""
    if isinstance(error, EngineDied):
        return list(error.log_lines)
    cause = error.__cause__
    return [str(cause)] if isinstance(cause, OSError) else []

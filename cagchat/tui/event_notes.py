"""What the transcript says of the work before an answer, in sentences."""

from __future__ import annotations

from cagchat.events import AskEvent, HistoryRead, Limited, Notice, Reread, Restored
from cagchat.units import duration, size


def note_on(event: AskEvent) -> str:
    """Return a sentence for what the reader is to know of an event; "" for one that is shown in other ways."""
    match event:
        case Notice(text):
            return text
        case Restored(count, size_bytes, elapsed_s):
            return f"Restored {count:,} tokens, {size(size_bytes)} in {duration(elapsed_s)}."
        case HistoryRead(n_turns, count):
            turns = "1 earlier turn" if n_turns == 1 else f"{n_turns:,} earlier turns"
            return f"Read {turns} back: {count:,} tokens."
        case Reread(places, count):
            return f"Read again beside the question, {count:,} tokens: {'; '.join(places)}."
        case Limited(_, count, to_read, words):
            cost = f"; {to_read:,} of them are read now" if to_read else ""
            return f"The model knows the book up to {words} only: {count:,} tokens{cost}."
        case _:
            return ""

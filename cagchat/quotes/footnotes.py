"""The quotes of an answer as footnotes: what each says, whether the book says it too, and where."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cagchat.quotes.check import Check, Checks

SHOWN_LENGTH = 60
SIGNS = {"verified": "✔", "near": "≈", "absent": "✘"}  # each beside its words, for those who see no difference


def footnotes(checks: Checks) -> Iterator[str]:
    """Yield a line for each quote."""
    for number, check in enumerate(checks.items, 1):
        yield f"  [{number}] {footnote(check)}"


def footnote(check: Check) -> str:
    """Return the sign of a quote, the quote, and what the book says to it."""
    return f"{SIGNS[check.located.mark]} “{cut(check.quoted.text)}” {words(check)}"


def words(check: Check) -> str:
    """Say what the book says to a quote."""
    located = check.located
    if located.mark == "absent":
        return "is not in the book" + (f" ({located.difference})" if located.difference else "")
    also = f", and {located.count - 1} more times" if located.count > 1 else ""
    if located.mark == "verified":
        return f"{located.place}{also}"
    return f"nearly: {located.place}{also}; {located.difference}"


def cut(text: str) -> str:
    """Return a quote on one line, short enough for a footnote."""
    line = " ".join(text.split())
    return line if len(line) <= SHOWN_LENGTH else line[: SHOWN_LENGTH - 1].rstrip() + "…"

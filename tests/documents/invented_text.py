"""Invented prose for tests about documents, and the real novels where a folder of them stands beside the checkout."""

from __future__ import annotations

from pathlib import Path

BOOKS = Path(__file__).resolve().parents[3] / "shared" / "books"

_SENTENCES = (
    "The keeper climbed the tower before the lamps of the harbour were lit.",
    "Nobody on the island had seen a ship since the first week of autumn.",
    "She counted the steps aloud, and lost the count where the wall was damp.",
    "In the kitchen the clock had stopped, but the kettle went on telling the time.",
    "There would be letters in the morning if the wind turned, and it never turned.",
)


def prose(characters: int = 3000) -> str:
    """Return paragraphs of about so many characters, ending in a blank line."""
    paragraph = "\n".join(_SENTENCES) + "\n\n"
    return paragraph * max(1, characters // len(paragraph))


def chapters(*headings: str, characters: int = 3000) -> str:
    """Return each heading in its own paragraph with prose below it."""
    return "".join(f"{heading}\n\n{prose(characters)}" for heading in headings)


def novels() -> list[Path]:
    """Return the novels beside the checkout; none where there is no such folder."""
    return sorted(BOOKS.glob("*.txt"))

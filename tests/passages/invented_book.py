"""A book of invented prose with a few facts planted in it, for tests that look for them."""

from __future__ import annotations

from cagchat.documents import Document, parse
from cagchat.passages.index import PassageIndex, open_index
from tests.documents.invented_text import prose

FACTS = (
    "Ottilie Brandt painted the door of the boathouse vermilion on a Tuesday, and told nobody why she had done it.",
    "Captain Marrow kept 4172 brass buttons in a jar, and counted them whenever the barometer fell.",
    "It was Casimir who hid the astrolabe under the chapel floor before the soldiers came up the hill.",
    "The mother of Casimir was a bell founder from Trieste, and she never forgave him the astrolabe.",
)


def book(*facts: str, characters: int = 6000) -> Document:
    """Return a book with a chapter around each fact, which stands in its middle."""
    half = prose(characters // 2)
    text = "".join(f"Chapter {number}\n\n{half}{fact}\n\n{half}" for number, fact in enumerate(facts or FACTS, 1))
    return parse(text.encode(), "invented.txt")


def index_of(*facts: str) -> PassageIndex:
    """Return the index of such a book, in memory."""
    return open_index(book(*facts))


def four_a_token(text: str) -> int:
    """Count tokens as if each had four characters, rounded up."""
    return -(-len(text) // 4)

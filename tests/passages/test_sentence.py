"""The sentence that a question and a draft of its answer point to."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from cagchat.documents import Document, Section
from cagchat.passages.index import PassageIndex, open_index
from cagchat.passages.sentence import LONGEST, supporting
from tests.passages.invented_book import FACTS, index_of

TEXT = (
    "The Harbour Office\n\n"
    "Ines Varga wondered which number the harbour office had written on the lantern of the ferry. "
    "She asked the harbour master about the lantern of the ferry, and he did not know. "
    "On its glass somebody had painted 4172 in red, and the ferry carried that lantern for years.\n\n"
    "It rained. Old Perrin kept the ledger under a loose board in his kitchen."
)
QUESTION = "Which number was on the lantern of the ferry?"


def index_over(text: str) -> PassageIndex:
    return open_index(Document("Lanterns", text, (Section("The Harbour Office", 0, len(text)),), "text"))


@pytest.fixture
def index() -> Iterator[PassageIndex]:
    with index_over(TEXT) as index:
        yield index


def found(index: PassageIndex, question: str, draft: str = "", until: int | None = None) -> str:
    """Return the sentence's text, nothing for none."""
    passage = supporting(index, question, draft, until=until)
    return passage.text if passage else ""


def test_the_draft_decides_between_sentences_about_the_same(index: PassageIndex) -> None:
    """A sentence that has what the draft says goes before one that has more of the question."""
    assert "4172" not in found(index, QUESTION)
    assert "4172" in found(index, QUESTION, "The number was 4172, in red.")


def test_what_the_draft_makes_up_does_no_harm(index: PassageIndex) -> None:
    """Words that the book does not have change nothing."""
    made_up = "The Zanzibar gryphon of Quillmouth said ninety-nine."
    assert found(index, QUESTION, made_up) == found(index, QUESTION)


@pytest.mark.parametrize("fact", range(3))
def test_the_sentence_is_the_books_text_with_its_place(fact: int) -> None:
    """What is returned stands in the book at its offsets, under the chapter that its place names."""
    questions = (
        "Which colour did Ottilie paint the door?",
        "How many brass buttons had Marrow?",
        "Who hid the astrolabe?",
    )
    with index_of() as index:
        passage = supporting(index, questions[fact], "")
        assert passage is not None
        assert passage.text == index.document.text[passage.start : passage.end] == FACTS[fact]
        assert passage.place == index.document.place(passage.start)


@pytest.mark.parametrize("question", ["What is the capital of Mongolia?", "Why?", ""])
def test_nothing_fits(index: PassageIndex, question: str) -> None:
    """A question that no sentence says anything about gets none, whatever the draft has of the book."""
    assert found(index, question, "The ferry, the lantern and the ledger.") == ""


def test_a_word_that_looks_alike_is_another_word(index: PassageIndex) -> None:
    """A name that the book does not have is not taken for one that it has."""
    assert found(index, "Who was Perkin?", "Perkin was Perkin.") == ""


@pytest.mark.parametrize("until", range(0, len(TEXT), 7))
def test_nothing_beyond_the_limit(index: PassageIndex, until: int) -> None:
    """No sentence reaches beyond what the chat knows of the book."""
    passage = supporting(index, QUESTION, "4172", until=until)
    assert passage is None or passage.end <= until


def test_a_short_sentence_comes_with_the_next(index: PassageIndex) -> None:
    """What says little alone is quoted with what follows it in its paragraph, and not with the paragraph before."""
    assert found(index, "Where did Perrin keep the ledger?") == TEXT[TEXT.index("It rained.") :]


def test_a_title_is_not_a_sentence(index: PassageIndex) -> None:
    """A line that does not end as sentences do is never quoted."""
    assert "\n" not in found(index, "What is the harbour office?")
    assert not found(index, "What is the harbour office?").startswith("The Harbour Office")


def test_a_long_sentence_is_quoted_in_part() -> None:
    """Of a sentence longer than a reader reads as a quote, the part that fits is quoted."""
    rambling = ", ".join(f"and the {word} went by" for word in ("miller", "baker", "sexton", "piper", "tailor") * 3)
    with index_over(f"Once there was a fair, {rambling}, and Casimir hid the astrolabe, {rambling}.") as index:
        text = found(index, "Who hid the astrolabe?", "Casimir hid it.")
        assert "Casimir hid the astrolabe" in text
        assert len(text) <= LONGEST


def test_a_text_without_blanks_has_no_sentence() -> None:
    """A megabyte of letters is not cut up where nobody would."""
    with index_over("a" * 10_000 + ".") as index:
        assert found(index, "a" * 10_000) == ""

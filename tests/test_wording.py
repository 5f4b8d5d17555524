"""What is put beside a question, and when."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from cagchat.documents import Document, Section
from cagchat.passages.index import PassageIndex, open_index
from cagchat.passages.render import quoted
from cagchat.quotes.find import quoted as quotes_in
from cagchat.quotes.words import words_of
from cagchat.wording import EVIDENCE_FROM_TOKENS, QUOTES_FROM_BYTES, Extras, beginning, with_passages

PARAGRAPHS = (
    "The ferry to Aldermouth left at nine, and Ines Varga was not on it.",
    "Old Perrin kept the ledger of the harbour under a loose board in his kitchen.",
    "Nobody had told the baker that the bridge would be closed until the thaw.",
)
TEXT = "\n\n".join(PARAGRAPHS)
QUESTION = "Where did Perrin keep the ledger?"


@pytest.fixture
def index() -> Iterator[PassageIndex]:
    document = Document("Lanterns", TEXT, (Section("Chapter 1", 0, len(TEXT)),), "text")
    with open_index(document) as index:
        yield index


@pytest.mark.parametrize(
    ("evidence", "n_book", "wanted"),
    [
        ("off", 10**6, False),
        ("always", 1, True),
        ("auto", EVIDENCE_FROM_TOKENS - 1, False),
        ("auto", EVIDENCE_FROM_TOKENS, True),
    ],
)
def test_when_passages_are_looked_for(evidence: str, n_book: int, wanted: bool) -> None:
    """The setting decides; auto goes by the length of the book."""
    assert Extras(evidence=evidence).wants_evidence(n_book, 0) is wanted  # type: ignore[arg-type]  # from a table


@pytest.mark.parametrize(
    ("quoting", "n_bytes", "wanted"),
    [
        ("off", 10**12, False),
        ("always", 1, True),
        ("guided", 10**12, False),
        ("auto", QUOTES_FROM_BYTES - 1, False),
        ("auto", QUOTES_FROM_BYTES, True),
    ],
)
def test_who_is_asked_to_quote(quoting: str, n_bytes: int, wanted: bool) -> None:
    """The setting decides; auto goes by the size of the model."""
    assert Extras(quoting=quoting).wants_quotes(n_bytes) is wanted  # type: ignore[arg-type]  # from a table


@pytest.mark.parametrize(
    ("quoting", "n_bytes", "wanted"),
    [
        ("off", 1, False),
        ("always", 1, False),
        ("guided", 10**12, True),
        ("auto", 0, False),
        ("auto", QUOTES_FROM_BYTES - 1, True),
        ("auto", QUOTES_FROM_BYTES, False),
    ],
)
def test_whose_answers_are_begun_with_a_quote(quoting: str, n_bytes: int, wanted: bool) -> None:
    """The setting decides; auto guides the models that it does not ask, and no engine without a model."""
    assert Extras(quoting=quoting).guides(n_bytes) is wanted  # type: ignore[arg-type]  # from a table


@pytest.mark.parametrize(("evidence", "wanted"), [("off", False), ("always", True), ("auto", False)])
def test_a_quote_takes_the_place_of_passages(evidence: str, wanted: bool) -> None:
    """Where the answer is begun with a quote, auto puts no passages beside the question."""
    extras = Extras(evidence=evidence, quoting="guided")  # type: ignore[arg-type]  # from a table
    assert extras.wants_evidence(10**6, 1) is wanted


@pytest.mark.parametrize(
    "sentence",
    [
        "Old Perrin kept the ledger\nunder a loose   board.",
        "“Clause ninety-three,” he read. “The household goods shall pass free of toll.",
        '"I take it from the third terrace," he said at last.',
        "He said: „Das ist das Buch des Hafens.“",
        "He said « ceci est le registre du port » and left.",
        "’Twas the dogs’ house that burnt, said Perrin’s aunt.",
    ],
)
def test_an_answer_begins_with_one_quote_of_all_the_words(sentence: str) -> None:
    """Whatever marks a sentence has, open or closed, all its words are in one quotation on one line."""
    (found,) = quotes_in(beginning(sentence))
    assert words(found.text) == words(sentence)
    assert "\n" not in found.text


def words(text: str) -> list[str]:
    return [word.word for word in words_of(text)]


def test_passages_stand_between_the_question_and_the_question_again(index: PassageIndex) -> None:
    """The question comes first and last, the passage that fits it between, and its tokens are counted."""
    asked = with_passages(QUESTION, index, (), budget_tokens=500, count=len)
    assert asked.text.startswith(QUESTION)
    assert asked.text.endswith(QUESTION)
    assert PARAGRAPHS[1] in asked.text
    assert asked.n_tokens == len(quoted(asked.passages))


def test_nothing_is_put_beside_a_question_that_nothing_fits(index: PassageIndex) -> None:
    """A question about what is not in the book stays as it is."""
    asked = with_passages("What is the capital of Mongolia?", index, (), budget_tokens=500, count=len)
    assert (asked.text, asked.passages, asked.n_tokens) == ("What is the capital of Mongolia?", (), 0)


def test_no_room_means_no_passages(index: PassageIndex) -> None:
    """A budget that no passage fits leaves the question alone."""
    assert with_passages(QUESTION, index, (), budget_tokens=10, count=len).passages == ()


def test_nothing_beyond_the_limit_is_shown(index: PassageIndex) -> None:
    """With a limit before the passage that fits, its words are not in what is asked."""
    asked = with_passages(QUESTION, index, (), budget_tokens=500, count=len, until=TEXT.index("Old Perrin"))
    assert "loose board" not in asked.text

"""From a question to what is looked for."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from cagchat.documents import Document, Section
from cagchat.passages.index import PassageIndex, open_index
from cagchat.passages.query import CARRIED, NAME, NUMBER, edit_distance, meaningful, near, query
from tests.passages.invented_book import index_of


@pytest.fixture(scope="module")
def index() -> Iterator[PassageIndex]:
    with index_of() as index:
        yield index


def texts(question: str, language: str = "en") -> list[str]:
    return [word.text for word in meaningful(question, language)]


def matched(index: PassageIndex, question: str, earlier: tuple[str, ...] = ()) -> dict[str, set[str]]:
    """Return the vocabulary words behind each term."""
    return {term.text: {word for word, _ in term.variants} for term in query(index, question, earlier).terms}


@pytest.mark.parametrize(
    ("question", "language", "words"),
    [
        ("What does the captain do with the buttons?", "en", ["captain", "buttons"]),
        ("Que fait le capitaine avec les boutons ?", "fr", ["capitaine", "boutons"]),
        ("Was macht der Kapitän mit den Knöpfen?", "de", ["macht", "Kapitän", "Knöpfen"]),
        ("¿Qué hace el capitán con los botones?", "es", ["capitán", "botones"]),
        ("Что сделал капитан с пуговицами?", "ru", ["сделал", "капитан", "пуговицами"]),
        ("Who is it?", "en", []),
    ],
)
def test_words_of_grammar_are_left_out(question: str, language: str, words: list[str]) -> None:
    """What remains of a question is what it is about."""
    assert texts(question, language) == words


def test_names_and_numbers_weigh_more() -> None:
    """A capital letter or a digit makes a word count more than another."""
    weights = {word.text: word.weight for word in meaningful("Did Marrow count 4172 buttons?", "en")}
    assert weights["Marrow"] == NAME > weights["buttons"]
    assert weights["4172"] == NUMBER > weights["buttons"]


def test_misspelt_names_are_understood(index: PassageIndex) -> None:
    """A letter or two apart from a name in the book means that name."""
    assert matched(index, "Who is Otilie?")["otili"] == {"ottili"}
    assert matched(index, "Where is the astrolab?")["astrolab"] == {"astrolab"}
    assert matched(index, "Who is Kasimir?")["kasimir"] == {"casimir"}


def test_words_that_the_book_does_not_have_stay_without_a_match(index: PassageIndex) -> None:
    """An unknown name is kept, so that what it was to say counts as missing."""
    assert matched(index, "Who is Zebulon?") == {"zebulon": set()}


def test_irregular_forms_are_one_word() -> None:
    """A question in the present finds what the book tells in the past."""
    with index_of("She swam across the bay at night.") as index:
        assert matched(index, "Why does she swim?") == {"swim": {"swam"}}


def test_other_endings_are_found_in_other_languages() -> None:
    """Without a stemmer for a language, words that differ in their last letters are taken for one."""
    text = "Смотритель позвал Наташу, и она не знала, что он будет на башне и где его лампа."
    with open_index(Document("Башня", text, (Section("", 0, len(text)),), "text")) as index:
        assert "наташу" in matched(index, "Что делает Наташа?")["наташа"]


def test_quoted_words_are_a_phrase(index: PassageIndex) -> None:
    """What stands in quotation marks is looked for word by word in its order, words of grammar included."""
    phrases = [words for words, _ in query(index, 'Who said "on a Tuesday, and told nobody"?').phrases]
    assert ("on", "a", "tuesdai", "and", "told", "nobodi") in phrases


def test_names_of_before_stand_for_pronouns(index: PassageIndex) -> None:
    """A question about "his mother" looks for the person of the question before."""
    terms = query(index, "And his mother?", ["Who is Marrow?", "What did Casimir hide?"]).terms
    assert [(term.text, term.weight) for term in terms] == [("mother", 1.0), ("casimir", CARRIED)]


def test_a_question_that_names_somebody_stands_alone(index: PassageIndex) -> None:
    """Without a pronoun, a question with a name in it takes nothing from before."""
    assert set(matched(index, "What did Ottilie paint?", ("Who is Marrow?",))) == {"ottili", "paint"}


@pytest.mark.parametrize(
    "question",
    [
        'NEAR("a b", 3) OR title : x* ^y NOT z AND (',
        '"""',
        "'; DROP TABLE words; --",
        "\0\0astrolabe\0",
        "\ud800 astrolabe",
        "-astrolabe +astrolabe {astrolabe} astrolabe*",
        "",
        "?" * 1000,
    ],
)
def test_syntax_in_a_question_means_nothing(index: PassageIndex, question: str) -> None:
    """Whatever is asked, FTS5's operators are not obeyed and nothing is raised."""
    found = matched(index, question)
    assert all(words <= {term} for term, words in found.items() if term == "astrolab")


@pytest.mark.parametrize(
    "question", ["word " * 20_000, "x" * 100_000, '"a" ' * 25_000, "蘋" * 100_000, "Zq%d " * 25_000]
)
def test_a_huge_question_is_bounded(index: PassageIndex, question: str) -> None:
    """A hundred kilobytes become no more than some dozens of terms."""
    found = query(index, question)
    assert len(found.terms) <= 100
    assert len(found.phrases) <= 200


@pytest.mark.parametrize(
    ("first", "second", "distance"),
    [("natacha", "natasha", 1), ("ab", "ba", 1), ("same", "same", 0), ("kitten", "sitting", 3), ("a", "abcdef", 3)],
)
def test_edit_distance_counts_letters(first: str, second: str, distance: int) -> None:
    """Changed, added, missing and swapped letters count one each, up to the limit and one."""
    assert edit_distance(first, second, 2) == distance


def test_only_the_nearest_spelling_is_taken() -> None:
    """A word one letter away hides those two letters away, and short words have no other spelling."""
    assert near("kutusovsky", ["kutuzovsky", "kutuzovski"]) == ["kutuzovsky"]
    assert near("anna", ["anne"]) == []

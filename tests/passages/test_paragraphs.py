"""Cutting a book into paragraphs."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from cagchat.documents import Document, Section
from cagchat.passages.paragraphs import LONGEST, SHORTEST, Paragraph, paragraphs, sentence_ends


def document(*chapters: str) -> Document:
    """Return a document with a section for each text."""
    sections, start = [], 0
    for number, text in enumerate(chapters, 1):
        sections.append(Section(f"Chapter {number}", start, start + len(text)))
        start += len(text)
    return Document("Invented", "".join(chapters), tuple(sections), "text")


def texts(book: Document) -> list[str]:
    return [book.text[item.start : item.end] for item in paragraphs(book)]


@given(st.lists(st.text("ab .\n!?。\u2028\t", max_size=4000), min_size=1, max_size=4))
def test_nothing_but_blanks_is_left_out(chapters: list[str]) -> None:
    """Paragraphs are in order, do not overlap, and hold every character that is not a blank."""
    book = document(*chapters)
    found = paragraphs(book)
    assert all(before.end <= after.start for before, after in itertools.pairwise(found))
    assert "".join("".join(texts(book)).split()) == "".join(book.text.split())


@given(st.lists(st.text("ab. \n", max_size=4000), min_size=1, max_size=4))
def test_paragraphs_keep_to_their_section_and_length(chapters: list[str]) -> None:
    """No paragraph reaches over a border of sections, is empty, or is longer than the longest."""
    book = document(*chapters)
    for item in paragraphs(book):
        section = book.sections[item.section]
        assert section.start <= item.start < item.end <= section.end
        assert len(item) <= LONGEST


def test_long_paragraphs_are_cut_at_sentence_ends() -> None:
    """A paragraph of many sentences becomes several, each ending with a sentence."""
    found = texts(document("The keeper climbed the tower again. " * 100))
    assert len(found) > 2
    assert all(text.endswith("again.") for text in found)


def test_a_text_without_blanks_is_cut_all_the_same() -> None:
    """A megabyte of one word ends as paragraphs of the usual length."""
    assert max(map(len, texts(document("x" * 1_000_000)))) <= LONGEST


def test_lines_of_dialogue_are_merged() -> None:
    """Short paragraphs that follow each other are one, up to the longest."""
    found = texts(document("“Are you there?” she asked.\n\n“I am.”\n\n" * 60))
    assert all(SHORTEST <= len(text) <= LONGEST for text in found)


def test_paragraphs_of_good_length_stay_apart() -> None:
    """Blank lines divide where neither side is short."""
    assert texts(document(f"{'a' * 500}\n\n{'b' * 500}")) == ["a" * 500, "b" * 500]


def test_nothing_beyond_the_limit_is_taken() -> None:
    """A limit in characters ends the last paragraph."""
    assert paragraphs(document("a" * 50), 20) == (Paragraph(0, 20, 0),)


def test_sentence_ends_stand_behind_the_blanks() -> None:
    """Quotes and blanks after a full stop belong to the sentence; the end of the range is not one."""
    assert sentence_ends("One. “Two!” Three.", 0, 18) == [5, 12]

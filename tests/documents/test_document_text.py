"""Loading plain text, from the file to the list of chapters."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path

from cagchat.documents import load
from cagchat.documents.text import load_text
from tests.documents.invented_text import chapters, novels, prose

CHAPTERS = {"moby-dick": 135, "pride_and_prejudice": 61, "ulysses": 18, "war_and_peace": 365}


def test_a_title_page_gives_title_and_author() -> None:
    """Without a header the first lines name the book."""
    document = load_text(f"The Keeper\n\nby Ada Example\n\n{chapters('I', 'II', 'III')}".encode(), "x.txt")
    assert (document.title, document.author) == ("The Keeper", "Ada Example")


def test_a_text_that_opens_with_a_chapter_is_named_by_its_file() -> None:
    """A heading is no title."""
    assert load_text(chapters("Chapter 1").encode(), "the_keeper.txt").title == "The Keeper"


def test_a_gutenberg_header_gives_the_title() -> None:
    """The header is believed before the text, and notes say that it is gone and how the file was read."""
    text = (
        "Title: The Keeper\n\nAuthor: Zoë Example\n\n*** START OF THE PROJECT GUTENBERG EBOOK THE KEEPER ***\n\n"
        f"The Tower\n\n{prose()}\n*** END OF THE PROJECT GUTENBERG EBOOK THE KEEPER ***\n"
    )
    document = load_text(text.encode("cp1252"), "x.txt")
    assert (document.title, document.author) == ("The Keeper", "Zoë Example")
    assert len(document.notes) == 2


def test_the_same_words_in_other_line_ends_and_encodings_are_the_same_book() -> None:
    """The digest depends on the text, not on how the file spells it."""
    text = f"The café\n\n{prose()}"
    files = (text.encode(), text.replace("\n", "\r\n").encode("cp1252"), text.encode("utf-16"))
    assert len({load_text(content, "x.txt").digest for content in files}) == 1


def test_a_large_text_is_loaded(tmp_path: Path) -> None:
    """Three megabytes with four hundred chapters come out whole."""
    headings = [f"Chapter {number}" for number in range(1, 401)]
    path = tmp_path / "keeper.txt"
    path.write_text(chapters(*headings, characters=8000))
    document = load(path)
    assert [section.title for section in document.sections] == headings


def test_five_megabytes_in_one_line_are_no_trap() -> None:
    """A file without a line end is loaded and cut into parts."""
    assert len(load_text(b"x" * (5 << 20), "x.txt").sections) > 200


def test_novels_beside_the_checkout_have_their_chapters() -> None:
    """Every chapter of the novels there is found once, in order, and nothing besides; without them there is no more."""
    for path in novels():
        document = load(path)
        innermost = max(section.level for section in document.sections)
        found = [part for part in document.sections if part.level == innermost and part.title[0] in "CcEe["]
        numbered = [section for section in found if section.title != "Epilogue"]
        assert len(numbered) == CHAPTERS[path.stem], path
        assert "".join(document.text[part.start : part.end] for part in document.sections) == document.text, path


def test_a_novel_in_books_has_its_books() -> None:
    """Fifteen books and two epilogues hold the chapters of the one novel that is divided so, where it is there."""
    for path in novels():
        if path.stem == "war_and_peace":
            levels = [section.level for section in load(path).sections]
            assert levels.count(1) == 17
            assert all(len(list(run)) == 1 for level, run in groupby(levels) if level == 1)

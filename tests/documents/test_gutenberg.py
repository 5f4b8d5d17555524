"""Taking off Project Gutenberg's frame."""

from __future__ import annotations

from cagchat.documents.gutenberg import Framed, unframe
from tests.documents.invented_text import prose

HEADER = """The Project Gutenberg eBook of The Keeper

A notice about the use of this text.

Title: The Keeper
       of the Tower

Author: Ada Example

Release date: May 1, 2020

Language: English

"""
START = "*** START OF THE PROJECT GUTENBERG EBOOK THE KEEPER ***"
END = "*** END OF THE PROJECT GUTENBERG EBOOK THE KEEPER ***"
BODY = f"CHAPTER I\n\n{prose()}"


def framed(start: str = START, end: str = END, body: str = BODY) -> Framed:
    """Return the text of `body` as taken out of a frame."""
    return unframe(f"{HEADER}{start}\n\n\n{body}\n{end}\n\nThe licence, at length.\n")


def test_only_the_book_is_left() -> None:
    """What stands before the start marker and after the end marker goes."""
    assert framed().text == BODY.strip("\n") + "\n"


def test_where_the_book_began_is_known() -> None:
    """The place is that of the book's first letter, after the header and who typed it, with as much text behind it."""
    typed = f"\n\nProduced by A Volunteer\n\n\n\n{BODY}"
    for body in (BODY, typed):
        whole = f"{HEADER}{START}\n\n\n{body}\n{END}\n\nThe licence, at length.\n"
        result = unframe(whole)
        assert whole[result.start :].startswith(result.text)
        assert result.text.startswith("CHAPTER I\n")
    assert unframe(BODY).start == 0


def test_the_header_names_the_book() -> None:
    """Title (over two lines), author and language come from the header."""
    result = framed()
    assert (result.title, result.author, result.language) == ("The Keeper of the Tower", "Ada Example", "en")


def test_the_trimming_is_said() -> None:
    """A note tells that the frame is gone."""
    assert framed().notes == ("The Project Gutenberg header and licence were taken off.",)


def test_a_marker_over_two_lines_is_found() -> None:
    """Long titles wrap inside the start marker."""
    start = "***START OF THE PROJECT GUTENBERG EBOOK THE KEEPER\nOF THE TOWER***"
    assert framed(start=start).text == BODY.strip("\n") + "\n"


def test_credits_go_and_the_older_closing_line_too() -> None:
    """Who typed the text, and the line before the end marker, are part of the frame."""
    body = f"Produced by A Volunteer and\nanother one\n\n\n{BODY}\nEnd of the Project Gutenberg EBook of The Keeper\n"
    assert framed(body=body).text == BODY.strip("\n") + "\n"


def test_a_closing_line_far_from_the_end_cuts_nothing() -> None:
    """Of two books in one file both are read; a sentence about the end of Project Gutenberg is a sentence."""
    two = f"{BODY}\n{END}\n\nThe licence.\n\n{START}\n\nCHAPTER I\n\n{prose()}"
    assert framed(body=two).text == two.strip("\n") + "\n"
    told = f"{BODY}\n\nThe End of Project Gutenberg's long day had come.\n\n{prose()}"
    assert framed(body=told).text == told.strip("\n") + "\n"


def test_a_missing_end_is_said() -> None:
    """A start marker alone is enough, and the note says what was not found."""
    result = framed(end="")
    assert result.text.startswith("CHAPTER I\n")
    assert "no licence was found" in result.notes[0]


def test_the_small_print_of_the_oldest_files_is_a_header() -> None:
    """Before there were start markers, the text followed the small print."""
    header = (
        "The Project Gutenberg Etext of The Keeper, by Ada Example\n\n"
        "***START**THE SMALL PRINT!**FOR PUBLIC DOMAIN ETEXTS**START***\n\nTerms.\n\n"
        "*END*THE SMALL PRINT! FOR PUBLIC DOMAIN ETEXTS*Ver.04.29.93*END*\n\n\n"
    )
    result = unframe(f"{header}{BODY}\nEnd of The Project Gutenberg Etext of The Keeper\n")
    assert result.text == BODY.strip("\n") + "\n"
    assert (result.title, result.author) == ("The Keeper", "Ada Example")


def test_a_text_without_a_frame_is_left_alone() -> None:
    """Nothing is trimmed, and nothing said, without a marker."""
    assert unframe(BODY) == Framed(BODY)


def test_an_end_marker_alone_trims_nothing() -> None:
    """Without an unmistakable start, a line at the end may be the book's own."""
    text = f"{BODY}{END}\n"
    assert unframe(text) == Framed(text)


def test_a_marker_deep_in_the_text_is_the_texts_own() -> None:
    """A book about Project Gutenberg may quote a marker."""
    text = f"{prose(100_000)}{START}\n\n{prose()}"
    assert unframe(text) == Framed(text)


def test_one_long_line_is_no_trap() -> None:
    """Five megabytes of stars in one line are searched in linear time."""
    text = "*" * (5 << 20) + "\n"
    assert unframe(text) == Framed(text)

"""Even parts of a text without chapters."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from cagchat.documents.document import Section
from cagchat.documents.parts import PART_CHARACTERS, parts
from tests.documents.invented_text import prose


def test_a_short_text_is_one_section_without_a_title() -> None:
    """A text of about one part's length is not cut."""
    assert parts("short") == (Section("", 0, 5, 0),)


def test_cuts_stand_at_ends_of_paragraphs() -> None:
    """Each part but the last ends in a blank line, and the next begins with text."""
    text = prose(200_000)
    sections = parts(text)
    assert len(sections) == 10
    assert all(text[: section.end].endswith("\n\n") and text[section.start] != "\n" for section in sections)


def test_a_text_without_spaces_is_cut_evenly() -> None:
    """Where there is no better place the cut is in the middle of the line."""
    assert {section.end - section.start for section in parts("x" * 5 * PART_CHARACTERS)} == {PART_CHARACTERS}


@given(st.lists(st.tuples(st.sampled_from(["word ", "\n", "x", "end. "]), st.integers(1, 20_000)), max_size=6))
def test_parts_tile_any_text(runs: list[tuple[str, int]]) -> None:
    """Parts follow each other without a gap, an overlap or an empty one."""
    text = "".join(piece * count for piece, count in runs)
    sections = parts(text)
    assert "".join(text[section.start : section.end] for section in sections) == text
    assert not text or all(section.start < section.end for section in sections)

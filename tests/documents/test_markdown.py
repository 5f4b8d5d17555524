"""Loading Markdown."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cagchat.documents.document import Document
from cagchat.documents.markdown import load_markdown


def load(text: str) -> Document:
    """Load `text` from a file with a telling name."""
    return load_markdown(text.encode(), "the_tower.md")


def outline(text: str) -> list[tuple[int, str]]:
    """Return level and title of each section."""
    return [(section.level, section.title) for section in load(text).sections]


def test_headings_of_all_levels_are_sections() -> None:
    """One to six marks are levels 1 to 6; seven are text."""
    text = "".join(f"{'#' * level} Level {level}\n\ntext\n\n" for level in range(1, 8))
    assert outline(text) == [(level, f"Level {level}") for level in range(1, 7)]


def test_underlined_headings_are_sections() -> None:
    """Equal signs underline level 1, hyphens level 2."""
    assert outline("The Tower\n=========\n\ntext\n\nThe Lamp\n---\n\ntext\n") == [(1, "The Tower"), (2, "The Lamp")]


def test_an_underlined_paragraph_of_two_lines_is_one_heading() -> None:
    """The whole paragraph above the line is the title, and the section starts with it."""
    document = load("before\n\nThe Tower\nand the Lamp\n===\n")
    assert document.text[document.sections[1].start :].startswith("The Tower\nand")
    assert document.sections[1].title == "The Tower and the Lamp"


@pytest.mark.parametrize(
    "text",
    [
        "```sh\n# a comment\n```\n",
        "~~~~\n# a comment\n~~~\n# another\n~~~~\n",
        "    # indented code\n",
        "#hashtag\n",
        "text\n\n---\n\ntext\n",
        "- item\n---\n",
        "> quoted\n---\n",
        "| a | b |\n---\n",
        "``` never closed\n# a comment\n",
    ],
)
def test_what_only_looks_like_a_heading_is_text(text: str) -> None:
    """Code, rules, lists, quotes and tables have no headings."""
    assert outline(text) == [(0, "")]


@pytest.mark.parametrize(
    "hidden",
    [
        "<!--\n# no\n-->",
        "text\n<!-- # no\n\n# no -->",
        "<pre>\n# no\n\n# no\n</PRE>",
        "<!-- a --> b",
        "<script>\n# no\n</script>",
    ],
)
def test_comments_and_html_as_it_is_written_hold_no_headings(hidden: str) -> None:
    """Number signs inside are no headings; what follows is read as ever."""
    assert outline(f"# One\n\n{hidden}\n\n# Two\n\ntext\n") == [(1, "One"), (1, "Two")]


def test_a_comment_that_never_ends_hides_nothing() -> None:
    """An opening mark without an end is text."""
    assert outline("# One\n\n--> <!--\n\n<!-- open\n\n# Two\n") == [(1, "One"), (1, "Two")]


def test_a_heading_after_code_is_found() -> None:
    """A closed block of code ends."""
    assert outline("```\n# no\n```\n# Yes\n") == [(0, "Front matter"), (1, "Yes")]


@pytest.mark.parametrize(
    ("heading", "title"),
    [
        ("# The **old** *tower*", "The old tower"),
        ("# The [tower](https://example.org/a) `lamp`", "The tower lamp"),
        ("# The tower ##", "The tower"),
        ("# In C#", "In C#"),
        ("# The tower {#anchor}", "The tower"),
        (r"# 1\. The tower", "1. The tower"),
        ("# snake_case_name", "snake_case_name"),
        ("#", ""),
    ],
)
def test_titles_are_read_without_markup(heading: str, title: str) -> None:
    """Emphasis, links, closing marks, anchors and escapes are not part of a title."""
    assert outline(f"{heading}\n\ntext\n") == [(1, title)]


def test_the_text_stays_markdown() -> None:
    """Nothing inside the text is taken away."""
    text = "# The **tower**\n\n- *one*\n- [two](x)\n"
    assert load(text).text == text


def test_the_front_matter_names_the_book_and_goes() -> None:
    """Title, author and language come from the YAML header, which is not part of the text."""
    document = load(
        '---\ntitle: "The Tower: a tale"\nauthor: Ada Example\nlang: en\ntags: [a, b]\n---\n\n# One\n\ntext\n'
    )
    assert (document.title, document.author, document.language) == ("The Tower: a tale", "Ada Example", "en")
    assert document.text == "# One\n\ntext\n"
    assert document.notes == ("The YAML front matter was taken off.",)


@pytest.mark.parametrize(
    "authors",
    [
        "authors: [Ada Example, Bo Sample]",
        "author:\n  - Ada Example\n  - Bo Sample",
        "author:\n  - name: Ada Example\n    affiliation: Leith\n  - affiliation: Leith\n    name: Bo Sample",
        "creator:\n- role: author\n  text: Ada Example\n- text: Bo Sample",
    ],
)
def test_several_authors_are_joined(authors: str) -> None:
    """Lists of authors, on one line or several, are read."""
    assert load(f"---\n{authors}\n---\ntext\n").author == "Ada Example, Bo Sample"


@pytest.mark.parametrize(
    "text", ["---\n\nIt rained.\n\n---\n\ntext\n", "---\ntitle: never closed\n", "---\n---\ntext\n"]
)
def test_a_rule_at_the_top_is_no_front_matter(text: str) -> None:
    """Without fields between two lines nothing is taken off."""
    assert load(text).text == text


def test_a_title_over_several_lines_is_joined() -> None:
    """YAML folds what stands below `>`; the mark is no title."""
    assert load("---\ntitle: 'The Keeper''s Tower'\n---\ntext\n").title == "The Keeper's Tower"
    document = load("---\ntitle: >-\n  The Tower:\n  a tale\nauthor:\n  name: Ada Example\n---\ntext\n")
    assert (document.title, document.author) == ("The Tower: a tale", "Ada Example")


def test_a_single_outermost_heading_is_the_title() -> None:
    """One first heading of level 1 names the document."""
    assert load("# The Keeper\n\n## One\n\n## Two\n").title == "The Keeper"


def test_several_outermost_headings_name_chapters() -> None:
    """With several headings of level 1 the file's name is the title."""
    assert load("# One\n\ntext\n\n# Two\n").title == "The Tower"


def test_a_header_alone_is_no_text_to_lose() -> None:
    """A byte order mark and Windows line ends do not hide the front matter."""
    assert load("\ufeff---\r\ntitle: The Tower\r\n---\r\n\r\ntext\r\n").title == "The Tower"


@pytest.mark.parametrize("line", ["# " + "[" * (5 << 20), "*" * (5 << 20), "# " + "*a" * (5 << 19), "#" * (5 << 20)])
def test_five_megabytes_in_one_line_are_no_trap(line: str) -> None:
    """No markup makes a long line slow."""
    document = load(line)
    assert document.sections[-1].end == len(document.text)


@given(st.lists(st.sampled_from(["# One", "Two", "===", "---", "```", "~~~", "", "- item", "    code", "title: x"])))
def test_sections_tile_any_text(lines: list[str]) -> None:
    """Sections follow each other from the first character to the last."""
    document = load("start\n" + "\n".join(lines))
    assert "".join(document.text[part.start : part.end] for part in document.sections) == document.text

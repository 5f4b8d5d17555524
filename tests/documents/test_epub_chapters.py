"""Sections and pages of EPUBs: from the navigation document, the NCX, the headings."""

from __future__ import annotations

import dataclasses

import pytest

from cagchat.documents.document import Document
from cagchat.documents.epub import load_epub
from tests.documents.invented_epub import SENTENCE, Epub, chapter, nav, ncx, page, point
from tests.documents.invented_text import chapters, prose

PAGES = {f"c{number}.xhtml": chapter(f"Heading {number}") for number in range(1, 5)}


def outline(epub: Epub) -> list[tuple[int, str, str]]:
    """Return level, title and first line of each section, after checking that they tile the text."""
    document = load_epub(epub.packed(), "x.epub")
    assert "".join(document.text[part.start : part.end] for part in document.sections) == document.text
    return [(part.level, part.title, first_line(document, part.start)) for part in document.sections]


def first_line(document: Document, start: int) -> str:
    """Return the line that begins at `start`."""
    return document.text[start:].partition("\n")[0]


NESTED = [
    (1, "Part I: Chapter 1", "Heading 1"),
    (2, "Chapter 2", "Heading 2"),
    (1, "Part II", "Heading 3"),
    (2, "Chapter 4", "Heading 4"),
]
NESTED_NAV = nav(
    '<li><span>Part I</span><ol><li><a href="c1.xhtml">Chapter 1</a></li><li><a href="c2.xhtml#top">Chapter 2</a></li>'
    '</ol></li><li><a href="c3.xhtml">Part II</a><ol><li><a href="./c4.xhtml">Chapter\n 4</a></li></ol></li>'
)
NESTED_NCX = ncx(
    point("Part I", "c1.xhtml", point("Chapter 1", "c1.xhtml#top") + point("Chapter 2", "c2.xhtml"))
    + point("Part II", "c3.xhtml", point("Chapter 4", "c4.xhtml"))
)


@pytest.mark.parametrize("epub", [Epub(PAGES, nav=NESTED_NAV), Epub(PAGES, ncx=NESTED_NCX)])
def test_nested_contents_give_levels(epub: Epub) -> None:
    """Both kinds of table give the same sections; a part that begins with its first chapter is named with it."""
    assert outline(epub) == NESTED


def test_the_navigation_document_counts_before_the_ncx() -> None:
    """Of two tables the newer is taken."""
    assert (
        outline(Epub(PAGES, nav=NESTED_NAV, ncx=ncx(point("Old", "c1.xhtml") + point("Older", "c2.xhtml")))) == NESTED
    )


def test_a_damaged_navigation_document_leaves_the_ncx() -> None:
    """What cannot be parsed is as good as none."""
    assert outline(Epub(PAGES, nav="nothing", ncx=NESTED_NCX)) == NESTED


def test_without_contents_the_headings_are_the_sections() -> None:
    """Levels count from 1 without a gap, and what precedes the first is front matter."""
    pages = {
        "a.xhtml": page(f"<p>{SENTENCE}</p><h2>Part</h2><p>{SENTENCE}</p>"),
        "b.xhtml": page(f"<h4>Chapter</h4><p>{SENTENCE}</p>"),
    }
    assert outline(Epub(pages)) == [(0, "Front matter", SENTENCE), (1, "Part", "Part"), (2, "Chapter", "Chapter")]


def test_contents_with_one_line_are_no_contents() -> None:
    """Many converters list only the beginning; then the headings say more."""
    epub = Epub(PAGES, nav=nav('<li><a href="c1.xhtml">Start</a></li>'))
    assert [title for _, title, _ in outline(epub)] == [f"Heading {number}" for number in range(1, 5)]


def test_contents_that_leave_nearly_all_to_one_line_are_no_contents() -> None:
    """A cover and a beginning are listed, the chapters are not."""
    pages = {
        "title.xhtml": page("<p>THE KEEPER</p>"),
        "all.xhtml": page("".join(f"<h2>{n}</h2>{SENTENCE}" for n in range(9))),
    }
    lines = '<li><a href="title.xhtml">Title page</a></li><li><a href="all.xhtml">Start</a></li>'
    assert [title for _, title, _ in outline(Epub(pages, nav=nav(lines)))] == ["Front matter", *map(str, range(9))]


def test_without_contents_and_headings_lines_are_looked_at() -> None:
    """Chapters of a text without any markup are found as in a text file."""
    text = chapters("CHAPTER I", "CHAPTER II", "CHAPTER III")
    paragraphs = "".join(f"<p>{paragraph}</p>" for paragraph in text.split("\n\n"))
    assert [title for _, title, _ in outline(Epub({"a.xhtml": page(paragraphs)}))] == [
        "CHAPTER I",
        "CHAPTER II",
        "CHAPTER III",
    ]


def test_a_short_text_without_any_heading_is_one_section() -> None:
    """Nothing is invented."""
    assert outline(Epub({"a.xhtml": page(f"<p>{SENTENCE}</p>")})) == [(0, "", SENTENCE)]


def test_ids_inside_a_file_part_it() -> None:
    """Several chapters in one file are told apart, ids with percent signs and of other files included."""
    body = "".join(f'<h2 id="kap. {number}">{number}</h2><p>{SENTENCE}</p>' for number in "ab")
    lines = '<li><a href="a.xhtml#kap.%20a">A</a></li><li><a href="a.xhtml#kap. b">B</a></li>'
    lines += '<li><a href="b.xhtml#kap.%20a">C</a></li>'
    pages = {"a.xhtml": page(body), "b.xhtml": page(f'<p id="kap. a">{SENTENCE}</p>')}
    assert outline(Epub(pages, nav=nav(lines))) == [(1, "A", "a"), (1, "B", "b"), (1, "C", SENTENCE)]


def test_dead_ids_are_found_by_their_title_or_dropped() -> None:
    """A line whose id is not there means the heading of its name, or nothing."""
    body = f"<h2>One</h2><p>{SENTENCE}</p><h2>Two</h2><p>{SENTENCE}</p>"
    lines = "".join(f'<li><a href="a.xhtml#x{title}">{title}</a></li>' for title in ("One", "Two", "Three"))
    assert outline(Epub({"a.xhtml": page(body)}, nav=nav(lines))) == [(1, "One", "One"), (1, "Two", "Two")]


def test_of_two_ids_in_one_file_the_first_counts() -> None:
    """Duplicate ids in a page are no error."""
    body = f'<h2 id="a">One</h2><p id="a">{SENTENCE}</p><h2 id="b">Two</h2><p>{SENTENCE}</p>'
    lines = '<li><a href="a.xhtml#a">1</a></li><li><a href="a.xhtml#b">2</a></li>'
    assert outline(Epub({"a.xhtml": page(body)}, nav=nav(lines))) == [(1, "1", "One"), (1, "2", "Two")]


def test_lines_that_lead_outside_or_nowhere_are_left_out() -> None:
    """Web addresses, missing files and empty titles make no sections; an empty title takes the heading's."""
    lines = (
        '<li><a href="https://example.org/c1.xhtml">Web</a></li><li><a href="absent.xhtml">Absent</a></li>'
        '<li><a href="c1.xhtml">One</a></li><li><a href="c2.xhtml"></a></li><li><a>Nothing</a></li>'
    )
    epub = Epub({name: PAGES[name] for name in ("c1.xhtml", "c2.xhtml")}, nav=nav(lines))
    assert outline(epub) == [(1, "One", "Heading 1"), (1, "Heading 2", "Heading 2")]


def test_a_page_that_is_only_a_picture_gives_way_to_the_next() -> None:
    """Two lines of one rank at one place: the later has the text."""
    pages = {"plate.xhtml": page('<img src="x.jpg"/>'), **PAGES}
    lines = '<li><a href="plate.xhtml">Plate</a></li>' + "".join(
        f'<li><a href="{name}">{name[:2]}</a></li>' for name in PAGES
    )
    assert [title for _, title, _ in outline(Epub(pages, nav=nav(lines)))] == ["c1", "c2", "c3", "c4"]


def test_files_that_the_contents_leave_out_keep_their_headings() -> None:
    """They stand on the level of their rank: below the listed headings when theirs are lower."""
    pages = {
        "a.xhtml": chapter("Part I"),
        "b.xhtml": chapter("One", 2),
        "c.xhtml": page(f"<p>{SENTENCE}</p>"),
        "d.xhtml": chapter("Part II"),
        "e.xhtml": chapter("Afterword"),
    }
    lines = '<li><a href="a.xhtml">I</a></li><li><a href="d.xhtml">II</a></li>'
    assert [(level, title) for level, title, _ in outline(Epub(pages, nav=nav(lines)))] == [
        (1, "I"),
        (2, "One"),
        (1, "II"),
        (1, "Afterword"),
    ]


def test_contents_in_another_order_than_the_text_are_sorted() -> None:
    """Sections stand in the order in which they are read."""
    lines = "".join(f'<li><a href="c{number}.xhtml">{number}</a></li>' for number in (3, 1, 4, 2))
    assert [title for _, title, _ in outline(Epub(PAGES, nav=nav(lines)))] == ["1", "2", "3", "4"]


def test_readings_are_left_out_of_titles() -> None:
    """A title in the table is the base text."""
    lines = '<li><a href="c1.xhtml"><ruby>山路<rt>やまみち</rt></ruby></a></li><li><a href="c2.xhtml">二</a></li>'
    epub = Epub({name: PAGES[name] for name in ("c1.xhtml", "c2.xhtml")}, nav=nav(lines))
    assert [title for _, title, _ in outline(epub)] == ["山路", "二"]


def test_deep_and_long_contents_are_bounded() -> None:
    """Levels end at 6 and titles at 200 characters, whatever the table says."""
    lines = '<li><a href="c1.xhtml">' + "x" * 5000 + "</a><ol>" * 1
    deep = "".join(f'<ol><li><a href="c2.xhtml">{depth}</a>' for depth in range(40))
    sections = outline(Epub(PAGES, nav=nav(f'{lines}<li><a href="c3.xhtml">3</a></li></ol></li>{deep}')))
    assert max(level for level, _, _ in sections) <= 6
    assert max(len(title) for _, title, _ in sections) == 200


PAGE_LIST = (
    '<nav epub:type="page-list"><ol><li><a href="c1.xhtml">xii</a></li><li><a href="c2.xhtml#p">1</a></li></ol></nav>'
)
TARGETS = (
    '<pageList><pageTarget value="12"><navLabel><text>xii</text></navLabel><content src="c1.xhtml"/></pageTarget>'
    '<pageTarget value="1"><content src="c2.xhtml#p"/></pageTarget></pageList>'
)
TWO = {"c1.xhtml": chapter("One"), "c2.xhtml": page(f'<h1>Two</h1><p>{SENTENCE}</p><p id="p">Here.</p>')}


@pytest.mark.parametrize("epub", [Epub(TWO, nav=nav("", PAGE_LIST)), Epub(TWO, ncx=ncx("", TARGETS))])
def test_page_lists_give_pages(epub: Epub) -> None:
    """Labels as the book counts, at the place in the text."""
    document = load_epub(epub.packed(), "x.epub")
    assert [(found.label, first_line(document, found.start)) for found in document.pages] == [
        ("xii", "One"),
        ("1", "Here."),
    ]


def test_page_breaks_in_the_text_give_pages() -> None:
    """Without a list the marks in the text count, in both ways of writing them."""
    body = (
        f'<p>{SENTENCE}</p><span epub:type="pagebreak" title="12"/><p>Twelve.</p>'
        f'<div role="doc-pagebreak" aria-label="13"/><p>Thirteen.</p>'
    )
    document = load_epub(Epub({"a.xhtml": page(body)}).packed(), "x.epub")
    assert [(found.label, first_line(document, found.start)) for found in document.pages] == [
        ("12", "Twelve."),
        ("13", "Thirteen."),
    ]


def test_pages_of_a_gutenberg_frame_are_dropped_with_it() -> None:
    """Offsets count from where the text begins."""
    body = (
        '<span epub:type="pagebreak" title="1"/><p>*** START OF THE PROJECT GUTENBERG EBOOK X ***</p>'
        f'<p>{prose()}</p><span epub:type="pagebreak" title="2"/><p>Here.</p>'
    )
    document = load_epub(Epub({"a.xhtml": page(body)}).packed(), "x.epub")
    assert [(found.label, first_line(document, found.start)) for found in document.pages] == [("2", "Here.")]


def test_a_book_without_a_title_in_its_contents_is_named_by_its_package() -> None:
    """The title is the book's, not a chapter's."""
    assert load_epub(dataclasses.replace(Epub(PAGES), nav=NESTED_NAV).packed(), "x.epub").title == "The Keeper"

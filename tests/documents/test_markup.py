"""Reading HTML and XHTML as blocks of text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cagchat.documents.assembly import assemble
from cagchat.documents.cleaning import clean
from cagchat.documents.markup import Block, blocks

OPS = 'xmlns="http://www.w3.org/1999/xhtml" xmlns:epub="http://www.idpf.org/2007/ops"'
WRITTEN = (
    "<p>|</p>|<div class=poem>|<div>|</div>|<h1>|</h1>|<h2>|<ul>|<ol start=3>|</ul>|<li>|</li>|<table>|</table>|<tr>|"
    "<td>|</td>|<td rowspan=2>|<pre>|</pre>|<br>|<hr>|<dl>|<dt>|<dd>|<q>|</q>|<sup>|</sup>|<ruby>|<rt>|<b id=x>|"
    "<script>|</script>|<span class=pagenum>7</span>|<a href=#x>1</a>|&nbsp;|&amp;|&bogus;|&#xD800;|&#1;|\u0301|word"
)
TAGS = WRITTEN.split("|")


def text(markup: str, *, xml: bool = False) -> str:
    """Return the text of markup as a book has it, without the last line end."""
    return assemble(blocks(markup, xml=xml)).text.removesuffix("\n")


def xhtml(body: str) -> str:
    """Return an XHTML page."""
    return f"<html {OPS}><body>{body}</body></html>"


def test_paragraphs_stand_apart_and_their_blanks_are_one() -> None:
    """Line ends and blanks inside a paragraph are single spaces, paragraphs have a blank line between them."""
    assert text("<p>The  old\n\t<b>tower</b> <i> stood</i>.<p>It fell.") == "The old tower stood.\n\nIt fell."


def test_headings_have_levels() -> None:
    """Elements h1 to h6 and the role of a heading give levels, on one line each."""
    found = blocks("<h2>The<br>Tower</h2><p>text<div role=heading aria-level=4>Lamp</div>")
    assert [(block.text, block.level) for block in found] == [("The Tower", 2), ("text", 0), ("Lamp", 4)]


def test_a_heading_that_is_never_closed_ends_at_the_next_paragraph() -> None:
    """What follows an open heading is text."""
    assert [block.level for block in blocks("<h1>Tower<ul><li>one</ul><p>two")] == [1, 0, 0]


def test_lists_have_markers_and_indents() -> None:
    """Items follow each other without blank lines; ordered lists count from their start."""
    markup = "<ul><li>one<ol start=3><li>in<li value=7>deep</ol><li>two<p>more</ul>"
    assert text(markup) == "- one\n  3. in\n  7. deep\n- two\n\n  more"


def test_terms_and_definitions_stand_together() -> None:
    """A definition is indented below its terms, the next term stands apart."""
    assert text("<dl><dt>a<dt>b<dd>first<dt>c<dd>second</dl>") == "a\nb\n  first\n\nc\n  second"


def test_rows_are_lines() -> None:
    """Cells are parted by bars; cells that span rows or columns keep the others in their places."""
    markup = "<table><caption>Tides<tr><th>a<th>b<tr><td rowspan=2>x<td>1<tr><td>2<tr><td colspan=2>y<td>z</table>"
    assert text(markup) == "Tides\n\na | b\nx | 1\nx | 2\ny |  | z"


def test_a_table_that_lays_out_a_page_is_read_cell_by_cell() -> None:
    """Headings and paragraphs inside cells stay headings and paragraphs."""
    markup = "<table><tr><td><h2>Tower</h2><p>one<p>two<td>side</table>"
    assert [(block.text, block.level) for block in blocks(markup)] == [
        ("Tower", 2),
        ("one", 0),
        ("two", 0),
        ("side", 0),
    ]


def test_preformatted_text_keeps_its_lines() -> None:
    """Blanks and line ends inside `pre` are kept."""
    assert text("<p>a<pre>\n  one\n\n    two\n</pre>") == "a\n\n  one\n\n    two"


def test_breaks_are_line_ends() -> None:
    """A `br` parts lines of a paragraph."""
    assert text("<p>one <br/> two") == "one\ntwo"


def test_lines_of_a_stanza_stand_together() -> None:
    """Lines that are elements of their own form a stanza; stanzas are parted, and line numbers stand apart."""
    stanza = "<div class=stanza><div>one</div><div>two<span class=lnum>10</span></div></div>"
    assert text(f"<div class=poem>{stanza}{stanza}</div>") == "one\ntwo 10\n\none\ntwo 10"


def test_ruby_keeps_its_base() -> None:
    """Readings over a word are left out."""
    assert text("<p><ruby>漢<rp>(</rp><rt>かん</rt><rp>)</rp>字<rt>じ</rt></ruby>") == "漢字"


@pytest.mark.parametrize(
    ("markup", "expected"),
    [
        ('<img alt="A ship">', "[A ship]"),
        ('<img alt="T">he', "The"),
        ('<img alt="">x', "x"),
        ('<img alt="IMG_01.jpg">x', "x"),
        ('<img alt="line" role="presentation">x', "x"),
        ('<math alttext="a+b"><mi>q</mi></math>', "a+b"),
    ],
)
def test_pictures_are_read_by_their_descriptions(markup: str, expected: str) -> None:
    """Descriptions stand in brackets; drawn first letters are letters; file names and decoration are nothing."""
    assert text(f"<p>{markup}") == expected


@pytest.mark.parametrize(
    ("markup", "expected"),
    [
        ('a<sup><a href="#n1">1</a></sup>', "a[1]"),
        ('a<a href="#n1"><sup>*</sup></a>', "a[*]"),
        ('a<a epub:type="noteref" href="n.xhtml#n1">12</a>', "a[12]"),
        ('a<a href="#n1">[3]</a>', "a[3]"),
        ("x<sup>2</sup>", "x²"),
        ("19<sup>th</sup>", "19th"),
        ('note <a href="#r1">↩︎</a>', "note"),
        ('Title<a href="#t">¶</a>', "Title"),
        ('<a href="#t">§</a>Title', "Title"),
        ('word<sup><a href="#n">§</a></sup>', "word[§]"),
        ('see <a href="#c2">chapter 2</a>', "see chapter 2"),
    ],
)
def test_marks_of_notes_are_read_as_marks(markup: str, expected: str) -> None:
    """Marks stand in brackets, raised numbers stay raised, arrows back and handles of headings go."""
    assert text(f"<p>{markup}</p>") == expected


def test_notes_stay_where_they_stand() -> None:
    """A note's text is read where the file has it."""
    assert (
        text(xhtml('<p>a</p><aside epub:type="footnote" id="n"><p>note</p></aside><p>b</p>'), xml=True)
        == "a\n\nnote\n\nb"
    )


def test_page_breaks_are_marks_and_no_text() -> None:
    """A printed page begins at its character, whatever the break looks like."""
    markup = xhtml(
        '<p>one <span epub:type="pagebreak" title="12"/>two</p><div role="doc-pagebreak" aria-label="Page xiv."/>'
        '<p>three<span class="pagenum">[Pg 15]</span> four</p>'
    )
    whole = assemble(blocks(markup, xml=True))
    assert whole.text == "one two\n\nthree four\n"
    assert [(page.label, whole.text[page.start :].split()[0]) for page in whole.pages[:2]] == [
        ("12", "two"),
        ("xiv", "three"),
    ]
    assert whole.pages[2].label == "15"


def test_ids_lead_to_their_blocks() -> None:
    """Ids on and in a block, and those of empty elements before it, are its anchors."""
    found = blocks('<a name="a"></a><h1 id="b">One</h1><p>x<i id="c">y</i><p>z<a id="d"></a><span id="e"></span>')
    assert [block.anchors for block in found] == [("a", "b"), ("c",), ("d", "e")]


def test_anchors_without_text_are_kept() -> None:
    """A file of pictures has a block that leads nowhere but to its place."""
    assert blocks('<div id="cover"><img src="c.jpg"></div>') == [Block("", anchors=("cover",))]


def test_rules_part_text_only() -> None:
    """A rule between paragraphs is a line of stars; at headings and ends it is nothing."""
    assert text("<hr><p>a<hr><hr><p>b<hr><h2>c</h2><hr><p>d<hr>") == "a\n\n* * *\n\nb\n\nc\n\nd"


def test_what_is_not_read_is_left_out() -> None:
    """Scripts, styles, templates, hidden elements and comments have no text."""
    markup = (
        "<style>a{}</style><script>if (a<b) x()</script><template>t</template><p hidden>h<p style='display:none'>n"
        "<!-- c --><p>text"
    )
    assert text(markup) == "text"


def test_unseen_characters_go_and_hard_spaces_are_spaces() -> None:
    """Soft hyphens, zero-width spaces and byte order marks hide words; hard spaces look like spaces."""
    assert text("<p>to&shy;wer\u200bs\ufeff of&nbsp;old") == "towers of old"


def test_xhtml_knows_the_names_of_characters() -> None:
    """Names of characters need no document type, and unknown ones are read as they stand."""
    assert text(xhtml("<p>caf&eacute;&#160;&amp;&nosuchname;</p>"), xml=True) == "café &&nosuchname;"


def test_broken_xhtml_is_read_as_html() -> None:
    """Unclosed tags, and empty elements that HTML has not, lose no text."""
    assert text("<html><title/><body><p>one<script/><p>two &lt; <a id='x'/>three", xml=True) == "one\n\ntwo < three"


def test_entities_are_not_expanded() -> None:
    """What a document type declares is neither loaded nor multiplied."""
    bomb = '<!DOCTYPE a [<!ENTITY a "lol"><!ENTITY b "&a;&a;"><!ENTITY c SYSTEM "file:///etc/passwd">]>'
    assert "root:" not in text(bomb + xhtml("<p>x&b;&c;</p>"), xml=True)


def test_bytes_are_decoded() -> None:
    """A byte order mark, a declaration, or the given encoding tells how bytes spell text."""
    assert blocks("<p>café".encode("utf-16"))[0].text == "café"
    assert blocks("<p>кафе".encode("koi8-r"), encoding="koi8-r")[0].text == "кафе"


@pytest.mark.parametrize("xml", [False, True])
def test_a_hundred_thousand_levels_are_read(xml: bool) -> None:
    """No depth is too deep, and no text below it is lost."""
    assert text("<div>" * 100_000 + "text", xml=xml) == "text"


@pytest.mark.parametrize(
    "tags", ["<b>", "<ul><li>", "<table><tr><td>", "<h1>", "<p><blockquote>", "<a id=x href='#y'><sup>", "<dl><dd>"]
)
def test_anything_may_stand_in_itself(tags: str) -> None:
    """Lists, tables and headings inside each other are read at any depth."""
    assert "text" in text(tags * 10_000 + "text")


@given(st.lists(st.sampled_from(TAGS), max_size=60), st.booleans())
def test_any_markup_becomes_clean_text(tags: list[str], xml: bool) -> None:
    """Whatever the tags, no error; text is clean, and pages, ids and headings stand inside it."""
    whole = assemble(blocks(" ".join(tags), xml=xml))
    assert clean(whole.text) == whole.text
    assert all(0 <= place <= len(whole.text) for place in whole.anchors.values())
    assert all(whole.text.startswith(mark.title[:1], mark.start) for mark in whole.marks)
    if whole.text:
        assert "".join(whole.text[part.start : part.end] for part in whole.sections) == whole.text

"""Reading EPUBs: which pages are read, in which order, and what is said about the book."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from cagchat.documents.cleaning import clean
from cagchat.documents.document import Document
from cagchat.documents.epub import load_epub
from cagchat.errors import BookError
from tests.documents.invented_epub import CONTAINER, SENTENCE, Epub, chapter, nav, pack, page, real_epubs
from tests.documents.invented_text import prose

ONE = Epub({"one.xhtml": chapter("One"), "two.xhtml": chapter("Two"), "three.xhtml": chapter("Three")})


def load(epub: Epub) -> Document:
    """Pack and load."""
    return load_epub(epub.packed(), "the_keeper.epub")


def order(document: Document) -> list[str]:
    """Return the names of the chapters in the order in which their text stands."""
    return [line[len(SENTENCE) + 9 : -1] for line in document.text.split("\n") if line.startswith(SENTENCE)]


def test_a_book_is_its_pages_in_reading_order() -> None:
    """Title, author and language come from the package, the text from the spine."""
    document = load(ONE)
    assert (document.title, document.author, document.language) == ("The Keeper", "Ada Example", "en")
    assert (document.kind, document.notes) == ("epub", ())
    assert order(document) == ["One", "Two", "Three"]
    assert document.text == clean(document.text)


def test_the_same_file_gives_the_same_digest() -> None:
    """Two readings agree, and so does a copy packed without compression."""
    assert load(ONE).digest == load(ONE).digest


def test_pages_with_linear_no_are_left_out() -> None:
    """What stands outside the reading order is not read."""
    assert order(load(dataclasses.replace(ONE, not_linear=["two.xhtml"]))) == ["One", "Three"]


def test_a_book_that_is_all_outside_the_reading_order_is_read() -> None:
    """Nothing would be left otherwise."""
    assert order(load(dataclasses.replace(ONE, not_linear=list(ONE.pages)))) == ["One", "Two", "Three"]


def test_notes_outside_the_reading_order_are_kept() -> None:
    """The text leads to them: they are read at the end."""
    notes = page(
        f'<section epub:type="footnotes"><aside epub:type="footnote" id="n1">{SENTENCE} This is 1.</aside></section>'
    )
    document = load(Epub({"notes.xhtml": notes, "one.xhtml": chapter("One")}, not_linear=["notes.xhtml"]))
    assert order(document) == ["One", "1"]


def test_a_page_that_the_spine_names_twice_is_read_once() -> None:
    """A list that repeats a page cannot make the book longer."""
    assert order(load(dataclasses.replace(ONE, references='<itemref idref="p0"/>' * 1000))) == ["One", "Two", "Three"]


def test_navigation_cover_and_lists_of_links_are_not_read() -> None:
    """They are not the book's text: what the cover says is in the package, the contents are the sections."""
    links = "".join(f'<li><a href="{name}">{name}</a></li>' for name in ONE.pages)
    pages = {
        "front.xhtml": page('<p><img src="c.jpg" alt="The cover"/> THE KEEPER</p>'),
        "toc.html": page(f"<h1>Contents</h1><ol>{links}</ol>"),
        **ONE.pages,
    }
    document = load(
        Epub(
            pages,
            nav=nav(links),
            guide='<reference type="cover" href="front.xhtml"/><reference type="toc" href="toc.html"/>',
            references='<itemref idref="nav"/>',
        )
    )
    assert document.text.startswith("One\n")
    assert document.text.count("Contents") == document.text.count("xhtml") == 0


def test_pages_with_linear_no_and_text_are_read_last() -> None:
    """What has more than a few lines is no window beside the text."""
    pages = {"extra.xhtml": page(f"<p>{SENTENCE} This is Extra.</p><p>{SENTENCE[4:] * 9}</p>"), **ONE.pages}
    assert order(load(Epub(pages, not_linear=["extra.xhtml"]))) == ["One", "Two", "Three", "Extra"]


def test_words_on_a_cover_without_a_picture_are_read() -> None:
    """A dedication stays, the book's title and its author go; words in brackets are no picture."""
    dedicated = load(Epub({"cover.xhtml": page("<p>For my mother.</p>"), "one.xhtml": chapter("One")}))
    assert dedicated.text.startswith("For my mother.\n\nOne\n")
    titled = load(Epub({"cover.xhtml": page("<h1>The Keeper</h1><p>by Ada Example</p>"), "one.xhtml": chapter("One")}))
    assert titled.text.startswith("One\n")
    printed = load(Epub({"first.xhtml": page("<p>[Printed in Leith]</p>"), "one.xhtml": chapter("One")}))
    assert printed.text.startswith("[Printed in Leith]\n\nOne\n")


def test_a_page_of_links_to_itself_is_no_list() -> None:
    """A first chapter called index, full of marks, is read; links to other files make a table of contents."""
    inner = "".join(f'<a href="#n{number}">word {number}</a> ' for number in range(40))
    document = load(Epub({"index.xhtml": page(f"<h1>One</h1><p>{inner}</p>"), "two.xhtml": chapter("Two")}))
    assert [section.title for section in document.sections] == ["One", "Two"]
    assert "word 39" in document.text
    outer = "".join(f'<a href="two.xhtml#n{number}">word {number}</a> ' for number in range(60))
    document = load(Epub({"index.xhtml": page(f"<h1>One</h1><p>{outer}</p>"), "two.xhtml": chapter("Two")}))
    assert order(document) == ["Two"]
    assert "% was left out" in document.notes[0]


def test_text_beside_the_table_of_contents_is_read() -> None:
    """A navigation document that is read may hold a preface; its tables are no text."""
    preface = f"<h1>Preface</h1><p>{SENTENCE * 10}</p>"
    contents = nav('<li><a href="one.xhtml">One, of which much is said here</a></li>' * 40, preface)
    document = load(Epub({"one.xhtml": chapter("One")}, nav=contents, references='<itemref idref="nav"/>'))
    assert "Preface" in document.text
    assert "Contents" not in document.text


def test_a_chapter_that_is_hidden_is_said() -> None:
    """What no reader shows is not read, but its share is told."""
    hidden = page(f'<section hidden=""><h1>Two</h1><p>{SENTENCE * 10}</p></section>')
    document = load(Epub({"one.xhtml": chapter("One"), "two.xhtml": hidden}))
    assert order(document) == ["One"]
    assert "% was left out" in document.notes[0]


def test_a_long_page_called_cover_is_read() -> None:
    """A name alone does not take text away."""
    assert load(Epub({"cover.xhtml": page(f"<p>{SENTENCE * 10}</p>")})).text.startswith(SENTENCE)


def test_a_book_of_one_short_page_is_read_whatever_its_name() -> None:
    """A cover is left out of a book, not instead of it."""
    assert load(Epub({"cover.xhtml": page(f"<p>{SENTENCE}</p>")})).text == f"{SENTENCE}\n"


@pytest.mark.parametrize(
    "href", ["a%20b/c%C3%A9.xhtml", "../OPS/a b/cé.xhtml", "./a%20b/./cé.xhtml", "A B/CÉ.XHTML", "/OPS/a b/cé.xhtml"]
)
def test_links_are_followed_in_every_spelling(href: str) -> None:
    """Percent signs, relative and absolute paths and another case lead to the page."""
    item = f'<item id="x" href="{href}" media-type="application/xhtml+xml"/>'
    epub = Epub({}, items=item, references='<itemref idref="x"/>', others={"OPS/a b/cé.xhtml": chapter("One")})
    assert order(load(epub)) == ["One"]


def test_a_name_with_percent_signs_of_its_own_is_found() -> None:
    """Some packers store the name as the link has it."""
    item = '<item id="x" href="a%20b.xhtml" media-type="application/xhtml+xml"/>'
    epub = Epub({}, items=item, references='<itemref idref="x"/>', others={"OPS/a%20b.xhtml": chapter("One")})
    assert order(load(epub)) == ["One"]


@pytest.mark.parametrize("container", [None, "", "<container/>", CONTAINER.replace("package", "absent"), "\0garbage"])
def test_without_a_container_the_package_is_found(container: str | None) -> None:
    """A missing, empty or wrong container and a missing mimetype are no reason to refuse a book."""
    members = ONE.members()
    del members["mimetype"], members["META-INF/container.xml"]
    members |= {} if container is None else {"meta-inf/CONTAINER.xml": container}
    assert order(load_epub(pack(members), "x.epub")) == ["One", "Two", "Three"]


def test_missing_pages_are_noted() -> None:
    """The rest is read, and a note names the first page that is not there."""
    members = ONE.members()
    del members["OPS/two.xhtml"]
    document = load_epub(pack(members), "x.epub")
    assert order(document) == ["One", "Three"]
    assert document.notes == ("The file is not complete: 1 page is missing, the first is two.xhtml.",)


def test_pages_that_are_no_text_are_noted() -> None:
    """Encrypted or damaged pages do not become noise in the book."""
    document = load(dataclasses.replace(ONE, pages={**ONE.pages, "two.xhtml": bytes(range(256)) * 9}))
    assert order(document) == ["One", "Three"]
    assert document.notes == ("The file is damaged: 1 page is no text, the first is OPS/two.xhtml.",)


def test_without_a_spine_the_manifest_gives_the_order() -> None:
    """A note says that the order was guessed."""
    members = ONE.members()
    package = ONE.package()
    members["OPS/package.opf"] = package[: package.index("<spine")] + "</package>"
    document = load_epub(pack(members), "x.epub")
    assert order(document) == ["One", "Two", "Three"]
    assert "order" in document.notes[0]


def test_of_two_items_with_one_id_the_first_counts() -> None:
    """Duplicate ids neither hide nor double a page."""
    epub = dataclasses.replace(ONE, items='<item id="p0" href="three.xhtml" media-type="application/xhtml+xml"/>')
    assert order(load(epub)) == ["One", "Two", "Three"]


def test_a_page_stands_in_for_what_cannot_be_read() -> None:
    """Fallbacks are followed, in circles too."""
    items = (
        '<item id="x" href="x.pdf" media-type="application/pdf" fallback="y"/>'
        '<item id="y" href="y.bin" media-type="application/octet-stream" fallback="p1"/>'
        '<item id="z" href="x.pdf" media-type="application/pdf" fallback="z"/>'
    )
    others = {"OPS/x.pdf": b"%PDF", "OPS/y.bin": b"y"}
    epub = Epub({"one.xhtml": chapter("One"), "two.xhtml": chapter("Two")}, not_linear=["two.xhtml"])
    references = '<itemref idref="x"/><itemref idref="z"/>'
    assert order(load(dataclasses.replace(epub, items=items, references=references, others=others))) == ["One", "Two"]


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        ("<dc:title/><dc:creator>Unknown</dc:creator><dc:language>und</dc:language>", ("The Keeper", "", "")),
        ("<dc:title> A\n B </dc:title><dc:creator>A</dc:creator><dc:creator>B</dc:creator>", ("A B", "A, B", "")),
        (
            '<dc:title>Series</dc:title><dc:title id="t">Main</dc:title><meta refines="#t" property="title-type">main'
            '</meta><dc:creator id="c">T</dc:creator><meta refines="#c" property="role">trl</meta><dc:creator '
            'opf:role="aut">A</dc:creator><dc:creator opf:role="ill">I</dc:creator><dc:language>fr-CA</dc:language>',
            ("Main", "A", "fr-CA"),
        ),
        (
            "<dc-metadata><dc:Title>Old &eacute;</dc:Title><dc:Creator>A</dc:Creator></dc-metadata>",
            ("Old é", "A", ""),
        ),
    ],
)
def test_metadata_is_read_in_both_versions(metadata: str, expected: tuple[str, str, str]) -> None:
    """Main titles, roles as attributes and as refinements, placeholders and old capitals."""
    document = load(dataclasses.replace(ONE, metadata=metadata))
    assert (document.title, document.author, document.language) == expected


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "cp1252"])
def test_pages_are_decoded(encoding: str) -> None:
    """Marks and declarations are believed where they fit."""
    declared = encoding.removesuffix("-sig")
    text = f'<?xml version="1.0" encoding="{declared}"?>{page("<p>Zoë’s café</p>").partition("?>")[2]}'
    assert load(Epub({"one.xhtml": text.encode(encoding)})).text == "Zoë’s café\n"


def test_ruby_tables_pictures_and_other_directions_become_plain_text() -> None:
    """Readings go, rows stay rows, pictures say what they show, right-to-left text keeps its order."""
    body = (
        "<p><ruby>山路<rp>(</rp><rt>やまみち</rt><rp>)</rp></ruby>を登り</p><table><tr><th>a</th><th>b</th></tr>"
        '<tr><td>1</td><td>2</td></tr></table><p><img src="x.png" alt="a tower"/></p>'
        '<p dir="rtl" style="writing-mode: vertical-rl">שלום עולם</p>'
    )
    text = load(Epub({"one.xhtml": page(body)})).text
    assert "山路を登り" in text
    assert "a | b\n1 | 2" in text
    assert "[a tower]" in text
    assert "שלום עולם" in text


def test_footnotes_stay_where_they_are_read() -> None:
    """The mark and the note are kept, in the order of the page."""
    body = (
        '<p>A tower<a epub:type="noteref" href="#n1">[1]</a> stood.</p>'
        '<aside epub:type="footnote" id="n1"><p>[1] It fell later.</p></aside><p>It was tall.</p>'
    )
    text = load(Epub({"one.xhtml": page(body)})).text
    assert text.index("tower[1]") < text.index("It fell later") < text.index("It was tall")


def test_a_gutenberg_frame_is_taken_off() -> None:
    """Header and licence go, and the sections begin where the text does."""
    pages = {
        "a.xhtml": page(
            "<h2>The Project Gutenberg eBook of The Keeper</h2><p>Title: The Keeper</p>"
            "<div>*** START OF THE PROJECT GUTENBERG EBOOK THE KEEPER ***</div>"
            f"<h2>Chapter 1</h2><p>{prose()}</p>"
        ),
        "b.xhtml": page(f"<h2>Chapter 2</h2><p>{prose()}</p>"),
        "c.xhtml": page(
            "<div>*** END OF THE PROJECT GUTENBERG EBOOK THE KEEPER ***</div><h2>LICENSE</h2><p>Terms of use.</p>"
        ),
    }
    document = load(Epub(pages))
    assert [section.title for section in document.sections] == ["Chapter 1", "Chapter 2"]
    assert [document.text[section.start :][:9] for section in document.sections] == ["Chapter 1", "Chapter 2"]
    assert "PROJECT GUTENBERG" not in document.text
    assert "Terms" not in document.text
    assert "Gutenberg" in document.notes[0]


@pytest.mark.parametrize(
    "epub",
    [
        Epub({"one.xhtml": page('<img src="a.jpg"/>')}),
        Epub({"one.xhtml": page("")}),
        Epub({"one.xhtml": b""}),
        Epub({"one.xhtml": b"\xff\xd8\xff\xe0\0\x10JFIF\0\1\1" * 9}),
        Epub({}),
    ],
)
def test_a_book_without_text_is_refused(epub: Epub) -> None:
    """Pictures and empty pages are nothing to chat about."""
    with pytest.raises(BookError, match="no text"):
        load(epub)


def test_an_archive_without_a_package_is_refused() -> None:
    """What has no package file is no EPUB."""
    with pytest.raises(BookError, match="no package file"):
        load_epub(pack({"mimetype": "application/epub+zip", "a.xhtml": chapter("One")}), "x.epub")


def test_a_nested_book_is_not_opened() -> None:
    """An archive inside the archive is a member like any other."""
    epub = dataclasses.replace(ONE, others={"OPS/inner.epub": Epub({"x.xhtml": chapter("Inner")}).packed()})
    assert order(load(epub)) == ["One", "Two", "Three"]


def test_hostile_pages_bring_in_nothing(tmp_path: Path) -> None:
    """Entities neither grow nor read files, and links above the root lead to nothing outside."""
    secret = tmp_path / "secret.txt"
    secret.write_text("the secret")
    layers = "".join(f'<!ENTITY e{level} "{f"&e{level - 1};" * 10}">' for level in range(1, 10))
    types = f'<!DOCTYPE html [<!ENTITY e0 "haha">{layers}<!ENTITY s SYSTEM "{secret.as_uri()}">]>'
    document = load(
        Epub(
            {"a.xhtml": f"{types}<html><body><p>Words. &e9; &s;</p></body></html>"},
            items=f'<item id="x" href="../../../../../..{secret}" media-type="application/xhtml+xml"/>'
            f'<item id="y" href="{secret.as_uri()}" media-type="application/xhtml+xml"/>',
            references='<itemref idref="x"/><itemref idref="y"/>',
        )
    )
    assert document.text.startswith("Words.")
    assert len(document.text) < 100
    assert "secret" not in document.text
    assert "2 pages are missing" in document.notes[0]


def test_a_row_of_very_many_empty_cells_is_no_trap() -> None:
    """Fuzzing found it: what stands behind more cells than a row may have is left out, and the book is read."""
    row = f"<table><tr>{'<td/>' * 2000}<td>x</td></tr></table>"
    assert load(Epub({"a.xhtml": page(f"{row}<p>{SENTENCE}</p>")})).text.endswith(f"{SENTENCE}\n")


def test_a_page_that_is_a_bomb_is_refused() -> None:
    """A page that grows a thousandfold when unpacked ends the reading with one error."""
    with pytest.raises(BookError, match="no ordinary book"):
        load(dataclasses.replace(ONE, pages={**ONE.pages, "bomb.xhtml": b"<p>" + b" " * (20 << 20)}))


def test_real_books_tile_and_are_clean() -> None:
    """Every section of every real book beside the checkout has a title, and the sections give the whole text."""
    for path in real_epubs():
        document = load_epub(path.read_bytes(), str(path))
        assert "".join(document.text[part.start : part.end] for part in document.sections) == document.text, path
        assert document.text == clean(document.text), path
        assert all(section.title and section.start < section.end for section in document.sections), path
        assert (document.language, document.title) != ("", ""), path


SEEN = {
    "accessible_epub_3": (49, "Accessible EPUB 3", "Matt Garrish"),
    "internallinks": (18, "IDに漢字などを使用したサンプル", ""),
    "kusamakura-japanese-vertical-writing": (14, "草枕", "夏目 漱石"),
    "moby-dick": (140, "Moby-Dick", "Herman Melville"),
    "wasteland-otf-obf": (7, "The Waste Land", "T.S. Eliot"),
}


def test_real_books_have_their_chapters() -> None:
    """The number of sections, title and author of the real books, as they were checked by eye."""
    for path in real_epubs():
        if path.stem in SEEN:
            document = load_epub(path.read_bytes(), str(path))
            assert (len(document.sections), document.title, document.author) == SEEN[path.stem], path


def test_a_real_title_is_not_needed() -> None:
    """Without one the file's name is the title."""
    assert load_epub(dataclasses.replace(ONE, metadata="").packed(), str(Path("a") / "my_book.epub")).title == "My Book"

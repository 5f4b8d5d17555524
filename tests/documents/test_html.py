"""Loading web pages."""

from __future__ import annotations

import pytest

from cagchat.documents.document import Document
from cagchat.documents.html import decode_page, load_html
from cagchat.errors import BookError
from tests.documents.invented_text import prose


def load(markup: str, name: str = "the_tower.html") -> Document:
    """Load a page in UTF-8."""
    return load_html(markup.encode(), name)


def outline(document: Document) -> list[tuple[int, str]]:
    """Return level and title of each section."""
    return [(section.level, section.title) for section in document.sections]


def test_headings_are_chapters() -> None:
    """Sections begin at headings, their levels count from 1, and they tile the text."""
    document = load("<p>before<h2>One</h2><p>a<h4>In</h4><p>b<h2>Two</h2><p>c")
    assert outline(document) == [(0, "Front matter"), (1, "One"), (2, "In"), (1, "Two")]
    assert "".join(document.text[part.start : part.end] for part in document.sections) == document.text


def test_a_number_and_the_title_below_it_are_one_heading() -> None:
    """A bare "Chapter 1" takes the heading below it as its title."""
    document = load("<h2>Chapter 1</h2><h2>The Sea</h2><p>a<h2>Chapter 2</h2><h3>The Land</h3><p>b")
    assert outline(document) == [(1, "Chapter 1. The Sea"), (1, "Chapter 2. The Land")]


def test_boilerplate_is_left_out() -> None:
    """Menus, banners, forms, sidebars, site heads and feet are no part of the text."""
    document = load(
        "<header><nav>menu</nav>site</header><div role=dialog>cookies</div><div id=cookie-banner>we use</div>"
        "<div role=navigation>more</div><h1>Tower</h1><p>text<form><input><button>send</button></form>"
        "<aside>read also</aside><footer>2001</footer>"
    )
    assert document.text == "Tower\n\ntext\n"


def test_the_main_part_is_preferred_when_it_holds_most_of_the_text() -> None:
    """Text outside `main` goes; a small `main` is not taken for the whole."""
    story = "<p>It was a long night at sea.</p>" * 5
    assert "advert" not in load(f"<p>advert</p><main>{story}</main>").text
    assert "night" in load(f"<main>teaser</main><div>{story}</div>").text
    assert "advert" not in load(f"<div>advert</div><article>{story}</article>").text


def test_chapters_as_articles_are_all_read() -> None:
    """Articles that are longer than a comment are one text, with what stands between them; comments are not."""
    one, two = "Alpha went down to the quay. " * 60, "Beta came back from the hill. " * 20
    chapters = f"<article><h2>One</h2><p>{one}</article><article><h2>Two</h2><p>{two}</article>"
    page = f"<div>advert</div><div><h1>Book</h1><p>Intro.</p>{chapters}</div>"
    document = load(page)
    assert outline(document) == [(1, "Book"), (2, "One"), (2, "Two")]
    assert "Intro." in document.text
    assert "advert" not in document.text
    comments = f"<article>I liked it.</article><article class='comment-body'><p>{two}</article>"
    assert "Beta" not in load(f"<div><article><p>{one}</article>{comments}</div>").text


@pytest.mark.parametrize(
    "heading",
    [
        "<h2><button>Chapter One</button></h2>",
        "<h2> <label for=a><span>Chapter One</span></label></h2>",
        "<button><h2>Chapter One</h2></button>",
        "<div role=heading aria-level=2><button>Chapter One</button></div>",
        "<h2>Chapter One <button>Copy the link</button></h2>",
    ],
)
def test_a_heading_in_a_button_is_a_heading(heading: str) -> None:
    """Chapters that fold up have their titles in what unfolds them; a button beside the words is none of them."""
    assert outline(load(f"{heading}<p>text<h2>Chapter Two</h2><p>more<button>send</button>"))[0] == (1, "Chapter One")


@pytest.mark.parametrize(
    "notes",
    [
        "<footer><ol><li id=fn1>The quay is long.</ol></footer>",
        "<footer role=contentinfo><p><a name=_ftn1>1</a> The quay is long.</footer>",
        "<aside class=footnote-list><aside id=id1 role=doc-footnote>The quay is long.</aside></aside>",
        "<section role=doc-endnotes><p>The quay is long.</section>",
    ],
)
def test_notes_at_the_foot_of_a_page_are_read(notes: str) -> None:
    """They stand outside of the main part, in what is a site's footer elsewhere."""
    story = "<p>It was a long night at sea.</p>" * 5
    assert "The quay" in load(f"<h1>T</h1>{story}{notes}").text
    document = load(f"<nav>menu</nav><main>{story}</main><div>advert</div>{notes}<footer>2001</footer>")
    assert document.text.endswith("The quay is long.\n")
    assert "advert" not in document.text


@pytest.mark.parametrize("tag", ["nav", "aside", "label", "header", "menu"])
def test_a_menu_that_was_never_closed_does_not_take_the_text(tag: str) -> None:
    """What holds more than half of a page's words, and not as links, is no menu."""
    story = "<p>It was a long night at sea.</p>" * 5
    assert "long night" in load(f"<p>The Tower</p><{tag}>Menu{story}").text
    links = "<a href=x>It was a long night at sea.</a>" * 5
    assert "long night" not in load(f"<p>The Tower</p><{tag}>{links}</{tag}>").text


def test_a_sidebar_inside_a_text_is_read() -> None:
    """An aside of words stands in an article for its reader, one of links leads away."""
    story = "<p>It was a long night at sea.</p>" * 5
    aside = f"<aside><p>{'Of lamps and wicks. ' * 10}</p></aside>"
    links = f"<aside>{'<a href=x>Of other lamps. </a>' * 10}</aside>"
    document = load(f"<article><h1>T</h1>{story}{aside}{links}</article>{aside.replace('lamps', 'adverts')}")
    assert "wicks" in document.text
    assert "other lamps" not in document.text
    assert "adverts" not in document.text


def test_how_much_was_left_out_is_said() -> None:
    """A note has the share of text that went, where that is more than a little."""
    story = f"<main><p>{'It was a long night. ' * 50}</p></main>"
    (note,) = load(f"{story}<div>{'advert ' * 60}</div>").notes
    assert note.startswith("Of the file's text 29 % was left out")
    assert load(f"{story}<div>advert</div>").notes == ()
    hidden = f"<div hidden><h2>Two</h2><p>{'It was a long day. ' * 50}</p></div>"
    assert "% was left out" in load(f"<div><h2>One</h2><p>{'It was a long night. ' * 50}</p></div>{hidden}").notes[0]


def test_a_title_block_is_no_site_header() -> None:
    """A header with nothing but the title of the text is read."""
    assert load("<header><h1>Tower</h1><p>Ada</header><p>text").text == "Tower\n\nAda\n\ntext\n"


def test_a_page_that_is_all_boilerplate_is_read_whole() -> None:
    """Rather a menu than nothing."""
    assert load("<p id=top></p><nav><p>only this</nav>").text == "only this\n"


def test_title_author_and_language_come_from_the_head() -> None:
    """Fields of `meta` count before `title`."""
    document = load(
        "<html lang=en-GB><title>Tower - Site</title><meta property='og:title' content='The Tower'>"
        "<meta name=Author content='Ada Example'><p>text"
    )
    assert (document.title, document.author, document.language) == ("The Tower", "Ada Example", "en-GB")


def test_without_a_head_the_heading_or_the_name_is_the_title() -> None:
    """One heading of level 1 names the text, else the file does."""
    assert load("<h1>The Lamp</h1><p>text").title == "The Lamp"
    assert load("<p>text").title == "The Tower"


@pytest.mark.parametrize(
    ("declaration", "encoding"),
    [
        ("<meta charset=windows-1251>", "cp1251"),
        ('<meta http-equiv="Content-Type" content="text/html; charset=koi8-r">', "koi8-r"),
        ('<?xml version="1.0" encoding="iso-8859-5"?>', "iso8859-5"),
        ("", "utf-8"),
        ("", "utf-16"),
    ],
)
def test_encodings_are_detected(declaration: str, encoding: str) -> None:
    """Declarations in any form and byte order marks are believed."""
    page = f"{declaration}<p>Старый маяк стоял на берегу."
    assert "Старый маяк" in load_html(page.encode(encoding), "x.html").text


def test_a_declaration_that_the_bytes_contradict_does_not_count() -> None:
    """UTF-8 that says it is something else is UTF-8; names of no encoding are ignored."""
    assert decode_page("<meta charset=latin1>Ä“".encode())[0].endswith("Ä“")
    assert decode_page("<meta charset=unicode-escape>\\u0041é".encode())[0].endswith("\\u0041é")


def test_a_gutenberg_frame_is_taken_off() -> None:
    """Header and licence go, the fields in them are kept, and sections and pages count from the new beginning."""
    document = load(
        "<div id=pg-header><p>Title: The Tower</p><p>Author: Ada Example</p><p>Language: English</p>"
        "<div>*** START OF THE PROJECT GUTENBERG EBOOK THE TOWER ***</div></div><h2>One</h2>"
        f"<p>{prose()}<span class=pagenum>2</span></p><h2>Two</h2><p>end</p>"
        "<div>*** END OF THE PROJECT GUTENBERG EBOOK THE TOWER ***</div><p>licence"
    )
    assert (document.title, document.author, document.language) == ("The Tower", "Ada Example", "en")
    assert document.text.startswith("One\n\n")
    assert document.text.endswith("Two\n\nend\n")
    assert outline(document) == [(1, "One"), (1, "Two")]
    assert [page.label for page in document.pages] == ["2"]


def test_a_page_without_text_is_refused() -> None:
    """A page of scripts is no book."""
    with pytest.raises(BookError, match="holds no text"):
        load("<script>app()</script><div id=root></div>")


def test_the_same_page_always_has_the_same_digest() -> None:
    """Nothing depends on anything but the bytes."""
    page = "<h1>a</h1><ul><li>b</ul><table><tr><td>c<td>d</table>"
    assert len({load(page).digest for _ in range(3)}) == 1


@pytest.mark.parametrize("piece", ["x", "<", "<p", "&", "&#", "<!--", "<td rowspan=99999>", "<a href=#>", "\0", " "])
def test_repetition_is_no_trap(piece: str) -> None:
    """What is repeated thirty thousand times is read or refused."""
    try:
        document = load("<p>text</p>" + piece * 30_000)
    except BookError:
        return
    assert document.sections[-1].end == len(document.text)

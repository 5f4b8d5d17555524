"""Several documents as one book."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from cagchat.documents.document import Document, Page, Section
from cagchat.documents.source import File, Source
from cagchat.documents.volumes import compose, join
from tests.documents.invented_text import chapters, prose


def volume(title: str, text: str, *bounds: tuple[str, int, int, int], **more: object) -> Document:
    """Return a document with these sections."""
    sections = tuple(Section(*bound) for bound in bounds) or (Section("", 0, len(text), 0),)
    return Document(title, text, sections, "text", **more)  # type: ignore[arg-type]  # fields by their names


def titles(document: Document) -> list[tuple[int, str]]:
    return [(section.level, section.title) for section in document.sections]


def test_each_volume_is_a_part_with_its_chapters_inside() -> None:
    """The volume's title stands in the text and is a section; its own sections are one level deeper."""
    text = "One\n\nx\nTwo\n\ny\n"
    first = volume("First", text, ("One", 0, 7, 1), ("Two", 7, len(text), 1))
    joined = join([first, first], "Both")
    assert titles(joined) == [(1, "First"), (2, "One"), (2, "Two")] * 2
    assert joined.text == f"First\n\n{text}\nFirst\n\n{text}"


def test_a_volume_of_one_chapter_is_one_section() -> None:
    """Files that are a chapter each make one list of chapters, with their headings as they are."""
    texts = ("CHAPTER 1. Fog\n\nx\n", "CHAPTER 2. Rain\n\ny\n")
    files = [volume("C", text, (text.partition("\n")[0], 0, len(text), 1)) for text in texts]
    joined = join(files, "Weather")
    assert titles(joined) == [(1, "CHAPTER 1. Fog"), (1, "CHAPTER 2. Rain")]
    assert joined.text == "\n".join(texts)


def test_a_volume_without_a_heading_gets_its_title() -> None:
    """The model is told where a file begins."""
    joined = join([volume("Fog", "x\n"), volume("Rain", "y\n")], "Weather")
    assert joined.text == "Fog\n\nx\n\nRain\n\ny\n"
    assert titles(joined) == [(1, "Fog"), (1, "Rain")]


def test_a_title_in_the_text_is_not_repeated() -> None:
    """A volume that begins with its title, in any case, keeps its text as it is."""
    text = "THE FOG\n\nx\nOne\n\ny\n"
    joined = join([volume("The Fog", text, ("", 0, 11, 0), ("One", 11, len(text), 1))], "Weather")
    assert (joined.text, titles(joined)) == (text, [(1, "The Fog"), (2, "One")])


def test_pages_move_with_their_volume() -> None:
    """A page's offset is where its text stands now; a volume without pages is not on the one before."""
    first = volume("A", "abc\n", pages=(Page("7", 1),))
    joined = join([first, volume("B", "def\n"), first], "C")
    assert joined.place(joined.text.index("bc")).startswith("A, p. 7 (")
    assert joined.place(joined.text.index("def")).startswith("B (")
    assert [page.label for page in joined.pages] == ["", "7", "", "", "7"]


def test_what_volumes_agree_on_is_the_books() -> None:
    """Title, author and language are the book's when no volume says another."""
    first, second = (volume("T", "x\n", author="A", language=language) for language in ("en", "fr"))
    joined = join([first, second], "Folder")
    assert (joined.title, joined.author, joined.language) == ("T", "A", "")


def test_volumes_that_differ_take_the_title_that_is_given() -> None:
    """A book of different titles is called as its folder."""
    assert join([volume("A", "x\n"), volume("B", "y\n")], "Folder").title == "Folder"


@given(st.lists(st.tuples(st.text("ab\n", min_size=1), st.integers(0, 3), st.text("ab")), min_size=1, max_size=5))
def test_sections_tile_the_joined_text(parts: list[tuple[str, int, str]]) -> None:
    """Whatever is joined, sections follow each other without a gap to the end, and pages stay in order."""
    volumes = []
    for text, cuts, title in parts:
        places = sorted({0, *(cut * len(text) // 4 for cut in range(1, cuts + 1)), len(text)})
        bounds = [(title, start, end, 1) for start, end in pairwise(places)]
        volumes.append(volume(title, text, *bounds, pages=tuple(Page("p", place) for place in places)))
    joined = join(volumes, "T")
    bounds_now = [0, *(section.end for section in joined.sections)]
    assert [section.start for section in joined.sections] == bounds_now[:-1]
    assert bounds_now[-1] == len(joined.text)
    assert sorted(joined.pages, key=lambda page: page.start) == list(joined.pages)


def test_one_file_stays_as_it_is() -> None:
    """A book of one file is that file's document, with what was left out before its own notes."""
    document = compose(Source(("x",), (File("book.pdf", prose().encode()),), notes=("1 file was left out.",)))
    assert document.text == prose().strip("\n") + "\n"
    assert document.notes == ("1 file was left out.", "The file is called .pdf, but it is plain text.")


def test_notes_say_which_file_they_are_about() -> None:
    """In a book of several files a note begins with the file's name."""
    files = (File("a/one.pdf", prose().encode()), File("a/two.txt", chapters("CHAPTER 1", "CHAPTER 2").encode()))
    document = compose(Source(("x",), files, "Both"))
    assert document.notes == ("one.pdf: The file is called .pdf, but it is plain text.",)
    assert document.title == "Both"


def test_the_same_files_give_the_same_digest() -> None:
    """Composing depends on nothing but the source."""
    files = tuple(File(f"{number}.txt", chapters(f"CHAPTER {number}").encode()) for number in range(1, 4))
    assert compose(Source(("x",), files, "T")) == compose(Source(("y",), files, "T"))

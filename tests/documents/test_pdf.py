"""PDFs: reading order, paragraphs, chapters, page numbers, and files that are locked, scanned or damaged."""

from __future__ import annotations

import contextlib
from itertools import chain, pairwise
from pathlib import Path

import pytest

from cagchat.documents.cleaning import clean
from cagchat.documents.document import Document
from cagchat.documents.password import PasswordNeeded
from cagchat.documents.pdf import load_pdf
from cagchat.errors import BookError
from tests.documents.invented_text import prose
from tests.documents.pdf_files import HEIGHT, LEADING, Ink, Sheet, column, pdf, real_pdfs, sheet, wrapped

SENTENCE = "The keeper climbed the tower before the lamps of the harbour were lit, and counted every step aloud."
LONG = " ".join(prose(900).split())
OTHER = "Nobody on the island had seen a ship since autumn; the kettle went on telling the time to an empty kitchen."
PASSWORDS = {"libreoffice-writer-password": "openpassword"}


def load(*sheets: Sheet, **options: object) -> Document:
    """Return the document in a PDF of these sheets."""
    return load_pdf(pdf(sheets, **options), "the_lamp.pdf")  # type: ignore[arg-type]  # the options are pdf()'s own


def story(pages: int) -> list[Sheet]:
    """Return pages of which no two begin or end alike, each ending with a paragraph."""
    return [
        sheet(*(f"{word} {LONG}" for word in words)) for words in zip(*[iter(numerals(3 * pages))] * 3, strict=True)
    ]


def numerals(count: int) -> list[str]:
    """Return different words."""
    ends = ("ale", "oar", "ink", "ebb", "urn", "ash", "oil", "elm", "arm", "ice", "ore", "eel", "inn", "ant")
    return [f"{first}{second}" for second in ends for first in "BDFGKLMNPR"][:count]


def test_lines_of_a_paragraph_are_joined() -> None:
    """A line that is full goes on with the next one; an indent begins a paragraph."""
    assert load(sheet(LONG, OTHER)).text == f"{LONG}\n\n{OTHER}\n"


def test_paragraphs_parted_by_space_are_apart() -> None:
    """Without indents the distance of the lines tells where a paragraph begins."""
    inks = [*column(wrapped(LONG)), *column(wrapped(OTHER), y=100 + LEADING * (len(wrapped(LONG)) + 1))]
    assert load(Sheet(tuple(inks))).text == f"{LONG}\n\n{OTHER}\n"


def test_paragraphs_of_one_line_are_apart() -> None:
    """Of two indented lines each is a paragraph when the text after them is not indented, however full they are."""
    said = '"How many lamps are there left to light before the night", the keeper said,'
    paragraphs = (LONG, said, said, LONG, LONG, LONG)
    assert load(sheet(*paragraphs)).text == "\n\n".join(paragraphs) + "\n"


def test_a_list_of_contents_keeps_its_lines() -> None:
    """Lines that end in dots and a number, or in a number far to the right, are not joined; the dots are one sign."""
    dotted = [Ink(72, 100 + 12 * n, f"Chapter {n} ".ljust(74, ".") + f" {n}7") for n in range(4)]
    spaced = [ink for n in range(4) for ink in (Ink(72, 200 + 12 * n, f"Lamp {n}"), Ink(520, 200 + 12 * n, f"{n}9"))]
    text = load(Sheet((*dotted, *spaced, *column(wrapped(LONG), y=400)))).text
    assert "Chapter 0 … 07\nChapter 1 … 17\n" in text
    assert "Lamp 0 09\nLamp 1 19\n" in text


def test_verses_stay_lines() -> None:
    """Lines that end although the next word would fit stay apart."""
    verses = ["The lamp is out, the stair is cold,", "the kettle sings of nothing,", "and nobody is listening now"]
    inks = (*column(wrapped(LONG)), *column(verses, x=100, y=500))
    assert load(Sheet(inks)).text.endswith("\n\n" + "\n".join(verses) + "\n")


def test_two_columns_are_read_one_after_the_other() -> None:
    """The left column is whole before the right one begins, below a title that stands across both."""
    left, right = wrapped(LONG, 34), wrapped(OTHER + " " + LONG, 34)
    title = Ink(150, 60, "A Report on the Lamp and the Storm in the Harbour", 14)
    by_column = Sheet((title, *column(left), *column(right, x=330)))
    assert load(by_column).text.replace("\n", " ").split("  ") == [title.text, LONG, f"{OTHER} {LONG} "]


def test_the_order_of_columns_in_the_file_does_not_matter() -> None:
    """A file that holds the columns line by line gives the same text."""
    left, right = column(wrapped(LONG, 34)), column(wrapped(LONG, 34), x=330)
    by_row = Sheet(tuple(chain.from_iterable(zip(left, right, strict=True))))
    assert load(by_row).text == load(Sheet((*left, *right))).text


def test_a_table_is_read_by_rows() -> None:
    """Short cells beside each other are rows, not columns."""
    rows = [
        Ink(72 + 160 * x, 400 + 14 * y, f"{name}{y}") for y in range(8) for x, name in enumerate(("Oil", "Wick", "Gas"))
    ]
    text = load(Sheet((*column(wrapped(LONG)), *rows))).text
    assert "Oil0 Wick0 Gas0\nOil1 Wick1 Gas1\n" in text


def test_lines_are_ordered_by_their_place() -> None:
    """A file that holds its lines from the bottom up is read from the top down."""
    lines = column(wrapped(LONG))
    assert load(Sheet(lines[::-1])).text == f"{LONG}\n"


@pytest.mark.parametrize(
    ("halves", "joined"),
    [
        (("the light-", "house stood"), "lighthouse stood"),
        (("the South-", "West wind"), "South-West wind"),
        (("a soft\u00ad", "ened voice"), "softened voice"),
        (("in 1805-", "1812 it"), "1805- 1812 it"),
        (("she waited —", "and went"), "waited — and went"),
        (("she waited—", "and went"), "waited—and went"),
    ],
)
def test_hyphens_at_line_ends(halves: tuple[str, str], joined: str) -> None:
    """A hyphen before a small letter goes, one before a capital stays, and a dash is no hyphen."""
    before, after = halves
    lines = [*wrapped(LONG)[:2], before.rjust(78, "m"), f"{after} {SENTENCE}"[:78]]
    assert joined in load(Sheet(column(lines))).text


def test_a_hyphen_that_is_written_elsewhere_stays() -> None:
    """A word that has its hyphen inside a line keeps it at a line's end."""
    first = "The sea-green water lay still. " + SENTENCE
    lines = [
        *wrapped(first),
        "it was a quiet evening and the light of the lamps fell on the long still sea-",
        "green bay.",
    ]
    assert "the long still sea-green bay." in load(Sheet(column(lines))).text


def test_a_paragraph_goes_on_over_a_page() -> None:
    """A page that ends in a sentence is joined with the next, and the next page begins inside the paragraph."""
    lines = wrapped(LONG)
    document = load(Sheet(column(lines[:5])), Sheet(column(lines[5:])))
    assert document.text == f"{LONG}\n"
    assert document.text[document.pages[1].start :].startswith(lines[5])


def test_running_heads_and_page_numbers_are_dropped() -> None:
    """Rows that repeat at the edges of pages go, but for their numbers; the text stays whole."""
    plain = story(6)
    printed = [
        Sheet((Ink(72, 50, f"{n + 31}   THE LAMP"), *each.inks, Ink(300, 770, "Harbour Press")))
        for n, each in enumerate(plain)
    ]
    document = load(*printed)
    assert document.text == load(*plain).text
    assert document.notes == ("Running heads and page numbers were taken off.",)


@pytest.mark.parametrize("form", ["{}", "- {} -", "Page {} of 6", "[{}]"])
def test_page_numbers_at_the_foot_are_dropped(form: str) -> None:
    """Page numbers go in each of their usual forms."""
    plain = story(6)
    printed = [Sheet((*each.inks, Ink(300, 760, form.format(n)))) for n, each in enumerate(plain, 1)]
    assert load(*printed).text == load(*plain).text


@pytest.mark.parametrize("size", [10.0, 18.0])
@pytest.mark.parametrize("pages", [1, 3])
@pytest.mark.parametrize("form", ["Chapter {}", "Hoofdstuk {}", "Exercises"])
def test_headings_at_the_top_of_pages_stay(form: str, pages: int, size: float) -> None:
    """What begins chapters stands at the same place of several pages too, but not of neighbours."""
    if form != "Chapter {}" and pages == 1:
        pages = 4  # on each page, what is not known as a heading's word cannot be told from a running head
    plain = story(5 * pages)
    printed = [
        Sheet((*([Ink(72, 70, form.format(1 + n // pages), size)] if n % pages == 0 else []), *each.inks))
        for n, each in enumerate(plain)
    ]
    text = load(*printed).text
    assert all(f"{form.format(number)}\n" in text for number in range(1, 6))
    assert text.count(form.format(1)) == (5 if form == "Exercises" else 1)


def test_a_chapters_number_on_every_page_is_a_running_head() -> None:
    """On facing pages it stands on every second one; beside the number of the page it is never a heading."""
    plain = story(18)
    heads = [f"Chapter {1 + n // 6}" if n % 2 else f"{n + 1}   The Lamp" for n in range(18)]
    printed = [Sheet((Ink(72, 50, head), *each.inks)) for head, each in zip(heads, plain, strict=True)]
    assert load(*printed).text == load(*plain).text


def test_numbers_that_agree_by_chance_count_no_pages() -> None:
    """Definitions far apart whose numbers happen to be those of their pages are text."""
    plain = story(40)
    printed = [
        Sheet((Ink(72, 50, f"{n + 3}   The Lamp"), *([Ink(72, 70, f"Lemma {n}")] if n % 13 == 5 else []), *each.inks))
        for n, each in enumerate(plain)
    ]
    text = load(*printed).text
    assert [f"Lemma {n}\n" in text for n in (5, 18, 31)] == [True] * 3
    assert "The Lamp" not in text


def test_a_heading_left_of_its_text_does_not_part_its_lines() -> None:
    """The margin is that of the text, not that of the large letters above it."""
    heads = (Ink(72, 60, "Exercises", 16), Ink(72, 80, "First task"))
    lines = wrapped(SENTENCE, 65) * 4
    document = load(Sheet((*heads, *column(lines, x=100, y=110))), *story(3))
    assert document.text.count(SENTENCE) == 4


def test_numbers_in_the_text_stay() -> None:
    """A line at the top of a page that is a number, but not this page's, is text."""
    sheets = [
        Sheet((Ink(72, 80, str(number)), *each.inks)) for number, each in zip((1805, 7, 93), story(3), strict=True)
    ]
    text = load(*sheets).text
    assert all(f"{number}\n" in text for number in (1805, 7, 93))


def test_pages_of_nothing_but_repeated_lines_stay() -> None:
    """Pages of labels are alike, and still the text."""
    assert load(*(Sheet((Ink(72, 100, f"Oil for lamp {number}"),)) for number in range(5))).text.count("lamp") == 5


def test_footnotes_stand_behind_the_paragraph_that_they_interrupt() -> None:
    """Small lines at the foot of a page do not part a sentence; each place still names the page that it is on."""
    lines = wrapped(LONG)
    note = Ink(72, 720, "1 So the keeper says in his letters.", 7)
    document = load(Sheet((*column(lines[:5]), note)), Sheet(column(lines[5:])))
    assert document.text == f"{LONG}\n\n{note.text}\n"
    page = document.page_at(document.text.index(note.text))
    assert page is not None
    assert page.label == "1"


def test_a_drop_cap_belongs_to_its_word() -> None:
    """The large letter that begins a chapter is joined with the line beside its top."""
    lines = wrapped(LONG[1:], 60)
    beside = (Ink(92, 100, lines[0]), Ink(92, 112, lines[1]))
    assert load(Sheet((Ink(72, 112, LONG[0], 30), *beside, *column(lines[2:], y=124)))).text.startswith(LONG[:100])


def test_ligatures_and_soft_hyphens_are_mended() -> None:
    """What a reader does not see is not in the text."""
    assert "first" in load(sheet(f"The fi\u00adrst step. {LONG}")).text


@pytest.mark.parametrize(("turn", "rotate"), [(90, 0), (90, 90), (180, 0), (270, 0), (0, 90), (0, 270)])
def test_turned_pages_are_read(turn: int, rotate: int) -> None:
    """Text is read along its lines, whichever way the page or the text is turned."""
    starts = {0: (100, 100, 0, 12), 90: (100, 700, 12, 0), 180: (500, 600, 0, -12), 270: (500, 100, -12, 0)}
    x, y, step_x, step_y = starts[turn]
    inks = [Ink(x + row * step_x, y + row * step_y, line, turn=turn) for row, line in enumerate(wrapped(LONG, 60))]
    assert load(Sheet(tuple(inks), rotate=rotate)).text == f"{LONG}\n"


def test_the_outline_gives_the_chapters() -> None:
    """Each entry is a section at the paragraph with its words, with its level; what precedes is front matter."""
    heads = [(Ink(72, 60, name), *column(wrapped(LONG))) for name in ("1. The Lamp", "Of Oil", "Another Storm")]
    document = load(
        Sheet(column(wrapped(OTHER))),
        *(Sheet(inks) for inks in heads),
        outline=[(1, "The Lamp", 1), (2, "Of Oil", 2), (1, "Another Storm", 3)],
    )
    assert [(section.level, section.title) for section in document.sections] == [
        (0, "Front matter"),
        (1, "The Lamp"),
        (2, "Of Oil"),
        (1, "Another Storm"),
    ]
    assert document.text[document.sections[1].start :].startswith("1. The Lamp\n")


def test_entries_at_one_place_are_one_section() -> None:
    """A part that begins with its first chapter shares a section with it, so that none is empty."""
    document = load(*story(2), outline=[(1, "Part One", 0), (2, "Upstairs", 0), (2, "Downstairs", 1)])
    assert all(section.start < section.end for section in document.sections)
    assert [section.title for section in document.sections] == ["Part One. Upstairs", "Downstairs"]


def test_a_circular_outline_ends() -> None:
    """An entry that leads back to an earlier one is read once."""
    outline = [(1, "One", 0), (1, "Two", 1)]
    assert len(load(*story(2), outline=outline, circular=True).sections) == 2


def test_large_type_gives_the_chapters_without_an_outline() -> None:
    """Short lines in a larger size are headings; the largest are the outermost."""
    sheets = [
        Sheet((Ink(72, 50, f"Upon the {name}", size), *column(wrapped(LONG))))
        for name, size in (("Sea", 20), ("Sand", 14), ("Rocks", 14), ("Air", 20))
    ]
    assert [(section.level, section.title) for section in load(*sheets).sections] == [
        (1, "Upon the Sea"),
        (2, "Upon the Sand"),
        (2, "Upon the Rocks"),
        (1, "Upon the Air"),
    ]


def test_words_give_the_chapters_without_large_type() -> None:
    """Headings of the body's size are found as in a plain text."""
    sheets = [Sheet((Ink(72, 60, f"CHAPTER {number}"), *column(wrapped(LONG)))) for number in ("I", "II", "III")]
    assert [section.title for section in load(*sheets).sections] == ["CHAPTER I", "CHAPTER II", "CHAPTER III"]


def test_pages_have_the_labels_of_the_file() -> None:
    """Places are named by the printed numbers, Roman ones too."""
    document = load(*story(3), labels="0 << /S /r >> 1 << /S /D /St 5 >>")
    assert [page.label for page in document.pages] == ["i", "5", "6"]
    assert "p. 6 (" in document.place(document.pages[2].start)


def test_title_and_author_come_from_the_metadata() -> None:
    """What a person wrote into the metadata is used."""
    document = load(sheet(LONG), title="Of Lamps", author="A. Keeper")
    assert (document.title, document.author) == ("Of Lamps", "A. Keeper")


@pytest.mark.parametrize("title", ["", "untitled", "Microsoft Word - lamp.doc", "lamp.indd", "Document1"])
def test_a_title_written_by_a_program_is_not_used(title: str) -> None:
    """The file's name is better than what a program wrote."""
    assert load(sheet(LONG), title=title, author="user").title == "The Lamp"


def test_a_locked_file_asks_for_its_password() -> None:
    """Without a password the error can be told from others; a wrong one says so; the right one opens."""
    content = pdf([sheet(LONG)], password="Ölkanne")
    with pytest.raises(PasswordNeeded, match="is locked with a password"):
        load_pdf(content, "locked.pdf")
    with pytest.raises(PasswordNeeded, match="The password does not open"):
        load_pdf(content, "locked.pdf", "kettle")
    assert load_pdf(content, "locked.pdf", "Ölkanne").text == f"{LONG}\n"


def test_pictures_of_pages_name_the_way_to_read_them() -> None:
    """A scan without a text layer is refused with the command that adds one."""
    with pytest.raises(BookError, match="only pictures of its 2 pages") as caught:
        load(Sheet(image=True), Sheet((Ink(72, 40, "p. 2"),), image=True))
    assert "`ocrmypdf the_lamp.pdf the_lamp-ocr.pdf`" in caught.value.hint


def test_a_page_without_text_is_named() -> None:
    """A book with some pages that are pictures is read, and a note says which."""
    note = load(sheet(LONG), Sheet(image=True), Sheet(image=True), sheet(OTHER)).notes[0]
    assert note.startswith("Pages 2–3 of the file had hardly any text")


def test_text_outside_the_page_is_not_read() -> None:
    """What stands beyond the page's edges is not seen by a reader either."""
    assert "hidden" not in load(Sheet((*column(wrapped(LONG)), Ink(72, HEIGHT + 200, "hidden")))).text


def test_empty_pages_are_no_book() -> None:
    """A PDF without text and pictures is refused."""
    with pytest.raises(BookError, match="holds no text"):
        load(Sheet(), Sheet())


@pytest.mark.parametrize("content", [b"%PDF-1.7\n", b"%PDF-1.7\n%%EOF", pdf([sheet(LONG)])[:200]])
def test_a_file_without_pages_is_damaged(content: bytes) -> None:
    """Nothing but a header is one clear error."""
    with pytest.raises(BookError, match="is damaged"):
        load_pdf(content, "broken.pdf")


def test_a_broken_cross_reference_is_rebuilt() -> None:
    """A file whose table of objects is wrong is still read."""
    content = pdf([sheet(LONG)]).replace(b"startxref\n", b"startxref\n9999")
    assert load_pdf(content, "broken.pdf").text == f"{LONG}\n"


def test_a_truncated_file_keeps_its_first_pages() -> None:
    """What was fetched of a file is read or refused, never a crash."""
    content = pdf(story(4))
    for part in range(1, 10):
        with contextlib.suppress(BookError):
            check(load_pdf(content[: len(content) * part // 10], "part.pdf"))


def test_a_page_count_that_cannot_be_is_refused() -> None:
    """More pages than any book has are not waited for."""
    content = pdf([sheet(LONG)])
    for claim in (b"/Count 2000000000", b"/Count -7", b"/Count 19999"):
        with contextlib.suppress(BookError):
            check(load_pdf(content.replace(b"/Count 1", claim), "many.pdf"))


def test_a_page_with_very_many_characters_is_read() -> None:
    """Time grows with the length of a page, not with its square."""
    inks = [Ink(72, 40 + row % 700, SENTENCE[: 60 + row % 30]) for row in range(3000)]
    assert len(load(Sheet(tuple(inks))).text) > 100_000


def test_very_small_and_large_type_are_read() -> None:
    """Sizes far from usual ones divide by nothing."""
    for size in (0.001, 0.5, 400.0):
        assert load(Sheet((Ink(72, 300, "lamp", size), *column(wrapped(LONG))))).text


def test_the_text_is_clean_and_tiled() -> None:
    """Sections tile the text, pages stand in order, and cleaning changes nothing more."""
    for document in (load(*story(5)), load(sheet("fi" + LONG), sheet(OTHER))):
        check(document)


def check(document: Document) -> None:
    """Assert what every document must be."""
    assert clean(document.text) == document.text
    bounds = [0, *(section.end for section in document.sections)]
    assert [section.start for section in document.sections] == bounds[:-1]
    assert bounds[-1] == len(document.text)
    assert all(before.start <= after.start for before, after in pairwise(document.pages))


@pytest.mark.parametrize("path", real_pdfs(), ids=lambda path: path.stem)
def test_real_files_are_read_or_refused(path: Path) -> None:
    """Files that none of us wrote give a clean document, the same each time, or say what is missing."""
    content = path.read_bytes()
    if path.stem == "imagemagick-images":
        with pytest.raises(BookError, match="only pictures"):
            load_pdf(content, path.name)
        return
    document = load_pdf(content, path.name, PASSWORDS.get(path.stem, ""))
    check(document)
    assert document.digest == load_pdf(content, path.name, PASSWORDS.get(path.stem, "")).digest

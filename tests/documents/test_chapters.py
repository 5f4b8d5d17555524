"""Finding the chapters of a plain text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cagchat.documents.chapters import FRONT_MATTER, find_sections
from tests.documents.invented_text import chapters, prose

ROMANS = ("I", "II", "III", "IV", "V", "VI")


def outline(text: str) -> list[tuple[int, str]]:
    """Return level and title of each section."""
    return [(section.level, section.title) for section in find_sections(text)]


def titles(text: str) -> list[str]:
    """Return the sections' titles."""
    return [section.title for section in find_sections(text)]


@pytest.mark.parametrize(
    "headings",
    [
        ["CHAPTER I", "CHAPTER II", "CHAPTER III"],
        ["Chapter 1. The Lamp", "Chapter 2. The Oil", "Chapter 3. The Storm"],
        ["Chapter One", "Chapter Two", "Chapter the Last"],
        ["PROLOGUE", "Chapter 1", "Chapter 2", "EPILOGUE"],
        ["Letter 1", "Letter 2", "Chapter 1"],
        ["[ 1 ]", "[ 2 ]", "[ 3 ]"],
        ["I", "II", "III", "IV"],
        ["1", "2", "3"],
        ["One", "Two", "Three"],
        ["I. THE LAMP", "II. THE OIL", "III. THE STORM"],
        ["ETYMOLOGY", "EXTRACTS (Supplied by a friend)", "CHAPTER 1. The Lamp", "Epilogue"],
        ["KAPITEL I", "KAPITEL II"],
    ],
)
def test_usual_headings_are_sections_of_level_one(headings: list[str]) -> None:
    """Each common form of heading becomes one section, named as it is printed."""
    assert outline(chapters(*headings)) == [(1, heading) for heading in headings]


def test_chapters_stand_inside_books() -> None:
    """Books and epilogues with numbers are level 1, the chapters in them level 2, numbered anew in each."""
    text = "".join(
        f"{book}\n\n\n{chapters('CHAPTER I', 'CHAPTER II')}"
        for book in ("BOOK ONE: 1805", "BOOK TWO: 1806", "FIRST EPILOGUE: 1813")
    )
    inside = [(2, "CHAPTER I"), (2, "CHAPTER II")]
    assert outline(text) == [
        (1, "BOOK ONE: 1805"),
        *inside,
        (1, "BOOK TWO: 1806"),
        *inside,
        (1, "FIRST EPILOGUE: 1813"),
        *inside,
    ]


def test_volumes_books_and_chapters_are_three_levels() -> None:
    """Each kind stands inside the one before it."""
    text = f"VOLUME I\n\nBOOK FIRST.—A MAN\n\n{chapters('CHAPTER I', 'CHAPTER II')}VOLUME II\n\n{chapters('CHAPTER I')}"
    assert [level for level, _ in outline(text)] == [1, 2, 3, 3, 1, 2]


def test_scenes_stand_inside_acts() -> None:
    """A play has acts of level 1 and scenes of level 2, even where nothing stands between their headings."""
    scenes = chapters("SCENE I. A hall.", "SCENE II. A street.", characters=600)
    assert outline(f"ACT I\n{scenes}ACT II\n\n{scenes}") == [
        (1, "ACT I"),
        (2, "SCENE I. A hall"),
        (2, "SCENE II. A street"),
        (1, "ACT II"),
        (2, "SCENE I. A hall"),
        (2, "SCENE II. A street"),
    ]


def test_dashed_numbers_hold_bracketed_ones() -> None:
    """Bare numbers of two kinds nest in the order in which they appear."""
    text = f"— I —\n\n{chapters('[ 1 ]', '[ 2 ]')}— II —\n\n{chapters('[ 3 ]')}— III —\n\n{chapters('[ 4 ]', '[ 5 ]')}"
    assert [level for level, _ in outline(text)] == [1, 2, 2, 1, 2, 1, 2, 2]


def test_an_epilogue_after_parts_is_no_chapter() -> None:
    """What follows the last part stands beside the parts; a prologue inside a part beside its chapters."""
    text = f"PART ONE\n\nPROLOGUE\n\n{prose()}{chapters('Chapter 1')}PART TWO\n\n{chapters('Chapter 2', 'EPILOGUE')}"
    assert outline(text) == [
        (1, "PART ONE"),
        (2, "PROLOGUE"),
        (2, "Chapter 1"),
        (1, "PART TWO"),
        (2, "Chapter 2"),
        (1, "EPILOGUE"),
    ]


def test_an_interlude_interrupts_a_part() -> None:
    """The chapters after an interlude still stand in the part that it is in."""
    text = f"PART ONE\n\n{chapters('Chapter 1', 'INTERLUDE', 'Chapter 2')}PART TWO\n\n{chapters('Chapter 3')}"
    assert [level for level, _ in outline(text)] == [1, 2, 2, 2, 1, 2]


def test_an_interlude_between_chapters_stands_beside_them() -> None:
    """In a book without parts everything is of level 1."""
    assert [level for level, _ in outline(chapters("Chapter 1", "INTERLUDE", "Chapter 2"))] == [1, 1, 1]


def test_an_epilogue_holds_chapters_that_count_anew() -> None:
    """Chapters that begin again after the heading Epilogue are its own."""
    assert [level for level, _ in outline(chapters("CHAPTER I", "CHAPTER II", "EPILOGUE", "CHAPTER I"))] == [1, 1, 1, 2]


def test_a_preface_does_not_hold_the_chapters() -> None:
    """Chapters after a preface stand beside it."""
    assert outline(chapters("PREFACE", "CHAPTER I", "CHAPTER II")) == [
        (1, "PREFACE"),
        (1, "CHAPTER I"),
        (1, "CHAPTER II"),
    ]


def test_a_title_on_the_next_lines_is_joined() -> None:
    """A title in the heading's own paragraph, over one line or two, belongs to the heading."""
    text = chapters("CHAPTER I\nTHE LAMP", "CHAPTER II.\nIN WHICH THE OIL IS\nMEASURED AGAIN")
    assert titles(text) == ["CHAPTER I. THE LAMP", "CHAPTER II. IN WHICH THE OIL IS MEASURED AGAIN"]


def test_a_title_in_the_next_paragraph_is_joined_when_most_chapters_have_one() -> None:
    """What is a title below most headings is one."""
    assert titles(chapters("CHAPTER I\n\nThe Lamp", "CHAPTER II\n\nThe Oil")) == [
        "CHAPTER I. The Lamp",
        "CHAPTER II. The Oil",
    ]


def test_one_short_first_paragraph_is_no_title() -> None:
    """A single title-like paragraph among many chapters is text."""
    text = chapters("CHAPTER I", "CHAPTER II", "CHAPTER III\n\nTHE HARBOUR AT NIGHT", "CHAPTER IV")
    assert titles(text) == ["CHAPTER I", "CHAPTER II", "CHAPTER III", "CHAPTER IV"]


def test_text_on_the_headings_line_is_no_title() -> None:
    """Where the chapter's text follows in the same paragraph, the label alone is the title."""
    text = "".join(f"CHAPTER {number}. {prose()}" for number in ROMANS)
    assert titles(text) == [f"CHAPTER {number}" for number in ROMANS]


def test_run_in_labels_inside_set_apart_chapters_are_text() -> None:
    """A treatise inside a chapter may count its own books and chapters."""
    inner = f"BOOK I. (Lamps), CHAPTER I. {prose(500)}BOOK II. (Oil), CHAPTER II. {prose(500)}"
    text = chapters("CHAPTER 1. The Tower", "CHAPTER 2. The Study") + inner + chapters("CHAPTER 3. The Storm")
    assert outline(text) == [(1, f"CHAPTER {title}") for title in ("1. The Tower", "2. The Study", "3. The Storm")]


def test_what_precedes_the_first_heading_is_front_matter() -> None:
    """Text before the first heading is a section of level 0."""
    text = f"THE KEEPER\n\nby Ada Example\n\n{chapters('CHAPTER I', 'CHAPTER II')}"
    assert outline(text) == [(0, FRONT_MATTER), (1, "CHAPTER I"), (1, "CHAPTER II")]


@pytest.mark.parametrize("between", ["\n", "\n\n", "    9\n\n", "\n\nA synopsis of the chapter, in a line or two.\n\n"])
def test_a_table_of_contents_is_front_matter(between: str) -> None:
    """Headings without text between them, which come again later, are no chapters."""
    headings = [f"CHAPTER {number}" for number in ROMANS]
    text = f"THE KEEPER\n\nCONTENTS\n\n{between.join(headings)}\n\n\n{chapters(*headings)}"
    assert outline(text) == [(0, FRONT_MATTER), *((1, heading) for heading in headings)]


def test_a_table_of_contents_needs_no_name() -> None:
    """Without the word Contents it is known by its headings' coming again."""
    headings = ["PREFACE", *(f"CHAPTER {number}" for number in ROMANS), "EPILOGUE"]
    listing = "\n\n".join(headings)
    assert titles(f"THE KEEPER\n\n{listing}\n\n\n{chapters(*headings)}") == [FRONT_MATTER, *headings]


def test_a_table_of_contents_with_books_is_front_matter() -> None:
    """Chapters that are numbered anew in each book are still told from their listing."""
    inside = ["CHAPTER I", "CHAPTER II", "CHAPTER III"]
    listing = "\n\n".join(["BOOK ONE", *inside, "BOOK TWO", *inside])
    body = f"BOOK ONE\n\n{chapters(*inside)}BOOK TWO\n\n{chapters(*inside)}"
    assert titles(f"CONTENTS\n\n{listing}\n\n\n{body}") == [FRONT_MATTER, "BOOK ONE", *inside, "BOOK TWO", *inside]


def test_a_table_of_contents_with_unnumbered_headings_is_front_matter() -> None:
    """Etymology, extracts and an epilogue are listed and come again like the chapters."""
    headings = ["ETYMOLOGY.", "EXTRACTS. (Supplied by a friend).", "CHAPTER 1. Oil.", "CHAPTER 2. Lamps.", "Epilogue"]
    listing = "\n\n".join(headings)
    text = f"THE KEEPER\n\nCONTENTS\n\n{listing}\n\nNotes on the text\n\n{chapters(*headings)}"
    found = [heading.rstrip(".") for heading in headings]
    assert titles(text) == [FRONT_MATTER, *found]


def test_a_table_of_contents_of_bare_numbers_is_front_matter() -> None:
    """Parts and episodes that have nothing but numbers are told from their listing."""
    listing = "— I —\n\n[ 1 ]\n[ 2 ]\n\n— II —\n\n[ 3 ]\n\n— III —\n\n[ 4 ]\n[ 5 ]"
    body = f"— I —\n\n{chapters('[ 1 ]', '[ 2 ]')}— II —\n\n{chapters('[ 3 ]')}— III —\n\n{chapters('[ 4 ]', '[ 5 ]')}"
    assert [level for level, _ in outline(f"THE KEEPER\n\nContents\n\n{listing}\n\n\n{body}")] == [
        0,
        1,
        2,
        2,
        1,
        2,
        1,
        2,
        2,
    ]


def test_fifty_thousand_headings_are_no_trap() -> None:
    """A text of nothing but headings takes linear time."""
    text = "CHAPTER I\n\nCHAPTER II\n\nCHAPTER III\n\n" * 17_000
    assert find_sections(text)[-1].end == len(text)


def test_short_chapters_are_no_table_of_contents() -> None:
    """Chapters of a few lines stay chapters, because their numbers do not come again."""
    headings = [f"CHAPTER {number}" for number in ROMANS]
    assert titles(chapters(*headings, characters=400)) == headings


def test_page_numbers_are_no_chapters() -> None:
    """Numbers alone on a line in the middle of sentences count pages."""
    page = prose(2000).rstrip(".\n")
    text = "".join(f"{page} and so\n\n{number}\n\n" for number in range(1, 40))
    assert all(title.startswith("Part ") for title in titles(text))


def test_a_numbered_list_is_no_chapters() -> None:
    """Numbers with little text between them count the points of a list."""
    text = prose(9000) + "".join(f"{number}. The Lamp\n\nIt is lit.\n\n" for number in range(1, 9)) + prose(9000)
    assert outline(text) == [(0, "")]


def test_bare_numbers_out_of_sequence_are_text() -> None:
    """A stray numeral between the chapters is no heading."""
    text = chapters("I", "II", "XL", "III", "I", "IV")
    assert titles(text) == ["I", "II", "III", "IV"]


def test_a_sentence_about_a_part_is_text() -> None:
    """A paragraph that begins with a heading's word and number is text when nothing else counts so."""
    text = chapters("Chapter 1", "Part Two\nshe liked best, and read again", "Chapter 2")
    assert titles(text) == ["Chapter 1", "Chapter 2"]


def test_stories_under_titles_in_capitals_are_sections() -> None:
    """A collection without numbers is cut at its stories' titles."""
    stories = ["THE LAMP", "A SHIP", "EVENING"]
    assert outline("\n\n\n".join(f"{story}\n\n{prose(5000).rstrip()}" for story in stories)) == [
        (1, story) for story in stories
    ]


def test_text_without_headings_is_cut_into_even_parts() -> None:
    """A long text without chapters gets numbered parts of level 0."""
    assert outline(prose(60_000)) == [(0, f"Part {number} of 3") for number in (1, 2, 3)]


def test_five_megabytes_in_one_line_are_no_trap() -> None:
    """A text without line ends is cut all the same."""
    assert len(find_sections("word " * (1 << 20))) > 200


@given(
    st.lists(
        st.sampled_from(
            [
                "CHAPTER I",
                "CHAPTER II",
                "BOOK ONE",
                "CONTENTS",
                "I",
                "II",
                "III",
                "[ 1 ]",
                "PREFACE",
                "",
                "Text.",
                "SHIPS",
            ]
        )
    )
)
def test_sections_tile_any_text(lines: list[str]) -> None:
    """Sections follow each other from the first character to the last, none of them empty in a text that is not."""
    text = "\n".join(lines)
    sections = find_sections(text)
    assert "".join(text[section.start : section.end] for section in sections) == text
    assert [section.start for section in sections[1:]] == [section.end for section in sections[:-1]]
    assert not text or all(section.start < section.end for section in sections)

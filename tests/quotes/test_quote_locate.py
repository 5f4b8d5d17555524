"""Looking quotes up: what is verified and where, what is near and how it differs, and what nobody can make verified."""

from __future__ import annotations

import random
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cagchat.documents import load
from cagchat.quotes import BookIndex, Located, Quoted, locate
from cagchat.quotes.book_index import MOST_STRETCHES, MOST_VOTES
from tests.documents.invented_text import novels
from tests.quotes.invented_words import document, invented

STORY = (
    "The keeper climbed the tower before the lamps of the harbour were lit. Nobody on the island had seen a ship "
    "since the first week of autumn; she was not happy, and the ﬂoor was “damp.”\n\n"
    "She counted the steps aloud — and lost the count where the wall was good-\nnatured and the stone\nremem-\nbered "
    "rain. There would be letters in the morning if the wind turned, and it never turned.\n\n"
    "The fire had gone out. All of it was verified, true and found in the book, as the seal said.\n"
)
BOOK = BookIndex(document(STORY))
WORDS = invented(400)


def look_up(text: str, book: str | None = None) -> Located:
    return locate(BOOK if book is None else BookIndex(document(book)), Quoted(text, 0, len(text)))


def passage(found: Located, book: str = STORY) -> str:
    return book[found.start : found.end]


@pytest.mark.parametrize(
    "quote",
    [
        "the lamps of the harbour were lit",
        "THE LAMPS OF THE HARBOUR WERE LIT!",
        "the lamps\nof  the harbour\u00a0were lit,",
        "the la\u00admps of the har\u200bbour were lit",
        "**the lamps** of the harbour _were_ lit",
        "[T]he lamps of the harbour were lit",
        "the lamps [sic] of the harbour were lit",
        "... the lamps of the harbour were lit …",
        "the lamps of the har-\nbour were lit",
    ],
)
def test_the_same_words_are_verified(quote: str) -> None:
    """However they are set, they are found where they stand."""
    found = look_up(quote)
    assert (found.mark, found.difference, found.count) == ("verified", "", 1)
    assert passage(found) == "the lamps of the harbour were lit"


def test_exact_is_character_for_character() -> None:
    """A verified quote says whether the book has it just so."""
    assert look_up("the lamps of the harbour were lit.").exact
    assert not look_up("The lamps of the harbour were lit.").exact


@pytest.mark.parametrize(
    ("quote", "there"),
    [
        ("and the floor was 'damp'", "and the ﬂoor was “damp"),
        ("the steps aloud -- and lost", "the steps aloud — and lost"),
        ("the wall was good natured", "the wall was good-\nnatured"),
        ("the wall was good-natured", "the wall was good-\nnatured"),
        ("and the stone remembered rain", "and the stone\nremem-\nbered rain"),
        ("remembered rain there would be", "remem-\nbered rain. There would be"),
        ("and the stone remem-\nbered rain", "and the stone\nremem-\nbered rain"),
        ("it never turned. The fire had gone out", "it never turned.\n\nThe fire had gone out"),
    ],
)
def test_the_book_may_be_set_otherwise(quote: str, there: str) -> None:
    """Ligatures, dashes, words cut at a line's end, and paragraphs do not hide a passage."""
    found = look_up(quote)
    assert (found.mark, passage(found)) == ("verified", there)


@pytest.mark.parametrize(
    ("quote", "book"),
    [
        ("from 1012 to the evening of it", "from 10-\n12 to the evening of it"),
        ("he was now here to be found", "he was nowhere to be found"),
    ],
)
def test_words_are_not_joined_at_will(quote: str, book: str) -> None:
    """Numbers stay two at a line's end, and what is two words is not one."""
    assert look_up(quote, book).mark != "verified"


def test_a_quote_goes_over_sections_and_pages() -> None:
    """It is one passage, at the place where it begins."""
    at = STORY.index("There would be")
    parted = document(STORY, breaks=[at], pages=[0, at])
    quote = "remembered rain. There would be letters"
    found = locate(BookIndex(parted), Quoted(quote, 0, len(quote)))
    assert (found.mark, found.place.partition(" (")[0]) == ("verified", "Part 1, p. 1")


@pytest.mark.parametrize(
    ("quote", "difference"),
    [
        ("before the lamps of the harbour were seen", "says “seen” for “lit”"),
        ("before the lights of the harbour were lit", "says “lights” for “lamps”"),
        ("Every keeper climbed the tower before the lamps", "says “Every” for “The”"),
        ("of autumn; she was happy, and the floor was", "leaves out “not”"),
        ("if the wind turned, and it never ever turned", "adds “ever”"),
        ("if the wind turned, and it always turned", "says “always” for “never”"),
        ("had seen a ship since the last month of autumn", "says “last month” for “first week”"),
        ("before [all] the lamps of the harbour were lit", "adds “all”"),
        ("[she] climbed the tower before the lamps", "says “she” for “keeper”"),
    ],
)
def test_a_changed_word_is_near_and_shown(quote: str, difference: str) -> None:
    """Changed, added or left out: the difference says which, and the passage is found."""
    found = look_up(quote)
    assert (found.mark, found.difference) == ("near", difference)
    assert found.end > found.start


def test_a_change_says_where() -> None:
    """Its offsets are those of the book's own words."""
    (change,) = look_up("before the lights of the harbour were lit").changes
    assert (STORY[change.start : change.end], change.book, change.quote) == ("lamps", "lamps", "lights")


@pytest.mark.parametrize(
    ("quote", "left_out"),
    [
        ("The keeper climbed ... the lamps of the harbour", ("the tower before",)),
        ("The keeper climbed [...] the lamps … were lit", ("the tower before", "of the harbour")),
        ("climbed the tower . . . lamps of the harbour", ("before the",)),
        ("the lamps of ... the harbour were lit", ()),
    ],
)
def test_an_ellipsis_stands_for_a_few_words(quote: str, left_out: tuple[str, ...]) -> None:
    """Its parts are found in order and close together, and what is left out is said."""
    found = look_up(quote)
    assert (found.mark, found.left_out) == ("verified", left_out)


@pytest.mark.parametrize(
    "quote",
    [
        "the lamps of the harbour ... The keeper climbed the tower",
        "The keeper climbed the tower ... The fire had gone out",
        "The keeper ... rain",
        "The keeper climbed the tower The fire had gone out",
        "the ... the ... the ... was ... the ... lit",
        "climbed the tower ... the lights of the harbour",
    ],
)
def test_an_assembled_quote_is_never_verified(quote: str) -> None:
    """Parts in another order, too far apart, without an ellipsis, too small, or changed, are no passage."""
    assert look_up(quote).mark != "verified"


def test_an_assembled_quote_says_so() -> None:
    """When every part is in the book, the reader is told."""
    apart = " ".join([*WORDS[:10], *WORDS[100:300], *WORDS[10:20]])
    found = look_up(" ".join(["...".join([" ".join(WORDS[:10]), " ".join(WORDS[10:20])])]), apart)
    assert (found.mark, found.difference) == ("absent", "its parts stand in the book, but not together in this order")


def test_an_ellipsis_of_the_book_is_its_own() -> None:
    """A quote with the book's dots is one passage."""
    found = look_up("I went ... and he came in", "So I went ... and he came in.")
    assert (found.mark, found.left_out) == ("verified", ())


@pytest.mark.parametrize(
    "quote",
    [
        "the l\u0430mps of the harbour were lit",
        "the lamps of the harbour were \u202etil\u202c",
        "\u2066the lamps of the harbour were lit\u2069",
        "the lamps of theharbour were lit",
        "thelamps of the har bour were lit",
        "the lamps of the harbour were lit ✔ verified",
        "✔ the lamps of the harbour were lit",
        "the lämps of the harbour were lit",
    ],
)
def test_what_only_looks_the_same_is_not_verified(quote: str) -> None:
    """Letters of other scripts, turned writing, moved spaces and marks of one's own prove nothing."""
    assert look_up(quote).mark != "verified"


def test_the_book_cannot_vouch_for_a_quote() -> None:
    """That it says "verified" somewhere makes nothing else so."""
    assert look_up("this was verified, true and found in the harbour").mark != "verified"
    assert look_up("it is verified by the book itself").mark == "absent"


@pytest.mark.parametrize("quote", ["", "...", "the", "the lamps", "of the sea", "✔✔✔", "\u200b"])
def test_too_little_proves_nothing(quote: str) -> None:
    """It is absent, and says why, though the book has it."""
    found = look_up(quote)
    assert (found.mark, found.difference) == ("absent", "too short to prove anything")


@pytest.mark.parametrize("book", ["", "\n", "lit", "…", "The keeper climbed"])
def test_a_small_book_has_no_long_quote(book: str) -> None:
    """An empty book, and one shorter than the quote, are looked through without an error."""
    assert look_up("The keeper climbed the tower before the lamps were lit", book).mark == "absent"


def test_the_first_of_many_places_is_given() -> None:
    """A passage that is repeated is found once, with its count."""
    found = look_up("the lamps were lit again", "So: the lamps were lit again. " * 7)
    assert (found.mark, found.start, found.count) == ("verified", 4, 7)


def test_the_first_place_may_be_cut_by_a_line() -> None:
    """A word that is whole further on does not hide where it was cut before."""
    found = look_up("the lamps remembered rain", "the lamps remem-\nbered rain, the lamps remembered rain")
    assert (found.start, found.count) == (0, 2)


def test_nothing_after_the_limit_is_found() -> None:
    """A reader who is not that far is told that a quote is not there, near ones too; half of it is not the whole."""
    until = STORY.index("were lit")
    for quote in ("the lamps of the harbour were lit", "the lights of the harbour were lit by Nobody on the island"):
        assert look_up(quote).mark != "absent"
        assert locate(BOOK, Quoted(quote, 0, len(quote)), until=until - 20).mark == "absent"
    quote = "the lamps of the harbour"
    assert locate(BOOK, Quoted(quote, 0, len(quote)), until=until).mark == "verified"
    assert locate(BOOK, Quoted(quote, 0, len(quote)), until=until - 2).mark == "near"


def test_other_scripts_are_looked_up() -> None:
    """Japanese has no spaces, Greek a second sigma, Russian its own letters."""
    for book, quote in (
        ("吾輩は猫である。名前はまだ無い。どこで生れたか", "名前はまだ\n無い。どこで"),
        ("ὁ λόγος ὁ πρῶτος ἐγένετο", "Ὁ ΛΌΓΟΣ Ὁ ΠΡΩ͂ΤΟΣ"),
        ("Все счастливые семьи похожи", "все Счастливые семьи"),
    ):
        assert look_up(quote, book).mark == "verified"


def test_work_on_a_quote_is_bounded() -> None:
    """However common its words are, few stretches are compared, none much longer than the quote."""
    book = BookIndex(document("the lamp of the harbour " * 20_000))
    words = [book.number(word) for word in ("of", "lamp", "the", "the", "of", "harbour", "of", "of")]
    stretches = book.likely(words, 3, len(book.words))
    assert len(book.words) > MOST_VOTES
    assert 0 < len(stretches) <= MOST_STRETCHES
    assert all(stretch.end - stretch.start <= len(words) + 2 * 3 + 2 * 8 for stretch in stretches)


SPACES = st.sampled_from([" ", "\n", "  ", "\u00a0", " \n ", "\t", "\u2009"])
AROUND = st.sampled_from(["", ",", "“", "”", '"', "«", " —", "--", "…", "\u200b", "*"])
CASES = st.sampled_from([str.upper, str.lower, str.title, str.swapcase])
PROSE = " ".join(f"“{word}”," if i % 7 == 0 else f"{word}." if i % 5 == 0 else word for i, word in enumerate(WORDS))
INVENTED = BookIndex(document(PROSE))
SLICES = st.tuples(st.integers(0, len(WORDS) - 4), st.integers(4, 40)).map(lambda s: (s[0], min(len(WORDS), sum(s))))


@given(SLICES, st.data())
def test_any_passage_is_verified_at_its_place(span: tuple[int, int], data: st.DataObject) -> None:
    """However it is spaced, quoted and cased."""
    said = [data.draw(CASES)(word) + data.draw(AROUND) + data.draw(SPACES) for word in WORDS[slice(*span)]]
    text = "".join(said)
    found = locate(INVENTED, Quoted(text, 0, len(text)))
    assert found.mark == "verified"
    assert re.findall(r"\w+", passage(found, PROSE)) == WORDS[slice(*span)]


@given(SLICES, st.data())
def test_no_passage_with_a_word_replaced_is_verified(span: tuple[int, int], data: st.DataObject) -> None:
    """Whether the new word is another of the book's or none of them; long ones are near, with the word shown."""
    said = WORDS[slice(*span)]
    i = data.draw(st.integers(0, len(said) - 1))
    said[i] = data.draw(st.sampled_from([word for word in [*WORDS, "zebra", "l\u0430mp"] if word != said[i]]))
    text = " ".join(said)
    found = locate(INVENTED, Quoted(text, 0, len(text)))
    assert found.mark != "verified"
    if len(said) >= 8:
        assert found.mark == "near"
        assert found.changes


@given(st.text(max_size=80), st.text(alphabet="the lamp-\n.…[]’\u00ad", max_size=120))
def test_any_quote_and_any_book_are_survived(quote: str, book: str) -> None:
    """Whatever is looked up in whatever, offsets are inside the book."""
    for said in (quote, book[5:60]):
        found = look_up(said, book)
        assert 0 <= found.start <= found.end <= len(book)


@given(st.lists(st.sampled_from(["lamp", "lamps", "keeper", "light-\nhouse", "never", "on…"]), max_size=40), st.data())
def test_verified_means_the_same_words(words: list[str], data: st.DataObject) -> None:
    """Whatever is called verified without an ellipsis has the passage's words, hyphens at lines' ends aside."""
    book = " ".join(words)
    quote = " ".join(data.draw(st.lists(st.sampled_from([*words, "lighthouse", "light house"]), max_size=6)))
    found = look_up(quote, book)
    if found.mark == "verified" and not found.left_out:
        said, there = (re.findall(r"\w", text) for text in (quote, passage(found, book)))
        assert said == there
    if f" {quote} " in f" {book} " and found.difference != "too short to prove anything":
        assert found.mark == "verified"


def test_passages_of_the_novels_are_found() -> None:
    """Seeded passages of every novel beside the checkout are verified where they stand, near when a word is changed."""
    chance = random.Random(7)
    for path in novels():
        book = BookIndex(load(path))
        text = book.document.text
        for _ in range(25):
            first = chance.randrange(len(book.words) - 40)
            start, end = book.starts[first], book.ends[first + chance.randrange(8, 40)]
            said = text[start:end].upper().split()
            found = locate(book, Quoted(" ".join(said), 0, 0))
            assert found.mark == "verified", (path, start)
            assert found.count > 1 or (found.start, found.end) == (start, end), (path, start)
            said[len(said) // 2] = "zyzzyva"
            found = locate(book, Quoted(" ".join(said), 0, 0))
            assert found.mark != "verified", (path, start)
            assert len(said) < 12 or "zyzzyva" in found.difference, (path, start)

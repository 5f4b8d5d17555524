"""The full-text index: what it finds, what it keeps, and what becomes of a damaged file."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import cagchat.passages.index as module
from cagchat.documents import Document, Section
from cagchat.passages.index import PassageIndex, open_index, sealed, unsealed
from cagchat.passages.languages import language_of
from cagchat.passages.words import spaced
from tests.passages.invented_book import FACTS, book

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "passages"


def found_in(index: PassageIndex, word: str) -> set[int]:
    """Return the paragraphs whose text has a word."""
    (stems,) = index.stems([word])
    return {number for stem in stems for number, in_title, _ in index.instances(stem) if not in_title}


def test_words_are_found_where_they_stand() -> None:
    """Every instance of a word is in a paragraph that has it."""
    document = book()
    with open_index(document) as index:
        (number,) = found_in(index, "astrolabes") & found_in(index, "soldier")
        item = index.paragraphs[number]
        assert FACTS[2] in document.text[item.start : item.end]


def test_case_and_accents_do_not_matter() -> None:
    """A word is found however it is accented or capitalised."""
    document = book("Señor Dvořák whistled to Natásha in the empty greenhouse.")
    with open_index(document) as index:
        assert found_in(index, "DVORAK") == found_in(index, "natasha") != set()


def test_a_kept_index_is_used_again(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second opening reads the file and builds nothing."""
    open_index(book(), path).close()
    monkeypatch.delattr(module, "build")
    with open_index(book(), path) as index:
        assert found_in(index, "vermilion") != set()


def test_the_file_is_private(path: Path) -> None:
    """Only the owner can read what words a book has."""
    open_index(book(), path).close()
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(path.parent.iterdir()) == [path]


def test_the_file_holds_no_sentence(path: Path) -> None:
    """The index stores words and places, and no text."""
    open_index(book(), path).close()
    assert b"vermilion on a" not in path.read_bytes()


def test_another_text_is_indexed_anew(path: Path) -> None:
    """A file about another text is replaced."""
    open_index(book("Only this one has a zeppelin."), path).close()
    with open_index(book(), path) as index:
        assert found_in(index, "zeppelin") == set()
        assert found_in(index, "vermilion") != set()


@pytest.mark.parametrize("content", [b"", b"cagchat passages\n", b"x" * 5000, sealed(b""), sealed(b"no database" * 99)])
def test_a_file_that_is_no_index_is_replaced(path: Path, content: bytes) -> None:
    """Whatever stands there, the index is built and kept."""
    path.write_bytes(content)
    with open_index(book(), path) as index:
        assert found_in(index, "vermilion") != set()
    assert unsealed(path.read_bytes())


@given(st.integers(min_value=0), st.integers(1, 255))
def test_one_changed_byte_is_noticed(at: int, change: int) -> None:
    """No byte of a file can change without the file being refused."""
    file = bytearray(sealed(b"content of a database"))
    file[at % len(file)] ^= change
    assert unsealed(bytes(file)) is None


def test_a_folder_that_refuses_costs_nothing_but_a_notice(tmp_path: Path) -> None:
    """Where nothing can be written the index works from memory and says so."""
    with open_index(book(), tmp_path / "missing" / "passages") as index:
        assert found_in(index, "vermilion") != set()
        assert "not kept" in index.notice


def test_two_processes_build_at_once(path: Path) -> None:
    """Both get a working index, and the file that stays is whole."""
    code = (
        "import sys\nfrom pathlib import Path\nfrom cagchat.passages.index import open_index\n"
        "from tests.passages.invented_book import book\ndocument = book()\nprint('ready', flush=True)\n"
        f"sys.stdin.readline()\nprint(len(open_index(document, Path({str(path)!r})).vocabulary(1, 99)))"
    )
    command = [sys.executable, "-c", code]
    builders = [
        subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(2)
    ]
    for builder in builders:
        assert builder.stdout is not None
        assert builder.stdout.readline() == "ready\n"
    for builder in builders:
        assert builder.stdin is not None
        builder.stdin.write("\n")
        builder.stdin.flush()
    sizes = [builder.communicate()[0] for builder in builders]
    assert sizes[0] == sizes[1] != ""
    assert unsealed(path.read_bytes())
    assert list(path.parent.iterdir()) == [path]


def test_a_book_beyond_all_bounds_is_indexed_in_part(monkeypatch: pytest.MonkeyPatch) -> None:
    """What stands beyond the limit is not searched, and the notice says so."""
    monkeypatch.setattr(module, "MAX_CHARACTERS", 10_000)
    with open_index(book()) as index:
        assert index.paragraphs[-1].end <= 10_000
        assert "first 10,000" in index.notice


@given(st.lists(st.text(max_size=50), max_size=5))
def test_any_text_has_stems(texts: list[str]) -> None:
    """NUL characters, lone surrogates and FTS5's syntax in a text are words or nothing, and leave nothing behind."""
    with open_index(Document("Tiny", "a b", (Section("", 0, 3),), "text", language="en")) as index:
        assert len(index.stems([*texts, "\0", "\udc80", '"NEAR( OR *'])) == len(texts) + 3
        assert index.stems([]) == []


def test_chinese_is_found_by_its_words() -> None:
    """A word of two characters is found in a text without blanks."""
    text = "王先生在山上種了一棵蘋果樹。" * 3
    with open_index(Document("樹", text, (Section("", 0, len(text)),), "text")) as index:
        assert found_in(index, "蘋果") == {0}
        assert found_in(index, "香蕉") == set()


def test_runs_are_cut_into_pairs() -> None:
    """Latin words stay whole between pairs of characters."""
    assert spaced("看NBA比賽嗎").split() == ["看", "NBA", "比賽", "賽嗎"]


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("The keeper had not been seen by any of them since the first week of autumn.", "en"),
        ("Le gardien est monté dans la tour avec une lampe, et il n'a pas vu le bateau.", "fr"),
        ("Der Wärter ist auf den Turm gestiegen und hat das Schiff nicht gesehen.", "de"),
        ("Смотритель не видел корабля, и он не знал, что будет с ним.", "ru"),
        ("xyzzy plugh", ""),
    ],
)
def test_languages_are_told_by_their_grammar(text: str, language: str) -> None:
    """The words of grammar in a text say which language it is in; what has none has no language."""
    assert language_of("", text) == language


def test_a_declared_language_is_believed() -> None:
    """A region does not matter, and a code that is not of two letters is not believed."""
    assert language_of("en-GB", "") == "en"
    assert language_of("no", "") == "nb"
    assert language_of("english", "Der Turm und das Schiff und die Lampe.") == "de"


def test_the_notice_is_taken_once(tmp_path: Path) -> None:
    """Whoever shows the notice gets it once; it can still be looked at."""
    with open_index(book(), tmp_path / "missing" / "passages") as index:
        assert "not kept" in index.notice
        assert [index.take_notice(), index.take_notice()] == [index.notice, ""]


def test_the_notice_is_empty_when_all_is_well(path: Path) -> None:
    """A kept index of a whole book has nothing to say."""
    with open_index(replace(book(), title="Other"), path) as index:
        assert index.notice == ""

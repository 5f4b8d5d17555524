"""Thoughts and answers are told apart however the text arrives."""

from __future__ import annotations

from itertools import groupby

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from cagchat.thinking import CLOSE, OPEN, ThinkingSplitter

OPENED = f"<|im_start|>assistant\n{OPEN}\n"
CLOSED = f"<|im_start|>assistant\n{OPEN}\n\n{CLOSE}\n\n"


def split(fragments: list[str], before: str = "") -> list[tuple[bool, str]]:
    """Feed the fragments; return what came out with neighbours of the same kind joined."""
    splitter = ThinkingSplitter(before)
    out = [item for fragment in fragments for item in splitter.feed(fragment)]
    out.extend(splitter.finish())
    return [(thought, "".join(text for _, text in run)) for thought, run in groupby(out, key=lambda item: item[0])]


@pytest.mark.parametrize(
    ("before", "text", "parts"),
    [
        ("", "An answer.", [(False, "An answer.")]),
        ("", "<think>Hm.</think>An answer.", [(True, "Hm."), (False, "An answer.")]),
        ("", "\n<think>Hm.</think>", [(False, "\n"), (True, "Hm.")]),
        ("", "<think>Hm.", [(True, "Hm.")]),
        (OPENED, "Hm.</think>\n\nAn answer.", [(True, "Hm."), (False, "\n\nAn answer.")]),
        (OPENED, "Hm.", [(True, "Hm.")]),
        (CLOSED, "An answer.", [(False, "An answer.")]),
        (OPENED, "One <think> inside.</think>Yes.", [(True, "One <think> inside."), (False, "Yes.")]),
        ("", "The tag <think> is text, </think> too.", [(False, "The tag <think> is text, </think> too.")]),
        (OPENED, "a</think>b<think>c</think>d", [(True, "a"), (False, "b<think>c</think>d")]),
        (OPENED, "a</think>\n<think>c</think>d", [(True, "a"), (False, "\n"), (True, "c"), (False, "d")]),
        ("", "1 < 2 <thin", [(False, "1 < 2 <thin")]),
        (OPENED, "a</thi", [(True, "a</thi")]),
        ("", "", []),
    ],
)
def test_marks_divide(before: str, text: str, parts: list[tuple[bool, str]]) -> None:
    """A thought lies between its marks at the beginning; later marks are text."""
    assert split([text], before) == parts


@given(
    st.lists(st.sampled_from([OPEN, CLOSE, "<", "<thi", "nk>", "</", "think>", " ", "\n", "word", "é"]), max_size=12),
    st.sampled_from(["", OPENED, CLOSED]),
    st.data(),
)
def test_the_division_into_fragments_does_not_matter(words: list[str], before: str, data: st.DataObject) -> None:
    """A text cut into fragments anywhere gives the same thoughts and answers as the text in one piece."""
    text = "".join(words)
    cuts = sorted(data.draw(st.sets(st.integers(0, len(text)), max_size=len(text))))
    fragments = [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    assert split(fragments, before) == split([text], before)


@given(st.lists(st.sampled_from(["<", "<thi", "nk>", "</", "think", " ", "word"]), max_size=9), st.booleans())
def test_text_without_marks_comes_out_whole(words: list[str], inside: bool) -> None:
    """Where no mark stands, nothing is lost and nothing changes its kind."""
    text = "".join(words)
    assume(OPEN not in text and CLOSE not in text)
    assert split(words, OPENED if inside else "") == ([(inside, text)] if text else [])


def test_certain_text_is_not_held_back() -> None:
    """A fragment that cannot begin a mark comes out at once, so that an answer streams."""
    splitter = ThinkingSplitter("")
    assert list(splitter.feed("The ")) == [(False, "The ")]
    assert list(splitter.feed("ferry <")) == [(False, "ferry <")]


def test_the_beginning_of_a_mark_is_held_back() -> None:
    """As much as may become a mark waits for what follows."""
    splitter = ThinkingSplitter(OPENED)
    assert list(splitter.feed("Hm</th")) == [(True, "Hm")]
    assert list(splitter.feed("ink>Yes")) == [(False, "Yes")]

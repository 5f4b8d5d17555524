"""A limit in characters falls on a token: the last that ends at or before it, whatever tokens look like."""

from __future__ import annotations

from array import array

from hypothesis import given
from hypothesis import strategies as st

from cagchat.documents.document import Document, Section
from cagchat.engine.protocol import Tokens
from cagchat.engine.words import LlamaTokenizer
from cagchat.limits.tokens import token_at, whole_tokens
from tests.engine_cases import smollm2

TEXT = "Zoë wept: “naïve”, said 雪 — and 🏮🏮 went out.\n\nThe thaw came.\n"


def pieces_of(pieces: list[bytes]) -> tuple[array[int], dict[int, bytes]]:
    return array("i", range(len(pieces))), dict(enumerate(pieces))


@given(st.lists(st.binary(max_size=4), max_size=40), st.data())
def test_most_tokens_that_are_whole(pieces: list[bytes], data: st.DataObject) -> None:
    """As many tokens as spell a beginning of the text are taken, and no byte that the text does not begin with."""
    pieces = [piece.replace(b" ", b"_") for piece in pieces]  # a blank at the start is another test's
    tokens, spelled = pieces_of(pieces)
    text = b"".join(pieces)
    wanted = text[: data.draw(st.integers(0, len(text)))]
    count = whole_tokens(tokens, wanted, lambda some: b"".join(spelled[token] for token in some))
    taken = b"".join(pieces[:count])
    assert wanted.startswith(taken)
    rest = b"".join(pieces[count : count + 1])
    more = wanted.startswith(taken + rest) and count < len(pieces)
    assert not more or not wanted or wanted[len(taken + rest) : len(taken + rest) + 1] >= b"\x80"


@given(st.integers(0, len(TEXT)))
def test_no_character_beyond(offset: int) -> None:
    """With tokens of two bytes, what is taken is the text before the limit without a part of a character."""
    content = TEXT.encode()
    tokens, spelled = pieces_of([content[i : i + 2] for i in range(0, len(content), 2)])
    count = whole_tokens(tokens, TEXT[:offset].encode(), lambda some: b"".join(spelled[t] for t in some))
    taken = b"".join(spelled[t] for t in tokens[:count]).decode()
    assert TEXT[:offset].startswith(taken)
    assert offset - len(taken) <= 2


def test_blank_before_every_text() -> None:
    """A tokenizer that puts a blank before a text is seen through."""
    tokens, spelled = pieces_of([b" The", b" ferry", b" left"])
    count = whole_tokens(tokens, b"The ferry", lambda some: b"".join(spelled[t] for t in some))
    assert count == 2


def test_changed_text_is_cut_before_the_change() -> None:
    """Where a tokenizer changed the text, nothing from there on is taken."""
    tokens, spelled = pieces_of([b"The ", b"FERRY ", b"left"])
    assert whole_tokens(tokens, b"The ferry left", lambda some: b"".join(spelled[t] for t in some)) == 1


def test_every_offset_of_a_book_with_a_real_tokenizer() -> None:
    """With SmolLM2's tokens, every limit falls on the last token that ends at or before it, in its own section."""
    document = Document(
        "Snow", TEXT * 2, (Section("1", 0, 30), Section("2", 30, 30), Section("3", 30, 2 * len(TEXT))), ""
    )
    tokenizer = LlamaTokenizer(smollm2())
    parts = tokenizer.tokenize([document.text[s.start : s.end] for s in document.sections], special=False)
    tokens = array("i", [1, 2, 3]) + parts[0] + parts[1] + parts[2]
    ends = (3 + len(parts[0]), 3 + len(parts[0]), len(tokens))
    for offset in range(len(document.text) + 5):
        count = token_at(offset, document, tokens, 3, ends, tokenizer.text_of)
        known = tokenizer.text_of(tokens[3:count])
        wanted = document.text[:offset].encode()
        assert wanted.startswith(known)
        known.decode()
        following = known + tokenizer.text_of(tokens[count : count + 1])
        assert (
            count == len(tokens) or len(following) > len(wanted) or following.decode(errors="replace")[-1] == "\ufffd"
        )
    tokenizer.close()


def test_few_calls() -> None:
    """A section of 100,000 tokens takes some twenty calls, which together spell it about once."""
    tokens = array("i", list(b"x" * 100_000))
    calls: list[int] = []

    def text_of(some: Tokens) -> bytes:
        calls.append(len(some))
        return bytes(list(some))

    assert whole_tokens(tokens, b"x" * 77_777, text_of) == 77_777
    assert len(calls) < 25
    assert sum(calls) < 2 * len(tokens)


def test_truncated_book() -> None:
    """Beyond what was read of a book that was cut short, the limit is the end of what was read."""
    document = Document("Cut", "abcdef", (Section("1", 0, 3), Section("2", 3, 6)), "text")
    tokens = array("i", list(b"HHabcd.."))
    ends = (5, 6)
    found = [token_at(offset, document, tokens, 2, ends, lambda some: bytes(list(some))) for offset in range(7)]
    assert found == [2, 3, 4, 5, 6, 6, 6]

"""How much context a book gets, and what is said when it is too long."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from cagchat.bench.synth import NO_TEMPLATE, write_model
from cagchat.context import LEAST_CHAT_TOKENS, context_for
from cagchat.engine.backend import LlamaBackend
from cagchat.engine.fake import FakeScript
from cagchat.errors import BookTooLong
from cagchat.events import Notice, Restored
from cagchat.library import Options
from tests.reading_cases import SETTINGS, chapters, fake, library_of, locations, of_type, opened, opening, write_book


def length_of(book: Path, home: Path) -> int:
    """Return the length of a book for the fake, in tokens."""
    with opening(library_of(home), book) as ready:
        return ready.n_tokens


def test_book_too_long(home: Path, book: Path) -> None:
    """A book longer than the model's context is refused with its tokens, the context and what would hold it."""
    n_tokens = length_of(book, home / "large")
    library = library_of(home, fake(FakeScript(context_trained=1024)))
    with pytest.raises(BookTooLong) as caught:
        opened(library, book)
    for number in (n_tokens, 1024, LEAST_CHAT_TOKENS, n_tokens + LEAST_CHAT_TOKENS - 1024):
        assert f"{number:,}" in caught.value.message
    assert f"{n_tokens + LEAST_CHAT_TOKENS:,}" in caught.value.hint
    assert "--truncate" in caught.value.hint
    assert library.states.all() == []


@pytest.mark.parametrize("chat_tokens", [512, 4096])
def test_truncated_book_fits(chat_tokens: int, home: Path, book: Path) -> None:
    """With truncation the beginning is read and room for a chat stays, even if more was wanted than the model has."""
    library = library_of(home, fake(FakeScript(context_trained=1024)), replace(SETTINGS, chat_tokens=chat_tokens))
    ready, events = opened(library, book, Options(truncate=True))
    assert ready.n_tokens == 512
    assert ready.manifest.book.truncated
    left_out = length_of(book, home / "large") - 512
    assert any(f"{left_out:,} tokens" in notice.text for notice in of_type(events, Notice))
    again, events = opened(library, book, Options(truncate=True))
    assert of_type(events, Restored)
    assert again.n_tokens == 512


@pytest.mark.parametrize(
    ("n_tokens", "chat_tokens", "trained", "expected"),
    [(1000, 512, 0, 1536), (1024, 512, 0, 1536), (1025, 512, 0, 1792), (1000, 4096, 2048, 2048), (1, 256, 8192, 512)],
)
def test_context_for(n_tokens: int, chat_tokens: int, trained: int, expected: int) -> None:
    """The context holds book and chat, in steps, and never more than the model was trained for."""
    assert context_for(n_tokens, chat_tokens, trained) == expected


def test_least_room_decides(home: Path, book: Path) -> None:
    """A book fits as long as the least room for a chat is left, although the settings ask for more."""
    exact = length_of(book, home / "large") + LEAST_CHAT_TOKENS
    settings = replace(SETTINGS, chat_tokens=4096)
    ready, _ = opened(library_of(home, fake(FakeScript(context_trained=exact)), settings), book)
    assert ready.settings.n_context == exact
    with pytest.raises(BookTooLong, match="1 too many"):
        opened(library_of(home / "tighter", fake(FakeScript(context_trained=exact - 1)), settings), book)


def test_model_without_a_template(home: Path, tmp_path: Path, models: Path) -> None:
    """A model file without a chat template is used with ChatML, and that is said."""
    model = write_model(models / "bare.gguf", "qwen3", template=NO_TEMPLATE)
    backend = LlamaBackend(locations(home), fast_kernels="off")
    library = library_of(home, backend, replace(SETTINGS, model=str(model)))
    ready, events = opened(library, write_book(tmp_path, chapters(1, 1)))
    assert any("ChatML" in notice.text for notice in of_type(events, Notice))
    assert "<|im_start|>" in ready.manifest.frame.head
    ready.close()

"""Begin the answer of a small model with a sentence of the book, found with the help of what it would answer.

A model that is asked to quote needs to be large. A small one drafts an answer instead, which is forgotten; the sentence
that question and draft point to is put at the beginning of its answer, and it goes on from there.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from cagchat.engine.protocol import CHAT, Finish, Sampling
from cagchat.errors import EngineError
from cagchat.opened import OpenBook
from cagchat.wording import DRAFT_TOKENS, beginning


@dataclass(frozen=True, slots=True)
class Begun:
    """The words and tokens that an answer begins with, none where no sentence fits; and the seconds it took.

    `is_prompted` when the chat's sequence ends with the prompt already, and not where it stood before.
    """

    text: str = ""
    tokens: array[int] = field(default_factory=lambda: array("i"))
    elapsed_s: float = 0.0
    is_prompted: bool = False


def begin(
    book: OpenBook,
    question: str,
    prompt: array[int],
    sampling: Sampling,
    *,
    most_tokens: int,
    earlier: Sequence[str] = (),
    until: int | None = None,
    still_wanted: Callable[[], None] = lambda: None,
) -> Begun:
    """Return what the answer to `prompt` begins with.

    The chat's sequence, which must be marked, is left as it was, or with the prompt at its end where the engine can go
    back to there: then nothing of it need be evaluated again.

    `still_wanted` is called before the draft and after every token of it; what it raises ends the draft. No word at or
    beyond the character `until` of the book is quoted, nor anything that would take more than `most_tokens`.
    """
    from cagchat.passages.sentence import supporting  # sqlite3 and word lists: 30 ms

    start = book.engine.length(CHAT)
    draft, elapsed_s = _drafted(book, prompt, sampling, still_wanted)
    prompted = book.engine.rewind_to_prompt(CHAT, start + len(prompt))
    if not prompted and not book.engine.rewind(CHAT, start):
        raise EngineError(f"The draft of an answer could not be taken back to token {start:,}.", "Ask again.")
    found = supporting(book.passages, question, draft, earlier, until=until)
    text = beginning(found.text) if found else ""
    # Looked up as any other quote: what is not verified then is not put into the model's mouth.
    if not book.quotes.check(text, until=until).has_evidence:
        return Begun(elapsed_s=elapsed_s, is_prompted=prompted)
    (tokens,) = book.engine.tokenize([text], special=False)
    if len(tokens) > most_tokens:
        return Begun(elapsed_s=elapsed_s, is_prompted=prompted)
    return Begun(text, tokens, elapsed_s, prompted)


def _drafted(
    book: OpenBook, prompt: array[int], sampling: Sampling, still_wanted: Callable[[], None]
) -> tuple[str, float]:
    """Return the first words of the likeliest answer, and the seconds they took."""
    draft = b""
    likeliest = replace(sampling, temperature=0.0)
    still_wanted()  # so that the prompt is not read for nobody
    for item in book.engine.generate(CHAT, prompt, likeliest, max_tokens=DRAFT_TOKENS):
        still_wanted()
        if isinstance(item, Finish):
            return draft.decode(errors="replace"), item.first_token_s + item.decode_s
        draft += item.text
    raise EngineError("The draft of an answer had no end.", "Ask again.")

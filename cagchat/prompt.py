"""Frame a book and its questions as the model's own chat template would, in pieces that are only ever appended.

The template is rendered once, with marks where the book, the questions and an answer go, and cut at the marks. From
then on a chat is the cached prefix [head | book | opening], which ends exactly where the first question begins, and,
turn by turn, tokens appended to it: history is never rendered again, because templates change it (thinking is
stripped, last turns look different) and the cache would not match.
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import xxhash

from cagchat.engine.protocol import Tokenizer, VocabularyReader
from cagchat.errors import ModelError
from cagchat.template import Case, render, rendered

PROMPT_VERSION = 1  # part of every saved state's key: raise it when the words or the order of a frame change

# The words were chosen by trying them on the smallest model that users meet (SmolLM2-135M, the demo's questions); the
# reminder after each question is what keeps it to the text.
INSTRUCTIONS = (
    "Answer questions about the book from the book only. Quote the book where it helps. "
    "If the book does not say, answer that it is not in the book."
)
BEFORE_BOOK = "\n\nThe book:\n\n"
AFTER_BOOK = "\n"
REMINDER = "\n\nAnswer from the book."

# Renders a template (its text, bos, eos) for each case; None where that fails.
Renderer = Callable[[str, str, str, tuple[Case, ...]], Sequence[str | None]]

# Private-use characters: no template treats them specially, and none occurs in one.
_BOOK, _FIRST, _ANSWER, _NEXT = "\ue000book\ue000", "\ue000first\ue000", "\ue000answer\ue000", "\ue000next\ue000"

CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message.role + '\n' + message.content + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


@dataclass(frozen=True, slots=True)
class Frame:
    """The template's text around the book and the turns.

    The cached prefix is `head`, the book and `opening`. The first question follows it, every later one follows
    `next_opening`, and all are ended by `closing`, where the model starts to answer. `thinking_closing` is used instead
    when thinking is on; None when the template knows no such thing. `notice` says what was not as usual.
    """

    head: str
    opening: str
    closing: str
    next_opening: str
    thinking_closing: str | None
    notice: str = ""

    def as_dict(self) -> dict[str, str | None]:
        """Return the fields, for a manifest."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class FramedTokens:
    """The pieces around questions as token ids; what stands before the first one is cached with the book."""

    closing: array[int]
    next_opening: array[int]
    thinking_closing: array[int] | None

    def before(self, *, is_first: bool) -> array[int]:
        """Return what goes before a question: nothing when it directly follows the cached prefix."""
        return array("i") if is_first else self.next_opening

    def body(self, question: array[int], *, thinking: bool) -> array[int]:
        """Return a question's own tokens and what ends it, where the answer begins."""
        closing = self.thinking_closing if thinking and self.thinking_closing is not None else self.closing
        return question + closing


@dataclass(frozen=True, slots=True)
class Prefix:
    """What is cached: the token ids of head, book and opening, and where each section of the book ends in them.

    `left_out` counts the tokens at the book's end that were cut away.
    """

    tokens: array[int]
    n_head: int
    n_opening: int
    section_ends: tuple[int, ...]
    left_out: int = 0

    def cut(self, length: int) -> Prefix:
        """Return a prefix of `length` tokens: the book loses its end, head and opening stay."""
        book_end = min(length, len(self.tokens)) - self.n_opening
        opening = self.tokens[len(self.tokens) - self.n_opening :]
        ends = tuple(min(end, book_end) for end in self.section_ends)
        left_out = self.left_out + len(self.tokens) - self.n_opening - book_end
        return Prefix(self.tokens[:book_end] + opening, self.n_head, self.n_opening, ends, left_out)


def instructions_digest(instructions: str) -> str:
    """Return what a state's key records of the instructions; empty ones mean the built-in."""
    return str(xxhash.xxh3_128_hexdigest((instructions.strip() or INSTRUCTIONS).encode()))


def template_digest(template: str) -> str:
    """Return what a state's key records of a chat template."""
    return str(xxhash.xxh3_128_hexdigest(template.encode()))


def frame(template: str, *, bos: str, eos: str, add_bos: bool, instructions: str = "") -> Frame:
    """Render the chat template once and cut it at the book, the questions and an answer.

    An empty template means ChatML, and so does one that cannot be rendered; `Frame.notice` says so.
    """
    notice = ""
    if not template.strip():
        template, notice = CHATML, "The model file carries no chat template, so ChatML is used."
    pieces = _cut(template, bos, eos, instructions, rendered)
    if pieces is None:
        notice = "The model's chat template does not fit a chat about a book, so ChatML is used."
        pieces = _cut(CHATML, bos, eos, instructions, render)
    if pieces is None:
        raise ModelError("No chat template could be rendered.", "Choose another model with --model.")
    head, opening, closing, next_opening, thinking_closing = pieces
    if add_bos and bos and not head.startswith(bos):
        head = bos + head
    return Frame(head, opening, closing, next_opening, thinking_closing, notice)


def tokenize_frame(frame: Frame, tokenizer: Tokenizer) -> FramedTokens:
    """Turn the pieces that surround questions into token ids, control tokens included."""
    texts = [frame.closing, frame.next_opening]
    if frame.thinking_closing is not None:
        texts.append(frame.thinking_closing)
    closing, next_opening, *thinking = tokenizer.tokenize(texts, special=True)
    return FramedTokens(closing, next_opening, thinking[0] if thinking else None)


def tokenize_prefix(frame: Frame, sections: Sequence[str], tokenizer: Tokenizer) -> Prefix:
    """Turn head, book and opening into token ids; every section of the book ends between two tokens.

    The book is data: its sections are tokenised without control tokens.
    """
    head, opening = tokenizer.tokenize([frame.head, frame.opening], special=True)
    tokens = head[:]
    ends = []
    for ids in tokenizer.tokenize(sections, special=False):
        tokens.extend(ids)
        ends.append(len(tokens))
    return Prefix(tokens + opening, len(head), len(opening), tuple(ends))


def framed(
    sections: Sequence[str], template: str, tokenizer: VocabularyReader, instructions: str = ""
) -> tuple[Frame, Prefix]:
    """Frame a book with a model's chat template and tokenise it with the model's tokenizer."""
    words = tokenizer.vocabulary
    pieces = frame(template, bos=words.bos_text, eos=words.eos_text, add_bos=words.add_bos, instructions=instructions)
    return pieces, tokenize_prefix(pieces, sections, tokenizer)


def _cut(
    template: str, bos: str, eos: str, instructions: str, render: Renderer
) -> tuple[str, str, str, str, str | None] | None:
    """Return head, opening, closing, next opening and thinking closing; None when the template loses a mark."""
    instructions = instructions.strip() or INSTRUCTIONS
    # Some templates refuse a system message, some drop it without a word.
    cases = [
        (json.dumps(_messages(instructions, role)), thinking) for role in (True, False) for thinking in (False, True)
    ]
    texts = [_split(text) for text in render(template, bos, eos, tuple(cases))]
    for off, on in zip(texts[::2], texts[1::2], strict=True):
        if off is None or instructions not in off[0]:
            continue
        head, opening, _, next_opening, closing = off
        thinking_closing = on[4] if on is not None and on[4] != closing else None
        return head, opening, closing, next_opening, thinking_closing
    return None


def _messages(instructions: str, system_role: bool) -> list[dict[str, str]]:
    book = instructions + BEFORE_BOOK + _BOOK + AFTER_BOOK
    first = _FIRST + REMINDER
    turns = [{"role": "assistant", "content": _ANSWER}, {"role": "user", "content": _NEXT + REMINDER}]
    if system_role:
        return [{"role": "system", "content": book}, {"role": "user", "content": first}, *turns]
    return [{"role": "user", "content": f"{book}\n{first}"}, *turns]


def _split(text: str | None) -> tuple[str, str, str, str, str] | None:
    """Cut a rendered text at its four marks, each of which must stand there once and in order."""
    if text is None:
        return None
    pieces = []
    for mark in (_BOOK, _FIRST, _ANSWER, _NEXT):
        before, found, text = text.partition(mark)
        if not found or mark in text:
            return None
        pieces.append(before)
    head, opening, after_first, next_opening = pieces
    return head, opening, after_first, next_opening, text

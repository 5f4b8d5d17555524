"""Keep what a model thinks apart from what it answers, while both stream in."""

from __future__ import annotations

from collections.abc import Iterator

OPEN, CLOSE = "<think>", "</think>"


class ThinkingSplitter:
    """Splits streamed text at `<think>` and `</think>`; fragments come out as (is thought, text).

    A mark may arrive in pieces, so as much of the end as could be the beginning of one is held back.
    """

    def __init__(self, before: str) -> None:
        """Start as the prompt left off: inside a thought when `before`, what stands before the answer, opened one."""
        self._thinking = before.rfind(OPEN) > before.rfind(CLOSE)
        self._held = ""
        self._begun = False

    @property
    def is_thinking(self) -> bool:
        """Whether what comes next is thought."""
        return self._thinking

    def feed(self, text: str) -> Iterator[tuple[bool, str]]:
        """Take the next text and yield what is certain."""
        self._held += text
        while True:
            mark = CLOSE if self._thinking else OPEN
            at = self._held.find(mark)
            # A model thinks before it answers or not at all: a later <think> in an answer is text.
            if not self._thinking and (self._begun or self._held[: max(0, at)].strip()):
                yield from self._out(len(self._held))
                return
            if at < 0:
                yield from self._out(len(self._held) - _overlap(self._held, mark))
                return
            yield from self._out(at)
            self._held = self._held[len(mark) :]
            self._thinking = not self._thinking

    def finish(self) -> Iterator[tuple[bool, str]]:
        """Yield what was held back."""
        yield from self._out(len(self._held))

    def _out(self, length: int) -> Iterator[tuple[bool, str]]:
        text, self._held = self._held[:length], self._held[length:]
        if not self._thinking and text.strip():
            self._begun = True
        if text:
            yield self._thinking, text


def _overlap(text: str, mark: str) -> int:
    """Return how many characters at the end of `text` are the beginning of `mark`."""
    return next((n for n in range(min(len(mark) - 1, len(text)), 0, -1) if text.endswith(mark[:n])), 0)

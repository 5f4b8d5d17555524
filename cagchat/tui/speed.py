"""How fast an answer comes, while it comes."""

from __future__ import annotations

from collections.abc import Callable


class Speed:
    """Counts tokens from the first fragment on: what came before it is the wait, not the speed."""

    def __init__(self, timer: Callable[[], float]) -> None:
        self._timer = timer
        self._n_tokens = 0
        self._first_at: float | None = None

    def count(self, n_tokens: int) -> float:
        """Count a fragment's tokens and return the tokens a second so far, 0 while that cannot be told."""
        now = self._timer()
        if self._first_at is None:
            self._first_at = now
        else:
            self._n_tokens += n_tokens
        elapsed = now - self._first_at
        return self._n_tokens / elapsed if elapsed > 0 else 0.0

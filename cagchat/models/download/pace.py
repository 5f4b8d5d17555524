"""How fast a download is, over its last seconds, and how long the rest will take."""

from __future__ import annotations

from collections import deque

WINDOW_S = 10.0
LEAST_S = 0.5  # a speed over less time than this jumps about


class Pace:
    """Remembers how many bytes had come when; times are any clock's seconds."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int]] = deque()

    def note(self, now_s: float, done_bytes: int) -> None:
        """Remember that `done_bytes` had come at `now_s`, and forget what is older than the window."""
        self._seen.append((now_s, done_bytes))
        while len(self._seen) > 2 and self._seen[1][0] <= now_s - WINDOW_S:
            self._seen.popleft()

    def forget(self) -> None:
        """Begin anew, after a pause that says nothing about the connection."""
        self._seen.clear()

    @property
    def bytes_per_s(self) -> float | None:
        """The speed over the window, None until it can be known."""
        if not self._seen:
            return None
        (start_s, start_bytes), (end_s, end_bytes) = self._seen[0], self._seen[-1]
        if end_s - start_s < LEAST_S:
            return None
        return (end_bytes - start_bytes) / (end_s - start_s)

    def remaining_s(self, left_bytes: int | None) -> float | None:
        """Return how long the rest takes at this speed, None when that cannot be known."""
        speed = self.bytes_per_s
        return left_bytes / speed if speed and left_bytes is not None else None

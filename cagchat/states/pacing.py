"""When a running prefill may stop for a checkpoint, so that all of them together stay within a share of its time."""

from __future__ import annotations

FIRST_GUESS_BYTES_PER_S = 200e6  # a slow disk, until the first save has been measured


class CheckpointPacer:
    """Decides by measured cost: a checkpoint is due when it and its predecessors cost at most `share` of the reading.

    So the time between two is about cost / share (a save of 1 s every 33 s at 3 %), and it grows with the state.
    """

    def __init__(self, share: float) -> None:
        """Allow checkpoints `share` of the time spent reading; 0 switches them off."""
        self._share = share
        self._spent_s = 0.0
        self._bytes_per_s = FIRST_GUESS_BYTES_PER_S

    def due(self, reading_s: float, size_bytes: int) -> bool:
        """Tell whether a state of `size_bytes` may be saved after `reading_s` seconds of pure reading."""
        return self._spent_s + size_bytes / self._bytes_per_s <= self._share * reading_s

    def saved(self, size_bytes: int, elapsed_s: float) -> None:
        """Take note of what a checkpoint really cost."""
        self._spent_s += elapsed_s
        if elapsed_s > 0:
            self._bytes_per_s = size_bytes / elapsed_s


class SizeEstimate:
    """Predicts a state's size from two sizes seen: a fixed part and bytes a token."""

    def __init__(self) -> None:
        self._seen: list[tuple[int, int]] = []

    def observe(self, position: int, size_bytes: int) -> None:
        """Take note of the state's size at a position; the latest two count."""
        self._seen = [*(seen for seen in self._seen if seen[0] != position), (position, size_bytes)][-2:]

    def predict(self, position: int) -> int | None:
        """Return the expected size at a position, in bytes; None before two sizes were seen."""
        if len(self._seen) < 2:
            return None
        (p1, s1), (p2, s2) = self._seen
        return max(0, round(s2 + (s2 - s1) / (p2 - p1) * (position - p2)))

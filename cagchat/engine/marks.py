"""Snapshots to rewind to, for models whose cache cannot simply be cut, within a budget of memory."""

from __future__ import annotations


class Marks:
    """Holds snapshots by (sequence, length). When the budget is exceeded the oldest go, but never a sequence's newest.

    A fork shares its source's snapshots; shared ones are counted once.
    """

    def __init__(self, budget_bytes: int) -> None:
        self._budget = budget_bytes
        self._marks: dict[tuple[int, int], bytearray] = {}  # in the order they were taken

    def put(self, sequence: int, length: int, snapshot: bytearray) -> None:
        """Keep a snapshot of the sequence at this length."""
        self._marks.pop((sequence, length), None)
        self._marks[sequence, length] = snapshot
        self._evict()

    def get(self, sequence: int, length: int) -> bytearray | None:
        """Return the snapshot taken at this length, if it is still kept."""
        return self._marks.get((sequence, length))

    def copy(self, source: int, target: int) -> None:
        """Give `target` the snapshots of `source`."""
        for (sequence, length), snapshot in list(self._marks.items()):
            if sequence == source:
                self._marks[target, length] = snapshot

    def cut(self, sequence: int, length: int) -> None:
        """Forget the sequence's snapshots past `length` (all of them for 0)."""
        for key in [key for key in self._marks if key[0] == sequence and (key[1] > length or not length)]:
            del self._marks[key]

    @property
    def size_bytes(self) -> int:
        """The memory the snapshots take."""
        return sum(len(snapshot) for snapshot in {id(s): s for s in self._marks.values()}.values())

    def _evict(self) -> None:
        while self.size_bytes > self._budget:
            newest = {sequence: (sequence, length) for sequence, length in self._marks}
            oldest = next((key for key in self._marks if key != newest[key[0]]), None)
            if oldest is None:
                return
            del self._marks[oldest]

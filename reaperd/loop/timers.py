"""Deadlines as plain (when, what) pairs: one heap, no clock of its own.

A timer is named by `what`, any hashable value; arming the same one again moves it. Cancelled and moved
entries stay in the heap until they surface or outnumber the living ones, so both are O(log n).
"""

from collections.abc import Hashable
from heapq import heapify, heappop, heappush
from itertools import count
from typing import Generic, TypeVar

What = TypeVar("What", bound=Hashable)


class Timers(Generic[What]):
    """Deadlines in nanoseconds of CLOCK_MONOTONIC."""

    __slots__ = ("_armed", "_heap", "_order")

    def __init__(self) -> None:
        self._armed: dict[What, tuple[int, int]] = {}
        self._heap: list[tuple[int, int, What]] = []
        self._order = count()  # equal deadlines come due in the order they were armed

    def __len__(self) -> int:
        return len(self._armed)

    def arm(self, what: What, at_ns: int) -> None:
        """Let `what` come due at `at_ns`, in place of any earlier deadline of it."""
        entry = (at_ns, next(self._order))
        self._armed[what] = entry
        heappush(self._heap, (*entry, what))
        self._compact()

    def cancel(self, what: What) -> None:
        """Forget `what`; nothing happens where it was not armed."""
        self._armed.pop(what, None)

    def at_ns(self, what: What) -> int | None:
        """Return when `what` comes due, or None where it is not armed."""
        armed = self._armed.get(what)
        return None if armed is None else armed[0]

    def next_ns(self) -> int | None:
        """Return the earliest deadline, or None: then the poll needs no timeout."""
        while self._heap:
            at_ns, order, what = self._heap[0]
            if self._armed.get(what) == (at_ns, order):
                return at_ns
            heappop(self._heap)
        return None

    def due(self, now_ns: int) -> list[What]:
        """Take out and return all that is due at `now_ns`, earliest first."""
        ready: list[What] = []
        while (at_ns := self.next_ns()) is not None and at_ns <= now_ns:
            what = heappop(self._heap)[2]
            del self._armed[what]
            ready.append(what)
        return ready

    def _compact(self) -> None:
        if len(self._heap) > 64 and len(self._heap) > 2 * len(self._armed):
            self._heap = [(*entry, what) for what, entry in self._armed.items()]
            heapify(self._heap)

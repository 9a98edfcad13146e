"""Which name a process of a table bears: one that nobody else ever had, though pids and clocks come again.

A pid is used again, and a start time is as coarse as a tick of the clock: so those with the same of both are
counted. One that comes without a start time, since nobody has looked, is counted among all that came so.
"""

from typing import Final

from reaperd.model.snapshot import ProcessKey, Seen

_REMEMBERED: Final = 1024  # of those gone: more than can end within one tick of the clock


class Keys:
    """The names that one table has given."""

    __slots__ = ("_gone", "_unread")

    def __init__(self) -> None:
        self._unread = 0  # processes that came without a start time, so far
        self._gone: dict[tuple[int, int], int] = {}  # the latest freed, with how many bore that name before

    def of_new(self, seen: Seen) -> ProcessKey:
        """Return the name of one who comes: not that of one who is gone, though the clock is coarse."""
        if not seen.start_time:
            return self.unread(seen.pid)
        nth = self._gone.get((seen.pid, seen.start_time))
        return seen.key if nth is None else ProcessKey(seen.pid, seen.start_time, nth + 1)

    def unread(self, pid: int) -> ProcessKey:
        """Return the name of one who comes without a start time: nobody else ever bears it."""
        self._unread += 1
        return ProcessKey(pid, 0, self._unread - 1)

    def remember(self, key: ProcessKey) -> None:
        """Note that the bearer of a name is gone."""
        if not key.start_time:
            return
        gone = self._gone
        gone.pop((key.pid, key.start_time), None)  # to the end of the row
        gone[key.pid, key.start_time] = key.nth
        if len(gone) > _REMEMBERED:
            del gone[next(iter(gone))]

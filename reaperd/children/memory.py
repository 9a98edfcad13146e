"""Who was killed by the kernel for want of memory.

A wait status says SIGKILL and not from whom. Where the memory controller counts in the leaf of a run, that
count is the answer. Mostly it does not: a cgroup that holds the daemon cannot divide memory among those
below. Then the count of the daemon's own cgroup has to do, and says no more than that somebody there was
killed since the last look: it is asked only about a main process that died of a SIGKILL not sent by us.
"""

import os

from reaperd.kernel import cgroup


class MemoryWatch:
    """Remember how many the kernel had killed for memory in our own cgroup when we looked last."""

    __slots__ = ("_fd", "_seen")

    def __init__(self) -> None:
        self._fd = _open()
        self._seen = self._count()

    def has_killed(self) -> bool:
        """Tell whether somebody has been killed since the last call."""
        before, self._seen = self._seen, self._count()
        return self._seen > before

    def close(self) -> None:
        """Look no more."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def _count(self) -> int:
        return 0 if self._fd is None else cgroup.oom_kills_by(self._fd)


def _open() -> int | None:
    """Return a descriptor of our own count, in the hierarchy of either version that has the controller."""
    for controller in ("", "memory"):
        directory = cgroup.find_own(controller)
        fd = None if directory is None else cgroup.open_oom_kills(directory)
        if fd is not None:
            return fd
    return None

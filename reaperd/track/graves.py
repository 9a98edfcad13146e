"""Zombies that others have to reap: nothing tells of a reap but a pidfd, which then hangs up.

`epoll.register(pidfd, 0)` reports EPOLLHUP exactly when the zombie has been waited for, and nothing before:
since Linux 6.9. A pidfd means one process for ever, so that it also tells a zombie from another one that got
its pid and died within the same tick of the clock.
"""

import os
import select
from typing import Final

from reaperd.errors import KernelError
from reaperd.kernel import pidfd, procfs
from reaperd.model import ProcessKey

MOST: Final = 1024  # descriptors for zombies; more of them are left to the next look


class Graves:
    """Watch zombies until each has been reaped; close it."""

    __slots__ = ("_epoll", "_fds", "_keys", "unwatched")

    def __init__(self) -> None:
        """Begin with none."""
        self._epoll = select.epoll()
        self._fds: dict[int, int] = {}  # pid to pidfd
        self._keys: dict[int, ProcessKey] = {}  # pidfd to the zombie's name
        self.unwatched = 0  # zombies that no descriptor was left for, so far

    @property
    def fd(self) -> int:
        """Polls readable when a watched zombie has been reaped."""
        return self._epoll.fileno()

    def __len__(self) -> int:
        return len(self._fds)

    def watch(self, key: ProcessKey) -> bool:
        """Watch a zombie that was just seen; False where it has been reaped by now, so that it is gone."""
        if key.pid in self._fds:
            self.forget(key.pid)
        if len(self._fds) >= MOST:
            self.unwatched += 1
            return True
        try:
            fd = pidfd.open(key.pid)
        except KernelError:  # no descriptor left
            self.unwatched += 1
            return True
        if fd is None:
            return False
        stat = procfs.read_stat(key.pid)
        # Its pid may be another's already: that one has another start time, or lives.
        if stat is None or not stat.is_zombie or key.start_time not in (0, stat.start_time):
            os.close(fd)
            return False
        self._epoll.register(fd, 0)
        self._fds[key.pid] = fd
        self._keys[fd] = key
        return True

    def is_reaped(self, pid: int) -> bool | None:
        """Tell whether the watched zombie with this pid has been reaped; None where none is watched."""
        fd = self._fds.get(pid)
        if fd is None:
            return None
        try:
            return not pidfd.send(fd, 0)
        except KernelError:  # another user's: it is there
            return False

    def reaped(self) -> list[ProcessKey]:
        """Return and forget who was reaped since the last call."""
        gone = [self._keys[fd] for fd, _events in self._epoll.poll(0, MOST)]
        for key in gone:
            self.forget(key.pid)
        return gone

    def forget(self, pid: int) -> None:
        """Watch the zombie with this pid no longer, if it is watched."""
        fd = self._fds.pop(pid, None)
        if fd is not None:
            del self._keys[fd]
            # A child between fork and exec may hold a copy, and an epoll forgets a file with its last one.
            self._epoll.unregister(fd)
            os.close(fd)

    def close(self) -> None:
        """Close every descriptor."""
        for pid in tuple(self._fds):
            self.forget(pid)
        self._epoll.close()

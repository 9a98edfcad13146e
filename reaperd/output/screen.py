"""The daemon's own standard output and error, as a place for what services write.

They are shared: with services that inherited them, with whoever started the daemon. So their flags are left
alone, and they are written to only while they can take it, in whole lines of at most PIPE_BUF bytes, which a
pipe takes in one piece. A terminal polls writable as soon as it has room for one byte: it is opened anew, so
that O_NONBLOCK is our own. A file takes everything at once.

While they are slow whoever writes waits, as it would have without us. One that nobody reads any more stays
so: what it refuses is dropped.
"""

import errno
import os
import select
import stat
from typing import Final

from reaperd.output.outlet import Desk, Outlet
from reaperd.output.streams import Shape

_FOR_GOOD: Final = frozenset({errno.EPIPE, errno.EBADF, errno.EIO, errno.ECONNRESET, errno.ENXIO})
_BUFFER: Final = 1 << 20


class ScreenOutlet(Outlet):
    """Write to a descriptor that others write to as well, and that stays the caller's.

    Attributes:
        look: makes our own lines look like the others.
    """

    chunk = 1 << 16

    def __init__(self, name: str, fd: int, desk: Desk) -> None:
        super().__init__(name, desk, _BUFFER)
        self.fd = _reopened(fd) if os.isatty(fd) else fd
        self._given = fd
        self.look: Shape | None = None
        self._is_file = stat.S_ISREG(os.fstat(fd).st_mode)
        self._poll = select.poll()
        self._poll.register(self.fd, select.POLLOUT)

    def _write(self, data: memoryview) -> int:
        assert self.fd is not None, "it is open until it is closed"
        if self._is_file:
            return os.write(self.fd, data)
        if not self._poll.poll(0):
            raise BlockingIOError
        return os.write(self.fd, _lines_within(data, select.PIPE_BUF))

    def _marker(self, count: int, problem: str) -> bytes:
        plain = super()._marker(count, problem)
        return plain if self.look is None else b"".join(self.look(plain))

    def _lasts(self, error: OSError) -> bool:
        return error.errno in _FOR_GOOD

    def _release(self) -> None:
        if self.fd == self._given:
            self.fd = None
        super()._release()


def _lines_within(data: memoryview, most: int) -> memoryview:
    """Return as many whole lines as fit into `most` bytes, or as much as fits of a longer one."""
    if len(data) <= most:
        return data
    end = data[:most].tobytes().rfind(b"\n") + 1
    return data[: end or most]


def _reopened(terminal: int) -> int:
    try:
        return os.open(f"/proc/self/fd/{terminal}", os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:  # another user's: it is written to as long as it polls writable
        return terminal

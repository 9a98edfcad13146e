"""Where lines go, and what becomes of them while they cannot.

An outlet that is slow (EAGAIN) holds what it has and is `full`: who would put more waits, and so in the end
does the service, as it would without us. Nothing is lost.

An outlet that fails (a full disk, a directory that is gone) must hold up nobody: it holds lines up to its
buffer, then counts those that come; it is tried again from time to time. Once it works all that was held is
written, then one line that says how many were dropped here, and then what comes.

A line that was written in part is always completed first: held lines are never dropped.
"""

import os
from abc import ABC, abstractmethod
from collections import deque
from typing import Final, Protocol

from reaperd.output.lines import Buffer

_FIRST_NS: Final = 50_000_000
_LONGEST_NS: Final = 2_000_000_000


class Desk(Protocol):
    """Who is told of an outlet's troubles, and wakes it."""

    def failing(self, outlet: "Outlet", problem: str) -> None:
        """It has begun to fail."""

    def recovered(self, outlet: "Outlet", dropped: int) -> None:
        """It works again; so many lines were dropped meanwhile."""

    def retry(self, outlet: "Outlet", after_ns: int) -> None:
        """Call its `flush` after a while."""


class Outlet(ABC):
    """One place that takes whole lines.

    Attributes:
        name: what it is called in the log, and by timers.
        problem: why it fails now; None while it works.
        dropped: lines that it never took, in all its life.
        full: it takes no more at this moment; `fd` polls writable when it does again.
        fd: what it writes to; None where nothing is open.
        chunk: how many bytes it should be given at a time, at most.
    """

    chunk = 1 << 20

    def __init__(self, name: str, desk: Desk, buffer: int) -> None:
        self.name = name
        self.problem: str | None = None
        self.dropped = 0
        self.full = False
        self.fd: int | None = None
        self._desk = desk
        self._buffer = buffer
        self._held: deque[bytes] = deque()
        self._held_bytes = 0
        self._gap = 0  # lines that were dropped after those that are held
        self._told = 0  # lines that a marker speaks of, until the outlet works again
        self._tries = 0

    @property
    def is_idle(self) -> bool:
        """Whether nothing is held and nothing is to be said of what was dropped."""
        return not self._held and not self._gap

    def put(self, data: Buffer) -> int:
        """Take lines, and return how many of them were dropped."""
        if self._held or self._gap or self.problem is not None:
            return self._hold(data, torn=False)
        view = memoryview(data)
        done = 0
        try:
            while done < len(view):
                done += self._write(view[done:])
        except OSError as error:
            self._stumble(error)
            torn = done > 0 and view[done - 1] != 0x0A
            return self._hold(view[done:], torn=torn)
        return 0

    def flush(self) -> None:
        """Write what is held, if that is possible now."""
        try:
            while self._held or self._gap:
                if not self._held:
                    self._keep(self._marker(self._gap, self.problem or "it failed"))
                    self._told += self._gap
                    self._gap = 0
                self._push()
            if self.problem is not None:
                self._probe()
        except OSError as error:
            self._stumble(error)
            return
        self.full = False
        if self.problem is not None:
            self.problem, self._tries = None, 0
            dropped, self._told = self._told, 0
            self._desk.recovered(self, dropped)

    def close(self) -> int:
        """Let go of what it writes to; return how many held lines are lost by that, and drop them."""
        lost = sum(_count(piece) for piece in self._held) + self._gap
        self._held.clear()
        self._held_bytes = self._gap = 0
        self._release()
        return lost

    # --- for each kind of outlet ------------------------------------------------------------------------

    @abstractmethod
    def _write(self, data: memoryview) -> int:
        """Write some of `data` and return how many bytes: at least one, and all that can be written at once.

        Raises:
            BlockingIOError: not now.
            OSError: it fails.
        """

    def _probe(self) -> None:  # noqa: B027 - most kinds can only be tried by writing
        """See whether it works though there is nothing to write; raises OSError if it does not."""

    def _marker(self, count: int, problem: str) -> bytes:
        """Return the line that stands for lines that were dropped."""
        return b"reaperd: %d lines were dropped here: %s\n" % (count, problem.encode())

    def _lasts(self, error: OSError) -> bool:
        """Tell whether a failure is for good, so that trying again is idle."""
        del error
        return False

    def _release(self) -> None:
        if self.fd is not None:
            os.close(self.fd)
            self.fd = None

    # --- what is held -----------------------------------------------------------------------------------

    def _hold(self, data: Buffer, *, torn: bool) -> int:
        """Keep what there is room for, whole lines only; return how many lines were dropped.

        A torn one, whose beginning has been written, is kept in any case. So is everything while the outlet
        is only slow: nobody puts more then.
        """
        block = bytes(data)
        end = len(block) if self.problem is None else self._room_for(block, torn=torn)
        if end:
            self._keep(block[:end])
        dropped = _count(block[end:])
        self._gap += dropped
        self.dropped += dropped
        return dropped

    def _room_for(self, block: bytes, *, torn: bool) -> int:
        room = 0 if self._gap else max(self._buffer - self._held_bytes, 0)
        if len(block) <= room:
            return len(block)
        first = block.find(b"\n") + 1 if torn else 0
        return max(block.rfind(b"\n", 0, room) + 1, first)

    def _keep(self, block: bytes) -> None:
        self._held.append(block)
        self._held_bytes += len(block)

    def _push(self) -> None:
        """Write of the oldest block what can be written."""
        block = self._held[0]
        written = self._write(memoryview(block))
        self._held_bytes -= written
        if written == len(block):
            self._held.popleft()
        else:
            self._held[0] = block[written:]

    # --- trouble ----------------------------------------------------------------------------------------

    def _stumble(self, error: OSError) -> None:
        if isinstance(error, BlockingIOError) and self.problem is None:
            self.full = True
        else:
            self._fail(error)

    def _fail(self, error: OSError) -> None:
        is_news = self.problem is None
        if not isinstance(error, BlockingIOError):
            self.problem = os.strerror(error.errno) if error.errno else str(error)
        self.full = False  # it holds up nobody
        if not self._lasts(error):
            self._desk.retry(self, min(_FIRST_NS << min(self._tries, 16), _LONGEST_NS))
            self._tries += 1
        if is_news and self.problem is not None:
            self._desk.failing(self, self.problem)


def _count(block: bytes) -> int:
    """Return the number of lines, one without an end included."""
    return block.count(b"\n") + (not block.endswith(b"\n") and bool(block))

"""Read along with what a service writes, for `ready = { log = ... }`, and pass it on as it is.

Such a service writes into pipes of ours, and every byte goes on to the daemon's own standard output or
error. Those may be slow: they are written to only while they can take it, their flags are left alone since
others share them, and what they cannot take stays in the pipe, so that the service waits as it would have
without us. Nothing is dropped but what a closed output refuses.
"""

import os
import re
import select
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from reaperd.children.plan import Descriptors
from reaperd.errors import KernelError
from reaperd.kernel import fds
from reaperd.loop.poller import WRITE, Phase
from reaperd.supervise.service import Service
from reaperd.supervise.world import World

LONGEST_LINE: Final = 8192  # bytes of a line that are looked at
_OUTPUTS: Final = (1, 2)
_CHUNK: Final = select.PIPE_BUF  # a pipe that polls writable takes so much without blocking: pipe(7)
_MOST_CHUNKS: Final = 256  # a pipe of 1 MiB, the most that anybody may make of it: pipe(7)


@dataclass(slots=True)
class _Tap:
    """One pipe of one run."""

    service: Service
    fd: int
    to: int
    unwritten: bytes = b""
    line: bytes = b""  # begun and not ended yet
    over: bool = False  # the run is: close at the first moment without a byte


class Taps:
    """Own the pipes. Implements `loop.poller.Source` for them, and for outputs that are full."""

    name = "output"
    phase = Phase.OUTPUT

    def __init__(self, world: World, matched: Callable[[Service], None]) -> None:
        self._poller = world.poller
        self._matched = matched
        self._taps: dict[int, _Tap] = {}
        self._full: dict[int, list[_Tap]] = {}  # by output: who waits until it can take more
        self._patterns: dict[str, re.Pattern[str]] = {}  # by service, until it is ready or given up

    def open(self, service: Service, pattern: str) -> Descriptors:
        """Make the pipes of a new run; return the child's ends, which are the caller's to close.

        The first line that matches is told. It may come in the same turn as the news that the program runs,
        so that looking for it only from then on would miss it.

        Raises:
            KernelError: no descriptor is left.
        """
        ends: list[tuple[int, int]] = []
        try:
            for to in _OUTPUTS:
                read_fd, write_fd = fds.pipe()
                fds.set_nonblocking(read_fd)
                ends.append((write_fd, to))
                self._taps[read_fd] = _Tap(service, read_fd, to)
                self._poller.watch(read_fd, self)
        except KernelError:
            for write_fd, _to in ends:
                os.close(write_fd)
            self.finish(service)
            raise
        self._patterns[service.spec.name] = re.compile(pattern)
        return tuple(ends)

    def look_no_more(self, service: Service) -> None:
        """Tell of no line any more; harmless where none was looked for."""
        self._patterns.pop(service.spec.name, None)

    def finish(self, service: Service) -> None:
        """Pass on what is left of a run that is over, and close its pipes; harmless where it has none."""
        self.look_no_more(service)
        for tap in [each for each in self._taps.values() if each.service is service]:
            tap.over = True
            if tap not in self._full.get(tap.to, ()):
                self._pump(tap)

    def ready(self, fd: int, events: int) -> None:
        """Pass on one chunk, or go on with those who waited for an output."""
        del events
        if fd in self._full:
            self._poller.drop(fd)
            for tap in self._full.pop(fd):
                self._poller.watch(tap.fd, self)
                self._pump(tap)
        else:
            self._pump(self._taps[fd])

    def failed(self, fd: int) -> None:
        """Give up a pipe that cannot be read, or those who waited for an output that cannot be watched."""
        for tap in self._full.pop(fd, None) or [self._taps[fd]]:
            self._close(tap)

    def _pump(self, tap: _Tap) -> None:
        for _ in range(_MOST_CHUNKS if tap.over else 1):
            if not self._pump_chunk(tap):
                return

    def _pump_chunk(self, tap: _Tap) -> bool:
        """Pass on one chunk; False where it cannot go on at once."""
        if not _takes_more(tap.to):
            self._pause(tap)
            return False
        if not tap.unwritten:
            try:
                tap.unwritten = os.read(tap.fd, _CHUNK)
            except BlockingIOError:
                if tap.over:
                    self._close(tap)
                return False
            if not tap.unwritten:
                self._close(tap)
                return False
            self._read_along(tap, tap.unwritten)
        tap.unwritten = _put(tap.to, tap.unwritten)
        return True

    def _pause(self, tap: _Tap) -> None:
        self._poller.drop(tap.fd)
        self._full.setdefault(tap.to, []).append(tap)
        self._poller.watch(tap.to, self, WRITE)

    def _close(self, tap: _Tap) -> None:
        self._poller.drop(tap.fd)
        del self._taps[tap.fd]
        os.close(tap.fd)

    def _read_along(self, tap: _Tap, data: bytes) -> None:
        name = tap.service.spec.name
        pattern = self._patterns.get(name)
        if pattern is None:
            tap.line = b""
            return
        *lines, rest = data.split(b"\n")
        for part in lines:
            line = (tap.line + part)[:LONGEST_LINE]
            tap.line = b""
            if pattern.search(line.decode(errors="replace").rstrip("\r")):
                self.look_no_more(tap.service)
                self._matched(tap.service)
                return
        tap.line = (tap.line + rest)[:LONGEST_LINE]


def _takes_more(fd: int) -> bool:
    """Tell whether a write would not wait; an output without a reader takes nothing, but at once."""
    poll = select.poll()
    poll.register(fd, select.POLLOUT)
    return bool(poll.poll(0))


def _put(fd: int, data: bytes) -> bytes:
    """Write what can be written and return the rest; what a broken output refuses is gone."""
    try:
        return data[os.write(fd, data) :]
    except BlockingIOError:
        return data
    except OSError:
        return b""

"""Read what services write: a pipe for each output of each run, until nobody can write to it any more.

A pipe outlives its run where somebody outside has it open; it is read until its end. Each turn of the loop
reads one piece of each pipe that has something, so that a talkative service holds up nobody. A pipe whose
outlet takes nothing at this moment is not read: the service waits, as it would without us.

A pipe that is found full is made larger, for that is what makes the throughput of a talkative service. Others
stay as they are: what a plain user may have in large pipes is little, and beyond it all his pipes are tiny.
"""

import os
import select
import time
from collections.abc import Callable, Iterator
from typing import Final

from reaperd.kernel import fds
from reaperd.loop.poller import WRITE, Phase, Poller
from reaperd.output.lines import Buffer, Cutter
from reaperd.output.matcher import Matcher
from reaperd.output.outlet import Outlet

Shape = Callable[[Buffer], Iterator[bytes]]
"""Gives whole lines another look, in one piece or in several."""

_SMALL_PIPE: Final = 1 << 16  # what a pipe holds unless it is made to hold more: pipe(7)
_LARGE_PIPE: Final = 1 << 20  # the most that anybody may make of one
_LONGEST_DRAIN: Final = 2 * _LARGE_PIPE


class Stream:
    """One pipe.

    Attributes:
        owner: whose it is.
        name: which of its owner's outputs it is.
        outlet: where it goes.
        matcher: looks for a line; None while nobody looks for one.
        large: its pipe is as large as may be.
        dropped: called with the number of lines that the outlet did not take.
    """

    __slots__ = ("_cutter", "_shape", "dropped", "fd", "large", "matcher", "name", "outlet", "owner")

    def __init__(  # noqa: PLR0913 - by their names
        self,
        fd: int,
        owner: object,
        outlet: Outlet,
        *,
        name: str,
        max_line: int | None = None,
        shape: Shape | None = None,
        dropped: Callable[[int], None] | None = None,
    ) -> None:
        self.fd = fd
        self.owner = owner
        self.name = name
        self.outlet = outlet
        self.matcher: Matcher | None = None
        self.large = False
        self.dropped = dropped
        self._cutter = None if max_line is None else Cutter(max_line)
        self._shape = shape

    @property
    def needs(self) -> int:
        """How large a buffer must be for one piece."""
        return self.outlet.chunk + (self._cutter.limit if self._cutter is not None else 0)

    def read(self, buffer: bytearray) -> tuple[int, bool]:
        """Pass on one piece; return how many bytes were read, 0 at the end, and whether a line matched.

        Raises:
            BlockingIOError: there is nothing at this moment.
        """
        rest = b"" if self._cutter is None else self._cutter.rest
        start = len(rest)
        size = os.readv(self.fd, (memoryview(buffer)[start : start + self.outlet.chunk],))
        if not size:
            self._put(b"" if self._cutter is None else self._cutter.finish())
            return 0, False
        buffer[:start] = rest
        end = start + size
        matched = self.matcher is not None and self.matcher.feed(bytes(memoryview(buffer)[start:end]))
        self._put(memoryview(buffer)[:end] if self._cutter is None else self._cutter.cut(buffer, end))
        return size, matched

    def _put(self, data: Buffer) -> None:
        if not data:
            return
        parts = (data,) if self._shape is None else self._shape(data)
        dropped = sum(self.outlet.put(part) for part in parts)
        if dropped and self.dropped is not None:
            self.dropped(dropped)


class Streams:
    """Own the pipes. Implements `loop.poller.Source` for them, and for outlets that are full.

    Args:
        poller: tells what can be read.
        matched: called with the owner of a stream when a line matched.
        unsearched: called with each stream in which lines are looked for no more, for one took too long.
        ended: called with each stream that has ended.
    """

    name = "output"
    phase = Phase.OUTPUT

    def __init__(
        self,
        poller: Poller,
        matched: Callable[[object], None],
        unsearched: Callable[[Stream], None],
        ended: Callable[[Stream], None],
    ) -> None:
        self._poller = poller
        self._matched = matched
        self._unsearched = unsearched
        self._ended = ended
        self._streams: dict[int, Stream] = {}
        self._full: dict[int, tuple[Outlet, list[Stream]]] = {}  # who waits until it takes more
        self._buffer = bytearray()

    def add(self, stream: Stream) -> None:
        """Read a pipe from now on; it is ours.

        Raises:
            KernelError: it cannot be watched, and remains the caller's.
        """
        self._poller.watch(stream.fd, self)
        self._streams[stream.fd] = stream
        if stream.needs > len(self._buffer):
            self._buffer = bytearray(stream.needs)

    def of(self, owner: object) -> list[Stream]:
        """Return the streams of an owner."""
        return [stream for stream in self._streams.values() if stream.owner is owner]

    def ready(self, fd: int, events: int) -> None:
        """Pass on one piece, or go on with those who waited for an outlet."""
        del events
        if fd in self._full:
            self._resume(fd)
        else:
            self._pump(self._streams[fd])

    def failed(self, fd: int) -> None:
        """Give up a pipe that cannot be read, or those who waited for an outlet that cannot be watched."""
        for stream in self._full.pop(fd, (None, [self._streams[fd]] if fd in self._streams else []))[1]:
            self._close(stream)

    def drain(self, stream: Stream) -> None:
        """Pass on what a pipe holds at this moment, unless its outlet is full."""
        left = _LONGEST_DRAIN
        while left > 0 and stream.fd in self._streams and not stream.outlet.full:
            read = self._pump(stream)
            if not read:
                return
            left -= read

    def close(self, until_ns: int) -> None:
        """Pass on what pipes hold, and close them; wait for slow outlets until then (CLOCK_MONOTONIC)."""
        for stream in list(self._streams.values()):
            self.drain(stream)
            while stream.fd in self._streams and wait_and_flush(stream.outlet, until_ns):
                self.drain(stream)
            if stream.fd in self._streams:
                self._close(stream)

    def _pump(self, stream: Stream) -> int:
        if self._paused(stream):
            return 0
        try:
            read, matched = stream.read(self._buffer)
        except BlockingIOError:
            return 0
        if matched:
            stream.matcher = None
            self._matched(stream.owner)
        elif stream.matcher is not None and stream.matcher.gave_up:
            stream.matcher = None
            self._unsearched(stream)
        if read >= _SMALL_PIPE and not stream.large:
            stream.large = True
            fds.grow_pipe(stream.fd, _LARGE_PIPE)
        if not read:
            self._close(stream)
        else:
            self._paused(stream)
        return read

    def _paused(self, stream: Stream) -> bool:
        """Let a stream wait whose outlet is full; tell whether it does."""
        outlet = stream.outlet
        if not outlet.full:
            return False
        assert outlet.fd is not None, "only what is open can be full"
        self._poller.drop(stream.fd)
        waiting = self._full.setdefault(outlet.fd, (outlet, []))[1]
        if stream not in waiting:
            waiting.append(stream)
        self._poller.watch(outlet.fd, self, WRITE)
        return True

    def _resume(self, fd: int) -> None:
        self._poller.drop(fd)  # a failure may close it
        outlet, waiting = self._full.pop(fd)
        outlet.flush()
        for stream in waiting:
            if not self._paused(stream):
                self._poller.watch(stream.fd, self)

    def _close(self, stream: Stream) -> None:
        self._poller.drop(stream.fd)
        del self._streams[stream.fd]
        os.close(stream.fd)
        self._ended(stream)


def wait_and_flush(outlet: Outlet, until_ns: int) -> bool:
    """Let a full outlet write as soon as it can; False where it is not full, or takes nothing."""
    left_ns = until_ns - time.monotonic_ns()
    if not outlet.full or outlet.fd is None or left_ns <= 0:
        return False
    poll = select.poll()
    poll.register(outlet.fd, select.POLLOUT)
    if not poll.poll(left_ns / 1e6):
        return False
    outlet.flush()
    return True

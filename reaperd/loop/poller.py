"""The one epoll of the daemon: which descriptor belongs to whom, and which of them are ready.

Sources are told in the order of their phase, so that within one turn a readiness report is always seen
before a control request that asks about it.
"""

import errno
import select
from dataclasses import dataclass
from enum import IntEnum
from typing import Final, Protocol

from reaperd.errors import KernelError

READ: Final = select.EPOLLIN
WRITE: Final = select.EPOLLOUT
GONE: Final = select.EPOLLHUP | select.EPOLLERR  # always reported, asked for or not: epoll_ctl(2)

_MS_NS: Final = 1_000_000
_LONGEST_MS: Final = 2**31 - 1  # epoll_wait takes an int; who has longer to wait polls again


class Phase(IntEnum):
    """The order in which ready sources are served within one turn."""

    WAKEUP = 0
    REPORTS = 1
    OUTPUT = 2
    CONTROL = 3


class Source(Protocol):
    """Who owns a watched descriptor."""

    @property
    def name(self) -> str:
        """What the log calls this source."""

    @property
    def phase(self) -> Phase:
        """When within a turn it is served."""

    def ready(self, fd: int, events: int) -> None:
        """Serve `fd`, for which epoll reported `events`; must not block and must bound its work."""

    def failed(self, fd: int) -> None:
        """`ready` raised three turns running for `fd`: close it, for it is no longer watched."""


@dataclass(slots=True)
class Watch:
    """One descriptor from its first `watch` to its `drop`: its number may then belong to another.

    Attributes:
        source: whom its events are for.
        failures: how many times in a row the source has raised over it.
    """

    source: Source
    failures: int = 0


class Poller:
    """Own the epoll descriptor; watched descriptors stay their sources' own."""

    __slots__ = ("_epoll", "_watches")

    def __init__(self) -> None:
        self._epoll = select.epoll()  # close-on-exec, as all of CPython's: PEP 446
        self._watches: dict[int, Watch] = {}

    def watch(self, fd: int, source: Source, events: int = READ) -> None:
        """Report `events` of `fd` to `source` from the next poll on; call again to change either.

        Raises:
            KernelError: ENOSPC or ENOMEM, no more can be watched: epoll_ctl(2). What was watched still is, as
                it was; `fd` remains the caller's.
        """
        known = self._watches.get(fd)
        try:
            if known is None:
                self._epoll.register(fd, events)
            else:
                self._epoll.modify(fd, events)
        except OSError as error:
            hint = "raise fs.epoll.max_user_watches" if error.errno == errno.ENOSPC else None
            raise KernelError("epoll_ctl", error.errno or 0, what="watch a descriptor", hint=hint) from error
        if known is None:
            self._watches[fd] = Watch(source)
        else:
            known.source = source

    def drop(self, fd: int) -> None:
        """Stop watching `fd`; to be called before it is closed, and harmless if it was not watched."""
        if self._watches.pop(fd, None) is not None:
            self._epoll.unregister(fd)

    def source_of(self, fd: int) -> Source | None:
        """Return who owns `fd`, or None once it was dropped."""
        watch = self._watches.get(fd)
        return None if watch is None else watch.source

    def watch_of(self, fd: int) -> Watch | None:
        """Return the watch that `fd` has now, or None once it was dropped."""
        return self._watches.get(fd)

    def poll(self, timeout_ns: int | None) -> list[tuple[int, int]]:
        """Wait until something is ready or `timeout_ns` is over; None waits without any timeout.

        Returns:
            Ready (descriptor, events) pairs in the order of their sources' phases.
        """
        timeout_s = None if timeout_ns is None else timeout_ms(timeout_ns) / 1000
        # one event more than descriptors: epoll refuses a maximum of zero
        ready = self._epoll.poll(timeout_s, len(self._watches) + 1)
        known = [(fd, events) for fd, events in ready if fd in self._watches]
        known.sort(key=lambda pair: self._watches[pair[0]].source.phase)
        return known

    def close(self) -> None:
        """Close the epoll descriptor; the daemon is leaving, or this is a forked child."""
        self._epoll.close()


def timeout_ms(timeout_ns: int) -> int:
    """Return what epoll_wait is to wait: rounded up, for a timer must be due when it returns."""
    return min(-(-max(timeout_ns, 0) // _MS_NS), _LONGEST_MS)

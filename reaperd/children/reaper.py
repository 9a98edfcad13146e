"""The SIGCHLD handler: it alone reaps, at one known place.

SIGCHLD is blocked during a turn and open only around the poll, so the handler cannot interrupt code that
is using a pid. It asks a private epoll of pidfds which known children died and waits for each by pid
(2-3 us whatever their number, where waitpid(-1) walks all living children), then looks for unknown ones:
orphans that came to us as child subreaper or PID 1. Looking goes before reaping, because the /proc line
of a pid is gone once it is reaped. The handler appends raw records; the turn that follows applies them.

One SIGCHLD stands for any number of deaths, and one that comes while the handler runs interrupts it. So the
inner call only leaves word, and the outer one looks once more before it goes. What a full batch leaves over
has no signal of its own to come: `take` raises one, and the next poll runs the handler. A look that failed is
followed by another in the same way: the first time at once, then every second until one succeeds.
"""

import os
import select
import signal
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from types import FrameType
from typing import Final

from reaperd.errors import KernelError
from reaperd.kernel import procfs, wait
from reaperd.kernel.procfs import Stat

AGAIN_NS: Final = 1_000_000_000  # from a look that failed, and not for the first time running, to the next
BATCH: Final = 1024  # records a call; what remains is fetched in the next turn


@dataclass(frozen=True, slots=True)
class Reaped:
    """A child that is gone: its raw wait status and, of an unknown one, its last /proc line."""

    pid: int
    status: int
    at_ns: int  # CLOCK_MONOTONIC
    stat: Stat | None  # None for a child that we forked, or where no descriptor was left to read it
    run_id: str | None = None  # by the leaf that an unknown child was in


class Reaper:
    """Own the pidfds of all children that we forked and the queue of those that are gone."""

    __slots__ = (
        "_again",
        "_again_at_ns",
        "_busy",
        "_epoll",
        "_leaf_run_of",
        "_pid_of",
        "_pidfd_of",
        "_records",
        "failure",
        "more",
    )

    def __init__(self, leaf_run_of: Callable[[int], str | None] = lambda _pid: None) -> None:
        self._epoll = select.epoll()
        self._pid_of: dict[int, int] = {}
        self._pidfd_of: dict[int, int] = {}
        self._records: deque[Reaped] = deque()
        self._leaf_run_of = leaf_run_of
        self._again = False  # a signal came that no look has followed yet
        self._busy = False
        self._again_at_ns: int | None = None  # CLOCK_MONOTONIC: after a look that failed
        self.more = False  # the batch was full: poll with timeout 0, then look again
        self.failure: Exception | None = None  # what the handler met; nothing may leave it

    def know(self, pid: int, pidfd: int) -> None:
        """Take over a child that was just forked, while signals are blocked."""
        self._epoll.register(pidfd, select.EPOLLIN)  # first: it alone can fail
        self._pidfd_of[pid] = pidfd
        self._pid_of[pidfd] = pid

    def pidfd(self, pid: int) -> int | None:
        """Return the pidfd of a known, unreaped child; it stays ours."""
        return self._pidfd_of.get(pid)

    def known(self) -> frozenset[int]:
        """Return the pids of all known, unreaped children."""
        return frozenset(self._pidfd_of)

    def handle(self, _signum: int, _frame: FrameType | None) -> None:
        """Reap up to `BATCH` children. Installed for SIGCHLD; safe against being interrupted by itself."""
        self._again = True
        left = BATCH
        # Asked after each look, with `_busy` down: an interruption at any place here is either seen by
        # this loop or does the work itself.
        while self._again and not self._busy and left > 0:
            self._busy = True
            self._again = False
            try:
                left = self._reap_up_to(left)
            except Exception as error:  # noqa: BLE001 - it would surface in whatever code the signal hit
                self._failed(error)
            else:
                self._again_at_ns = None
            finally:
                self._busy = False

    def take(self) -> list[Reaped]:
        """Return and forget what was reaped, in the order of reaping. Called by the turn, not a handler."""
        taken = list(self._records)
        self._records.clear()
        if self.more or (self._again_at_ns is not None and self._again_at_ns <= time.monotonic_ns()):
            signal.raise_signal(signal.SIGCHLD)  # blocked during a turn: it waits for the next poll
        return taken

    def next_ns(self) -> int | None:
        """Return when `take` is to be called though no signal comes, by CLOCK_MONOTONIC; None for never."""
        return 0 if self.more else self._again_at_ns

    def close(self) -> None:
        """Close every descriptor; the daemon is leaving."""
        for pidfd in self._pid_of:
            os.close(pidfd)
        self._pid_of.clear()
        self._pidfd_of.clear()
        self._epoll.close()

    def _failed(self, error: Exception) -> None:
        """Let another look follow, without spinning where that fails as well."""
        now_ns = time.monotonic_ns()
        self._again_at_ns = now_ns if self._again_at_ns is None else now_ns + AGAIN_NS
        self.more = False
        self.failure = error

    def _reap_up_to(self, most: int) -> int:
        left = most
        for pidfd, _events in self._epoll.poll(0, most):
            left -= self._reap(self._pid_of[pidfd])
        while left > 0 and (pid := wait.peek_any()) is not None:
            left -= self._reap(pid)
        self.more = left <= 0
        return left

    def _reap(self, pid: int) -> int:
        stat, run_id = (None, None) if pid in self._pidfd_of else self._look(pid)
        status = wait.reap(pid)
        if status is None:
            return 0
        self._forget(pid)
        self._records.append(Reaped(pid, status, time.monotonic_ns(), stat, run_id))
        return 1

    def _look(self, pid: int) -> tuple[Stat | None, str | None]:
        """Read what an unknown zombie was; where no descriptor is left, it is reaped unseen."""
        try:
            return procfs.read_stat(pid), self._leaf_run_of(pid)
        except KernelError:
            return None, None

    def _forget(self, pid: int) -> None:
        pidfd = self._pidfd_of.pop(pid, None)
        if pidfd is not None:
            del self._pid_of[pidfd]
            # Closing alone would not do: a child between fork and exec may still hold a copy, and an
            # epoll forgets a file only with its last copy: epoll(7), question 6.
            self._epoll.unregister(pidfd)
            os.close(pidfd)

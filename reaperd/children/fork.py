"""From a plan to a running, registered child, without the two windows that fork opens.

All signals are blocked from before the fork until the child is registered: otherwise a child that exits
at once is reaped before `fork` returns (seen in 8 to 12 % of such children), its pidfd cannot be opened,
and a signal sent to the new child is swallowed by handlers that it inherited (298 of 300 seen).
"""

import errno
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn

from reaperd.children.child import REPORT_BYTES, STAGES, Hands, StageFailed, become
from reaperd.children.plan import Plan
from reaperd.errors import KernelError
from reaperd.kernel import fds, pidfd, signals


@dataclass(frozen=True, slots=True)
class Forked:
    """A child on its way to its program.

    Attributes:
        pid: of the child, which leads a session of its own once it gets that far.
        report_fd: readable when the exec worked (end of file) or a stage failed (a record).
    """

    pid: int
    report_fd: int


def fork(
    plan: Plan, null_fd: int, register: Callable[[int, int], None], procs_fd: int | None = None
) -> Forked | StageFailed:
    """Fork a child that follows `plan`; call `register(pid, pidfd)` before any signal can arrive.

    Args:
        plan: what the child becomes.
        null_fd: /dev/null, for the child's standard input; stays the caller's.
        register: makes the child known to the reaper, which owns the pidfd unless this raises OSError.
        procs_fd: enters the cgroup that the child is to be in, if any; stays the caller's.
    """
    try:
        read_fd, write_fd = fds.pipe()
    except KernelError as error:
        return StageFailed("fork", error.errno)
    fds.set_nonblocking(read_fd)
    hands = Hands(write_fd, null_fd, procs_fd, signals.changed())
    mask = signals.block_all()
    try:
        return _fork(plan, hands, read_fd, register)
    except (OSError, KernelError) as error:
        os.close(read_fd)
        return StageFailed("fork", error.errno or errno.EAGAIN)
    finally:
        signals.restore(mask)


def _fork(plan: Plan, hands: Hands, read_fd: int, register: Callable[[int, int], None]) -> Forked:
    try:
        pid = os.fork()
        if pid == 0:
            _in_child(plan, hands)
    finally:
        os.close(hands.report_fd)  # before anything else: so the pidfd finds a number that is free
    opened = None
    try:
        opened = pidfd.open(pid)
        assert opened is not None, "our own unreaped child has a pidfd"
        register(pid, opened)
    except (OSError, KernelError):
        # No descriptor or no watch left. The child cannot be followed, and must not run on unfollowed.
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        if opened is not None:
            os.close(opened)
        raise
    return Forked(pid, read_fd)


def _in_child(plan: Plan, hands: Hands) -> NoReturn:
    try:
        become(plan, hands)
    finally:
        os._exit(70)  # only if reporting the failure failed too


def read_report(report_fd: int) -> StageFailed | bool:
    """Read what the child reported.

    Returns:
        The stage that failed, True when the exec worked, False when the child is not there yet.
    """
    try:
        record = os.read(report_fd, REPORT_BYTES)
    except BlockingIOError:
        return False
    if len(record) < REPORT_BYTES:
        return True
    stage = int.from_bytes(record[:4], "little")
    return StageFailed(STAGES[stage], int.from_bytes(record[4:], "little"))

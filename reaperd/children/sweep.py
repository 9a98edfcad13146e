"""Signals to a whole tree, each process by its pidfd, and the end of a tree that would rather live.

A tree may fork while it is being killed. So it is stopped first: sweep after sweep sends SIGSTOP to who
is new, until a sweep finds nobody new; then nobody is left who could fork, and all get SIGKILL. Each call
does a bounded number of sweeps, so a fork bomb in one service does not keep the others waiting.
"""

import os
import signal
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from reaperd.errors import KernelError
from reaperd.kernel import pidfd, procfs
from reaperd.kernel.procfs import Stat

SWEEPS_A_TURN: Final = 8
MOST_SWEEPS: Final = 100


class Progress(Enum):
    """How far the end of a tree has come."""

    KILLED = "killed"  # all have SIGKILL; their deaths will be reported
    MORE = "more"  # call again in the next turn
    STUCK = "stuck"  # it still grows after `MOST_SWEEPS`


@dataclass(slots=True)
class Sweep:
    """The state of one tree's end, from call to call."""

    sweeps: int = 0
    stopped: set[tuple[int, int]] = field(default_factory=set)  # pid and start time


def send(stat: Stat, number: int) -> bool:
    """Send a signal to exactly the process that `stat` describes; False if it is gone or forbidden."""
    try:
        fd = pidfd.open(stat.pid)
        if fd is None:
            return False
        try:
            # The descriptor means one process; that it is the right one shows by its start time.
            now = procfs.read_stat(stat.pid)
            same = now is not None and now.start_time == stat.start_time
            return same and pidfd.send(fd, number)
        finally:
            os.close(fd)
    except KernelError:
        return False  # another user's, by setuid: what it lives from still ends


def send_to_all(stats: Iterable[Stat], number: int) -> None:
    """Send a signal to each process; one that stands still is woken so that it can act on it."""
    for stat in stats:
        send(stat, number)
        if number not in (signal.SIGKILL, signal.SIGSTOP, signal.SIGCONT):
            send(stat, signal.SIGCONT)


def send_to_leader(pid: int, number: int, *, group: bool, wake: bool = True) -> None:
    """Send a signal to a child of ours that is not reaped yet, or to the group that it leads.

    Unreaped, its pid and the number of its group are nobody else's; before its setsid there is no such
    group yet, and the process alone gets the signal. With `wake` who is stopped wakes up for it.
    """
    for each in (number, *((signal.SIGCONT,) if wake else ())):
        try:
            if group:
                os.killpg(pid, each)
            else:
                os.kill(pid, each)
        except ProcessLookupError:
            os.kill(pid, each)
        except PermissionError:
            continue  # all of them are another user's, by setuid


def kill(sweep: Sweep, members: Callable[[], list[Stat]]) -> Progress:
    """Stop who is new until nobody is, then kill all; `members` walks the tree afresh."""
    for _ in range(SWEEPS_A_TURN):
        alive = members()
        new = [stat for stat in alive if (stat.pid, stat.start_time) not in sweep.stopped]
        if not new or sweep.sweeps >= MOST_SWEEPS:
            send_to_all(alive, signal.SIGKILL)
            sweep.sweeps = 0  # who is asked again starts afresh
            return Progress.STUCK if new else Progress.KILLED
        sweep.sweeps += 1
        for stat in new:
            send(stat, signal.SIGSTOP)
            sweep.stopped.add((stat.pid, stat.start_time))
    return Progress.MORE

"""Look for ended children and collect them: wait(2).

Nothing here ever sleeps. Looking is apart from collecting, because a pid belongs to its zombie until it is
collected: in between, /proc/PID still tells who it was and no other process can have that pid.
"""

import os
from typing import Final

# Also children whose exit signal is not SIGCHLD, as clone(2) can make them; a plain wait says ECHILD for
# these, and they would stay zombies. Accepted by waitid since Linux 4.7: waitid(2).
WALL: Final = 0x40000000


def peek_any() -> int | None:
    """Return the pid of some zombie child and leave it a zombie, or None where there is none now.

    Costs time in proportion to the number of living children; for known children a pidfd is cheaper.
    """
    try:
        found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT | WALL)
    except ChildProcessError:
        return None
    return found.si_pid if found else None


def has_children() -> bool:
    """Tell whether this process has any child, living or zombie."""
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT | WALL)
    except ChildProcessError:
        return False
    return True


def reap(pid: int) -> int | None:
    """Collect the zombie child `pid` and return its raw wait status; its pid is free from then on.

    None where there is nothing to collect: it lives, is not our child, or has been collected before.

    Raises:
        ValueError: `pid` names no single process; a wait for a group would collect somebody else.
    """
    if pid <= 0:
        raise ValueError(f"not one process: pid {pid}")
    try:
        found, status = os.waitpid(pid, os.WNOHANG | WALL)
    except ChildProcessError:
        return None
    return status if found else None


def exit_code(status: int) -> int | None:
    """Return the code that a process left with, None where a signal ended it."""
    return os.WEXITSTATUS(status) if os.WIFEXITED(status) else None


def exit_signal(status: int) -> int | None:
    """Return the signal that ended a process, None where it exited by itself."""
    return os.WTERMSIG(status) if os.WIFSIGNALED(status) else None


def core_dumped(status: int) -> bool:
    """Tell whether the signal that ended a process also left a core dump: core(5)."""
    return os.WIFSIGNALED(status) and os.WCOREDUMP(status)

"""The number that all processes of a run carry, from their birth to the moment they are reaped.

It is the soft limit of RLIMIT_LOCKS. The kernel has enforced none since Linux 2.4.25 (getrlimit(2)), hands it
on through fork(2) and execve(2), lets everybody set it below the hard limit, and tells everybody what it is
of any process, one in the middle of an exec and a zombie included: proc_pid_limits(5), fs/proc/base.c of the
kernel. What a process does to its environment, session or group changes nothing of it; one that sets all its
limits anew takes it off.
"""

import resource
from typing import Final

from reaperd.kernel import procfs

RESOURCE: Final = 10  # RLIMIT_LOCKS of asm-generic/resource.h; the module resource has no name for it
_LINE: Final = b"Max file locks"
_LOWEST: Final = 1 << 62  # above what anybody asks for, and with as much again below RLIM_INFINITY


def tag_for(run_id: str) -> int:
    """Return what the processes of a run carry, and those of no other run, of no other daemon."""
    return _LOWEST | hash(run_id) & _LOWEST - 1  # 62 bits of SipHash, under a key of this interpreter's


def limit(run_id: str) -> tuple[int, int] | None:
    """Return the soft and hard limit that tag a child; None where the daemon's own hard limit forbids it."""
    hard = resource.getrlimit(RESOURCE)[1]
    return (tag_for(run_id), hard) if hard == resource.RLIM_INFINITY else None


def tag_of(pid: int) -> int | None:
    """Return what a process, living or dead, carries; None where it carries none or is gone."""
    return procfs.soft_limit(pid, _LINE)

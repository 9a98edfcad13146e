"""Looks at real processes for the model: one of them, all, or those below one.

No look is one moment. Whoever lives all the while is found: by number, since the kernel lists processes in
the order of their pids; by parents, unless it is handed on meanwhile.
"""

import time
from collections.abc import Iterator
from errno import EACCES, EPERM
from typing import Final

from reaperd.errors import KernelError
from reaperd.kernel import procfs
from reaperd.kernel.procfs import PF_FORKNOEXEC, Stat
from reaperd.model import Seen

_HIDDEN: Final = frozenset({EACCES, EPERM})


def read(pid: int) -> Seen | None:
    """Return one process as /proc shows it now, or None if it is gone, or hidden by hidepid=1: proc(5).

    Raises:
        KernelError: no descriptor is left.
    """
    at_ns = time.monotonic_ns()  # before the read: what happened until then is in it
    try:
        line = procfs.read_stat_bytes(pid)
    except KernelError as error:
        if error.errno in _HIDDEN:
            return None
        raise
    return _seen(line, at_ns) if line else None


def everybody() -> Iterator[Seen]:
    """Yield every process of this PID namespace.

    Raises:
        KernelError: as `read`.
    """
    return (seen for pid in procfs.list_pids() if (seen := read(pid)) is not None)


def below(pid: int) -> Iterator[Seen]:
    """Yield a process and all below it, parents before their children, each one once.

    Raises:
        KernelError: as `read`.
    """
    top = read(pid)
    if top is None:
        return
    yield top
    found = {pid}
    for parent in (pids := [pid]):
        for child in procfs.children(parent):
            seen = None if child in found else read(child)
            if seen is not None and seen.ppid in found:
                found.add(child)
                pids.append(child)
                yield seen


def of_stat(stat: Stat) -> Seen:
    """Return what the model takes of a line that was read before; without threads and time."""
    ended = stat.is_zombie and not stat.is_dead_leader
    return Seen(
        stat.pid,
        stat.ppid,
        stat.pgid,
        stat.sid,
        stat.start_time,
        stat.comm,
        stat.state,
        stat.num_threads,
        _exit_code(stat.pid, stat.exit_code) if ended else None,
        has_execed=not stat.never_execed,
    )


def _seen(line: bytes, at_ns: int) -> Seen:
    pid, ppid, pgid, sid, start_time, comm, state, num_threads, flags = procfs.parse_place(line)
    code: int | None = None
    tids: tuple[int, ...] = ()
    if num_threads > 1:
        tids = tuple(procfs.threads(pid))
    elif state in "ZX":
        code = _exit_code(pid, procfs.parse_exit_code(line))
    else:
        tids = (pid,)
    execed = not flags & PF_FORKNOEXEC
    # As Seen(...) would, in half the time; the order is that of its fields.
    fields = (pid, ppid, pgid, sid, start_time, comm, state, num_threads, code, tids, execed, at_ns, 0)
    return tuple.__new__(Seen, fields)


def _exit_code(pid: int, code: int) -> int | None:
    """Return the wait status of a zombie; None where the kernel does not tell us: it then says 0."""
    return code if code or procfs.may_inspect(pid) else None

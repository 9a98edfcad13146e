"""Stop one thread of a process: the right process, the least busy thread, and only where that is safe."""

import time
from collections.abc import Iterator
from errno import EPERM, ESRCH
from typing import Final

from reaperd.errors import KernelError
from reaperd.kernel import procfs, proctask, ptrace
from reaperd.kernel.ptrace import AtCall, AtSignal, Ended, Interrupted
from reaperd.zombies.hold import Held, Refused, Target
from reaperd.zombies.permission import why_denied

_PREFERRED: Final = "STR"  # sleeping, stopped, running; others cannot be stopped, or must not be


def hold(target: Target, within_s: float, *, force: bool) -> Held:
    """Stop one thread of a process.

    `force` lets a seccomp filter see our calls where it cannot be suspended, which may kill the process.

    Raises:
        Refused: with the reason; the caller must end.
        Lost: it ended meanwhile.
    """
    if proctask.frozen_by(target.pid) is not None:  # it could be stopped, but would not make a call
        raise _unstoppable(target.pid)
    deadline = time.monotonic() + within_s
    for tid in _candidates(target.pid):
        is_filtered = _seize(target, tid, force=force)
        if is_filtered is None:
            continue
        if not _is_still(target, tid):
            raise Refused("gone", f"process {target.pid} is gone")
        if _stop(target.pid, tid, deadline):
            return Held(target.pid, tid, is_filtered=is_filtered)
    stat = procfs.read_stat(target.pid)
    if stat is None or stat.start_time != target.start_time:
        raise Refused("gone", f"process {target.pid} is gone")
    raise _unstoppable(target.pid)


def _candidates(pid: int) -> Iterator[int]:
    """Return its threads, those first that are least in the way."""
    by_state: dict[str, list[int]] = {state: [] for state in _PREFERRED}
    for tid in procfs.threads(pid):
        state = (procfs.read_status(pid, tid) or {}).get("State", "?")[:1]
        by_state.setdefault(state, []).append(tid)
    for state in _PREFERRED:
        yield from by_state[state]


def _seize(target: Target, tid: int, *, force: bool) -> bool | None:
    """Begin to trace a thread; return whether a filter will see our calls, None where the thread is gone."""
    is_filtered = (procfs.read_status(target.pid, tid) or {}).get("Seccomp", "0") != "0"
    try:
        if is_filtered and _seize_without_filter(tid):
            return False
        if is_filtered and not force:
            raise Refused(
                "seccomp",
                f"process {target.pid} has a seccomp filter, which could kill it for our call",
                "run with CAP_SYS_ADMIN and outside of any seccomp filter, or take the risk with --force",
            )
        ptrace.seize(tid, ptrace.TRACESYSGOOD)
    except KernelError as error:
        if error.errno == ESRCH:
            return None
        if error.errno != EPERM:
            raise
        why, hint = why_denied(target.pid)
        raise Refused("denied", why, hint) from error
    return is_filtered


def _seize_without_filter(tid: int) -> bool:
    try:
        ptrace.seize(tid, ptrace.TRACESYSGOOD | ptrace.SUSPEND_SECCOMP)
    except KernelError as error:
        if error.errno == ESRCH:
            raise
        return False
    return True


def _is_still(target: Target, tid: int) -> bool:
    """Tell whether what we hold is what was meant; from now on its pid cannot be another's."""
    stat = procfs.read_stat(target.pid)
    return stat is not None and stat.start_time == target.start_time and tid in procfs.threads(target.pid)


def _stop(pid: int, tid: int, deadline: float) -> bool:
    """Interrupt a thread; False once it has ended.

    Raises:
        Refused: it does not stop in time.
    """
    try:
        ptrace.interrupt(tid)
        while True:
            match ptrace.next_stop(tid, deadline):
                case Interrupted():
                    return True
                case Ended():
                    return False
                case AtSignal(number):
                    ptrace.go_on(tid, number)
                case AtCall():
                    ptrace.go_on(tid)
                case None:
                    raise _unstoppable(pid)
    except KernelError as error:
        if error.errno != ESRCH:
            raise
        return False


def _unstoppable(pid: int) -> Refused:
    frozen = proctask.frozen_by(pid)
    if frozen is not None:
        return Refused("frozen", f"process {pid} is frozen, as {frozen} says", "thaw it first")
    states = sorted(
        {(procfs.read_status(pid, tid) or {}).get("State", "?")[:1] for tid in procfs.threads(pid)}
    )
    return Refused("unstoppable", f"no thread of process {pid} can be stopped (state {', '.join(states)})")

"""Which child wait4(2) would hand over: the search alone, without sleeping."""

import os
from errno import ECHILD, ESRCH
from typing import TYPE_CHECKING, NamedTuple

from reaperd.model.errors import WouldSleepError

if TYPE_CHECKING:
    from reaperd.model.process import Process

_INT_MIN = -(2**31)  # its negation is no pid_t, so the kernel refuses it before it looks


class Waited(NamedTuple):
    """What a wait brought: the pid that is now free, and what its process ended with."""

    pid: int
    status: int


def find(process: "Process", selector: int) -> "Process | None":
    """Return the zombie that wait4(2) in `process` would take: the eldest that matches, or None.

    Children belong to the process, not to the thread that forked them, so the search is over those of all
    its threads, as without __WNOTHREAD. The kernel begins with those of the calling thread and gives those of
    an ended thread to another: where several threads fork or wait, it may not be the eldest.

    Raises:
        ChildProcessError: no child matches, so none could ever be waited for.
        ProcessLookupError: `selector` is a number that cannot be negated.
    """
    if selector == _INT_MIN:
        raise ProcessLookupError(ESRCH, os.strerror(ESRCH))
    matching = _matching(process, selector)
    if not matching:
        raise ChildProcessError(ECHILD, os.strerror(ECHILD))
    return next((child for child in matching if child.is_zombie), None)


def wait(process: "Process", selector: int, *, nohang: bool) -> Waited | None:
    """Free the zombie that `find` finds; None with `nohang` where there is none yet.

    Raises:
        ChildProcessError: no child matches.
        ProcessLookupError: `selector` is a number that cannot be negated.
        WouldSleepError: children match, none has ended, and `nohang` is off.
    """
    child = find(process, selector)
    if child is not None:
        child.free()
        return Waited(child.pid, child.exit_code)
    if nohang:
        return None
    raise WouldSleepError(process.pid, selector)


def _matching(process: "Process", selector: int) -> "tuple[Process, ...]":
    if selector > 0:
        child = process.child(selector)
        return (child,) if child is not None else ()
    if selector == -1:
        return process.children
    pgid = -selector if selector else process.group.pgid
    return tuple(child for child in process.children if child.group.pgid == pgid)

"""Who may be a zombie: one cheap look at every process, by a child of ours while we are still getting ready.

What tells of zombies takes as long to import as ten thousand processes take to be looked at. So the command
line begins the look before it imports anything (`begin`), and the scan takes what has been found (`told`).
Whoever has not begun looks for himself (`look`). Both say the same: the lowest pid that is to be seen, and
who may be a zombie, in ascending order. Whether it is one, or is another by now, is for the scan to see.
"""

import os
from collections.abc import Collection

from reaperd.kernel.pids import list_pids, may_be_zombie

Found = tuple[int, list[int]]
"""The lowest pid that is to be seen, and the candidates."""

_begun: list[tuple[int, int]] = []  # the child, and where it tells what it has found; one at most


def look(only: Collection[int] | None = None) -> Found | None:
    """Return who may be a zombie, of all or of those only; None where /proc shows no process at all.

    Raises:
        KernelError: no descriptor is left, or /proc cannot be listed.
    """
    pids = list_pids()
    if not pids:
        return None
    return pids[0], list(filter(may_be_zombie, pids if only is None else sorted(only)))


def begin() -> None:
    """Let a child look; nothing happens where no process can be made, perhaps because of the zombies."""
    try:
        read, write = os.pipe()
        pid = os.fork()
    except OSError:
        return
    if pid == 0:
        try:
            _look_for_parent(write)
        finally:  # whatever happened: an answer that is not whole is none
            os._exit(0)
    os.close(write)
    _begun.append((pid, read))


def _look_for_parent(write: int) -> None:
    # Whoever waits for the end of our output, or for a lock that was handed on, is not to wait for this.
    os.closerange(0, write)
    os.closerange(write + 1, os.sysconf("SC_OPEN_MAX"))
    found = look()
    if found is not None:
        lowest, pids = found
        with os.fdopen(write, "w") as answer:
            answer.write(" ".join(map(str, (lowest, *pids))) + "\n")


def told() -> Found | None:
    """Return what the child has found, once, and collect it; None if there is none, or it could not look."""
    if not _begun:
        return None
    pid, read = _begun.pop()
    with os.fdopen(read, "rb") as answer:
        line = answer.read()
    _collect(pid)
    if not line.endswith(b"\n"):
        return None
    lowest, *pids = map(int, line.split())
    return lowest, pids


def _collect(pid: int) -> None:
    try:
        os.waitpid(pid, 0)
    except ChildProcessError:  # SIGCHLD is ignored: it has left no zombie
        return

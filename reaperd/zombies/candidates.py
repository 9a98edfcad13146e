"""Who is a zombie: one cheap look at every process, by a child of ours while we are still getting ready.

What tells of zombies takes as long to import as ten thousand processes take to be looked at. So the command
line begins the look before it imports anything (`begin`), and the scan takes what has been found (`told`).
Whoever has not begun looks for himself (`look`). Both say the same, but that the child has also read, of the
first zombies, the files that tell more. Whether one of them is another by now is for the scan to see.
"""

import marshal
import os
from collections.abc import Collection

from reaperd.kernel.procread import (
    GONE,
    SECRET,
    STAT_BYTES,
    STATUS_BYTES,
    may_be_zombie,
    numbers_in,
    whole,
)

Files = tuple[bytes | None, bytes | None, bytes | None]
"""What a zombie's files `status`, `sched` and `cgroup` hold; None for one that is not there."""

Found = tuple[int, bool, list[bytes], list[Files]]
"""The lowest pid that is to be seen, whether others are hidden, and of each zombie, in ascending order, its
line in `stat`, and, of as many as were read, its files."""

_MOST_READ = 2000  # 3 KiB each
_begun: list[tuple[int, int]] = []  # the child, and where it tells what it has found; one at most


def look(only: Collection[int] | None = None) -> Found | None:
    """Return who is a zombie, of all or of those only; None where /proc shows no process at all.

    Raises:
        OSError: no descriptor is left, or /proc cannot be listed.
    """
    pids = sorted(numbers_in("/proc"))
    if not pids:
        return None
    lines = list(map(_line_of, filter(may_be_zombie, pids if only is None else sorted(only))))
    return pids[0], None in lines, [line for line in lines if line], []


def _line_of(pid: int) -> bytes | None:
    """Return a zombie's line, nothing of anybody else; None where it is hidden: hidepid=1, proc(5)."""
    try:
        line = whole(f"/proc/{pid}/stat", STAT_BYTES)
    except OSError as error:
        if error.errno in SECRET:
            return None
        if error.errno in GONE:
            return b""
        raise
    return line if line.rpartition(b")")[2][1:2] == b"Z" else b""  # the name may hold spaces and brackets


def files_of(pid: int) -> Files:
    """Return what tells of a zombie besides its line.

    Raises:
        OSError: no descriptor is left.
    """
    return _file(f"/proc/{pid}/status"), _file(f"/proc/{pid}/sched"), _file(f"/proc/{pid}/cgroup")


def _file(path: str) -> bytes | None:
    try:
        return whole(path, STATUS_BYTES)
    except OSError as error:
        if error.errno in GONE or error.errno in SECRET:
            return None
        raise


def begin() -> None:
    """Let a child look; nothing happens where no process can be made, perhaps because of the zombies."""
    try:
        read_end, write_end = os.pipe()
        pid = os.fork()
    except OSError:
        return
    if pid == 0:
        try:
            _look_for_parent(write_end)
        finally:  # whatever happened: an answer that is not whole is none
            os._exit(0)
    os.close(write_end)
    _begun.append((pid, read_end))


def _look_for_parent(write_end: int) -> None:
    # Whoever waits for the end of our output, or for a lock that was handed on, is not to wait for this.
    os.closerange(0, write_end)
    os.closerange(write_end + 1, os.sysconf("SC_OPEN_MAX"))
    found = look()
    if found is not None:
        lowest, is_hidden, lines, _ = found
        files = [files_of(int(line.partition(b" ")[0])) for line in lines[:_MOST_READ]]
        with os.fdopen(write_end, "wb") as answer:
            marshal.dump((lowest, is_hidden, lines, files), answer)


def told() -> Found | None:
    """Return what the child has found, once, and collect it; None if there is none, or it could not look."""
    if not _begun:
        return None
    pid, read_end = _begun.pop()
    with os.fdopen(read_end, "rb") as answer:
        data = answer.read()
    _collect(pid)
    try:
        found: Found = marshal.loads(data)  # noqa: S302 - of our own child
    except (EOFError, ValueError):
        return None
    return found


def _collect(pid: int) -> None:
    try:
        os.waitpid(pid, 0)
    except ChildProcessError:  # SIGCHLD is ignored: it has left no zombie
        return

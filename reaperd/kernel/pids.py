"""Which processes there are, and which of them may be zombies: two looks that are cheap for thousands.

This file imports next to nothing, so that a process that has nothing else to do starts at once.
"""

import os
from errno import EINVAL, ENOENT, ESRCH

# ESRCH comes from a file that was opened before its process was reaped, EINVAL from some files of a zombie.
GONE = frozenset({ENOENT, ESRCH, EINVAL})


def list_pids() -> list[int]:
    """Return every process of this PID namespace, in ascending order; none where /proc is not mounted.

    Raises:
        KernelError: no descriptor is left.
    """
    return sorted(numbers_in("/proc"))


def may_be_zombie(pid: int) -> bool:
    """Tell, much faster than by reading its line, that a process is no zombie; True where it may be one.

    A process that can still be looked into and has a working directory has not ended: exit_fs comes first.
    """
    return not os.access(f"/proc/{pid}/cwd", os.F_OK)


def numbers_in(path: str) -> list[int]:
    """Return the numbers that a directory of /proc holds, in its order; none if its process is gone.

    Raises:
        KernelError: no descriptor is left.
    """
    try:
        return [int(name) for name in os.listdir(path) if name.isdecimal()]  # noqa: PTH208 - ten times cheaper than paths
    except OSError as error:
        if error.errno in GONE:
            return []
        from reaperd.kernel.failure import failure  # noqa: PLC0415 - see above

        raise failure("getdents64", error, what=f"list {path}") from error

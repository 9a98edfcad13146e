"""Read /proc raw: which processes there are, which of them may be zombies, and files as bytes.

This file imports next to nothing, so that a process that has nothing else to do starts at once. What is read
is bounded. Every error is raised as it comes: procfs.py makes answers and errors of ours of them, and tells
what the bytes say.
"""

import os
from collections.abc import Iterator
from errno import EACCES, EINVAL, ENOENT, EPERM, ESRCH

# ESRCH comes from a file that was opened before its process was reaped, EINVAL from some files of a zombie.
GONE = frozenset({ENOENT, ESRCH, EINVAL})
SECRET = frozenset({EACCES, EPERM})

STAT_BYTES = 4096
STATUS_BYTES = 65536  # Groups alone may hold 65536 numbers; the fields before it matter most
_CHUNK_BYTES = 262_144


def numbers_in(path: str) -> list[int]:
    """Return the numbers that a directory of /proc holds, in its order."""
    return [int(name) for name in os.listdir(path) if name.isdecimal()]  # noqa: PTH208 - ten times cheaper than paths


def may_be_zombie(pid: int) -> bool:
    """Tell, much faster than by reading its line, that a process is no zombie; True where it may be one.

    A process that can still be looked into and has a working directory has not ended: exit_fs comes first.
    """
    return not os.access(f"/proc/{pid}/cwd", os.F_OK)


def whole(path: str, limit: int) -> bytes:
    """Return a file's bytes, at most `limit`."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if limit <= STAT_BYTES:  # a short line is whole at once: spare the read that finds the end
            return os.read(fd, limit)
        return b"".join(_chunks(fd, limit))
    finally:
        os.close(fd)


def _chunks(fd: int, limit: int) -> Iterator[bytes]:
    """Yield what can be read, a page or more at a time, until the end or `limit` bytes."""
    while limit > 0 and (chunk := os.read(fd, min(limit, _CHUNK_BYTES))):
        limit -= len(chunk)
        yield chunk

"""File descriptors and their limit. Every descriptor made here is close-on-exec."""

import fcntl
import os
import resource
from contextlib import suppress
from typing import Final

from reaperd.kernel.failure import failure

_LAST: Final = 2**31 - 1


def pipe() -> tuple[int, int]:
    """Make a pipe and return its read and its write end; the caller owns both.

    Raises:
        KernelError: EMFILE or ENFILE, with a hint: pipe(2).
    """
    try:
        return os.pipe2(os.O_CLOEXEC)
    except OSError as error:
        raise failure("pipe2", error) from error


def grow_pipe(fd: int, size: int) -> None:
    """Let a pipe hold `size` bytes, if that is allowed; otherwise it stays as it is: F_SETPIPE_SZ, fcntl(2).

    A user other than root may have pipes of up to fs.pipe-max-size, and of fs.pipe-user-pages-soft in all.
    """
    with suppress(OSError):
        fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, size)


def open_null() -> int:
    """Return a new descriptor of /dev/null, open for reading and writing; the caller owns it: null(4).

    Raises:
        KernelError: no descriptor is left, or there is no /dev/null.
    """
    try:
        return os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        raise failure("open", error, what=f"open {os.devnull}") from error


def set_nonblocking(fd: int) -> None:
    """Let reads and writes fail with EAGAIN instead of waiting: O_NONBLOCK, fcntl(2).

    The flag belongs to the open file, not to the descriptor: whoever shares it is affected too.

    Raises:
        KernelError: EBADF.
    """
    try:
        os.set_blocking(fd, False)
    except OSError as error:
        raise failure("fcntl", error) from error


def close_from(first: int) -> None:
    """Close every descriptor from `first` on; one system call, safe between fork and exec: close_range(2)."""
    os.closerange(first, _LAST)


def set_close_on_exec(first: int) -> None:
    """Let every open descriptor from `first` on end with the next exec: FD_CLOEXEC, fcntl(2).

    What a caller left open is no business of the programs that this one starts.
    """
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208 - ten times cheaper than paths
        fd = int(name)
        # the listing's own descriptor is among the names, and closed by now
        if fd >= first:
            with suppress(OSError):
                os.set_inheritable(fd, False)


def raise_nofile_limit() -> tuple[int, int]:
    """Raise this process's soft limit of descriptors to its hard one: RLIMIT_NOFILE, getrlimit(2).

    Returns:
        (soft, hard) as they were, to be given back to children: select(2) in them breaks above 1024.

    Raises:
        KernelError: EPERM, the hard limit is above fs.nr_open.
    """
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (before[1], before[1]))
    except OSError as error:
        raise failure("setrlimit", error, what="raise the limit of open files") from error
    return before

"""Descriptors that mean one process for ever, however often its pid is reused: pidfd_open(2).

A pidfd polls readable when its process has become a zombie and all its threads are gone; it can be opened
on a zombie, and once that is reaped it hangs up (EPOLLHUP, Linux 6.9 or newer).
"""

import errno
import fcntl
import os
import signal as _signal
import struct
from typing import Final

from reaperd.kernel.failure import failure

# ESRCH: the pid is free. EINVAL, since Linux 6.15 ENOENT: the number is not a process, but is still in use
# as a thread's, or as the id of a group or session whose leader is gone.
_NO_PROCESS: Final = frozenset({errno.ESRCH, errno.EINVAL, errno.ENOENT})

_INFO_BYTES: Final = 64  # PIDFD_INFO_SIZE_VER0
_INFO_PID: Final = 1  # PIDFD_INFO_PID
_INFO_HEAD: Final = struct.Struct("=QQI")  # mask, cgroup id, pid
_GET_INFO: Final = 3 << 30 | _INFO_BYTES << 16 | 0xFF << 8 | 11  # _IOWR(0xFF, 11, struct pidfd_info)


def open(pid: int) -> int | None:  # noqa: A001 - read as pidfd.open
    """Return a new close-on-exec descriptor of process `pid`, or None if it is gone.

    The caller owns the descriptor. Between a fork and this call SIGCHLD must not be handled: the child
    could be reaped, and its pid given to another process, before it is opened.

    Raises:
        KernelError: EMFILE or ENFILE, with a hint; EINVAL for a pid below 1.
    """
    try:
        return os.pidfd_open(pid)
    except OSError as error:
        if pid > 0 and error.errno in _NO_PROCESS:
            return None
        raise failure("pidfd_open", error, what=f"watch process {pid}") from error


def send(pidfd: int, signal: int) -> bool:
    """Send `signal` to exactly that process: pidfd_send_signal(2).

    Returns:
        False if it has been reaped. A zombie still accepts any signal, and nothing happens.

    Raises:
        KernelError: EPERM, another user's process; EINVAL, not a signal.
    """
    try:
        _signal.pidfd_send_signal(pidfd, signal)
    except ProcessLookupError:
        return False
    except OSError as error:
        raise failure("pidfd_send_signal", error, what=f"send signal {signal}") from error
    return True


def info_pid(pidfd: int) -> int:
    """Return the pid of a descriptor's process, asked of the descriptor itself: PIDFD_GET_INFO.

    Source: include/uapi/linux/pidfd.h; since Linux 6.13.

    Raises:
        KernelError: ENOTTY on an older kernel; ESRCH where the process is gone.
    """
    record = struct.pack("=Q", _INFO_PID).ljust(_INFO_BYTES, b"\0")
    try:
        answer = fcntl.ioctl(pidfd, _GET_INFO, record)
    except OSError as error:
        raise failure("ioctl", error, what="ask a pidfd who it is") from error
    return int(_INFO_HEAD.unpack_from(answer)[2])

"""A Unix datagram socket whose messages come with proof of who sent them: unix(7).

The kernel attaches the sender's process, user and group to each message (SO_PASSCRED), and since Linux 6.5
a pidfd too (SO_PASSPIDFD), which still tells whether that process is there once its pid has been used again.
"""

import os
import socket
import struct
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from reaperd.kernel.failure import failure

LONGEST: Final = 4096  # bytes of a message, as systemd has it

_UCRED: Final = struct.Struct("iII")  # struct ucred: unix(7)
_INT: Final = struct.Struct("i")
_SO_PASSPIDFD: Final = 76  # asm-generic/socket.h; unknown to the socket module of CPython 3.11
_SCM_CREDENTIALS: Final = 2
_SCM_PIDFD: Final = 4
_MOST_FDS: Final = 253  # SCM_MAX_FD: more cannot be passed at once
_ANCILLARY: Final = (
    socket.CMSG_SPACE(_UCRED.size) + socket.CMSG_SPACE(_INT.size) + socket.CMSG_SPACE(_MOST_FDS * _INT.size)
)


@dataclass(frozen=True, slots=True)
class Datagram:
    """One message and what came with it; `close` it.

    Attributes:
        data: at most `LONGEST` bytes of it.
        cut: there was more.
        pid: the sender, 0 where it lives in a PID namespace that we cannot see.
        uid: the sender's user.
        pidfd: the sender, None where the kernel does not give one or the sender has been reaped.
        fds: descriptors that were passed, close-on-exec.
    """

    data: bytes
    cut: bool
    pid: int
    uid: int
    pidfd: int | None
    fds: tuple[int, ...]

    def close(self) -> None:
        """Close every descriptor that came with the message."""
        for fd in self.fds:
            os.close(fd)
        if self.pidfd is not None:
            os.close(self.pidfd)


def open_receiver(name: bytes) -> socket.socket:
    """Return a non-blocking socket bound to the abstract `name`; the caller owns it.

    An abstract name is no file: it needs no directory that both sides may reach, works where everything is
    mounted read-only, and is gone with the socket. It belongs to the network namespace: unix(7).

    Raises:
        KernelError: EMFILE or ENFILE, with a hint; EADDRINUSE, the name is taken.
    """
    try:
        receiver = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    except OSError as error:
        raise failure("socket", error) from error
    try:
        receiver.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        with suppress(OSError):  # before Linux 6.5
            receiver.setsockopt(socket.SOL_SOCKET, _SO_PASSPIDFD, 1)
        receiver.bind(b"\0" + name)
    except OSError as error:
        receiver.close()
        raise failure("bind", error) from error
    return receiver


def receive(receiver: socket.socket) -> Datagram | None:
    """Return the next message, None where there is none now: recvmsg(2).

    Raises:
        KernelError: the socket is broken.
    """
    try:
        data, ancillary, flags, _address = receiver.recvmsg(LONGEST, _ANCILLARY, socket.MSG_CMSG_CLOEXEC)
    except (BlockingIOError, InterruptedError):
        return None
    except OSError as error:
        raise failure("recvmsg", error) from error
    pid, uid = 0, -1
    pidfd: int | None = None
    fds: tuple[int, ...] = ()
    for level, kind, content in ancillary:
        if level != socket.SOL_SOCKET:
            continue
        if kind == socket.SCM_RIGHTS:
            # What did not fit was closed by the kernel; half a number at the end is not one.
            whole = len(content) - len(content) % _INT.size
            fds += tuple(number for (number,) in _INT.iter_unpack(content[:whole]))
        elif kind == _SCM_CREDENTIALS and len(content) >= _UCRED.size:
            pid, uid, _gid = _UCRED.unpack(content[: _UCRED.size])
        elif kind == _SCM_PIDFD and len(content) >= _INT.size:
            (number,) = _INT.unpack(content[: _INT.size])
            pidfd = number if number >= 0 else None  # an errno: the sender has been reaped
    return Datagram(data, bool(flags & socket.MSG_TRUNC), pid, uid, pidfd, fds)

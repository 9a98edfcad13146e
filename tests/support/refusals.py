"""Let the kernel refuse a system call of this process from now on, as it does where a limit is reached.

By a filter of seccomp(2), which needs no right and cannot be taken away again: for scenarios, which have a
process of their own.
"""

import ctypes
import errno
import os
import struct
from typing import Final

import pytest

_PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP, _SECCOMP_MODE_FILTER = 38, 22, 2
_LOAD, _EQUALS, _RETURN = 0x20, 0x15, 0x06  # BPF_LD|BPF_W|BPF_ABS, BPF_JMP|BPF_JEQ|BPF_K, BPF_RET|BPF_K
_NR, _FIRST_ARGUMENT, _SECOND_ARGUMENT = 0, 16, 24  # where they are in struct seccomp_data: linux/seccomp.h
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000
_EPOLL_CTL: Final = {"x86_64": 233, "aarch64": 21}
_EPOLL_CTL_ADD: Final = 1


def need_filter() -> None:
    """Skip where the number of the call is not known."""
    if os.uname().machine not in _EPOLL_CTL:
        pytest.skip("the number of epoll_ctl is known for x86-64 and aarch64 only")


def refuse_watches(epoll_fd: int | None = None) -> None:
    """Let nothing more be watched by this epoll, or by any: ENOSPC, as at fs.epoll.max_user_watches."""
    wanted = [(_NR, _EPOLL_CTL[os.uname().machine]), (_SECOND_ARGUMENT, _EPOLL_CTL_ADD)]
    if epoll_fd is not None:
        wanted.append((_FIRST_ARGUMENT, epoll_fd))
    instructions: list[tuple[int, int, int, int]] = []
    for left, (place, value) in zip(range(len(wanted), 0, -1), wanted, strict=True):
        to_allow = 2 * (left - 1) + 1
        instructions += [(_LOAD, 0, 0, place), (_EQUALS, 0, to_allow, value)]
    _install(*instructions, (_RETURN, 0, 0, _ERRNO | errno.ENOSPC), (_RETURN, 0, 0, _ALLOW))


class _Program(ctypes.Structure):
    """struct sock_fprog."""

    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def _install(*instructions: tuple[int, int, int, int]) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    code = b"".join(struct.pack("HBBI", *each) for each in instructions)
    program = _Program(len(instructions), code)
    zero = ctypes.c_ulong(0)
    one = ctypes.c_ulong(1)
    for words in (
        (_PR_SET_NO_NEW_PRIVS, one, zero, zero, zero),
        (_PR_SET_SECCOMP, ctypes.c_ulong(_SECCOMP_MODE_FILTER), ctypes.byref(program), zero, zero),
    ):
        if libc.prctl(*words) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), f"prctl {words[0]}")

"""Operations on the calling process or thread: prctl(2).

After a fork these may be called in the child if the parent has called any of them before: then the
library is loaded and nothing is left to resolve.
"""

import os
from collections.abc import Callable
from ctypes import addressof, c_int, c_ulong, create_string_buffer
from functools import cache
from typing import Final

from reaperd.errors import KernelError
from reaperd.kernel.libc import declare, last_errno

PR_SET_PDEATHSIG: Final = 1
PR_GET_PDEATHSIG: Final = 2
PR_SET_DUMPABLE: Final = 4
PR_SET_NAME: Final = 15
PR_SET_CHILD_SUBREAPER: Final = 36
PR_GET_CHILD_SUBREAPER: Final = 37

_NAME_BYTES: Final = 15  # TASK_COMM_LEN without its end: PR_SET_NAME(2const)


@cache
def _function() -> Callable[..., int]:
    # prctl is variadic: give all five words, or the unset ones carry garbage.
    return declare("prctl", c_int, c_ulong, c_ulong, c_ulong, c_ulong)


def _prctl(operation: int, argument: int, *, hint: str | None = None) -> None:
    if _function()(operation, argument, 0, 0, 0) < 0:
        raise KernelError("prctl", last_errno(), hint=hint)


def set_child_subreaper(on: bool) -> None:  # noqa: FBT001 - the system call's own argument
    """Become, or stop being, the parent that orphaned descendants get.

    Not inherited by fork, kept across execve: PR_SET_CHILD_SUBREAPER(2const).

    Raises:
        KernelError: EINVAL before Linux 3.4.
    """
    _prctl(PR_SET_CHILD_SUBREAPER, int(on), hint="needs Linux 3.4 or newer")


def is_child_subreaper() -> bool:
    """Tell whether this process is a child subreaper; of others the kernel does not tell.

    Raises:
        KernelError: EINVAL before Linux 3.4.
    """
    value = c_int()
    _prctl(PR_GET_CHILD_SUBREAPER, addressof(value), hint="needs Linux 3.4 or newer")
    return bool(value.value)


def set_parent_death_signal(signal: int) -> None:
    """Let the kernel send `signal` to this process when the thread that forked it ends; 0 for none.

    Cleared by fork, setuid and an exec that gains privileges, kept by any other exec:
    PR_SET_PDEATHSIG(2const). So call it after setuid, and compare getppid() afterwards: a parent that
    was gone before sends nothing.

    Raises:
        KernelError: EINVAL, not a signal number.
    """
    _prctl(PR_SET_PDEATHSIG, signal)


def parent_death_signal() -> int:
    """Return the signal that `set_parent_death_signal` has set, 0 for none."""
    value = c_int()
    _prctl(PR_GET_PDEATHSIG, addressof(value))
    return value.value


def set_dumpable(on: bool) -> None:  # noqa: FBT001 - the system call's own argument
    """Let this process dump core and be looked into, or not: PR_SET_DUMPABLE(2const).

    New credentials clear it.

    Raises:
        KernelError: a kernel that does not know it.
    """
    _prctl(PR_SET_DUMPABLE, int(on))


def set_name(name: str) -> None:
    """Set the calling thread's name, as ps and /proc/PID/comm show it.

    At most 15 bytes are kept, and nothing after a NUL: PR_SET_NAME(2const).
    """
    buffer = create_string_buffer(os.fsencode(name)[:_NAME_BYTES])
    _prctl(PR_SET_NAME, addressof(buffer))

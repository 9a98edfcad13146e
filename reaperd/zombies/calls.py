"""What the system call that a thread sleeps in tells of its waiting for children: syscalls(2)."""

import os
from collections.abc import Mapping
from typing import Final, NamedTuple

from reaperd.kernel.proctask import Call
from reaperd.zombies.facts import ThreadFacts

_WNOTHREAD: Final = 0x20000000  # wait4(2): children of the calling thread alone


class _Calls(NamedTuple):
    """Numbers of the system calls that matter: syscalls(2)."""

    wait4: int
    waitid: int
    sigtimedwait: int
    vfork: int | None
    waitpid: int | None = None


_NUMBERS: Final[Mapping[str, _Calls]] = {
    "x86_64": _Calls(wait4=61, waitid=247, sigtimedwait=128, vfork=58),
    "aarch64": _Calls(wait4=260, waitid=95, sigtimedwait=137, vfork=None),
}
_NUMBERS_32: Final[Mapping[str, _Calls]] = {
    "x86_64": _Calls(wait4=114, waitid=284, sigtimedwait=177, vfork=190, waitpid=7),
    "aarch64": _Calls(wait4=114, waitid=280, sigtimedwait=177, vfork=190),
}
_SIGTIMEDWAIT_64: Final = 421  # rt_sigtimedwait_time64, of every 32-bit machine since Linux 5.1
_NO_CALLS: Final = _Calls(wait4=-1, waitid=-1, sigtimedwait=-1, vfork=None)
_HERE: Final = _NUMBERS.get(os.uname().machine, _NO_CALLS)
_HERE_32: Final = _NUMBERS_32.get(os.uname().machine, _NO_CALLS)


def _numbers(call: Call) -> _Calls:
    return _HERE_32 if call.is_32_bit else _HERE


def is_vfork(thread: ThreadFacts) -> bool:
    """Tell whether a thread sleeps until a child that it made by vfork goes on."""
    is_call = thread.call is not None and thread.call.number == _numbers(thread.call).vfork
    return is_call or thread.wchan == "kernel_clone"


def waited_for(call: Call | None) -> int | None:
    """Return the single pid that a thread waits for, None where it waits for more or does not wait."""
    if call is None:
        return None
    if call.number in (_numbers(call).wait4, _numbers(call).waitpid):
        pid = call.arguments[0] & 0xFFFFFFFF
        return pid if 0 < pid < 1 << 31 else None
    is_one = call.number == _numbers(call).waitid and call.arguments[0] & 0xFFFFFFFF == os.P_PID
    return call.arguments[1] & 0xFFFFFFFF if is_one else None


def waits_for_own(call: Call) -> bool:
    """Tell whether a thread waits for children that it made itself, and for no others."""
    return bool(_options(call) & _WNOTHREAD)


def takes_signals(call: Call | None) -> bool:
    """Tell whether a thread sleeps until one of certain signals comes: sigtimedwait(2)."""
    if call is None:
        return False
    return call.number == _numbers(call).sigtimedwait or (call.is_32_bit and call.number == _SIGTIMEDWAIT_64)


def _options(call: Call) -> int:
    if call.number in (_numbers(call).wait4, _numbers(call).waitpid):
        return call.arguments[2]
    return call.arguments[3] if call.number == _numbers(call).waitid else 0

"""A timer of the wall clock as a descriptor that also tells when that clock is set: timerfd_create(2).

A timeout of a poll counts the monotonic clock, so it sleeps through a clock that is set and through a machine
that sleeps. This timer expires at a time of CLOCK_REALTIME, and its descriptor becomes readable as well when
that clock makes a jump: set by hand or by a time daemon, or because the machine was asleep.
"""

import errno
import os
import time
from collections.abc import Callable
from ctypes import POINTER, Structure, byref, c_int, c_long, c_void_p
from enum import Enum
from functools import cache
from typing import Final

from reaperd.errors import KernelError
from reaperd.kernel.libc import declare, last_errno

TFD_CLOEXEC: Final = os.O_CLOEXEC
TFD_NONBLOCK: Final = os.O_NONBLOCK
TFD_TIMER_ABSTIME: Final = 1
TFD_TIMER_CANCEL_ON_SET: Final = 2

_SECOND_NS: Final = 1_000_000_000
_NEVER_NS: Final = 2**63 - 1  # the kernel's own end of time, KTIME_MAX


class Reading(Enum):
    """Why the descriptor was readable."""

    NOTHING = "nothing"
    EXPIRED = "expired"
    CLOCK_SET = "clock set"


class _Itimerspec(Structure):
    """struct itimerspec: an interval, then the first expiry; each in seconds and nanoseconds."""

    _fields_ = (
        ("interval_s", c_long),
        ("interval_ns", c_long),
        ("value_s", c_long),
        ("value_ns", c_long),
    )


@cache
def _create() -> Callable[..., int]:
    return declare("timerfd_create", c_int, c_int)


@cache
def _settime() -> Callable[..., int]:
    return declare("timerfd_settime", c_int, c_int, POINTER(_Itimerspec), c_void_p)


class WallTimer:
    """Own one timer of CLOCK_REALTIME; close-on-exec, and reading never waits.

    From its making on every jump of the clock is told exactly once, by `read` or by `arm`: so make it, and
    only then read the clock.

    Attributes:
        fd: polls readable once the timer has expired or the clock was set.

    Raises:
        KernelError: EMFILE or ENFILE, no descriptor is left; EINVAL before Linux 3.0.
    """

    __slots__ = ("fd",)

    def __init__(self) -> None:
        self.fd = _create()(time.CLOCK_REALTIME, TFD_NONBLOCK | TFD_CLOEXEC)
        if self.fd < 0:
            raise KernelError("timerfd_create", last_errno(), what="watch the wall clock")
        # Only an armed timer hears of jumps.
        self.arm(_NEVER_NS)

    def arm(self, at_ns: int) -> bool:
        """Let the timer expire at `at_ns`, in place of any earlier time; at once if that is over.

        Returns:
            False if the clock was set since this was last asked or read. The timer is armed all the same,
            but the caller's idea of `at_ns` comes from another time.

        Raises:
            KernelError: EINVAL before Linux 3.0.
        """
        seconds, nanoseconds = divmod(max(at_ns, 1), _SECOND_NS)  # zero would disarm it
        value = _Itimerspec(0, 0, seconds, nanoseconds)
        flags = TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET
        if _settime()(self.fd, flags, byref(value), None) == 0:
            return True
        number = last_errno()
        if number == errno.ECANCELED:
            return False
        raise KernelError("timerfd_settime", number, what="arm a timer", hint="needs Linux 3.0 or newer")

    def read(self) -> Reading:
        """Return why the descriptor is readable, and make it unreadable again.

        Raises:
            OSError: EBADF, the timer was closed.
        """
        try:
            os.read(self.fd, 8)
        except BlockingIOError:
            return Reading.NOTHING
        except OSError as error:
            if error.errno == errno.ECANCELED:
                return Reading.CLOCK_SET
            raise
        return Reading.EXPIRED

    def close(self) -> None:
        """Close the descriptor; to be called once nobody watches it any more."""
        os.close(self.fd)

"""A wall clock that can be set, a monotonic one that cannot, and timers for both."""

import os

from reaperd.kernel.timerfd import Reading


class FakeWall:
    """Both clocks; `pass_` lets time go by, `set` makes the wall clock jump.

    Attributes:
        wall_ns: CLOCK_REALTIME.
        monotonic_ns: CLOCK_MONOTONIC.
        timers: those that are open.
    """

    def __init__(self, wall_ns: int, monotonic_ns: int = 10**9) -> None:
        self.wall_ns = wall_ns
        self.monotonic_ns = monotonic_ns
        self.timers: list[FakeWallTimer] = []

    def wall(self) -> int:
        """Return the wall clock's time."""
        return self.wall_ns

    def monotonic(self) -> int:
        """Return the monotonic clock's time."""
        return self.monotonic_ns

    def open_timer(self) -> "FakeWallTimer":
        """Return a new timer."""
        return FakeWallTimer(self)

    def pass_(self, ns: int) -> None:
        """Let time go by for both clocks."""
        self.wall_ns += ns
        self.monotonic_ns += ns
        for timer in self.timers:
            timer.notice()

    def set(self, wall_ns: int) -> None:
        """Set the wall clock, as settimeofday(2) does, and as the end of the machine's sleep does."""
        self.wall_ns = wall_ns
        for timer in self.timers:
            timer.cancelled = True
            timer.notice()

    def sleep(self, ns: int) -> None:
        """Let the machine sleep: only the wall clock goes on."""
        self.set(self.wall_ns + ns)


class FakeWallTimer:
    """As timerfd_create(2) describes a timer that is cancelled when the clock is set; `fd` is an eventfd."""

    def __init__(self, clock: FakeWall) -> None:
        self.fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self.at_ns: int | None = None
        self.cancelled = False
        self.arms = 0
        self._clock = clock
        clock.timers.append(self)

    def notice(self) -> None:
        """Become readable if there is reason."""
        expired = self.at_ns is not None and self.at_ns <= self._clock.wall_ns
        if expired or self.cancelled:
            os.eventfd_write(self.fd, 1)

    def arm(self, at_ns: int) -> bool:
        """Arm the timer; False if the clock was set and nobody has been told yet."""
        self._drain()
        self.arms += 1
        self.at_ns = at_ns
        told, self.cancelled = self.cancelled, False
        self.notice()
        return not told

    def read(self) -> Reading:
        """Return why it is readable."""
        if not self._drain():
            return Reading.NOTHING
        if self.cancelled:
            self.cancelled = False
            return Reading.CLOCK_SET
        self.at_ns = None
        return Reading.EXPIRED

    def close(self) -> None:
        """Close the descriptor."""
        self._clock.timers.remove(self)
        os.close(self.fd)

    def _drain(self) -> bool:
        try:
            os.eventfd_read(self.fd)
        except BlockingIOError:
            return False
        return True

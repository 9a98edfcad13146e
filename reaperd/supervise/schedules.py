"""Post `ScheduleDue` at each time of each scheduled service that is wanted up.

One timer of the wall clock serves all schedules, those by the monotonic clock too: it is armed for the
nearest of all times as the wall clock will then show it, and whenever that clock is set the kernel says so
and all is reckoned anew. Without any schedule there is no timer and no descriptor. Nothing else in the daemon
reads the wall clock to decide by it.

Where no descriptor is left for that timer, or it cannot be watched, the schedules stay armed: until there is
one again, a timeout of the poll looks at them every second.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from reaperd.config.spec import SECOND_NS, Cron, Every
from reaperd.errors import KernelError
from reaperd.kernel.timerfd import Reading, WallTimer
from reaperd.loop.poller import Phase
from reaperd.policy import agenda
from reaperd.policy.agenda import Entry, Now
from reaperd.policy.words import Event, ScheduleDue
from reaperd.supervise.service import Service
from reaperd.supervise.world import Pulse, World

_RETRY: Final = ("", Pulse.SCHEDULE)  # one timer for all, as no service is called ""


class Timer(Protocol):
    """What is needed of `kernel.timerfd.WallTimer`."""

    @property
    def fd(self) -> int:
        """Readable when the timer expired or the clock was set."""

    def arm(self, at_ns: int) -> bool:
        """Expire at `at_ns`; False if the clock was set meanwhile."""

    def read(self) -> Reading:
        """Return why `fd` is readable."""

    def close(self) -> None:
        """Close `fd`."""


@dataclass(slots=True)
class _Armed:
    """A schedule that waits for its next time."""

    service: Service
    entry: Entry


class Schedules:
    """Know the next time of every armed schedule.

    Implements `loop.poller.Source` for the timer.

    Args:
        world: its poller, its timers, its log and its monotonic clock are used.
        post: takes the events.
        wall: the wall clock, in nanoseconds since 1970 in UTC.
        open_timer: makes a timer of that clock.
    """

    name = "schedules"
    phase = Phase.REPORTS

    def __init__(
        self,
        world: World,
        post: Callable[[Service, Event], None],
        *,
        wall: Callable[[], int] = time.time_ns,
        open_timer: Callable[[], Timer] = WallTimer,
    ) -> None:
        self._poller = world.poller
        self._timers = world.timers
        self._log = world.log
        self._monotonic = world.clock
        self._post = post
        self._wall = wall
        self._open_timer = open_timer
        self._timer: Timer | None = None  # while anything is armed
        self._armed: dict[str, _Armed] = {}
        self._is_retrying = False

    def arm(self, service: Service) -> None:
        """Let the times of `next_spec`, else of `spec`, come due from now on; replaces what was armed.

        A schedule whose times have not changed keeps its pace. It is armed even where the timer cannot be
        had.
        """
        when = _when(service)
        if when is None:
            self.cancel(service)
            return
        # The timer first: from its making on no jump of the clock goes unnoticed.
        self._open()
        armed = self._armed.get(service.spec.name)
        if armed is None or armed.entry.when != when:
            self._armed[service.spec.name] = _Armed(service, agenda.first(when, self._now()))
        self._rearm()

    def cancel(self, service: Service) -> None:
        """Let them come due no more; harmless where nothing was armed."""
        self._forget(service)
        self._rearm()

    def ready(self, fd: int, events: int) -> None:
        """Post what is due, or reckon anew because the clock was set."""
        del fd, events
        if self._timer is None:
            return
        reading = self._timer.read()
        if reading is not Reading.NOTHING:
            self._look(clock_set=reading is Reading.CLOCK_SET)
            self._rearm()

    def failed(self, fd: int) -> None:
        """Do without the timer, which cannot be read, until there is another."""
        del fd
        self._close()
        self._wait_for_timer()

    def due(self) -> None:
        """Try again to have a timer, and look at once: nobody told of the clock meanwhile."""
        if self._armed:
            self._open()
            self._look(clock_set=True)
            self._rearm()

    def _look(self, *, clock_set: bool) -> None:
        now = self._now()
        for armed in list(self._armed.values()):
            if _when(armed.service) is None:
                self._forget(armed.service)  # a reload took the schedule away while the service ran
            elif agenda.is_due(armed.entry, now):
                armed.entry = agenda.after_due(armed.entry, now)
                self._post(armed.service, ScheduleDue(now.monotonic_ns))
            elif clock_set:
                armed.entry = agenda.after_jump(armed.entry, now)

    def _forget(self, service: Service) -> None:
        self._armed.pop(service.spec.name, None)
        service.next_run_ns = None

    def _rearm(self) -> None:
        """Arm the timer for the nearest time; again, if the clock was set after that time was reckoned."""
        if not self._armed:
            self._close()
            self._timers.cancel(_RETRY)
            self._is_retrying = False
        while (at_ns := self._reckon()) is not None:
            if self._timer is None or self._timer.arm(at_ns):
                return
            self._look(clock_set=True)

    def _reckon(self) -> int | None:
        """Tell each service its next time as the wall clock stands, and return the nearest."""
        now = self._now()
        for armed in self._armed.values():
            armed.service.next_run_ns = agenda.wall_ns(armed.entry, now)
        times = (armed.service.next_run_ns for armed in self._armed.values())
        return min((at_ns for at_ns in times if at_ns is not None), default=None)

    def _now(self) -> Now:
        # The monotonic clock first: what passes between the two readings makes a time late, never early.
        monotonic_ns = self._monotonic()
        return Now(self._wall(), monotonic_ns)

    def _open(self) -> None:
        if self._timer is not None:
            return
        try:
            self._timer = self._open_watched()
        except KernelError as error:
            if not self._is_retrying:
                self._log("schedule.no_timer", error=error.message)
            self._wait_for_timer()
            return
        self._is_retrying = False
        self._timers.cancel(_RETRY)

    def _open_watched(self) -> Timer:
        timer = self._open_timer()
        try:
            self._poller.watch(timer.fd, self)
        except KernelError:
            timer.close()
            raise
        return timer

    def _wait_for_timer(self) -> None:
        self._is_retrying = True
        self._timers.arm(_RETRY, self._monotonic() + SECOND_NS)

    def _close(self) -> None:
        if self._timer is not None:
            self._poller.drop(self._timer.fd)
            self._timer.close()
            self._timer = None


def _when(service: Service) -> Cron | Every | None:
    schedule = (service.next_spec or service.spec).schedule
    return None if schedule is None else schedule.when

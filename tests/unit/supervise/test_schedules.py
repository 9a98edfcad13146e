import errno
import os
from collections.abc import Iterator
from types import SimpleNamespace
from typing import cast

import pytest

from reaperd.config.spec import SECOND_NS, Cron, Every, Schedule, ServiceSpec
from reaperd.errors import KernelError
from reaperd.loop.poller import Poller
from reaperd.loop.timers import Timers
from reaperd.policy.words import Event, Run, ScheduleDue
from reaperd.supervise.schedules import Schedules
from reaperd.supervise.service import Service
from reaperd.supervise.world import Deadline, Pulse, World
from tests.support.fake_wall import FakeWall, FakeWallTimer

MINUTE_NS = 60 * SECOND_NS
HOUR_NS = 60 * MINUTE_NS
DAY_NS = 24 * HOUR_NS
NOON_NS = 20_000 * DAY_NS + 12 * HOUR_NS
QUARTERLY = Cron("*/15 * * * *")


class Stage:
    """Schedules on a clock that a test moves, and what they posted."""

    def __init__(self) -> None:
        self.clock = FakeWall(NOON_NS)
        self.poller = Poller()
        self.posted: list[str] = []
        self.timers: Timers[Deadline] = Timers()
        self.said: list[str] = []
        self.is_full = False  # the descriptor table
        world = SimpleNamespace(
            poller=self.poller, clock=self.clock.monotonic, timers=self.timers, log=self._say
        )
        self.schedules = Schedules(
            cast(World, world), self._note, wall=self.clock.wall, open_timer=self._open_timer
        )

    def _open_timer(self) -> FakeWallTimer:
        if self.is_full:
            raise KernelError("timerfd_create", errno.EMFILE, what="watch the wall clock")
        return self.clock.open_timer()

    def _say(self, name: str, **_keys: object) -> None:
        self.said.append(name)

    def fire(self) -> None:
        """Act on the poll's timeouts that are over."""
        for what in self.timers.due(self.clock.monotonic_ns):
            assert what == ("", Pulse.SCHEDULE)
            self.schedules.due()

    def _note(self, service: Service, event: Event) -> None:
        assert event == ScheduleDue(self.clock.monotonic_ns)
        self.posted.append(service.spec.name)

    def arm(self, name: str, when: Cron | Every) -> Service:
        """Arm the schedule of a new service."""
        service = Service(ServiceSpec(name, ("x",), schedule=Schedule(when)), Run())
        self.schedules.arm(service)
        return service

    def turn(self) -> int:
        """Serve what is ready, as the loop does; return how many descriptors were."""
        ready = self.poller.poll(0)
        for fd, events in ready:
            source = self.poller.source_of(fd)
            assert source is self.schedules
            source.ready(fd, events)
        return len(ready)

    def come(self) -> list[str]:
        """Turn until nothing is ready, and return the services that were due."""
        self.posted.clear()
        turns = 0
        while self.turn():
            turns += 1
            assert turns < 5, "the timer is readable again and again"
        return list(self.posted)

    @property
    def timer(self) -> FakeWallTimer:
        """The one timer there is."""
        (timer,) = self.clock.timers
        return timer


@pytest.fixture
def stage() -> Iterator[Stage]:
    """Yield schedules on a fake clock, and close what they leave open."""
    made = Stage()
    yield made
    for timer in list(made.clock.timers):
        timer.close()
    made.poller.close()


def test_without_schedules_there_is_no_timer(stage: Stage) -> None:
    """A descriptor exists only while a schedule is armed."""
    assert stage.clock.timers == []
    service = stage.arm("tidy", QUARTERLY)
    assert len(stage.clock.timers) == 1
    stage.schedules.cancel(service)
    assert stage.clock.timers == []


def test_one_timer_serves_all(stage: Stage) -> None:
    """However many schedules there are, by either clock, one descriptor serves them, each in its time."""
    stage.arm("quarterly", QUARTERLY)
    stage.arm("often", Every(MINUTE_NS))
    stage.arm("seldom", Every(20 * MINUTE_NS))
    assert stage.timer.at_ns == NOON_NS + MINUTE_NS
    stage.clock.pass_(MINUTE_NS)
    assert stage.come() == ["often"]
    stage.clock.pass_(14 * MINUTE_NS)
    assert stage.come() == ["quarterly", "often"]
    stage.clock.pass_(5 * MINUTE_NS)
    assert stage.come() == ["often", "seldom"]


def test_nothing_wakes_before_its_time(stage: Stage) -> None:
    """The timer is not readable until the nearest time."""
    stage.arm("tidy", Every(HOUR_NS))
    stage.clock.pass_(HOUR_NS - 1)
    assert stage.turn() == 0
    stage.clock.pass_(1)
    assert stage.come() == ["tidy"]


def test_a_jump_forward_by_a_day_comes_once(stage: Stage) -> None:
    """A clock set forward by a day makes `cron` due once, and `every` not at all."""
    stage.arm("quarterly", QUARTERLY)
    stage.arm("hourly", Every(HOUR_NS))
    stage.clock.set(NOON_NS + DAY_NS)
    assert stage.come() == ["quarterly"]
    stage.clock.pass_(15 * MINUTE_NS)
    assert stage.come() == ["quarterly"]
    stage.clock.pass_(45 * MINUTE_NS)
    assert stage.come() == ["quarterly", "hourly"]


def test_a_jump_back_by_a_day_is_not_slept_through(stage: Stage) -> None:
    """After a jump back the next time is the next by the new clock; a pace apart goes on as it was."""
    stage.arm("quarterly", QUARTERLY)
    stage.arm("hourly", Every(HOUR_NS))
    stage.clock.set(NOON_NS - DAY_NS)
    assert stage.come() == []
    stage.clock.pass_(15 * MINUTE_NS)
    assert stage.come() == ["quarterly"]
    stage.clock.pass_(45 * MINUTE_NS)
    assert stage.come() == ["quarterly", "hourly"]


def test_times_that_the_machine_slept_through_come_once(stage: Stage) -> None:
    """When the machine wakes, all times it slept through count as one, on the wall clock only."""
    stage.arm("quarterly", QUARTERLY)
    stage.arm("hourly", Every(HOUR_NS))
    stage.clock.sleep(7 * HOUR_NS)
    assert stage.come() == ["quarterly"]


def test_a_clock_set_between_reckoning_and_arming_is_noticed(stage: Stage) -> None:
    """If the clock is set after a time was reckoned, arming the timer tells, and it is reckoned again."""
    stage.arm("quarterly", QUARTERLY)
    stage.clock.set(NOON_NS - DAY_NS)
    stage.arm("another", Every(HOUR_NS))  # arms the timer before anybody has read that the clock was set
    assert stage.timer.at_ns == NOON_NS - DAY_NS + 15 * MINUTE_NS
    assert stage.come() == []


def test_next_is_by_the_wall_clock(stage: Stage) -> None:
    """The next time of either kind is told as the wall clock will show it, also after a jump."""
    quarterly, hourly = stage.arm("quarterly", QUARTERLY), stage.arm("hourly", Every(HOUR_NS))
    assert quarterly.next_run_ns == NOON_NS + 15 * MINUTE_NS
    assert hourly.next_run_ns == NOON_NS + HOUR_NS
    stage.clock.set(NOON_NS + DAY_NS + 1)
    stage.come()
    assert quarterly.next_run_ns == NOON_NS + DAY_NS + 15 * MINUTE_NS
    assert hourly.next_run_ns == NOON_NS + DAY_NS + HOUR_NS + 1
    stage.schedules.cancel(quarterly)
    assert quarterly.next_run_ns is None


def _change(service: Service, when: Cron | Every | None) -> None:
    schedule = None if when is None else Schedule(when)
    service.next_spec = ServiceSpec(service.spec.name, ("x",), schedule=schedule)


def test_a_changed_schedule_is_armed_anew(stage: Stage) -> None:
    """After a reload the times are those of the new configuration, from now on."""
    service = stage.arm("tidy", Every(HOUR_NS))
    stage.clock.pass_(30 * MINUTE_NS)
    _change(service, Every(10 * MINUTE_NS))
    stage.schedules.arm(service)
    assert service.next_run_ns == NOON_NS + 40 * MINUTE_NS


def test_an_unchanged_schedule_keeps_its_pace(stage: Stage) -> None:
    """A reload that changes something else does not put the next time off."""
    service = stage.arm("tidy", Every(HOUR_NS))
    stage.clock.pass_(30 * MINUTE_NS)
    _change(service, Every(HOUR_NS))
    stage.schedules.arm(service)
    assert service.next_run_ns == NOON_NS + HOUR_NS


def test_a_schedule_that_a_reload_took_away_comes_no_more(stage: Stage) -> None:
    """A service whose new configuration has no schedule is not due; the timer goes with the last one."""
    service = stage.arm("tidy", Every(HOUR_NS))
    _change(service, None)
    stage.clock.pass_(HOUR_NS)
    assert stage.come() == []
    assert stage.clock.timers == []
    stage.schedules.arm(service)
    assert stage.clock.timers == []


def test_cancelling_what_was_never_armed_is_harmless(stage: Stage) -> None:
    """A service may be cancelled at any time, other schedules go on."""
    service = stage.arm("tidy", Every(HOUR_NS))
    stage.schedules.cancel(Service(ServiceSpec("other", ("x",)), Run()))
    stage.clock.pass_(HOUR_NS)
    assert stage.come() == ["tidy"]
    stage.schedules.cancel(service)
    stage.schedules.cancel(service)


def test_a_timer_that_cannot_be_read_is_replaced(stage: Stage) -> None:
    """A broken descriptor is closed, and within a second, or for the next schedule, there is a new one."""
    service = stage.arm("tidy", Every(HOUR_NS))
    stage.schedules.failed(stage.timer.fd)
    assert stage.clock.timers == []
    stage.arm("other", Every(2 * HOUR_NS))
    stage.clock.pass_(HOUR_NS)
    assert stage.come() == ["tidy"]
    assert service.next_run_ns == NOON_NS + 2 * HOUR_NS


def test_a_readable_descriptor_without_a_reason_does_nothing(stage: Stage) -> None:
    """Being told of a descriptor that has nothing to say posts nothing."""
    stage.arm("tidy", QUARTERLY)
    os.eventfd_write(stage.timer.fd, 1)
    stage.timer.at_ns = None
    stage.schedules.ready(stage.timer.fd, 0)
    stage.schedules.ready(stage.timer.fd, 0)
    assert stage.posted == []


def test_without_a_descriptor_for_the_timer_jobs_come_all_the_same(stage: Stage) -> None:
    """They stay armed, are looked at every second, and get a timer once there is one; it is said once."""
    stage.is_full = True
    service = stage.arm("tidy", Every(10 * SECOND_NS))
    stage.arm("quarterly", QUARTERLY)
    assert service.next_run_ns == NOON_NS + 10 * SECOND_NS
    for _ in range(10):
        stage.clock.pass_(SECOND_NS)
        stage.fire()
    assert (stage.posted, stage.said) == (["tidy"], ["schedule.no_timer"])
    stage.is_full = False
    stage.clock.set(NOON_NS + DAY_NS)
    stage.clock.pass_(SECOND_NS)
    stage.fire()
    assert stage.posted == ["tidy", "quarterly"]
    assert (len(stage.clock.timers), len(stage.timers)) == (1, 0)
    stage.clock.pass_(9 * SECOND_NS)
    assert stage.come() == ["tidy"]


def test_nothing_is_tried_for_schedules_that_are_cancelled(stage: Stage) -> None:
    """The poll has no timeout for them any more."""
    stage.is_full = True
    stage.schedules.cancel(stage.arm("tidy", QUARTERLY))
    assert len(stage.timers) == 0

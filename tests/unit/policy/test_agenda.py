from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from reaperd.config.spec import SECOND_NS, Cron, Every
from reaperd.policy import agenda
from reaperd.policy.agenda import Now

MINUTE_NS = 60 * SECOND_NS
HOUR_NS = 60 * MINUTE_NS
DAY_NS = 24 * HOUR_NS
NOON_NS = 20_000 * DAY_NS + 12 * HOUR_NS  # in UTC; the zone of the tests' machine may have it otherwise

# All zones are whole quarters of an hour from UTC, so these times are the same everywhere.
QUARTERLY = Cron("*/15 * * * *")
SECONDLY = Cron("*/10 * * * * *")
DURATIONS = st.one_of(
    st.integers(1, SECOND_NS), st.integers(SECOND_NS, HOUR_NS), st.integers(HOUR_NS, 3 * DAY_NS)
)


def at(wall_ns: int, monotonic_ns: int = SECOND_NS) -> Now:
    """Return both clocks at a moment."""
    return Now(wall_ns, monotonic_ns)


def test_every_counts_from_arming() -> None:
    """The first time is one interval after the schedule is armed, and not sooner."""
    entry = agenda.first(Every(10), at(0, 100))
    assert not agenda.is_due(entry, at(0, 109))
    assert agenda.is_due(entry, at(0, 110))


def test_every_keeps_its_pace() -> None:
    """A time that is noticed late does not move the ones after it."""
    entry = agenda.first(Every(10), at(0, 100))
    assert agenda.after_due(entry, at(0, 113)).next_ns == 120


def test_times_that_every_missed_count_as_one() -> None:
    """After a long pause the next time is the first of the old pace that is still to come."""
    entry = agenda.first(Every(10), at(0, 100))
    assert agenda.after_due(entry, at(0, 145)).next_ns == 150
    assert agenda.after_due(entry, at(0, 150)).next_ns == 160


def test_every_does_not_heed_the_wall_clock() -> None:
    """A wall clock that is set moves no time of `every`, only how the wall clock will show it."""
    entry = agenda.first(Every(10), at(NOON_NS, 100))
    assert agenda.wall_ns(entry, at(NOON_NS, 100)) == NOON_NS + 10
    jumped = at(NOON_NS + DAY_NS, 104)
    assert agenda.after_jump(entry, jumped) == entry
    assert not agenda.is_due(entry, jumped)
    assert agenda.wall_ns(entry, jumped) == NOON_NS + DAY_NS + 6


def test_a_clock_set_forward_by_a_day_is_due_once() -> None:
    """All times that a jump forward leaves out come as one; the next is the next by the new time."""
    entry = agenda.first(QUARTERLY, at(NOON_NS))
    jumped = at(NOON_NS + DAY_NS + MINUTE_NS)
    assert agenda.is_due(entry, jumped)
    after = agenda.after_due(entry, jumped)
    assert after.next_ns == NOON_NS + DAY_NS + 15 * MINUTE_NS
    assert not agenda.is_due(after, jumped)


def test_a_clock_set_forward_a_little_loses_nothing() -> None:
    """A jump that leaves out no time changes none."""
    entry = agenda.first(QUARTERLY, at(NOON_NS))
    jumped = at(NOON_NS + 5 * MINUTE_NS)
    assert not agenda.is_due(entry, jumped)
    assert agenda.after_jump(entry, jumped) == entry


def test_a_clock_set_back_by_a_day_is_not_slept_through() -> None:
    """A jump back by a day is believed: the next time is a quarter of an hour on, not a day."""
    entry = agenda.after_due(agenda.first(QUARTERLY, at(NOON_NS - 1)), at(NOON_NS))
    after = agenda.after_jump(entry, at(NOON_NS - DAY_NS))
    assert after.next_ns == NOON_NS - DAY_NS + 15 * MINUTE_NS


def test_a_time_that_has_come_does_not_come_again_for_a_small_step_back() -> None:
    """A time daemon that sets the clock back by a second right after a time does not double it."""
    entry = agenda.after_due(agenda.first(QUARTERLY, at(NOON_NS - 1)), at(NOON_NS))
    after = agenda.after_jump(entry, at(NOON_NS - SECOND_NS))
    assert after.next_ns == NOON_NS + 15 * MINUTE_NS


def test_a_step_back_by_more_than_the_way_to_the_next_time_is_believed() -> None:
    """A frequent time comes again rather than not for long."""
    entry = agenda.after_due(agenda.first(QUARTERLY, at(NOON_NS - 1)), at(NOON_NS))
    after = agenda.after_jump(entry, at(NOON_NS - 20 * MINUTE_NS))
    assert after.next_ns == NOON_NS - 15 * MINUTE_NS


def test_a_rare_time_does_not_come_again_within_three_hours() -> None:
    """A daily time comes again only if the clock was set back by three hours or more."""
    first = agenda.first(Cron("0 12 * * *"), at(NOON_NS))
    assert first.next_ns is not None
    daily_ns = first.next_ns
    came = agenda.after_due(first, at(daily_ns))
    assert agenda.after_jump(came, at(daily_ns - 2 * HOUR_NS)).next_ns == came.next_ns
    assert agenda.after_jump(came, at(daily_ns - 3 * HOUR_NS)).next_ns == daily_ns


def test_a_correction_once_believed_is_not_doubted_by_a_later_step() -> None:
    """What had come by a wrong clock does not hold up the times of the right one."""
    came = agenda.after_due(agenda.first(QUARTERLY, at(NOON_NS - 1)), at(NOON_NS))
    believed = agenda.after_jump(came, at(NOON_NS - DAY_NS))
    later = agenda.after_jump(believed, at(NOON_NS - MINUTE_NS))
    assert later.next_ns == NOON_NS


@given(st.lists(DURATIONS, max_size=30), st.integers(1, HOUR_NS))
def test_no_time_of_every_is_lost_or_doubled(steps: list[int], interval_ns: int) -> None:
    """However late each look comes, there is one run for each look that times lie behind, and none else."""
    now = Now(NOON_NS, SECOND_NS)
    entry = agenda.first(Every(interval_ns), now)
    passed_ns = 0
    for step_ns in steps:
        before, passed_ns = passed_ns // interval_ns, passed_ns + step_ns
        now = Now(NOON_NS, SECOND_NS + passed_ns)
        assert agenda.is_due(entry, now) == (passed_ns // interval_ns > before)
        if agenda.is_due(entry, now):
            entry = agenda.after_due(entry, now)
        assert not agenda.is_due(entry, now)


class CronLife(RuleBasedStateMachine):
    """A schedule of every ten seconds, looked at whenever it likes, on a clock that is set now and then."""

    @initialize(second=st.integers(0, 59))
    def begin(self, second: int) -> None:
        """Arm it."""
        self.now = at(NOON_NS + second * SECOND_NS)
        self.seen_ns = self.now.wall_ns  # all times up to here have come, or were never ours
        self.entry = agenda.first(SECONDLY, self.now)

    @rule(ns=DURATIONS)
    def time_passes(self, ns: int) -> None:
        """Look again after a while: due exactly if a time lies between."""
        self.now = Now(self.now.wall_ns + ns, self.now.monotonic_ns + ns)
        assert agenda.is_due(self.entry, self.now) == self._a_time_has_come()
        self._follow(clock_set=False)

    @rule(ns=DURATIONS)
    def clock_is_set_forward(self, ns: int) -> None:
        """Jump forward: due once if a time is left out."""
        self.now = replace(self.now, wall_ns=self.now.wall_ns + ns)
        assert agenda.is_due(self.entry, self.now) == self._a_time_has_come()
        self._follow(clock_set=True)

    @rule(ns=DURATIONS)
    def clock_is_set_back(self, ns: int) -> None:
        """Jump back: never due by that alone, and never silent for more than two ways to the next time."""
        self.now = replace(self.now, wall_ns=self.now.wall_ns - ns)
        assert not agenda.is_due(self.entry, self.now)
        self._follow(clock_set=True)
        assert self.entry.next_ns is not None
        assert self.now.wall_ns < self.entry.next_ns <= self.now.wall_ns + 20 * SECOND_NS
        if self.entry.next_ns <= self.seen_ns:
            self.seen_ns = self.now.wall_ns  # the correction was believed

    def _a_time_has_come(self) -> bool:
        ten_ns = 10 * SECOND_NS
        return self.now.wall_ns // ten_ns > max(self.seen_ns, 0) // ten_ns

    def _follow(self, *, clock_set: bool) -> None:
        if agenda.is_due(self.entry, self.now):
            self.seen_ns = self.now.wall_ns
            self.entry = agenda.after_due(self.entry, self.now)
        elif clock_set:
            self.entry = agenda.after_jump(self.entry, self.now)
        assert not agenda.is_due(self.entry, self.now)


TestCronLife = CronLife.TestCase

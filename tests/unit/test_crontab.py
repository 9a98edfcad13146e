import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reaperd import crontab

SECOND_NS = 1_000_000_000
BERLIN = "CET-1CEST,M3.5.0,M10.5.0/3"  # its rules as tzset(3) reads them: no zone file is needed
EXPRESSIONS = [
    "*/5 * * * *",
    "30 * * * *",
    "0 3 * * *",
    "30 2 * * *",
    "0 12 * * 1",
    "*/7 */2 * * * *",
    "59 23 L * *",
]
SPRING = datetime(2026, 3, 28, 20, tzinfo=UTC)  # 2:00 CET becomes 3:00 CEST five hours on
AUTUMN = datetime(2026, 10, 24, 20, tzinfo=UTC)  # 3:00 CEST becomes 2:00 CET five hours on


@pytest.fixture
def berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let the local time be that of Berlin."""
    monkeypatch.setenv("TZ", BERLIN)
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def ns(moment: datetime) -> int:
    """Return a moment as the wall clock counts it."""
    return round(moment.timestamp()) * SECOND_NS


def following(expression: str, after: datetime, count: int) -> list[str]:
    """Return the next times of the local zone, as a person there would write them."""
    times, at_ns = [], ns(after)
    for _ in range(count):
        found = crontab.next_ns(expression, at_ns)
        assert found is not None
        at_ns = found
        times.append(datetime.fromtimestamp(at_ns // SECOND_NS, UTC).astimezone().strftime("%a %H:%M %z"))
    return times


@pytest.mark.usefixtures("berlin")
def test_times_are_local() -> None:
    """A time of day is one of the daemon's zone."""
    assert following("0 12 * * *", datetime(2026, 6, 1, tzinfo=UTC), 1) == ["Mon 12:00 +0200"]
    assert following("0 12 * * *", datetime(2026, 12, 1, tzinfo=UTC), 1) == ["Tue 12:00 +0100"]


@pytest.mark.usefixtures("berlin")
def test_a_time_that_is_left_out_comes_when_the_gap_is_over() -> None:
    """In the night when clocks are set forward, a daily time in the gap comes once, at its end."""
    assert following("30 2 * * *", SPRING, 2) == ["Sun 03:00 +0200", "Mon 02:30 +0200"]


@pytest.mark.usefixtures("berlin")
def test_a_time_that_comes_twice_comes_the_first_time_only() -> None:
    """In the night when clocks are set back, a daily time in the repeated hour comes once."""
    assert following("30 2 * * *", AUTUMN, 2) == ["Sun 02:30 +0200", "Mon 02:30 +0100"]


@pytest.mark.usefixtures("berlin")
def test_a_frequent_time_goes_on_through_both_nights() -> None:
    """What comes every half hour has half an hour between any two times, gap and repeated hour or not."""
    assert following("*/30 * * * *", SPRING + timedelta(hours=4, minutes=15), 4) == [
        "Sun 01:30 +0100",
        "Sun 03:00 +0200",
        "Sun 03:30 +0200",
        "Sun 04:00 +0200",
    ]
    assert following("*/30 * * * *", AUTUMN + timedelta(hours=3, minutes=15), 6) == [
        "Sun 01:30 +0200",
        "Sun 02:00 +0200",
        "Sun 02:30 +0200",
        "Sun 02:00 +0100",
        "Sun 02:30 +0100",
        "Sun 03:00 +0100",
    ]


@pytest.mark.usefixtures("berlin")
@pytest.mark.parametrize("expression", EXPRESSIONS)
@pytest.mark.parametrize("night", [SPRING, AUTUMN])
def test_whoever_asks_in_between_gets_the_same_time(expression: str, night: datetime) -> None:
    """Asked at any moment of a night when clocks are set, the next time is the same until it has come."""
    at_ns, end_ns = ns(night), ns(night + timedelta(hours=10))
    while at_ns < end_ns:
        expected = crontab.next_ns(expression, at_ns)
        assert expected is not None
        assert expected > at_ns
        for step_ns in range(at_ns, min(expected, end_ns), 607 * SECOND_NS):
            assert crontab.next_ns(expression, step_ns) == expected
        assert crontab.next_ns(expression, expected - 1) == expected
        at_ns = expected


@given(st.integers(min_value=0, max_value=2**32), st.sampled_from(EXPRESSIONS), st.integers(0, 10**9 - 1))
def test_the_next_time_is_later_and_matches(second: int, expression: str, nanoseconds: int) -> None:
    """In UTC the next time is later than now, on a whole second, and the first that is."""
    now_ns = second * SECOND_NS + nanoseconds
    found = crontab.next_ns(expression, now_ns, UTC)
    assert found is not None
    assert found > now_ns
    assert found % SECOND_NS == 0
    assert crontab.next_ns(expression, found - 1, UTC) == found
    assert crontab.next_ns(expression, (found + now_ns) // 2 - 1, UTC) == found


@pytest.mark.usefixtures("berlin")
def test_the_local_zone_knows_every_offset() -> None:
    """Local time and back is the same moment, through a year with both its nights."""
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    while moment.year == 2026:
        there = moment.astimezone(crontab.LOCAL)
        assert there.timestamp() == moment.timestamp()
        assert there.utcoffset() == moment.astimezone().utcoffset()
        assert there.tzname() in {"CET", "CEST"}
        moment += timedelta(minutes=30)


def test_nothing_that_never_comes_is_accepted() -> None:
    """An expression that names no day of any year is refused."""
    with pytest.raises(ValueError, match="never comes"):
        crontab.check("0 0 */31 * MON#5")


@pytest.mark.parametrize(
    "expression", ["", "x", "* * *", "60 * * * *", "* * * * * * *", "1" * 201, "0 0 * * \x07"]
)
def test_what_is_no_schedule_is_refused(expression: str) -> None:
    """What is no schedule is refused, and the message says how to write one."""
    with pytest.raises(ValueError, match="is not a schedule"):
        crontab.check(expression)


def test_blanks_do_not_count() -> None:
    """Two ways to write the same times are the same, so that a reload sees no change."""
    assert crontab.check("  */5  *  * * * ") == "*/5 * * * *"

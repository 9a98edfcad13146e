import os
import select
import time

import pytest

from reaperd.errors import KernelError
from reaperd.kernel.timerfd import Reading, WallTimer
from tests.support.processes import call_in_process, wait_readable

SECOND_NS = 1_000_000_000
MAY_SET = "REAPERD_TESTS_MAY_SET_THE_CLOCK"


def _is_readable(fd: int) -> bool:
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(0))


def test_a_timer_expires_at_its_time_of_the_wall_clock() -> None:
    """The descriptor becomes readable when the wall clock shows the time, and not before."""
    timer = WallTimer()
    at_ns = time.time_ns() + 30_000_000
    assert timer.arm(at_ns)
    wait_readable(timer.fd)
    assert time.time_ns() >= at_ns
    assert timer.read() is Reading.EXPIRED
    assert timer.read() is Reading.NOTHING
    timer.close()


@pytest.mark.parametrize("at_ns", [-SECOND_NS, 0, 1, SECOND_NS])
def test_a_time_that_is_over_expires_at_once(at_ns: int) -> None:
    """A time in the past, zero and less included, expires at once instead of disarming the timer."""
    timer = WallTimer()
    assert timer.arm(at_ns)
    wait_readable(timer.fd)
    assert timer.read() is Reading.EXPIRED
    timer.close()


def test_a_new_timer_waits_for_ever() -> None:
    """A timer that nobody armed does not expire, and reading it does not wait."""
    timer = WallTimer()
    assert not _is_readable(timer.fd)
    assert timer.read() is Reading.NOTHING
    timer.close()


def test_arming_again_moves_the_time() -> None:
    """Only the latest time counts: an earlier one that was near does not come."""
    timer = WallTimer()
    timer.arm(1)
    timer.arm(time.time_ns() + 3600 * SECOND_NS)
    assert not _is_readable(timer.fd)
    timer.close()


def test_the_descriptor_does_not_survive_an_exec() -> None:
    """Programs that the daemon starts do not inherit the timer."""
    timer = WallTimer()
    assert not os.get_inheritable(timer.fd)
    timer.close()


def _without_a_descriptor_left() -> str:
    import resource  # noqa: PLC0415 - only this scenario's process needs it

    WallTimer().close()  # load the C library while it still can be
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))
    try:
        WallTimer()
    except KernelError as error:
        return error.message
    return "made"


def test_no_descriptor_left_is_said() -> None:
    """Where no descriptor is left the error says what could not be done."""
    message = call_in_process(_without_a_descriptor_left)
    assert message == "cannot watch the wall clock: timerfd_create: Too many open files"


def test_setting_the_clock_is_told_once() -> None:
    """A timer that sleeps is woken by a clock that is set; and it is told by arming where nobody has read."""
    if os.environ.get(MAY_SET) != "1":
        pytest.skip(f"the clock of this machine is not ours to set; {MAY_SET}=1 allows it")
    timer = WallTimer()
    time.clock_settime_ns(time.CLOCK_REALTIME, time.time_ns())
    wait_readable(timer.fd)
    assert timer.read() is Reading.CLOCK_SET
    assert timer.read() is Reading.NOTHING
    time.clock_settime_ns(time.CLOCK_REALTIME, time.time_ns())
    assert not timer.arm(time.time_ns() + 3600 * SECOND_NS)
    assert timer.arm(time.time_ns() + 3600 * SECOND_NS)
    assert timer.read() is Reading.NOTHING
    timer.close()

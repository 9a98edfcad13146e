import os
import signal
from collections.abc import Callable
from dataclasses import replace
from itertools import count

from reaperd.children.sweep import MOST_SWEEPS, SWEEPS_A_TURN, Progress, Sweep, kill, send
from reaperd.kernel.procfs import Stat, read_stat

NOBODY = 2**22 + 1  # above any pid that Linux gives: pid_max, proc(5)


def us() -> Stat:
    """Return our own line."""
    stat = read_stat(os.getpid())
    assert stat is not None
    return stat


def nobody(start_time: int) -> Stat:
    """Return the line of a process that is gone already."""
    return replace(us(), pid=NOBODY, start_time=start_time)


def growing() -> Callable[[], list[Stat]]:
    """Return a tree in which each walk finds somebody new."""
    numbers = count()
    return lambda: [nobody(next(numbers))]


def calls_until_done(sweep: Sweep, members: Callable[[], list[Stat]]) -> tuple[int, Progress]:
    """Call until there is no more to do, and return how often that was."""
    for calls in count(1):
        progress = kill(sweep, members)
        if progress is not Progress.MORE:
            return calls, progress
    raise AssertionError


def test_a_quiet_tree_is_stopped_then_killed_in_one_call() -> None:
    """The second sweep finds nobody new."""
    assert kill(Sweep(), lambda: [nobody(1), nobody(2)]) is Progress.KILLED


def test_an_empty_tree_is_killed() -> None:
    """There is nobody to stop."""
    assert kill(Sweep(), list) is Progress.KILLED


def test_a_tree_that_grows_is_swept_a_bounded_number_of_times_a_call() -> None:
    """Others are served in between, and after a hundred sweeps it is called stuck."""
    calls, progress = calls_until_done(Sweep(), growing())
    assert progress is Progress.STUCK
    assert calls == MOST_SWEEPS // SWEEPS_A_TURN + 1


def test_who_is_asked_again_after_being_stuck_tries_as_hard_as_before() -> None:
    """Not only once."""
    sweep, members = Sweep(), growing()
    first = calls_until_done(sweep, members)
    assert calls_until_done(sweep, members) == first


def test_a_process_that_is_gone_gets_no_signal() -> None:
    """That is an answer and no error."""
    assert send(nobody(1), 15) is False


def test_another_process_with_the_same_pid_gets_no_signal() -> None:
    """The start time tells them apart."""
    assert send(replace(us(), start_time=us().start_time + 1), signal.SIGKILL) is False

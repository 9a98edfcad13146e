import os
import signal
from itertools import count

from reaperd.children.sweep import MOST_SWEEPS, SWEEPS_A_TURN, Progress, Sweep, kill, send
from reaperd.kernel.procfs import Stat, parse_stat, read_stat

BEYOND = 2**22 + 1  # no process has such a pid: a signal to it goes nowhere


def _process(pid: int) -> Stat:
    return parse_stat(b"%d (x) S 1 1 1 0 -1 %s" % (pid, b"0 " * 43))


def _us() -> Stat:
    stat = read_stat(os.getpid())
    assert stat is not None
    return stat


class Tree:
    """A tree that grows by one process each time it is looked at, `growth` times."""

    def __init__(self, growth: float) -> None:
        self.looks = 0
        self._growth = growth
        self._pids = count(BEYOND)
        self._members = [_process(next(self._pids))]

    def members(self) -> list[Stat]:
        """Return who is there now."""
        self.looks += 1
        if self.looks <= self._growth:
            self._members.append(_process(next(self._pids)))
        return list(self._members)


def test_a_tree_is_killed_when_a_sweep_finds_nobody_new() -> None:
    """The first look stops who is there, the second finds nobody new."""
    tree = Tree(growth=0)
    assert kill(Sweep(), tree.members) is Progress.KILLED
    assert tree.looks == 2


def test_a_turn_sweeps_a_bounded_number_of_times() -> None:
    """The others are served before the next turn goes on."""
    tree, sweep = Tree(growth=20), Sweep()
    assert kill(sweep, tree.members) is Progress.MORE
    assert tree.looks == SWEEPS_A_TURN
    assert kill(sweep, tree.members) is Progress.MORE
    assert kill(sweep, tree.members) is Progress.KILLED


def test_a_tree_that_never_ends_growing_is_given_up_until_asked_again() -> None:
    """After a hundred sweeps; who is asked again tries as hard as before, not only once."""
    tree, sweep = Tree(growth=float("inf")), Sweep()
    for tries in (1, 2):
        turns = 1
        while (progress := kill(sweep, tree.members)) is Progress.MORE:
            turns += 1
        assert progress is Progress.STUCK
        assert (tree.looks, turns) == (tries * (MOST_SWEEPS + 1), MOST_SWEEPS // SWEEPS_A_TURN + 1)


def test_who_is_gone_needs_no_sweep() -> None:
    """An empty tree is as killed as can be."""
    assert kill(Sweep(), list) is Progress.KILLED


def test_a_process_that_is_gone_gets_no_signal() -> None:
    """That is an answer and no error."""
    assert send(_process(BEYOND), signal.SIGTERM) is False


def test_another_process_with_the_same_pid_gets_no_signal() -> None:
    """The start time tells them apart."""
    assert send(_us()._replace(start_time=_us().start_time + 1), signal.SIGKILL) is False

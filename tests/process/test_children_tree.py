"""A run's tree is followed and ended with and without cgroups; where only one of the two can, it says so."""

import os
import signal
import time
from typing import Final

import pytest

from reaperd.children import tally
from reaperd.children.leaves import find_place
from reaperd.children.sweep import Progress
from reaperd.errors import ReaperdError
from reaperd.kernel import cgroup, procfs
from tests.support.nursery import nursery
from tests.support.processes import call_in_process, system_python, wait_gone, wait_state

BOTH: Final = pytest.mark.parametrize("cgroups", [True, False], ids=["cgroup", "subreaper"])


def _need(cgroups: bool) -> bool:  # noqa: FBT001 - the parameter's own value
    if cgroups:
        try:
            find_place()
        except ReaperdError as error:
            pytest.skip(error.message)
    return cgroups


# --- escapees -------------------------------------------------------------------------------------------


def _two_escape(cgroups: bool, command: str) -> list[object]:  # noqa: FBT001 - travels as JSON
    with nursery(cgroups=cgroups) as kids:
        ours, _ = kids.start(["sh", "-c", command], name="ours")
        theirs, _ = kids.start(["sh", "-c", command], name="theirs")
        # All there, and nobody forks any more: a signal reaches those who are there.
        mine, other = (kids.wait_members(each, 2, "sleep") for each in (ours, theirs))
        kids.children.signal(ours, signal.SIGTERM)
        kids.wait_empty(ours)
        survivors = [stat.pid for stat in kids.children.members(theirs)]
        return [len(mine), sorted(survivors) == other, kids.children.unclaimed()]


@BOTH
def test_a_stop_finds_who_left_session_and_parent(cgroups: bool) -> None:  # noqa: FBT001 - a parameter
    """Of two services with a setsid double-forked daemon each, one is stopped: all of it and nobody else."""
    command = "(setsid sleep 1000 &) ; exec sleep 1001"
    assert call_in_process(_two_escape, _need(cgroups), command) == [2, True, []]


def test_a_cgroup_finds_who_has_cleared_everything_else() -> None:
    """Session, parent, tag and marker are gone: nothing else would tell."""
    command = "(setsid env -i prlimit --locks=unlimited sleep 1000 &) ; exec sleep 1001"
    assert call_in_process(_two_escape, _need(cgroups=True), command) == [2, True, []]


def _dead_stranger(cgroups: bool) -> list[object]:  # noqa: FBT001 - travels as JSON
    escapee = "env -i prlimit --locks=unlimited sh -c 'sleep 0.05; exit 3'"
    command = f"(setsid {escapee} &) ; exec sleep 1001"
    with nursery(cgroups=cgroups) as kids:
        run_id, _ = kids.start(["sh", "-c", command])
        deadline = time.monotonic() + 20
        while not kids.ended:  # without a look for orphans: nobody has seen it alive
            signal.sigtimedwait({signal.SIGCHLD}, 0.05)
            kids.children.reaper.handle(signal.SIGCHLD, None)
            kids.ended += kids.children.apply()
            assert time.monotonic() < deadline
        (ended,) = kids.ended
        return [ended.run_id == run_id, ended.name, os.waitstatus_to_exitcode(ended.status)]


def test_a_cgroup_tells_whose_orphan_died_unseen() -> None:
    """It is asked while the zombie is there, before the reaping frees its number."""
    assert call_in_process(_dead_stranger, _need(cgroups=True)) == [True, "sh", 3]


# --- who gets a signal ----------------------------------------------------------------------------------


def _stop_scope(cgroups: bool, scope: str) -> list[bool]:  # noqa: FBT001 - travels as JSON
    with nursery(cgroups=cgroups) as kids:
        run_id, main = kids.start(["sh", "-c", "sleep 1000 & setsid sleep 1001 & wait"])
        members = sorted([main, *kids.wait_members(run_id, 2, "sleep")])
        group = next(pid for pid in members if pid != main and os.getpgid(pid) == main)
        if scope == "tree":
            kids.children.signal(run_id, signal.SIGTERM)
        else:
            kids.children.signal_main(main, signal.SIGTERM, group=scope == "group")
        hit = {"main": [main], "group": [main, group], "tree": members}[scope]
        for pid in hit:
            wait_gone(pid)
        kids.turn()
        left = {stat.pid for stat in kids.children.members(run_id)}
        return [left == set(members) - set(hit), kids.children.is_empty(run_id) is (scope == "tree")]


@BOTH
@pytest.mark.parametrize("scope", ["main", "group", "tree"])
def test_a_scope_says_who_gets_the_signal(cgroups: bool, scope: str) -> None:  # noqa: FBT001 - a parameter
    """The main process alone, its process group, or all: nobody more and nobody less."""
    assert call_in_process(_stop_scope, _need(cgroups), scope) == [True, True]


def _stopped_service(cgroups: bool) -> int:  # noqa: FBT001 - travels as JSON
    with nursery(cgroups=cgroups) as kids:
        run_id, main = kids.start(["sleep", "1000"])
        os.kill(main, signal.SIGSTOP)
        wait_state(main, "T")
        kids.children.signal(run_id, signal.SIGTERM)
        kids.wait_empty(run_id)
        return os.WTERMSIG(kids.ended[0].status)


@BOTH
def test_who_stands_still_is_woken_to_hear_its_signal(cgroups: bool) -> None:  # noqa: FBT001 - a parameter
    """A service stopped by SIGSTOP ends by SIGTERM, not at the deadline."""
    assert call_in_process(_stopped_service, _need(cgroups)) == signal.SIGTERM


# --- the end of a tree ----------------------------------------------------------------------------------

# As many forks as there are tokens in the pipe: each in a session of its own, forking on.
BOMB: Final = """
import os, signal, sys
signal.signal(signal.SIGTERM, signal.SIG_IGN)
read, write = os.pipe()
os.write(write, b"." * int(sys.argv[1]))
os.set_blocking(read, False)
while True:
    try:
        token = os.read(read, 1)
    except BlockingIOError:
        break
    if os.fork() == 0 and os.getpid() % 2:
        os.setsid()
while True:
    signal.pause()
"""


def _bomb(cgroups: bool, python: str, forks: int, without_kill: bool) -> list[object]:  # noqa: FBT001 - JSON
    if without_kill:
        cgroup.kill = lambda directory: directory == ""  # as Linux before 5.14 answers
    with nursery(cgroups=cgroups) as kids:
        run_id, _ = kids.start([python, "-c", BOMB, str(forks)])
        kids.wait_members(run_id, forks // 4)
        first = kids.children.kill(run_id)
        kids.wait_empty(run_id, killing=True)
        facts: list[object] = [len(kids.ended) >= forks // 4, kids.children.nobody_left()]
        return [*facts, first is Progress.KILLED or not cgroups or without_kill]


@BOTH
def test_a_program_that_forks_faster_than_it_is_killed_ends(cgroups: bool) -> None:  # noqa: FBT001 - a parameter
    """Two hundred forks in sessions of their own, deaf to SIGTERM, while the kill goes on."""
    result = call_in_process(_bomb, _need(cgroups), system_python(), 200, False)
    assert result == [True, True, True]


def test_without_cgroup_kill_who_is_inside_is_swept() -> None:
    """An older kernel has cgroups but no cgroup.kill: members are stopped, then killed."""
    result = call_in_process(_bomb, _need(cgroups=True), system_python(), 60, True)
    assert result == [True, True, True]


def _moved_out(cgroups: bool) -> list[bool]:  # noqa: FBT001 - travels as JSON
    with nursery(cgroups=cgroups) as kids:
        run_id, _ = kids.start(["sh", "-c", "sleep 1000 & wait"])
        (away,) = kids.wait_members(run_id, 1, "sleep")
        place = str(kids.children.cgroup).rpartition("/")[0]
        fd = cgroup.open_procs(place)
        os.write(fd, b"%d" % away)
        os.close(fd)
        outside = away not in cgroup.pids(str(kids.children.cgroup))
        kids.children.kill(run_id)
        kids.wait_empty(run_id, killing=True)
        return [outside, kids.children.nobody_left()]


def test_who_was_moved_out_of_the_cgroup_ends_too() -> None:
    """Root may leave a cgroup: then parents tell, as they do without cgroups."""
    assert call_in_process(_moved_out, _need(cgroups=True)) == [True, True]


def _same_fds(cgroups: bool) -> list[bool]:  # noqa: FBT001 - travels as JSON
    with nursery(cgroups=cgroups) as kids:
        fds, leaves = [], []
        for _ in range(40):
            run_id, main = kids.start(["true"])
            wait_gone(main)
            kids.wait_empty(run_id)
            fds.append(len(os.listdir("/proc/self/fd")))  # noqa: PTH208 - names are all that is wanted
            leaves.append(len(list(os.scandir(kids.children.cgroup))) if cgroups else 0)
        return [fds[5] == fds[-1], leaves[5] == leaves[-1]]


@BOTH
def test_a_run_leaves_nothing_behind(cgroups: bool) -> None:  # noqa: FBT001 - a parameter
    """Forty runs later there are as many descriptors and cgroups as after the first ones."""
    assert call_in_process(_same_fds, _need(cgroups)) == [True, True]


# --- memory ---------------------------------------------------------------------------------------------


def _memory(command: str, lists: bool, most: int) -> list[object]:  # noqa: FBT001 - travels as JSON
    tally.MOST_OF_ONE = most  # type: ignore[misc] # this process is the test's own
    if not lists:
        procfs.has_children_files = lambda: False  # type: ignore[assignment]
    with nursery(cgroups=False) as kids:
        run, _ = kids.start(["sh", "-c", command], name="ours")
        other, _ = kids.start(["sleep", "1002"], name="theirs")
        kids.wait_members(run, 3, "sleep")
        found = kids.children.tally([run, other]).items()
        sizes = {each: (tally.memory_bytes, tally.processes) for each, tally in found}
        members = [(each, kids.children.members(each)) for each in (run, other)]
        sums = {each: (sum(stat.rss_bytes for stat in stats), len(stats)) for each, stats in members}
        return [sizes == sums, sorted({run, other} - set(sizes)) == [run]]


@pytest.mark.parametrize("lists", [True, False], ids=["children files", "all of /proc"])
def test_the_memory_of_a_run_is_that_of_its_tree(lists: bool) -> None:  # noqa: FBT001 - a parameter
    """Of escapees, too; also on a kernel that does not list children."""
    if lists and not procfs.has_children_files():
        pytest.skip("needs /proc/PID/task/TID/children")
    command = "(setsid sleep 1000 &) ; sleep 1001 & exec sleep 1003"
    assert call_in_process(_memory, command, lists, 1024) == [True, False]


def test_the_memory_of_a_crowd_is_not_added_up() -> None:
    """What a look at one service costs has a bound, and other services have their sums all the same."""
    if not procfs.has_children_files():
        pytest.skip("needs /proc/PID/task/TID/children")
    command = "(setsid sleep 1000 &) ; sleep 1001 & exec sleep 1003"
    assert call_in_process(_memory, command, True, 2) == [False, True]

"""Real children, without a daemon around them: forked, known, adopted, told, killed, forgotten."""

import errno
import os
import resource
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from reaperd.children import sweep
from reaperd.children.child import StageFailed
from reaperd.children.children import Children, Ended
from reaperd.children.fork import Forked, read_report
from reaperd.children.plan import Inheritance
from reaperd.children.sweep import Progress
from reaperd.config.spec import ServiceSpec
from reaperd.kernel import prctl, procfs
from tests.support.processes import call_in_process, state_of, wait_gone, wait_readable, wait_until

ESCAPEE: Final = "(setsid sh -c 'echo $$ > {0}; exec sleep 1000' &)"


UNTAG: Final = "prlimit --pid $$ --locks=unlimited"
EXECS: Final = "setsid env env env env sleep 1000"


class Play:
    """Children as a daemon has them, and a turn as its loop makes it."""

    def __init__(self) -> None:
        prctl.set_child_subreaper(True)
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        # Who is in a run's cgroup is known by that alone; here it is to be known without.
        self.children = Children(Inheritance(dict(os.environ), limits, frozenset()), cgroups=False)
        signal.signal(signal.SIGCHLD, self.children.reaper.handle)
        self.ended: list[Ended] = []

    def spawn(self, script: str, run_id: str) -> int:
        """Start a shell script, and return its pid once it is that."""
        forked = self.children.spawn(ServiceSpec(run_id, ("sh", "-c", script)), run_id)
        assert isinstance(forked, Forked), forked
        wait_readable(forked.report_fd, what="report")
        assert read_report(forked.report_fd) is True
        os.close(forked.report_fd)
        return forked.pid

    def turn(self) -> None:
        """Let the handler run where a poll would, then apply what it reaped and look for orphans."""
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
        assert self.children.reaper.failure is None, self.children.reaper.failure
        self.ended += self.children.apply()
        self.children.adopt()

    def until(self, is_so: Callable[[], bool], what: str) -> None:
        """Turn until it is so."""

        def turned() -> bool:
            self.turn()
            return is_so()

        wait_until(turned, what)

    def model(self) -> set[int]:
        """Return the pids below us that the model knows."""
        return {process.pid for process in self.children.tracker.table} - {os.getpid()}

    def clear(self) -> None:
        """Kill and reap all that is left."""

        def nobody_left() -> bool:
            self.children.kill_everybody()
            return self.children.nobody_left()

        self.until(nobody_left, "nobody to be left")


def _said(path: str) -> int:
    file = Path(path)
    wait_until(lambda: file.exists() and file.stat().st_size > 1, f"{path} to be written")
    return int(file.read_text())


# --- whose they are -------------------------------------------------------------------------------------


def _forgets(directory: str) -> Any:
    """Let a run lose children that its own main process reaps, over and over; return what the model has."""
    play = Play()
    sizes = []
    for number in range(5):
        script = f"sleep 1000 & echo $! > {directory}/{number}; read _ < {directory}/fifo; kill $!; wait"
        pid = play.spawn(script, f"run{number}")
        below = _said(f"{directory}/{number}")
        assert {stat.pid for stat in play.children.members(f"run{number}")} == {pid, below}
        assert play.model() == {pid, below}
        Path(directory, "fifo").write_text("go\n")
        play.until(lambda: not play.children.reaper.known(), "the run to end")
        play.children.ended(f"run{number}")
        sizes.append(len(play.model()))
    return sizes


def test_the_model_forgets_descendants_that_others_reaped(tmp_path: Path) -> None:
    """What a walk has seen below a run is gone from the model once the run is."""
    os.mkfifo(tmp_path / "fifo")
    assert call_in_process(_forgets, str(tmp_path)) == [0] * 5


def _chain(directory: str) -> Any:
    """Return whether an orphan without a marker is a stranger, when a walk has seen it and when not."""
    play = Play()
    found = []
    for run_id, walks in (("seen", True), ("unseen", False)):
        below = f"echo \\$\\$ > {directory}/{run_id}; exec sleep 1000"
        script = f"env -i setsid sh -c '{UNTAG}; sh -c \"{below}\" & wait' & wait"
        main = play.spawn(script, run_id)
        orphan = _said(f"{directory}/{run_id}")
        middle = _parent(orphan)
        if walks:
            play.children.members(run_id)
        os.kill(middle, signal.SIGKILL)
        os.kill(main, signal.SIGSTOP)
        play.until(lambda: _parent(orphan) == os.getpid(), "the orphan to come")  # noqa: B023 - called at once
        play.turn()  # it may have come after the latest look
        found.append(orphan in play.children.unclaimed())
    play.clear()
    return found


def _parent(pid: int) -> int:
    stat = procfs.read_stat(pid)
    return stat.ppid if stat else 0


def test_a_chain_of_parents_that_was_seen_tells_whose_an_orphan_is(tmp_path: Path) -> None:
    """Without tag, marker, session or group: known after a walk, unclaimed without one."""
    assert call_in_process(_chain, str(tmp_path)) == [False, True]


def _zombies() -> Any:
    """Return how many orphans are ours and dead before anybody has seen them, and how many are strangers."""
    play = Play()
    play.spawn("env -i setsid sh -c '(setsid true &); (setsid true &)'; exec sleep 1000", "run")

    def are_dead() -> bool:
        ours = procfs.children(os.getpid())
        return len(ours) == 3 and [state_of(pid) for pid in ours].count("Z") == 2

    wait_until(are_dead, "two zombies beside the main process")
    play.children.adopt()
    found = (len(play.children._family.tops("run")), len(play.children.unclaimed()))
    play.clear()
    return found


def test_an_orphan_that_died_before_any_look_is_known_by_its_tag() -> None:
    """A zombie has no environment, and nobody has ever seen its session or its parents."""
    assert call_in_process(_zombies) == [3, 0]


def _storm_of_execs() -> Any:
    """Return how many orphans that execute without end were not known for what they are."""
    play = Play()
    strangers = 0
    for number in range(8):
        play.spawn(f"for i in $(seq 40); do ({EXECS} &); done; exec sleep 1000", f"run{number}")

    def all_came() -> bool:
        nonlocal strangers
        strangers += len(play.children.unclaimed())
        return len(play.children._family._run_of) >= 8 * 41

    play.until(all_came, "all orphans to come")
    play.clear()
    return strangers


def test_an_orphan_met_in_the_middle_of_an_exec_is_known() -> None:
    """Three hundred orphans that execute one program after the other while we look: none is a stranger."""
    assert call_in_process(_storm_of_execs) == 0


# --- their ends -----------------------------------------------------------------------------------------


def _brief() -> Any:
    """Return how many of some children that end at once were reaped with their own status."""
    play = Play()
    codes = {}
    for number in range(150):
        forked = play.children.spawn(ServiceSpec("s", ("sh", "-c", f"exit {number % 100}")), f"run{number}")
        assert isinstance(forked, Forked)
        os.close(forked.report_fd)
        codes[forked.pid] = number % 100
        play.turn()
    play.until(play.children.nobody_left, "all to be reaped")
    assert len(play.ended) == len(codes)
    return all(os.waitstatus_to_exitcode(each.status) == codes[each.pid] for each in play.ended)


def test_children_that_end_at_once_are_each_reaped_once() -> None:
    """None is lost between the fork and its registration, and each has its own status and run."""
    assert call_in_process(_brief) is True


def _reused() -> Any:
    """Return what sending a signal to a process by an older one's start time does."""
    play = Play()
    pid = play.spawn("exec sleep 1000", "run")
    stat = procfs.read_stat(pid)
    assert stat is not None
    older = stat._replace(start_time=stat.start_time - 1)
    refused = sweep.send(older, signal.SIGKILL)
    lives = state_of(pid) in ("R", "S")
    answers = [refused, lives, sweep.send(stat, signal.SIGKILL)]
    wait_gone(pid)
    play.until(play.children.nobody_left, "it to be reaped")
    return [*answers, sweep.send(stat, signal.SIGKILL)]


def test_a_signal_reaches_the_process_that_was_meant_or_nobody() -> None:
    """A pid with another start time is somebody else, and one that is gone is nobody."""
    assert call_in_process(_reused) == [False, True, True, False]


def _killed(directory: str) -> Any:
    """Return what is left of a tree after its end, and of another one beside it."""
    play = Play()
    other = play.spawn("(setsid sleep 1000 &); exec sleep 1000", "other")
    escapes = " ".join(f"{ESCAPEE.format(f'{directory}/{n}')};" for n in range(5))
    play.spawn(f"trap '' TERM; {escapes} exec sleep 1000", "run")
    escaped = [_said(f"{directory}/{n}") for n in range(5)]
    play.turn()

    def ended() -> bool:
        return play.children.kill("run") is Progress.KILLED and play.children.is_empty("run")

    play.until(ended, "the tree to end")
    left = [state_of(pid) for pid in escaped]
    beside = len(play.children.members("other"))
    assert state_of(other) == "S"
    play.clear()
    return [left, beside]


def test_a_tree_is_killed_as_a_whole_and_alone(tmp_path: Path) -> None:
    """All that escaped from it is gone, and another run has everything that it had."""
    assert call_in_process(_killed, str(tmp_path)) == [[None] * 5, 2]


def _stages(directory: str) -> Any:
    """Return the stage and errno that some impossible services report."""
    play = Play()
    found = []
    for keys in ({"command": ("/no/such",)}, {"command": ("true",), "directory": f"{directory}/none"}):
        forked = play.children.spawn(ServiceSpec("s", **keys), "run")
        assert isinstance(forked, Forked)
        wait_readable(forked.report_fd, what="report")
        report = read_report(forked.report_fd)
        assert isinstance(report, StageFailed), report
        os.close(forked.report_fd)
        play.until(play.children.nobody_left, "it to be reaped")
        found.append([report.stage, report.errno, os.waitstatus_to_exitcode(play.ended[-1].status)])
    return found


def test_a_child_that_cannot_become_its_program_says_where_it_failed(tmp_path: Path) -> None:
    """The stage and errno through the report, and 127 for what is not there."""
    assert call_in_process(_stages, str(tmp_path)) == [["exec", 2, 127], ["directory", 2, 127]]


def _descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def _open_descriptors() -> Any:
    """Return how many descriptors more there are after many runs."""
    play = Play()
    play.spawn("exit 0", "first")
    play.until(play.children.nobody_left, "the first to end")
    before = _descriptors()
    for number in range(50):
        play.spawn("(setsid sleep 0 &); exit 0", f"run{number}")
        play.until(play.children.nobody_left, "it to end")
        play.children.ended(f"run{number}")
    return _descriptors() - before


def test_runs_leave_no_descriptor_behind() -> None:
    """Pidfds and reports are closed with their runs."""
    assert call_in_process(_open_descriptors) == 0


def _full_tables() -> Any:
    """Start children with ever more free descriptors; return what is known of who failed, and who worked."""
    play = Play()
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
    failed: list[tuple[int, list[int], list[int]]] = []
    worked: list[int] = []
    for free in range(8):
        held = []
        try:
            while True:
                held.append(os.dup(0))
        except OSError:
            for _ in range(free):
                os.close(held.pop())
        forked = play.children.spawn(ServiceSpec("web", ("sleep", "1000")), f"run{free}")
        for fd in held:
            os.close(fd)
        if isinstance(forked, StageFailed):
            assert (forked.stage, forked.errno) == ("fork", errno.EMFILE)
            failed.append((free, sorted(play.children.reaper.known()), sorted(play.model())))
        else:
            worked.append(free)
            os.close(forked.report_fd)
            assert play.children.reaper.known() == {forked.pid}
            play.clear()
            play.children.ended(f"run{free}")
    return [failed, worked]


def test_a_start_with_a_full_table_works_or_leaves_nothing() -> None:
    """With the two descriptors that its report takes a child can be followed; with less none is known."""
    assert call_in_process(_full_tables) == [[[0, [], []], [1, [], []]], [2, 3, 4, 5, 6, 7]]

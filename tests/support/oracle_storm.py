"""A storm of processes in a PID namespace that a table follows by looks alone, and the calm after it.

Some workers fork, exec, make sessions, groups, daemons, subreapers and threads as fast as they can, and wait
for some of what they started. Pids are few, so that they come back soon. Nobody tells the table anything, and
no look is one moment. While it rages, the table must only be sound; in the calm it must be what /proc shows.

The calm: who takes part in the storm holds the writing end of a pipe, programs included. When nobody does,
those left have ended, are about to, or bear the name of those that last.
"""

import _thread
import gc
import os
import platform
import re
import select
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Final

from reaperd.kernel import prctl
from reaperd.model import Change, ProcessKey, ProcessTable, Reaped, Seen
from reaperd.model.invariants import check
from tests.support.mirror import Fact, Mirror, fact
from tests.support.oracle_stage import let_pids_be_reused, look

_WORKERS: Final = 3
_PIDS: Final = 700  # the first 300 are given out only once
_MOST_ZOMBIES: Final = 20  # that stay from one storm to the next
_LASTING: Final = "lasting"
_WITHIN_S: Final = 60.0
_PID_MAX: Final = Path("/proc/sys/kernel/pid_max")

Act = Callable[["Worker"], None]


def run_storms(seed: str, storms: int, looks: int) -> dict[str, int]:
    """Let it storm and calm down some times as PID 1 of a namespace; return how much was seen.

    Raises:
        AssertionError: the table is not sound, or not what /proc shows in the calm.
    """
    gc.disable()
    gc.freeze()
    os.setsid()
    few = _make_pids_few()
    director = Director(seed, few_pids=few)
    for number in range(storms):
        try:
            director.storm(looks)
        except AssertionError as error:
            raise AssertionError(f"seed {seed}, storm {number}: {error}") from error
    return {"changes": director.changes, "processes": director.came, "reused": director.reused, "few": few}


class Director:
    """PID 1: it starts the storms, looks, and waits for some of the orphans."""

    def __init__(self, seed: str, *, few_pids: bool) -> None:
        """Begin alone."""
        self.seed = seed
        self.few_pids = few_pids
        self.random = Random(seed)
        (root,) = look()
        self.table = ProcessTable(root)
        self.mirror = Mirror(root)
        self.changes = self.came = self.reused = 0
        self._pids: set[int] = set()
        self._reaped: set[ProcessKey] = set()

    def storm(self, looks: int) -> None:
        """Look while it rages, end it, and compare in the calm; what is left lasts into the next one."""
        stopped, stop = os.pipe()
        calm, raging = os.pipe()
        os.set_inheritable(raging, True)
        for number in range(_WORKERS):
            if os.fork() == 0:
                os.close(stop)
                os.close(calm)
                _work(Worker(Random(f"{self.seed}.{number}.{self.changes}"), stopped, raging))
        os.close(raging)
        os.close(stopped)
        for _ in range(looks):
            self._look_somehow()
            self._reap_some()
        os.close(stop)
        self._wait_for_calm(calm)
        os.close(calm)
        self._compare()
        self._clear_some()

    # Looking.

    def _look_somehow(self) -> None:
        """Look at one process and those below it, or at all in any order."""
        if not self.few_pids and self.random.random() < 0.2:
            let_pids_be_reused()
        seen = look()
        self.random.shuffle(seen)
        by_pid = {one.pid: one for one in seen}
        tops = [by_pid[pid] for pid in self._grandparents() if pid in by_pid]
        if not tops or self.random.random() < 0.3:
            self._take(self.table.snapshot(seen))
            return
        for top in tops:
            self._take(self.table.observe(top))
            self._take(self.table.observe_subtree(top.key, _below(top, seen)))

    def _grandparents(self) -> list[int]:
        """Return who has grandchildren in the table: these may have gone to somebody above."""
        parents = [process.parent for process in self.table if process.children]
        return sorted({one.pid for one in parents if one is not None and not one.is_init})

    def _take(self, changes: tuple[Change, ...]) -> None:
        self.changes += len(changes)
        before = set(self.mirror.facts)
        self.mirror.read(changes)
        self._reaped.update(change.key for change in changes if isinstance(change, Reaped))
        back = self.mirror.facts.keys() & self._reaped
        assert not back, f"said to be reaped, and there: {back}"
        for key in self.mirror.facts.keys() - before:
            self.came += 1
            self.reused += key.pid in self._pids
            self._pids.add(key.pid)
        check(self.table)

    def _compare(self) -> None:
        seen = look()
        self.random.shuffle(seen)
        self._take(self.table.snapshot(seen))
        real = {one.key: _fact(one) for one in seen}
        tracked = {one.key: _fact(one) for one in map(self.table.seen, self.table)}
        wrong = [(key, real.get(key), tracked.get(key)) for key in real.keys() | tracked.keys()]
        wrong = [(key, one, other) for key, one, other in wrong if one != other]
        assert not wrong, "\n".join(f"{key}: /proc {one}, the table {other}" for key, one, other in wrong)
        assert self.mirror.facts == real, "not what was told"
        assert self.table.snapshot(look()) == (), "the calm changes the table"

    # Waiting.

    def _reap_some(self) -> None:
        for _ in range(self.random.randrange(20)):
            with suppress(ChildProcessError):
                os.waitpid(-1, os.WNOHANG)

    def _wait_for_calm(self, calm: int) -> None:
        poll = select.poll()
        poll.register(calm, select.POLLIN)
        assert poll.poll(_WITHIN_S * 1000), f"the storm still rages after {_WITHIN_S} s"
        deadline = time.monotonic() + _WITHIN_S
        while not all(_is_calm(one) for one in look()):
            assert time.monotonic() < deadline, f"no calm after {_WITHIN_S} s"
            os.sched_yield()

    def _clear_some(self) -> None:
        """Kill half of what lasts and wait for most orphans, so that there is room for the next storm."""
        seen = look()
        for one in seen:
            if one.pid != 1 and not one.is_zombie and self.random.random() < 0.5:
                os.kill(one.pid, signal.SIGKILL)
        for _ in seen[_MOST_ZOMBIES:]:
            with suppress(ChildProcessError):
                os.waitpid(-1, os.WNOHANG)


class Worker:
    """Somebody who makes a storm, until nobody holds the other end of the pipe `stopped`."""

    def __init__(self, random: Random, stopped: int, raging: int) -> None:
        """Take the descriptors over."""
        self.random = random
        self.raging = raging
        self._poll = select.poll()
        self._poll.register(stopped, 0)

    def act(self) -> None:
        """Start something; wait for all, some or nobody."""
        self.random.choice(_ACTS)(self)
        for _ in range(self.random.choice([0, 2, 10])):
            with suppress(ChildProcessError):
                os.waitpid(-1, os.WNOHANG)

    @property
    def is_stopped(self) -> bool:
        """Whether the storm is over."""
        return bool(self._poll.poll(0))

    def fork(self, body: Callable[[], object]) -> int | None:
        """Fork a child that carries out `body` and ends; None where no pid is free."""
        try:
            pid = os.fork()
        except BlockingIOError:
            with suppress(ChildProcessError):
                os.waitpid(-1, 0)
            return None
        if pid == 0:
            with suppress(OSError):
                body()
            os._exit(self.random.randrange(256))
        return pid

    def last(self) -> None:
        """Take part in the storm no longer, and stay."""
        prctl.set_name(_LASTING)
        os.close(self.raging)
        while True:
            signal.pause()


def _work(worker: Worker) -> None:
    try:
        while not worker.is_stopped:
            worker.act()
    finally:
        os._exit(0)


def _fork_many(worker: Worker) -> None:
    for _ in range(worker.random.randrange(1, 12)):
        worker.fork(lambda: None)


def _exec(worker: Worker) -> None:
    worker.fork(lambda: os.execv("/bin/true", ["a worker's (program) S 1 1"]))


def _exec_as_leader(worker: Worker) -> None:
    def body() -> None:
        os.setsid()
        os.execv("/bin/true", ["true"])

    worker.fork(body)


def _daemonize(worker: Worker) -> None:
    def daemon() -> None:
        if worker.random.random() < 0.2:
            worker.last()
        worker.fork(lambda: None)
        time.sleep(worker.random.random() * 0.02)

    def between() -> None:
        os.setsid()
        worker.fork(daemon)

    worker.fork(between)


def _make_group(worker: Worker) -> None:
    def body() -> None:
        os.setpgid(0, 0)
        worker.fork(lambda: time.sleep(0.005))
        worker.fork(lambda: os.setpgid(0, 0))

    if (pid := worker.fork(body)) is not None:
        with suppress(OSError):
            os.setpgid(pid, pid)


def _adopt(worker: Worker) -> None:
    def body() -> None:
        prctl.set_child_subreaper(True)
        _daemonize(worker)
        time.sleep(0.01)

    worker.fork(body)


def _start_threads(worker: Worker) -> None:
    def body() -> None:
        for _ in range(3):
            _thread.start_new_thread(time.sleep, (0.003,))
        time.sleep(worker.random.random() * 0.006)

    worker.fork(body)


def _wander(worker: Worker) -> None:
    """Let a small family change its places slowly enough to be looked at before and after."""
    worker.fork(lambda: _move_about(worker, depth=3))


def _move_about(worker: Worker, depth: int) -> None:
    worker.random.seed(os.getpid() + worker.random.random())  # or all of one family would do the same
    moves: list[Callable[[], object]] = [
        os.setsid,
        lambda: os.setpgid(0, 0),
        lambda: os.setpgid(0, os.getpgid(os.getppid())),
        lambda: prctl.set_child_subreaper(True),
        lambda: prctl.set_child_subreaper(False),
    ]
    for _ in range(3):
        with suppress(OSError):
            worker.random.choice(moves)()
        if depth:
            worker.fork(lambda: _move_about(worker, depth - 1))
        time.sleep(worker.random.random() * 0.02)


_ACTS: Final[list[Act]] = [
    _wander,
    _fork_many,
    _exec,
    _exec_as_leader,
    _daemonize,
    _make_group,
    _adopt,
    _start_threads,
]


def _below(top: Seen, seen: list[Seen]) -> list[Seen]:
    """Return `top` and who is below it in this look."""
    found = [top]
    for parent in found:
        found.extend(one for one in seen if one.ppid == parent.pid)
    return found


def _fact(seen: Seen) -> Fact:
    return fact(seen, seen.tids)


def _is_calm(seen: Seen) -> bool:
    return seen.pid == 1 or seen.is_zombie or (seen.comm == _LASTING and seen.num_threads == 1)


def _make_pids_few() -> bool:
    """Let the namespace have few pids, where each has a limit of its own: since Linux 6.14; tell whether."""
    version = re.match(r"(\d+)\.(\d+)", platform.release())
    if version is None or tuple(map(int, version.groups())) < (6, 14):
        return False
    with suppress(OSError):
        _PID_MAX.write_text(str(_PIDS))
    return int(_PID_MAX.read_text()) == _PIDS

"""Storms of processes that a live model follows, and the calm in which it must be what /proc shows.

Workers fork, exec, make sessions, groups, daemons, subreapers and threads as fast as they can, take pids that
were just given up, and wait for some of what they started. The model follows

- by looks, pidfds and what this process reaps itself, in a PID namespace where pids are few and come back
  soon;
- by the process connector, which works in the machine's first namespace only, so there: below this process,
  in
  a buffer that loses nothing, or in one that holds some dozens of messages, so that most are lost.

While it rages, the model must be sound, must not bury the living, and must not give two processes one name.
In the calm it must be what /proc shows: all that the connector tells at once, all of it after one more look.
"""

import gc
import os
import platform
import re
import select
import signal
import time
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Final

from reaperd.kernel import pidfd, prctl
from reaperd.kernel.procconn import Connector
from reaperd.model import Change, ProcessKey, Reaped, Seen
from reaperd.model.invariants import check
from reaperd.track import look
from reaperd.track.tracker import Tracker
from tests.support.mirror import Fact, Mirror, fact
from tests.support.oracle_stage import let_pids_be_reused
from tests.support.storm_workers import LASTING, Worker, pace_pipe, raging_pipe, work

_WORKERS: Final = 3
_PIDS: Final = 700  # the first 300 are given out only once
_MOST_ZOMBIES: Final = 20  # that stay from one storm to the next
_ENOUGH: Final = 300  # processes seen; on a slow machine most of a storm goes by unseen
_TIMES_STORMS: Final = 4
_CROWD: Final = 300  # of processes: from here on all zombies are reaped
_WITHIN_S: Final = 60.0
_PID_MAX: Final = Path("/proc/sys/kernel/pid_max")


def run_watched_storms(seed: str, storms: int, turns: int) -> dict[str, int]:
    """Let storms be followed by looks, as PID 1 of a namespace."""
    return _run_storms(seed, storms, turns, None)


def run_connected_storms(seed: str, storms: int, turns: int, buffer_bytes: int) -> dict[str, int]:
    """Let storms be followed by the connector, in the machine's first namespaces."""
    return _run_storms(seed, storms, turns, buffer_bytes)


def _run_storms(seed: str, storms: int, turns: int, buffer_bytes: int | None) -> dict[str, int]:
    """Let it storm and calm down some times, more often where little was seen; return how much was.

    Raises:
        AssertionError: the model is not sound, or not what /proc shows in the calm.
    """
    gc.disable()
    gc.freeze()
    if os.getpid() == 1:
        os.setsid()
    prctl.set_child_subreaper(True)
    few = buffer_bytes is None and _make_pids_few()
    connector = None if buffer_bytes is None else Connector(buffer_bytes=buffer_bytes)
    director = Director(seed, Tracker(connector=connector), few_pids=few)
    number = 0
    try:
        while number < storms or (number < _TIMES_STORMS * storms and not director.has_seen_enough):
            try:
                director.storm(turns)
            except AssertionError as error:
                raise AssertionError(f"seed {seed}, storm {number}: {error}") from error
            number += 1
    finally:
        director.end()
    standing = director.tracker.standing()
    return {
        "changes": director.changes,
        "processes": director.came,
        "reused": director.reused,
        "again": director.again,
        "few": few,
        "losses": standing.losses,
        "messages": standing.messages,
        "looks": standing.looks,
    }


class Director:
    """Starts the storms, lets the model follow them, and waits for some of the orphans."""

    def __init__(self, seed: str, tracker: Tracker, *, few_pids: bool) -> None:
        """Begin alone."""
        self.seed = seed
        self.tracker = tracker
        self.table = tracker.table
        self.few_pids = few_pids
        self.random = Random(seed)
        root = look.read(os.getpid())
        assert root is not None
        self.mirror = Mirror(root._replace(ppid=0))
        self.changes = self.came = self.reused = self.again = 0
        self._pids: set[int] = set()
        self._reaped: set[ProcessKey] = set()
        self._inodes: dict[ProcessKey, int] = {}
        self._leash, self._leash_end = os.pipe()
        self._pace = -1
        self._poll = select.poll()
        self._poll.register(tracker.graves.fd, select.POLLIN)
        if tracker.fd is not None:
            self._poll.register(tracker.fd, select.POLLIN)
        tracker.follow(self._take, passersby=True)

    @property
    def has_seen_enough(self) -> bool:
        """Whether there was a crowd, and some in it had the pids of others before them."""
        return self.came > _ENOUGH and self.reused > 0

    def storm(self, turns: int) -> None:
        """Follow it while it rages, end it, and compare in the calm; what is left lasts into the next one."""
        self._pace, pace = pace_pipe()
        calm, raging = raging_pipe()
        for number in range(_WORKERS):
            if os.fork() == 0:
                for fd in (self._pace, calm, self._leash_end):
                    os.close(fd)
                random = Random(f"{self.seed}.{number}.{self.changes}")
                work(Worker(random, pace, raging, self._leash))
        os.close(raging)
        os.close(pace)
        for _ in range(turns):
            self._turn()
        os.close(self._pace)
        self._wait_for_calm(calm)
        os.close(calm)
        self._compare()
        self._clear_some()

    def end(self) -> None:
        """Kill and reap all that is left."""
        os.close(self._leash_end)
        while True:
            for one in look.below(os.getpid()):
                if one.pid != os.getpid():
                    with suppress(ProcessLookupError):
                        os.kill(one.pid, signal.SIGKILL)
            try:
                os.waitpid(-1, 0)
            except ChildProcessError:
                return

    # Following.

    def _turn(self) -> None:
        """Do what the daemon does in a turn, in one order or another; now and then be late."""
        if self.tracker.fd is None:
            self._look_somehow()
        elif self.random.random() < 0.1:
            time.sleep(self.random.random() * 0.1)  # so that messages are lost
        else:
            self._poll.poll(20)
        with suppress(BlockingIOError):
            os.read(self._pace, 65536)
        self._reap_some()
        self._follow()
        if self.random.random() < 0.05:
            self.tracker.refresh()
        check(self.table)

    def _follow(self) -> bool:
        """Do one turn's work; say whether there was more than that."""
        self.tracker.bury()
        self.tracker.hear()
        due_ns = self.tracker.due_ns
        if due_ns is not None and due_ns <= time.monotonic_ns():
            self.tracker.refresh()
            return True
        return self.tracker.has_more or due_ns is not None

    def _look_somehow(self) -> None:
        """Look at one process and those below it, or at all in any order, or as the tracker does."""
        if not self.few_pids and self.random.random() < 0.2:
            let_pids_be_reused()
        if self.random.random() < 0.3:
            self.tracker.refresh()
            return
        seen = list(filter(None, map(_identified, look.everybody())))
        self.random.shuffle(seen)
        by_pid = {one.pid: one for one in seen}
        tops = [by_pid[pid] for pid in self._grandparents() if pid in by_pid]
        if not tops or self.random.random() < 0.3:
            self.tracker.tell(self.table.snapshot(seen))
            return
        for top in tops:
            self.tracker.tell(self.table.observe(top))
            process = self.table.at(top.pid, top.start_time)
            if process is not None:
                self.tracker.observe_below(process, _below(top, seen))

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
            self.again += key.nth > 0
            self._pids.add(key.pid)
            self._check_incarnation(key)

    def _check_incarnation(self, key: ProcessKey) -> None:
        """Fail if one who lives was buried, and has come back under the next name."""
        process = self.table.find(key)
        inode = 0 if process is None else self.table.inode(process)
        if inode:
            self._inodes[key] = inode
            assert self._inodes.get(key._replace(nth=key.nth - 1)) != inode, f"{key} was buried alive"

    # Comparing.

    def _compare(self) -> None:
        deadline = time.monotonic() + _WITHIN_S
        looks = self.tracker.standing().looks
        # The rest of the machine goes on, and a tiny buffer may lose its messages for ever. But a look that
        # was begun in the calm shows all that is ours.
        while self._follow() and self.tracker.standing().looks == looks:
            assert time.monotonic() < deadline, "it is calm, and there is still more to follow"
            self._poll.poll(50)
        if self.tracker.fd is not None:
            self._compare_with(list(look.below(os.getpid())), but_groups=True)
        self.tracker.refresh()
        seen = list(look.below(os.getpid()))
        self.random.shuffle(seen)
        self._compare_with(seen, but_groups=False)
        assert self.table.snapshot(seen) == (), "the calm changes the model"

    def _compare_with(self, seen: list[Seen], *, but_groups: bool) -> None:
        real = {(one.pid, one.start_time): _fact(one, but_groups=but_groups) for one in seen}
        shown = [self.table.seen(process) for process in self.table]
        mine = {(one.pid, one.start_time): _fact(one, but_groups=but_groups) for one in shown}
        wrong = [(key, real.get(key), mine.get(key)) for key in real.keys() | mine.keys()]
        wrong = [(key, one, other) for key, one, other in wrong if one != other]
        assert not wrong, "\n".join(f"{key}: /proc {one}, the model {other}" for key, one, other in wrong)
        told = {(key.pid, key.start_time): one for key, one in self.mirror.facts.items()}
        told = {key: one._replace(pgid=0) if but_groups else one for key, one in told.items()}
        assert told == real, "not what was told"

    # Waiting.

    def _reap_some(self) -> None:
        crowd = len(self.table) > _CROWD
        for _ in range(len(self.table) if crowd else self.random.randrange(20)):
            self._reap()

    def _reap(self) -> None:
        with suppress(ChildProcessError):
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid:
                self.tracker.tell(self.table.reaped(pid, status))

    def _wait_for_calm(self, calm: int) -> None:
        poll = select.poll()
        poll.register(calm, select.POLLIN)
        deadline = time.monotonic() + _WITHIN_S
        while not (poll.poll(20) and all(map(_is_calm, look.below(os.getpid())))):
            assert time.monotonic() < deadline, f"the storm still rages after {_WITHIN_S} s"
            self._follow()

    def _clear_some(self) -> None:
        """Kill half of what lasts and wait for most orphans, so that there is room for the next storm."""
        seen = list(look.below(os.getpid()))
        for one in seen:
            if one.pid != os.getpid() and not one.is_zombie and self.random.random() < 0.5:
                os.kill(one.pid, signal.SIGKILL)
        for _ in seen[_MOST_ZOMBIES:]:
            self._reap()


def _identified(seen: Seen) -> Seen | None:
    """Return what was seen with the inode of its process; None where it is gone by now, or was another."""
    fd = pidfd.open(seen.pid)
    if fd is None:
        return None
    try:
        # Read again: what a pidfd means now, and is there afterwards, was there all the while.
        again = look.read(seen.pid)
        inode = os.fstat(fd).st_ino if _HAS_INODES else 0
        return again._replace(inode=inode) if again is not None and pidfd.send(fd, 0) else None
    finally:
        os.close(fd)


def _release() -> tuple[int, ...]:
    version = re.match(r"(\d+)\.(\d+)", platform.release())
    return tuple(map(int, version.groups())) if version is not None else ()


_HAS_INODES: Final = _release() >= (6, 9)


def _below(top: Seen, seen: list[Seen]) -> list[Seen]:
    """Return `top` and who is below it in this look."""
    found = [top]
    for parent in found:
        found.extend(one for one in seen if one.ppid == parent.pid)
    return found


def _fact(seen: Seen, *, but_groups: bool) -> Fact:
    found = fact(seen, seen.tids)
    if seen.pid == os.getpid():
        found = found._replace(ppid=0)  # that of the root is of no interest
    return found._replace(pgid=0) if but_groups else found


def _is_calm(seen: Seen) -> bool:
    return seen.pid == os.getpid() or seen.is_zombie or (seen.comm == LASTING and seen.num_threads == 1)


def _make_pids_few() -> bool:
    """Let the namespace have few pids, where each has a limit of its own: since Linux 6.14; tell whether."""
    if _release() < (6, 14):
        return False
    with suppress(OSError):
        _PID_MAX.write_text(str(_PIDS))
    return int(_PID_MAX.read_text()) == _PIDS

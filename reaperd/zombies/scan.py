"""Find every zombie, and what the kernel still tells of it.

A zombie has ended and waits for its parent to collect its exit status. Its memory is gone, and with it its
command line; name, user, times and status are left. Everything may vanish between two looks: what is gone
by the time of the second is left out.

A cheap look at every process leaves few candidates, see candidates.py. psutil tells of each of these and of
each parent what it knows. What it does not know (flags, exit signal, tracer, masks, time of death) is read
from /proc, each file once.

How long a zombie has been one is nowhere written. Its start bounds it from above. Where the scheduler tells
when it last ran, that is its death; time that the machine was suspended does not count there, so it bounds
from below.
"""

import os
import pwd
import time
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from functools import cache
from itertools import zip_longest
from typing import NamedTuple

import psutil

from reaperd.errors import Exit, ReaperdError
from reaperd.kernel import procfs, wait
from reaperd.kernel.failure import failure
from reaperd.zombies import candidates
from reaperd.zombies.candidates import Files
from reaperd.zombies.cause import Cause
from reaperd.zombies.container import NOWHERE, Place, path_in, place_of, read_cgroup
from reaperd.zombies.explain import explain
from reaperd.zombies.facts import ParentFacts, parent_facts, zombie_facts


class ScanError(ReaperdError):
    """There was no way to look for zombies, so there may be some."""

    exit_status = Exit.USAGE  # 2, as grep(1) has it: 0 and 1 are answers


class Parent(NamedTuple):
    """The process that should have collected a zombie."""

    pid: int
    name: str
    command: str | None  # None where it has none or it may not be read
    status: str  # psutil's word: running, sleeping, stopped, ...
    start_time: int = 0  # clock ticks since boot; with the pid its identity


class Zombie(NamedTuple):
    """One process in state Z."""

    pid: int
    start_time: int  # clock ticks since boot; with the pid its identity
    name: str
    user: str  # the number where it has no name
    ppid: int  # 0: the parent lives outside this PID namespace
    parent: Parent | None  # None where it cannot be seen
    started_at: float  # seconds since the epoch
    at_most_s: float  # a zombie for no longer than this: since its start
    at_least_s: float | None  # a zombie for this long by the scheduler's clock; None where it does not tell
    was_killed: bool  # by a signal, known even where the status is secret
    exit_code: int | None  # None where a signal ended it, or its status is secret
    exit_signal: int | None
    core_dumped: bool
    threads: int  # that have not been collected, its first one included
    cause: Cause  # why nobody has collected it
    inner_pid: int = 0  # its pid as its parent knows it; 0 where that is not told
    tracer: int = 0  # who has to collect it, or one of its threads, before its parent can; 0 for nobody
    place: Place = NOWHERE

    @property
    def is_dead_leader(self) -> bool:
        """Tell whether other threads of it live: it looks like a zombie, but is no leak."""
        return self.cause.name == "dead-leader"


class Scan(NamedTuple):
    """What one look at the machine found."""

    zombies: tuple[Zombie, ...]  # by parent, then pid
    is_complete: bool  # False where /proc hides processes from us

    @property
    def collectable(self) -> tuple[Zombie, ...]:
        """Return the zombies that a parent could collect now."""
        return tuple(zombie for zombie in self.zombies if not zombie.is_dead_leader)


def scan(only: Collection[int] | None = None) -> Scan:
    """Look at every process, or at those only, and return the zombies among them.

    Raises:
        ScanError: /proc is missing, or hides other users' processes and nothing was found, or no descriptor
            is left.
    """
    try:
        return _scan(only)
    except OSError as error:
        why = failure("read", error, what="look for zombies")
        raise ScanError(why.message, hint=why.hint) from error


def _scan(only: Collection[int] | None) -> Scan:
    told = candidates.told() if only is None else None
    told = told or candidates.look(only)
    if told is None:
        raise ScanError("cannot list processes: /proc shows none", hint="is /proc mounted?")
    lowest, is_hidden, lines, files = told
    found = [procfs.parse_stat(line) for line in lines]
    hidden = is_hidden or lowest != 1  # every PID namespace has a 1
    if hidden and not found:
        raise ScanError(
            "cannot look at other users' processes: /proc hides them (hidepid)",
            hint="run as root, or as a member of the group that /proc is mounted with",
        )
    return Scan(
        tuple(sorted(_details(found, files), key=lambda zombie: (zombie.ppid, zombie.pid))), not hidden
    )


def _details(found: Sequence[procfs.Stat], files: Sequence[Files]) -> Iterator[Zombie]:
    look = _Look(found)
    for stat, read in zip_longest(found, files):
        zombie = look.zombie(stat, read or candidates.files_of(stat.pid))
        if zombie is not None:
            yield zombie


class _Look:
    """What several zombies of one scan share: the time, and what was read of their parents."""

    __slots__ = ("_counts", "_now", "_now_ms", "_sides")

    def __init__(self, found: Sequence[procfs.Stat]) -> None:
        self._counts = Counter(stat.ppid for stat in found)
        self._sides: dict[int, _Side] = {}  # by parent
        self._now = time.time()
        self._now_ms: dict[int, float | None] = {}  # by processor

    def zombie(self, stat: procfs.Stat, files: Files) -> Zombie | None:
        """Return what can be told of a zombie, or None once it has been collected."""
        status_file, sched, cgroup_file = files
        name = _name(stat.pid)
        if name is None or not status_file:
            return None
        told = procfs.parse_status(status_file)
        side, age_s, at_least_s = self._side(stat.ppid), stat.age_s, self._at_least_s(stat, sched or b"")
        # Without the right to look into it the line says 0, whatever it was.
        status = stat.exit_code if stat.exit_code or procfs.may_inspect(stat.pid) else None
        dead_s = age_s if at_least_s is None else at_least_s
        facts = zombie_facts(stat, told, side.facts, dead_s, self._counts[stat.ppid] - 1)
        cgroup = path_in(cgroup_file or b"") or side.cgroup  # version 1 forgets that of the dead
        if not _is_still_there(stat):
            return None
        return Zombie(
            pid=stat.pid,
            start_time=stat.start_time,
            name=name,
            user=_user_name(int(told["Uid"].split()[0])),
            ppid=stat.ppid,
            parent=side.parent,
            started_at=self._now - age_s,
            at_most_s=age_s,
            at_least_s=at_least_s,
            was_killed=stat.was_killed,
            exit_code=None if status is None else wait.exit_code(status),
            exit_signal=None if status is None else wait.exit_signal(status),
            core_dumped=stat.core_dumped,
            threads=stat.num_threads,
            cause=explain(facts, side.facts),
            inner_pid=facts.inner_pid,
            tracer=facts.holder,
            place=place_of(cgroup),
        )

    def _at_least_s(self, stat: procfs.Stat, sched: bytes) -> float | None:
        died_ms = procfs.parse_last_ran(sched)
        if died_ms is None:
            return None
        # The zombie died by the clock of the processor it ran on last; another's may be far off by now,
        # for each leaves out what its own interrupts, or the machine's host, took from it.
        if stat.processor not in self._now_ms:
            self._now_ms[stat.processor] = _scheduler_now_ms(stat.processor)
        now_ms = self._now_ms[stat.processor]
        return None if now_ms is None else min(max(0.0, (now_ms - died_ms) / 1000), stat.age_s)

    def _side(self, ppid: int) -> "_Side":
        if ppid not in self._sides:
            self._sides[ppid] = (
                _Side(_parent(ppid), parent_facts(ppid), read_cgroup(ppid))
                if ppid
                else _Side(None, None, None)
            )
        return self._sides[ppid]


class _Side(NamedTuple):
    """What was read of a parent."""

    parent: Parent | None
    facts: ParentFacts | None
    cgroup: str | None


def _name(pid: int) -> str | None:
    """Return what psutil calls a zombie, None if there is none any more.

    The rest is in the files that we read ourselves: psutil would read them once more for its uids(), its
    ppid() and its create_time(), and for this last one the machine's time of start as well.
    """
    try:
        process = psutil.Process(pid)
        with process.oneshot():
            return process.name() if process.status() == psutil.STATUS_ZOMBIE else None
    except psutil.Error:
        return None


@cache  # psutil's username() asks the user database for each process anew
def _user_name(uid: int) -> str:
    """Return a user's name, or the number where it has none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _is_still_there(stat: procfs.Stat) -> bool:
    """Tell whether what was read in between was read of the same process: its pid may be another's by now."""
    line = procfs.read_stat_bytes(stat.pid)
    if not line:
        return False
    pid, _, _, _, start_time, _, state, *_ = procfs.parse_place(line)
    return (pid, start_time) == stat.key and state == "Z"


def _scheduler_now_ms(processor: int) -> float | None:
    """Return the present on a processor's clock of `procfs.last_ran_ms`, a millisecond early at most.

    None where this process may not run there: another's cpuset, or a processor that is off by now.
    """
    allowed = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {processor})
    except OSError:
        return None
    try:
        time.sleep(0.001)  # being scheduled again brings our own reading up to date
        return procfs.last_ran_ms(os.getpid())
    finally:
        os.sched_setaffinity(0, allowed)


def _parent(pid: int) -> Parent | None:
    try:
        process = psutil.Process(pid)
        with process.oneshot():
            name, status = process.name(), process.status()
            stat = procfs.read_stat(pid)
            return Parent(pid, name, _command(process), status, stat.start_time if stat else 0)
    except (psutil.Error, ValueError):  # ValueError: pid 0, outside this PID namespace
        return None


def _command(process: psutil.Process) -> str | None:
    try:
        return " ".join(process.cmdline()) or None
    except psutil.Error:
        return None

"""All children of the daemon: fork them, apply what the handler reaped, adopt orphans, end whole trees."""

import os
import signal
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass

from reaperd.children import shares, sweep, tally
from reaperd.children.child import StageFailed
from reaperd.children.family import GONE, Family
from reaperd.children.fork import Forked, fork
from reaperd.children.leaves import Leaves, find_place
from reaperd.children.memory import MemoryWatch
from reaperd.children.plan import Descriptors, Inheritance, find_identity, make_plan
from reaperd.children.reaper import Reaped, Reaper
from reaperd.children.reserve import Reserve
from reaperd.children.shares import Setting
from reaperd.children.sweep import Progress, Sweep
from reaperd.children.tally import Tally
from reaperd.config.spec import ServiceSpec
from reaperd.errors import KernelError, ReaperdError
from reaperd.kernel import fds, procfs, proctask, wait
from reaperd.kernel.credentials import Identity
from reaperd.kernel.procfs import Stat
from reaperd.track.tracker import Tracker

_Asked = tuple[str | None, str | None, tuple[str, ...] | None]  # user, group, supplementary groups


@dataclass(frozen=True, slots=True)
class Ended:
    """A child that has been reaped.

    Attributes:
        pid: as it was; free for another process by now.
        name: its command name, None for a child that we forked.
        run_id: the run it belonged to, None for an unclaimed orphan.
        status: the raw wait status.
        at_ns: CLOCK_MONOTONIC.
        out_of_memory: of a run's main process: the kernel killed it, or one of its run, for want of memory.
    """

    pid: int
    name: str | None
    run_id: str | None
    status: int
    at_ns: int
    out_of_memory: bool = False


@dataclass(frozen=True, slots=True)
class Adopted:
    """An orphan that is now our child."""

    pid: int
    name: str
    run_id: str | None


class Children:
    """Own every child, its pidfd and the knowledge of whose it is.

    Attributes:
        reaper: the handler of SIGCHLD.
        tracker: keeps the model of them, and of all below them, in step.
        cgroup: the directory whose children the runs' cgroups are, None where runs have none.
        no_cgroup: why they have none.
    """

    __slots__ = (
        "_family",
        "_identities",
        "_inherited",
        "_leaves",
        "_mains",
        "_memory",
        "_null_fd",
        "_reserve",
        "_sweeps",
        "_told",
        "_unlimited",
        "no_cgroup",
        "reaper",
        "tracker",
    )

    def __init__(
        self, inherited: Inheritance, *, cgroups: bool = True, tracker: Tracker | None = None
    ) -> None:
        self.no_cgroup: str | None = None if cgroups else 'the configuration says cgroup = "no"'
        self._leaves = self._find_leaves() if cgroups else None
        leaf_run_of = self._leaves.run_of if self._leaves is not None else _no_leaf
        self.reaper = Reaper(leaf_run_of)
        self.tracker = Tracker() if tracker is None else tracker
        self._family = Family(leaf_run_of, self.tracker)
        self._memory = MemoryWatch()
        self._inherited = inherited
        self._identities: dict[_Asked, Identity | None] = {}  # as of the latest `know_identities`
        self._null_fd = fds.open_null()
        self._reserve = Reserve(self._null_fd)
        self._sweeps: dict[str, Sweep] = {}
        self._told: dict[str, set[tuple[int, int]]] = {}  # by run: who got its latest signal
        self._unlimited: dict[str, dict[str, str]] = {}  # by run: keys without effect, and why
        self._mains: dict[int, str] = {}  # unreaped main processes, with their runs

    def _find_leaves(self) -> Leaves | None:
        try:
            return Leaves(find_place())
        except ReaperdError as error:
            self.no_cgroup = error.message
            return None

    @property
    def cgroup(self) -> str | None:
        """Return the directory of the daemon's cgroup, which holds one for each run; None without."""
        return None if self._leaves is None else self._leaves.directory

    @property
    def emptied_fd(self) -> int | None:
        """Return what polls readable when `is_empty` is to be asked again; None where nothing ever does."""
        return None if self._leaves is None else self._leaves.fd

    def drain_emptied(self) -> None:
        """Take note of what `emptied_fd` tells."""
        if self._leaves is not None:
            self._leaves.drain()

    def close(self) -> None:
        """Close every descriptor and remove the cgroups; the daemon is leaving."""
        self.reaper.close()
        self.tracker.close()
        self._memory.close()
        os.close(self._null_fd)
        if self._leaves is not None:
            self._leaves.close()

    def spawn(self, spec: ServiceSpec, run_id: str, descriptors: Descriptors = ()) -> Forked | StageFailed:
        """Fork the main process of a new run; `descriptors` stay the caller's.

        Raises:
            ReaperdError: the service's user or group does not exist (any more).
        """

        def register(pid: int, pidfd: int) -> None:
            with self._reserve:  # the table may be full by now, and a look at the child takes a descriptor
                self._family.born(run_id, pid)
            try:
                self.reaper.know(pid, pidfd)
            except OSError:
                self._family.unborn(run_id, pid)
                raise
            self._mains[pid] = run_id

        plan = make_plan(spec, run_id, self._inherited, self._identity(spec), descriptors)
        if self._leaves is None:
            self._put(run_id, shares.settings(spec))
            return fork(plan, self._null_fd, register)
        try:
            procs_fd = self._leaves.make(run_id, spec.name)
        except KernelError as error:
            self._leaves.ended(run_id)
            return StageFailed("cgroup", error.errno)
        self._put(run_id, shares.settings(spec))
        try:
            forked = fork(plan, self._null_fd, register, procs_fd)
        finally:
            os.close(procs_fd)
        if isinstance(forked, StageFailed):
            self._leaves.ended(run_id)
            self._unlimited.pop(run_id, None)
        return forked

    def change_shares(self, run_id: str, old: ServiceSpec, new: ServiceSpec) -> None:
        """Let a run of `old` have of the machine what `new` says, as far as that can be: `unlimited`."""
        self._put(run_id, shares.changes(old, new))

    def _put(self, run_id: str, wanted: tuple[Setting, ...]) -> None:
        if not wanted:
            return
        if self._leaves is None:
            refused = {each.key: self.no_cgroup or "there are no cgroups" for each in wanted if each.asked}
        else:
            refused = self._leaves.put(run_id, wanted)
        before = self._unlimited.get(run_id, {})
        keys = {each.key for each in wanted}
        self._unlimited[run_id] = {key: why for key, why in before.items() if key not in keys} | refused

    def unlimited(self, run_id: str) -> str | None:
        """Return which limits of a run have no effect, and why; None where all have."""
        return shares.complaint(self._unlimited.get(run_id, {}))

    def cgroup_of(self, run_id: str) -> str | None:
        """Return the directory of a run's own cgroup; None where it has none."""
        return None if self._leaves is None else self._leaves.path(run_id)

    def know_identities(self, specs: Iterable[ServiceSpec]) -> None:
        """Look up afresh, and once for all starts to come, whom services run as.

        Whom the databases do not know is asked for again at each start.
        """
        self._identities.clear()
        for spec in specs:
            with suppress(ReaperdError):
                self._identity(spec)

    def _identity(self, spec: ServiceSpec) -> Identity | None:
        asked = (spec.user, spec.group, spec.supplementary_groups)
        if asked not in self._identities:
            self._identities[asked] = find_identity(spec)
        return self._identities[asked]

    def apply(self) -> list[Ended]:
        """Apply what the handler reaped since the last call, and return it."""
        records = self.reaper.take()
        somebody_killed = bool(records) and self._memory.has_killed()
        return [self._apply(record, somebody_killed=somebody_killed) for record in records]

    def _apply(self, record: Reaped, *, somebody_killed: bool) -> Ended:
        main_of = self._mains.pop(record.pid, None)
        by_stat = self._family.claim_dead(record.stat) if record.stat else None
        run_id = self._family.reaped(record.pid, record.status) or record.run_id or by_stat
        name = record.stat.comm if record.stat else None
        memory = main_of is not None and self._killed_for_memory(main_of, record.status, somebody_killed)
        return Ended(record.pid, name, run_id, record.status, record.at_ns, memory)

    def _killed_for_memory(self, run_id: str, status: int, somebody_killed: bool) -> bool:  # noqa: FBT001 - a fact
        in_leaf = None if self._leaves is None else self._leaves.oom_kills(run_id)
        if in_leaf is not None:
            return in_leaf > 0
        by_us = run_id in self._sweeps
        return somebody_killed and wait.exit_signal(status) == signal.SIGKILL and not by_us

    def adopt(self) -> list[Adopted]:
        """Look for orphans that came to us since the last look; those that live are worth a word."""
        with self._reserve:
            found = self._family.adopt()
        return [Adopted(stat.pid, stat.comm, run_id) for stat, run_id in found if stat.state not in GONE]

    def is_empty(self, run_id: str) -> bool:
        """Tell whether nothing of a run is left, as of the latest `adopt`."""
        return self._family.is_empty(run_id) and (self._leaves is None or self._leaves.is_empty(run_id))

    def ended(self, run_id: str) -> None:
        """Forget a run whose tree is empty."""
        self._family.ended(run_id)
        self._sweeps.pop(run_id, None)
        self._told.pop(run_id, None)
        self._unlimited.pop(run_id, None)
        if self._leaves is not None:
            self._leaves.ended(run_id)

    def signal(self, run_id: str, number: int) -> None:
        """Send a signal to the whole tree of a run as it is now."""
        self._told[run_id] = set()
        self.signal_newcomers(run_id, number)

    def signal_newcomers(self, run_id: str, number: int) -> None:
        """Send the tree's latest signal to those who have not got it yet, and who came while they did.

        A program waits for the child that it was just forking, and acts on its signal only after that. As
        long as the tree as a whole has got none, there is nobody to catch up with.
        """
        told = self._told.get(run_id)
        if told is None:
            return
        for _ in range(sweep.SWEEPS_A_TURN):
            new = [stat for stat in self.members(run_id) if stat.key not in told]
            if not new:
                return
            self._send(new, number)
            told.update(stat.key for stat in new)

    def signal_main(self, pid: int, number: int, *, group: bool) -> None:
        """Send a signal to an unreaped main process, or to the process group that it leads."""
        sweep.send_to_leader(pid, number, group=group)

    def send(self, run_id: str, number: int) -> None:
        """Send a signal to each process of a run as it is now, and wake none that somebody stopped."""
        for stat in self.members(run_id):
            sweep.send(stat, number)

    def send_main(self, pid: int, number: int, *, group: bool) -> None:
        """Send a signal to an unreaped main process, or to its process group, and wake nobody."""
        sweep.send_to_leader(pid, number, group=group, wake=False)

    def kill(self, run_id: str) -> Progress:
        """End the whole tree of a run; to be called again while it says so, or when something is left."""
        with self._reserve:
            if self._leaves is None or not self._leaves.kill(run_id):
                return sweep.kill(self._sweep(run_id), lambda: self._members(run_id))
            return sweep.kill(self._sweep(run_id), lambda: self._outside_leaf(run_id))

    def unkillable(self, run_id: str) -> Iterator[tuple[int, str, str | None]]:
        """Give pid, name and wait channel of each process of a run that is in state D.

        Whoever has got SIGKILL and is there stays until the kernel's function returns: proc_pid_stat(5).
        """
        for stat in self.members(run_id):
            if stat.state == "D":
                yield stat.pid, stat.comm, proctask.wait_channel(stat.pid, stat.pid)

    def _outside_leaf(self, run_id: str) -> list[Stat]:
        """Return those of a run that have left its cgroup, which takes the right to do so."""
        assert self._leaves is not None
        walked = self._family.members(run_id)
        inside = set(self._leaves.pids(run_id))
        return [stat for stat in walked if stat.pid not in inside]

    def kill_everybody(self) -> Progress:
        """End all that descends from the daemon, claimed or not: the last act of a shutdown."""
        with self._reserve:
            if self._leaves is not None:
                self._leaves.kill_all()
            return sweep.kill(self._sweep(""), self._family.everybody)

    def everybody(self) -> list[Stat]:
        """Walk all that descends from the daemon and return who lives."""
        with self._reserve:
            return self._family.everybody()

    def signal_everybody(self, number: int, *, but: Iterable[str] = ()) -> None:
        """Send a signal to all that descends from the daemon, `but` for the trees of some runs."""
        spared = {stat.pid for run_id in but for stat in self.members(run_id)}
        self._send((stat for stat in self.everybody() if stat.pid not in spared), number)

    def signal_unclaimed(self, number: int) -> None:
        """Send a signal to the orphans that belong to no run."""
        with self._reserve:
            found = [stat for pid in self.unclaimed() if (stat := procfs.read_stat(pid)) is not None]
        self._send(found, number)

    def members(self, run_id: str) -> list[Stat]:
        """Walk a run's tree, and look into its cgroup, and return who lives in it."""
        with self._reserve:
            return self._members(run_id)

    def _members(self, run_id: str) -> list[Stat]:
        walked = self._family.members(run_id)
        if self._leaves is None:
            return walked
        seen = {stat.pid for stat in walked}
        found = (self._in_leaf(pid, run_id) for pid in self._leaves.pids(run_id) if pid not in seen)
        return [*walked, *filter(None, found)]

    def _in_leaf(self, pid: int, run_id: str) -> Stat | None:
        """Return who has a pid that was found in a run's cgroup, if he is in there, too."""
        assert self._leaves is not None
        stat = procfs.read_stat(pid)
        return stat if stat is not None and self._leaves.run_of(pid) == run_id else None

    def tally(self, run_ids: Iterable[str]) -> dict[str, Tally]:
        """Return what the trees of runs have at this moment; who would cost too much is left out: `tally`."""
        with self._reserve:
            return tally.of_trees({run_id: self._family.tops(run_id) for run_id in run_ids})

    def cpu_s(self, run_id: str) -> float | None:
        """Return the seconds of processor time of all who ever were in a run; None where no cgroup tells."""
        with self._reserve:
            return None if self._leaves is None else self._leaves.cpu_s(run_id)

    def run_of(self, pid: int) -> str | None:
        """Return the run that a descendant of ours belongs to; None for a stranger and for who is gone."""
        by_leaf = None if self._leaves is None else self._leaves.run_of(pid)
        return by_leaf or self._family.run_of(pid)

    def is_child(self, pid: int) -> bool:
        """Tell whether a process lives and is ours to wait for, born or adopted."""
        stat = procfs.read_stat(pid)
        return stat is not None and stat.state not in GONE and stat.ppid == os.getpid()

    def unclaimed(self) -> list[int]:
        """Return the pids of orphans that belong to no run."""
        return self._family.unclaimed()

    def nobody_left(self) -> bool:
        """Tell whether the daemon has no child at all, living or dead."""
        return not wait.has_children()

    def _send(self, stats: Iterable[Stat], number: int) -> None:
        with self._reserve:
            sweep.send_to_all(stats, number)

    def _sweep(self, key: str) -> Sweep:
        return self._sweeps.setdefault(key, Sweep())


def _no_leaf(_pid: int) -> str | None:
    return None
